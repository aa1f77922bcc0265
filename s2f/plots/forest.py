"""Figures of the bias audit: metrics by group, beside what luck alone would do, and beside what was planted."""

from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from s2f.plots import style
from s2f.plots.style import OURS, QUIET

# The audit's `mdd80` is 1.96 + 0.84 standard errors; luck alone stays within 1.96 of them in 95 of 100 cases.
LUCK = 1.96 / 2.80
LEVEL = 0.05


def group_forest(table: pd.DataFrame, xlabel: str) -> Figure:
    """One metric by group, from `audit.disaggregate`; groups too small to have numbers are left out.

    The band of a group is where it falls in 95 of 100 cases if it is no different from the rest.
    """
    shown = _compared(table)
    fig, ((ax,),) = style.axes(7.2, 0.38 * len(shown) + 1.6)
    _forest(ax, table)
    style.named_rows(ax, shown["group"], shown["n_speakers"])
    ax.set(xlabel=xlabel, ylabel="group (n speakers)")
    fig.legend(loc="outside lower center", ncols=2)
    return fig


def metric_forests(table: pd.DataFrame) -> Figure:
    """All metrics by group, from `audit.by_group`: a panel each, the groups on a common axis."""
    panels = dict(list(table.groupby("metric", sort=False)))
    names = _compared(next(iter(panels.values())))
    fig, grid = style.axes(2.4 + 1.9 * len(panels), 0.27 * len(names) + 2.0, ncols=len(panels), sharey=True)
    for ax, (metric, panel) in zip(grid.flat, panels.items(), strict=True):
        _forest(ax, panel)
        ax.set(title=fill(metric, 18), xlabel=f"{panel['better'].iloc[0]} is better")
    style.named_rows(grid[0, 0], names["group"], names["n_speakers"])
    grid[0, 0].set(ylabel="group (n speakers)")
    fig.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return fig


def _compared(table: pd.DataFrame) -> pd.DataFrame:
    """The groups that have a rest to be compared with."""
    return table[table["difference"].notna()].reset_index(drop=True)


def _forest(ax: Axes, table: pd.DataFrame) -> None:
    overall = table.loc[table["group"] == "overall", "estimate"].item()
    table = _compared(table)
    y = np.arange(len(table))
    rest, luck = table["estimate"] - table["difference"], LUCK * table["mdd80"]
    ax.barh(y, 2 * luck, left=rest - luck, height=0.8, color="0.88", label="range by luck, if no different")
    whiskers = style.whiskers(table["estimate"], table["ci_lo"], table["ci_hi"])
    beyond = (table["p_adj"] <= LEVEL).to_numpy()
    kinds = {"group, 95 % interval": (~beyond, "white"), "... beyond luck (adjusted p)": (beyond, OURS)}
    for label, (side, face) in kinds.items():
        look = {"fmt": "o", "color": OURS, "markerfacecolor": face, "label": label}
        ax.errorbar(table["estimate"][side], y[side], xerr=whiskers[:, side], **look)
    ax.axvline(overall, color=QUIET, linestyle="--", linewidth=1.2, label="all speakers")
    for edge in np.flatnonzero(table["attribute"].ne(table["attribute"].shift()))[1:]:
        ax.axhline(edge - 0.5, color="0.75", linewidth=0.8)  # between two attributes


def planted(found: pd.DataFrame, added: pd.DataFrame) -> Figure:
    """Left: what is found of what was planted, less its true size, from `findings.planted`. Right: the model beside the
    best possible observer, from `findings.against_best`.
    """
    fig, ((apart, model),) = style.axes(12.5, 0.34 * len(found) + 1.9, ncols=2)
    y = np.arange(len(found))
    whiskers = style.whiskers(found["value"], found["low"], found["high"])
    apart.errorbar(found["value"] - found["truth"], y, xerr=whiskers, fmt="o", color=OURS)
    truths = found["planted"].str.replace("_", " ") + [f": {truth:.3f}" for truth in found["truth"]]
    style.named_rows(apart, truths, found["n_speakers"])
    apart.set(title="What was planted, and how far off it is found", xlabel="found less planted (share)")
    y = np.arange(len(added))
    for arm, color, marker, shift in (("best", QUIET, "s", -0.12), ("model", OURS, "o", 0.12)):
        whiskers = style.whiskers(added[arm], added[f"{arm}_low"], added[f"{arm}_high"])
        label = "model" if arm == "model" else "best possible observer"
        model.errorbar(added[arm], y + shift, xerr=whiskers, fmt=marker, color=color, label=label)
    style.named_rows(model, added["planted"].str.replace("_", " "), added["n_speakers"])
    model.set(title="The model beside the best possible observer", xlabel="share, or difference of shares")
    for ax in (apart, model):
        ax.axvline(0, color=QUIET, linestyle="--", linewidth=1.2)
    fig.legend(loc="outside lower center", ncols=2, title="95 % intervals that hold together")
    return fig

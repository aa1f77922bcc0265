"""The bias audit: metrics by group beside the range of chance, and what was found of planted effects."""

from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from s2f.plots import style
from s2f.plots.style import OURS, QUIET

# A group like the rest is within so many standard errors of it in 95 of 100 cases.
LUCK = 1.96
LEVEL = 0.05


def group_forest(table: pd.DataFrame, xlabel: str) -> Figure:
    """One metric by group, from `audit.disaggregate`, without groups too small to have numbers.

    The band of a group is its range in 95 of 100 cases if it is no different from the rest.
    """
    shown = _compared(table)
    fig, ((ax,),) = style.axes(7.2, 0.38 * len(shown) + 1.6)
    _forest(ax, table)
    style.named_rows(ax, shown["group"], shown["n_speakers"])
    ax.set(xlabel=xlabel, ylabel="group (n speakers)")
    fig.legend(loc="outside lower center", ncols=2)
    return fig


def metric_forests(table: pd.DataFrame) -> Figure:
    """All metrics by group, from `audit.by_group`: one panel per metric, the groups on a common axis."""
    panels = dict(list(table.groupby("metric", sort=False)))
    names = _compared(next(iter(panels.values())))
    fig, grid = style.axes(2.4 + 1.9 * len(panels), 0.27 * len(names) + 2.0, ncols=len(panels), sharey=True)
    for ax, (metric, panel) in zip(grid.flat, panels.items(), strict=True):
        _forest(ax, panel)
        ax.set(title=fill(metric, 18), xlabel=f"{panel['better'].iloc[0]} is better")
    style.named_rows(grid[0, 0], names["group"], names["n_speakers"])
    grid[0, 0].set(ylabel="group (n speakers)")
    style.legend(fig, grid[0], 4)
    return fig


def _compared(table: pd.DataFrame) -> pd.DataFrame:
    """The groups that can be compared with the rest."""
    return table[table["difference"].notna()].reset_index(drop=True)


def _forest(ax: Axes, table: pd.DataFrame) -> None:
    """The rows of one metric: value, interval, range by luck, and the mean of all speakers."""
    overall = table.loc[table["group"] == "overall", "estimate"].item()
    table = _compared(table)
    y = np.arange(len(table))
    rest, luck = table["estimate"] - table["difference"], LUCK * table["se"]
    ax.barh(y, 2 * luck, left=rest - luck, height=0.8, color="0.88", label="range by luck, if no different")
    table = table.rename(columns={"estimate": "value", "ci_lo": "low", "ci_hi": "high"})
    beyond = (table["p_adj"] <= LEVEL).to_numpy()
    kinds = {"group, 95 % interval": (~beyond, "white"), "... beyond luck (adjusted p)": (beyond, OURS)}
    for label, (side, face) in kinds.items():
        style.intervals(ax, table[side], y[side], markerfacecolor=face, label=label)
    ax.axvline(overall, color=QUIET, linestyle="--", linewidth=1.2, label="all speakers")
    style.rules(ax, table["attribute"])


def planted(found: pd.DataFrame, added: pd.DataFrame) -> Figure:
    """Planted effects. Left: estimate less true size, from `planted`. Right: the model beside the ideal observer, from
    `against_best` (both in `s2f.fairness.planted_effects`).
    """
    fig, ((apart, model),) = style.axes(12.5, 0.34 * len(found) + 1.9, ncols=2)
    errors = found[["value", "low", "high"]].sub(found["truth"], axis=0)
    style.intervals(apart, errors, np.arange(len(found)))
    truths = found["planted"].str.replace("_", " ") + [f": {truth:.3f}" for truth in found["truth"]]
    style.named_rows(apart, truths, found["n_speakers"])
    apart.set(title="What was planted, and how far off it is found", xlabel="found less planted (share)")
    y = np.arange(len(added))
    for arm, color, marker, shift in (("best", QUIET, "s", -0.12), ("model", OURS, "o", 0.12)):
        label = "model" if arm == "model" else "best possible observer"
        style.intervals(model, added, y + shift, arm, fmt=marker, color=color, label=label)
    style.named_rows(model, added["planted"].str.replace("_", " "), added["n_speakers"])
    model.set(title="The model beside the best possible observer", xlabel="share, or difference of shares")
    for ax in (apart, model):
        ax.axvline(0, color=QUIET, linestyle="--", linewidth=1.2)
    fig.legend(loc="outside lower center", ncols=2, title="95 % intervals, simultaneous")
    return fig

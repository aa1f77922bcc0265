"""Figures that compare trainings: scores beside one reference run, test lengths, learning curves."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from s2f.plots import style
from s2f.plots.style import LINES, MARKERS, OURS, PALETTE, QUIET, SHADE


def differences(panels: Mapping[str, pd.DataFrame], reference: str) -> Figure:
    """A panel a score, a row a run: tables of `stats.against`, with the run `reference` as the vertical line.

    The whiskers of a run are those of its difference from the reference, drawn about its value: they miss the line
    where the difference is real.
    """
    rows = len(next(iter(panels.values())))
    fig, (line,) = style.axes(8.4, 0.36 * rows + 1.5, ncols=len(panels), sharey=True)
    for ax, (label, table) in zip(line, panels.items(), strict=True):
        base = table.loc[reference, "value"]
        others = table.drop(index=reference)
        place = [table.index.get_loc(name) for name in others.index]
        whiskers = style.whiskers(others["value"], base + others["difference_low"], base + others["difference_high"])
        ax.axvline(base, color=QUIET, linestyle="--", linewidth=1.2, label=reference)
        ax.errorbar(others["value"], place, xerr=whiskers, fmt="o", color=OURS, label="95 % interval of the difference")
        ax.set_xlabel(label)
    line[0].set_yticks(range(rows), [name.replace("_", " ") for name in table.index])
    line[0].set_ylim(rows - 0.4, -0.6)
    fig.suptitle(f"n = {style.speakers(table)} speakers", x=0.01, ha="left", fontsize="medium")
    fig.legend(*line[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def durations(tables: Mapping[str, pd.DataFrame], ylabel: str) -> Figure:
    """A score against `seconds` of voice in the test, a line a model, from `evaluate.duration_curve`."""
    fig, ((ax,),) = style.axes(6.4, 3.8)
    for (label, table), colour, marker, line in zip(tables.items(), PALETTE, MARKERS, LINES, strict=False):
        ax.fill_between(table["seconds"], table["low"], table["high"], color=colour, **SHADE)
        ax.plot(table["seconds"], table["value"], color=colour, marker=marker, linestyle=line, label=label)
    ax.set(xlabel="length of voice in the test / s", ylabel=ylabel)
    ax.set_title(f"n = {style.speakers(table)} speakers; bands: 95 % intervals")
    ax.set_xlim(left=0)
    ax.legend()
    return fig


def learning(curves: Mapping[str, pd.DataFrame], column: str, ylabel: str) -> Figure:
    """A column of learning curves against the training step, a line a run."""
    fig, ((ax,),) = style.axes(6.4, 3.8)
    for (label, curve), colour, marker, line in zip(curves.items(), PALETTE, MARKERS, LINES, strict=False):
        ax.plot(curve["step"], curve[column], color=colour, marker=marker, linestyle=line, label=label)
    ax.set(xlabel="training step", ylabel=ylabel)
    ax.set_xlim(left=0)
    ax.legend()
    return fig

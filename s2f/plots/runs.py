"""Comparison of trainings: scores beside one reference run, test durations, learning curves."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from s2f.plots import style
from s2f.plots.style import LINES, MARKERS, PALETTE, QUIET


def differences(panels: Mapping[str, pd.DataFrame], reference: str) -> Figure:
    """Tables of `bootstrap.against`, one panel per score and one row per run; the vertical line is the reference run.

    The whiskers of a run are the interval of its difference from the reference, drawn about its value: they miss the
    line where the difference is significant.
    """
    rows = len(next(iter(panels.values())))
    fig, (line,) = style.axes(8.4, 0.36 * rows + 1.5, ncols=len(panels), sharey=True)
    for ax, (xlabel, table) in zip(line, panels.items(), strict=True):
        base = table.loc[reference, "value"]
        others = table.drop(index=reference)
        ends = {end: base + others[f"difference_{end}"] for end in ("low", "high")}
        ax.axvline(base, color=QUIET, linestyle="--", linewidth=1.2, label=reference)
        at = table.index.get_indexer(others.index)
        style.intervals(ax, others.assign(**ends), at, label="95 % interval of the difference")
        ax.set_xlabel(xlabel)
    line[0].set_yticks(range(rows), [name.replace("_", " ") for name in table.index])
    line[0].set_ylim(rows - 0.4, -0.6)
    fig.suptitle(f"n = {style.speakers(table)} speakers", x=0.01, ha="left", fontsize="medium")
    style.legend(fig, line, 2)
    return fig


def durations(tables: Mapping[str, pd.DataFrame], ylabel: str) -> Figure:
    """A score by `seconds` of voice in the test, one line per model, from `similarity.duration_curve`."""
    fig, ((ax,),) = style.axes(6.4, 3.8)
    style.bands(ax, tables, "seconds", LINES)
    ax.set(xlabel="length of voice in the test / s", ylabel=ylabel)
    ax.set_title(f"n = {style.speakers(next(iter(tables.values())))} speakers; bands: 95 % intervals")
    ax.set_xlim(left=0)
    ax.legend()
    return fig


def learning(curves: Mapping[str, pd.DataFrame], column: str, ylabel: str) -> Figure:
    """A column of learning curves by training step, one line per run."""
    fig, ((ax,),) = style.axes(6.4, 3.8)
    for (label, curve), colour, marker, line in zip(curves.items(), PALETTE, MARKERS, LINES, strict=False):
        ax.plot(curve["step"], curve[column], color=colour, marker=marker, linestyle=line, label=label)
    ax.set(xlabel="training step", ylabel=ylabel)
    ax.set_xlim(left=0)
    ax.legend()
    return fig

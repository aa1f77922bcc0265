"""Systems compared on the same pairs, from `s2f.metrics.paired`: one row per system, one panel per task."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from s2f.plots import style
from s2f.plots.style import CHANCE_LINE, MARKERS, OURS, PALETTE


def compared(panels: Mapping[str, pd.DataFrame], reference: str) -> Figure:
    """Shares by `arm` with intervals, one panel per table; filled marks: the difference's interval excludes zero."""
    arms = list(next(iter(panels.values()))["arm"])
    fig, (line,) = style.axes(3.1 * len(panels) + 2.4, 0.36 * len(arms) + 1.9, ncols=len(panels), sharey=True)
    for ax, (title, table) in zip(line, panels.items(), strict=True):
        apart = (table["difference_low"] > 0) | (table["difference_high"] < 0)
        looks = {
            f"clearly apart from {reference}": (apart, OURS, "full"),
            "not clearly apart": (~apart & (table["arm"] != reference), OURS, "none"),
            reference: (table["arm"] == reference, PALETTE[1], "full"),
        }
        for label, (here, colour, fill) in looks.items():
            look = {"color": colour, "fillstyle": fill, "label": label}
            style.intervals(ax, table[here], np.flatnonzero(here), **look)
        ax.axvline(table["chance"].iloc[0], **CHANCE_LINE)
        ax.set(title=f"{title}\nn = {style.speakers(table)} people", xlabel="right answers, 95 % intervals")
        style.percent(ax.xaxis)
    line[0].set_yticks(range(len(arms)), arms)
    line[0].set_ylim(len(arms) - 0.5, -0.5)
    style.legend(fig, line, 4)
    return fig


def correlations(arms: Mapping[str, pd.DataFrame], others: Mapping[str, Mapping[str, float]]) -> Figure:
    """Correlation `r` of each `measure` with interval, one mark per arm, and values of `others` without interval.

    Arms are tables of `craniofacial.craniofacial`; the line of random pairs is their mean |r|.
    """
    first = next(iter(arms.values())).sort_values("r")
    order = list(first["measure"])
    fig, ((ax,),) = style.axes(7.6, 0.42 * len(order) + 1.9)
    shifts = np.linspace(0.2, -0.2, len(arms)) if len(arms) > 1 else [0]
    for (label, table), shift, colour, marker in zip(arms.items(), shifts, PALETTE[::2], MARKERS, strict=False):
        part = table.set_index("measure").loc[order]
        look = {"fmt": marker, "color": colour, "label": f"{label}, 95 % interval"}
        style.intervals(ax, part, np.arange(len(order)) + shift, "r", **look)
    for (label, values), marker in zip(others.items(), "Dv", strict=False):
        known = [(values[name], place) for place, name in enumerate(order) if name in values]
        ax.plot(*zip(*known, strict=True), **style.PAPER_MARK | {"marker": marker, "label": label})
    ax.axvline(first["random"].mean(), **CHANCE_LINE | {"label": "random pairs"})
    ax.set_yticks(range(len(order)), style.words(first["measure"]))
    ax.set(xlabel="correlation (Pearson's r)", title=f"n = {style.speakers(first)} people")
    fig.legend(loc="outside lower center", ncols=2)
    return fig

"""Effects of a change of the training data: groups sampled equally often, and languages left out."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from s2f.plots import style
from s2f.plots.style import CEILING_LINE, CEILING_MARK, CHANCE_LINE, MARKERS, PALETTE, QUIET

METRICS = {
    "matching": "1:2 matching",
    "matching_cosine": "1:2 matching by cosine",
    "recall_at_10": "true face among the first ten",
    "group_read": "true group read off the predicted feature",
}
SHOWN = {"eer": "equal error rate", "matching": "1:2 matching"}
TESTED = {"heard": "heard language", "unheard": "unheard language", "all": "mean of the four"}


def by_group(table: pd.DataFrame, reference: str, metric: str) -> Figure:
    """A score by group in each arm, and its difference from the reference arm, from `mitigation.remedies`.

    `metric` is one of `METRICS`. The bar behind a difference is its range over seeds. Groups too small to have numbers
    are left out.
    """
    table = table[table["value"].notna()]
    rows = table.drop_duplicates(["attribute", "group"]).reset_index(drop=True)
    place = pd.Series(np.arange(len(rows)), index=pd.MultiIndex.from_frame(rows[["attribute", "group"]]))
    fig, ((left, right),) = style.axes(11.0, 0.44 * len(rows) + 2.0, ncols=2, sharey=True)
    arms = list(table.groupby("arm", sort=False))
    for number, (arm, part) in enumerate(arms):
        y = place[pd.MultiIndex.from_frame(part[["attribute", "group"]])] + 0.2 * (number - (len(arms) - 1) / 2)
        look = {"fmt": MARKERS[number], "color": PALETTE[number], "markersize": 5}
        style.intervals(left, part, y, **look, label=f"{arm.replace('_', ' ')}, 95 % interval")
        if arm == reference:
            continue
        width = 100 * (part["seeds_high"] - part["seeds_low"])
        if (width > 0).any():  # a refitted layer is the same whatever the seed
            right.barh(y, width, left=100 * part["seeds_low"], height=0.17, color="0.82", label="range over seeds")
        style.intervals(right, part, y, "difference", 100.0, **look)
    if "ceiling" in rows and rows["ceiling"].notna().all():
        left.plot(rows["ceiling"], place, markersize=15, **CEILING_MARK)
    right.axvline(0, **CHANCE_LINE | {"label": reference.replace("_", " ")})
    for ax in (left, right):
        style.rules(ax, rows["attribute"])
    style.named_rows(left, rows["group"].str.replace("_", " "), rows["n_speakers"])
    left.set(xlabel=METRICS[metric], ylabel="group (n speakers)")
    style.percent(left.xaxis)
    right.set(xlabel=f"difference from {reference.replace('_', ' ')} / points")
    style.legend(fig, (left, right))
    return fig


def crossed(table: pd.DataFrame) -> Figure:
    """Equal error rate and matching in heard and unheard languages, and their difference: a row of panels per metric.

    Rows of `languages.crossed` with the columns `metric`, `score` (a mark each), `chance`, `ceiling`, and `sex`, the
    value of an observer who knows only the sex.
    """
    fig, grid = style.axes(10.6, 2.9 * len(SHOWN) + 0.9, nrows=len(SHOWN), ncols=2)
    panels = {label: table[table["metric"] == metric] for metric, label in SHOWN.items()}
    for (left, right), (label, table) in zip(grid, panels.items(), strict=True):
        gap = table["tested"] == "heard_less_unheard"
        for ax, part, unit in ((left, table[~gap], 1.0), (right, table[gap], 100.0)):
            names = part.drop_duplicates(["trained", "tested"])
            keys = pd.MultiIndex.from_frame(names[["trained", "tested"]])
            for number, (score, rows) in enumerate(part.groupby("score", sort=False)):
                y = keys.get_indexer(pd.MultiIndex.from_frame(rows[["trained", "tested"]])) + 0.24 * (number - 0.5)
                look = {"fmt": MARKERS[number], "color": PALETTE[number], "markersize": 5}
                look["label"] = f"{score.replace('_', ' ')}, 95 % interval"
                style.intervals(ax, rows, y, unit=unit, **look)
            ax.set_yticks(range(len(names)), [_cell(*key) for key in keys])
            ax.set_ylim(len(names) - 0.4, -0.6)
        left.axvline(table["chance"].iloc[0], **CHANCE_LINE)
        left.axvline(table["ceiling"].iloc[0], **CEILING_LINE)
        left.axvline(table["sex"].iloc[0], color=QUIET, linestyle="-.", linewidth=1.2, label="knows only the sex")
        left.set(xlabel=label, ylabel="training, test", title=f"n = {style.speakers(table)} speakers")
        style.percent(left.xaxis)
        right.axvline(0, **CHANCE_LINE | {"label": "no difference"})
        right.set(xlabel="heard less unheard / points", ylabel="training")
    style.legend(fig, grid[0, :1])
    return fig


def _cell(trained: str, tested: str) -> str:
    if tested == "heard_less_unheard":
        return trained
    return TESTED[tested] if trained == "both" else f"{trained}, {tested}"

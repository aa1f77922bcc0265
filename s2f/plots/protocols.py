"""Matching, verification and retrieval beside chance, attribute-only observers and the ceiling.

From tables of `s2f.metrics.protocols` and `s2f.metrics.search`.
"""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from s2f.plots import style
from s2f.plots.style import CEILING_MARK, CHANCE_LINE, MARKERS, PALETTE, QUIET

# Observers who know only an attribute, by column: in grey, with a mark and a line of their own.
ATTRIBUTES = {
    "sex": ("x", "-.", "knows only the sex"),
    "sex_and_group": ("+", (0, (6, 2, 1, 2, 1, 2)), "knows only sex and group"),
}
STRATA = {
    "U": "anybody (U)",
    "G": "same sex (G)",
    "N": "same group (N)",
    "A": "same age band (A)",
    "GN": "same sex, group (GN)",
    "GNA": "same sex, group, age (GNA)",
}
DIRECTIONS = {"v2f": "from a voice to its face", "f2v": "from a face to its voice"}
# Title and axis of the panel of a metric.
METRICS = {"auc": ("higher is better", "area under the ROC curve"), "eer": ("lower is better", "equal error rate")}
MEASURES = {"r1": "true face first", "r10": "among the first 10", "r1_percent": "among the first percent"}


def by_stratum(panels: Mapping[str, pd.DataFrame], xlabel: str = "", listeners: Iterable = ()) -> Figure:
    """Values by stratum: opponents who share more and more with the true person. One panel per table, a mark per `arm`.

    A panel has its name as title, or shows that one of `METRICS`. Each table has a row per `stratum` and arm, with low,
    high, n_speakers and chance, and sex, sex_and_group and ceiling where known. `listeners` (`stratum`, `low`, `high`)
    are grey bands.
    """
    fig, (line,) = style.axes(4.6 * len(panels) + 2.2, 4.6, ncols=len(panels), sharey=True)
    for ax, (name, table) in zip(line, panels.items(), strict=True):
        title, label = METRICS.get(name, (name, xlabel))
        strata = list(table["stratum"].unique())
        for study in listeners:
            if study.stratum in strata:
                listener_band(ax, strata.index(study.stratum), study)
        _arms(ax, table, strata)
        ax.axvline(table["chance"].iloc[0], **CHANCE_LINE)
        ax.set_yticks(range(len(strata)), [STRATA[stratum] for stratum in strata])
        ax.set(title=f"{title}\nn = {style.speakers(table)} speakers", xlabel=label, ylim=(len(strata) - 0.4, -0.6))
    line[0].set_ylabel("the others are")
    style.legend(fig, line)
    return fig


def listener_band(ax: Axes, y: int, study) -> None:
    """The score of human listeners (`low` to `high`) as a grey band at height `y`, at least as wide as a line."""
    ends = study.low - 0.004, study.high + 0.004
    ax.fill_betweenx([y - 0.4, y + 0.4], *ends, color="0.85", label="human listeners, other material")


def _arms(ax: Axes, table: pd.DataFrame, names: Sequence[str]) -> None:
    arms = list(table.groupby("arm", sort=False))
    for place, (arm, rows) in enumerate(arms):
        y = rows["stratum"].map(names.index) + 0.22 * (place - (len(arms) - 1) / 2)
        look = {"fmt": MARKERS[place], "color": PALETTE[place], "label": f"{arm}, 95 % interval"}
        style.intervals(ax, rows, y, **look)
    one, y = arms[0][1], arms[0][1]["stratum"].map(names.index)
    for column, (mark, _, label) in ATTRIBUTES.items():
        if column in one:
            ax.plot(one[column], y, mark, color=QUIET, markersize=9, markeredgewidth=2, label=label)
    if "ceiling" in one:
        ax.plot(one["ceiling"], y, markersize=15, **CEILING_MARK)


def by_candidates(table: pd.DataFrame, strata: Sequence[str]) -> Figure:
    """1:N matching by `n`, the number of candidates: a row of panels per `direction`, a column per stratum."""
    rows = table["direction"].unique()
    size = {"nrows": len(rows), "ncols": len(strata), "sharex": True, "sharey": True}
    fig, grid = style.axes(3.4 * len(strata) + 1.0, 2.7 * len(rows) + 1.2, **size)
    for line, direction in zip(grid, rows, strict=True):
        for ax, stratum in zip(line, strata, strict=True):
            part = table[(table["direction"] == direction) & (table["stratum"] == stratum)]
            _curves(ax, part, "n")
            ax.set(title=f"{STRATA[stratum]}\nn = {style.speakers(part)} speakers", ylim=(0, 1), xticks=part["n"])
        line[0].set_ylabel(f"{DIRECTIONS[direction]}:\nright answers")
    for ax in grid[-1]:
        ax.set_xlabel("candidates N")
    style.legend(fig, grid.ravel())
    return fig


def by_gallery(table: pd.DataFrame) -> Figure:
    """Recall by gallery size, from `search.recall_by_size`: one panel for each of `MEASURES`.

    Both axes are logarithmic: a recall of 0 has no mark, and the band shows how large it may be.
    """
    table = table.replace(0, float("nan")).assign(low=table["low"])
    fig, (line,) = style.axes(3.9 * len(MEASURES) + 1.0, 4.6, ncols=len(MEASURES))
    for ax, (measure, title) in zip(line, MEASURES.items(), strict=True):
        rows = table[table["measure"] == measure]
        _curves(ax, rows, "size")
        least = rows[["value", "chance"]].min().min()
        ax.set(xscale="log", yscale="log", ylim=(least / 1.5, 1.1), xlabel="faces in the gallery")
        ax.set_title(f"{title}\nn = {style.speakers(rows)} speakers")
        ax.xaxis.set_major_formatter(lambda count, _: f"{count:,.0f}")
        ax.yaxis.set_major_formatter(lambda share, _: f"{share:.6%}".rstrip("0%").rstrip(".") + "%")
        ax.tick_params("x", rotation=30)
    line[0].set_ylabel("voices whose true face is found")
    style.legend(fig, line)
    return fig


def _curves(ax: Axes, table: pd.DataFrame, x: str) -> None:
    arms = {f"{arm}, 95 % interval": rows for arm, rows in table.groupby("arm", sort=False)}
    style.bands(ax, arms, x, markersize=4)
    one = next(iter(arms.values()))
    style.references(ax, one[x], one)
    for column, (_, dashes, label) in ATTRIBUTES.items():
        if column in one:
            ax.plot(one[x], one[column], linestyle=dashes, color=QUIET, linewidth=1.2, label=label)
    style.percent(ax.yaxis)

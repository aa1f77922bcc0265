"""The style of all figures, and the parts that they share.

Tables use the column names of the results: `value`, `n_speakers`, `chance`, `ceiling`; `low` and `high` bound the 95 %
interval. Colour alone never carries a meaning: chance is dashed, the ceiling dotted, the paper a diamond.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import rcdefaults, rcParams
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.pyplot import install_repl_displayhook
from matplotlib.ticker import PercentFormatter

from s2f.study.paths import NUMBERS_ONLY, replacing

# Distinct to colour-blind readers, and by lightness alone (26, 49, 66, 79 of 100) in a grey print.
PALETTE = ("#1f3b73", "#c4512d", "#5aa9c8", "#e8c04a")
OURS, PAPER = PALETTE[:2]
QUIET = "0.45"
MARKERS = "os^D"
LINES = ("-", "--", "-.", ":")
CHANCE_LINE = {"color": QUIET, "linestyle": "--", "linewidth": 1.2, "label": "chance"}
CEILING_LINE = {"color": "black", "linestyle": ":", "linewidth": 1.6, "label": "ceiling"}
CEILING_MARK = {"color": "black", "marker": "|", "linestyle": "none", "markeredgewidth": 2, "label": "ceiling"}
PAPER_MARK = {"color": PAPER, "marker": "D", "linestyle": "none", "markersize": 7, "label": "paper"}
SHADE = {"alpha": 0.15, "linewidth": 0}
DPI = 120


def use() -> None:
    """Set the look of all figures, with any backend and whatever the user's matplotlibrc says."""
    rcdefaults()
    sns.set_theme(style="ticks", palette=PALETTE, font="DejaVu Sans", font_scale=0.9)
    rcParams.update(
        {
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": "medium",
            "axes.titlelocation": "left",
            "figure.constrained_layout.h_pad": 0.08,  # inches
            "figure.constrained_layout.w_pad": 0.08,
            "legend.frameon": False,
            "image.cmap": "cividis",
            "svg.hashsalt": "s2f",  # ids of an SVG are random otherwise
        }
    )
    install_repl_displayhook()  # so that a notebook shows a Figure that pyplot did not make


def save(fig: Figure, path: str | Path) -> Figure:
    """Write a PNG or SVG whose bytes depend on the figure alone (no date, no version), and return the figure.

    Where only numbers are asked for (`study.repeats`), nothing is written.
    """
    if os.environ.get(NUMBERS_ONLY):
        return fig
    path = Path(path)
    metadata = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}}
    with replacing(path) as temporary:
        fig.savefig(temporary, dpi=DPI, metadata=metadata[path.suffix])
    return fig


def axes(width: float, height: float, **grid) -> tuple[Figure, np.ndarray]:
    """A figure of this size (inches) with a 2-d array of axes; outside pyplot, so that nothing is kept alive."""
    fig = Figure(figsize=(width, height), layout="constrained")
    return fig, fig.subplots(squeeze=False, **grid)


def speakers(table: pd.DataFrame) -> str:
    """The number of speakers of a table's rows, or its range."""
    fewest, most = table["n_speakers"].min(), table["n_speakers"].max()
    return f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"


def words(names: pd.Series) -> pd.Series:
    """Names of columns and labels as a reader sees them."""
    return names.str.replace("_idx", " index").str.replace("_", " ")


def percent(*axes: Axis) -> None:
    """Show shares as percent."""
    for axis in axes:
        axis.set_major_formatter(PercentFormatter(1, decimals=0))


def intervals(
    ax: Axes, table: pd.DataFrame, at, column: str = "value", unit: float = 1, vertical: bool = False, **look
) -> None:
    """Marks with whiskers at the positions `at`: a column, in `unit`, from its low to its high end.

    The ends are `<column>_low` and `<column>_high`, or `low` and `high` where there are no such columns. An estimate
    may lie a rounding error outside its interval.
    """
    value = table[column]
    low, high = (table[f"{column}_{end}" if f"{column}_{end}" in table else end] for end in ("low", "high"))
    ends = unit * np.maximum([value - low, high - value], 0)
    look = {"fmt": "o", "color": OURS} | look
    if vertical:
        ax.errorbar(at, unit * value, yerr=ends, **look)
    else:
        ax.errorbar(unit * value, at, xerr=ends, **look)


def bands(ax: Axes, curves: Mapping[str, pd.DataFrame], x: str, lines: Iterable[str] = ("-",) * 4, **look) -> None:
    """A line for each named table against its column `x`, with its interval as a band."""
    for (label, table), colour, marker, line in zip(curves.items(), PALETTE, MARKERS, lines, strict=False):
        ax.fill_between(table[x], table["low"], table["high"], color=colour, **SHADE)
        ax.plot(table[x], table["value"], line, marker=marker, color=colour, label=label, **look)


def heatmap(ax: Axes, table: pd.DataFrame, **look) -> None:
    """A table of numbers as colours, each with its number."""
    sns.heatmap(table, ax=ax, cmap="cividis", annot=True, annot_kws={"fontsize": "small"}, linewidths=1, **look)


def rules(ax: Axes, attributes: pd.Series) -> None:
    """Thin lines between rows of different attributes."""
    for edge in np.flatnonzero(attributes.ne(attributes.shift()))[1:]:
        ax.axhline(edge - 0.5, color="0.75", linewidth=0.8)


def legend(fig: Figure, panels: Iterable[Axes], ncols: int = 3, **look) -> None:
    """One legend, below the figure, of everything that the panels show."""
    shown = {}
    for ax in panels:
        handles, labels = ax.get_legend_handles_labels()
        shown |= dict(zip(labels, handles, strict=True))
    fig.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=ncols, **look)


def references(ax: Axes, x: pd.Series, table: pd.DataFrame) -> None:
    """Lines of chance and ceiling, where the table has them."""
    for column, style in (("chance", CHANCE_LINE), ("ceiling", CEILING_LINE)):
        if column in table:
            ax.plot(x, table[column], **style)


def named_rows(ax: Axes, names: pd.Series, counts: pd.Series) -> None:
    """Label the rows, from the top down."""
    ax.set_yticks(range(len(names)), [f"{name}  (n = {n:,.0f})" for name, n in zip(names, counts, strict=True)])
    ax.set_ylim(len(names) - 0.4, -0.6)

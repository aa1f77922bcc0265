"""The one style of all figures, and the parts that they share.

Tables use the column names of the results: `value`, `n_speakers`, `chance`, `ceiling`; `low` and `high` bound
the 95 % interval. Colour alone never carries a meaning: chance is dashed, the ceiling dotted, the paper a
diamond.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.pyplot import install_repl_displayhook

from s2f.study.paths import replacing

# Told apart by colour-blind readers, and by lightness alone (26, 49, 66, 79 of 100) on a grey print.
PALETTE = ("#1f3b73", "#c4512d", "#5aa9c8", "#e8c04a")
OURS, PAPER = PALETTE[:2]
QUIET = "0.45"
MARKERS = "os^D"
LINES = ("-", "--", "-.", ":")
CHANCE_LINE = {"color": QUIET, "linestyle": "--", "linewidth": 1.2, "label": "chance"}
CEILING_LINE = {"color": "black", "linestyle": ":", "linewidth": 1.6, "label": "ceiling"}
PAPER_MARK = {"color": PAPER, "marker": "D", "linestyle": "none", "markersize": 7, "label": "paper"}
SHADE = {"alpha": 0.15, "linewidth": 0}
DPI = 120


def use() -> None:
    """Set the look of all figures; works with any backend."""
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
    """Write a PNG or SVG whose bytes depend on the figure only (no date, no version), and return it to be shown."""
    path = Path(path)
    stamps = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}}
    with replacing(path) as temporary:
        fig.savefig(temporary, dpi=DPI, metadata=stamps[path.suffix])
    return fig


def axes(width: float, height: float, **grid) -> tuple[Figure, np.ndarray]:
    """A figure of so many inches with a 2-d array of axes; outside pyplot, so that nothing is kept alive."""
    fig = Figure(figsize=(width, height), layout="constrained")
    return fig, fig.subplots(squeeze=False, **grid)


def speakers(table: pd.DataFrame) -> str:
    fewest, most = table["n_speakers"].min(), table["n_speakers"].max()
    return f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"


def whiskers(value: pd.Series, low: pd.Series, high: pd.Series) -> np.ndarray:
    """Distances to both ends of the intervals; an estimate may lie a rounding error beyond its own."""
    return np.maximum([value - low, high - value], 0)


def references(ax: Axes, x: pd.Series, table: pd.DataFrame) -> None:
    for column, style in (("chance", CHANCE_LINE), ("ceiling", CEILING_LINE)):
        if column in table:
            ax.plot(x, table[column], **style)


def named_rows(ax: Axes, names: pd.Series, counts: pd.Series) -> None:
    """Label the rows from the top down."""
    ax.set_yticks(range(len(names)), [f"{name}  (n = {n:,.0f})" for name, n in zip(names, counts, strict=True)])
    ax.set_ylim(len(names) - 0.4, -0.6)

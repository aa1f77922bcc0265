"""Dose-response experiments: how the face responds to a voice that is changed step by step."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from s2f.plots import style
from s2f.plots.style import CEILING_LINE, CEILING_MARK, CHANCE_LINE, LINES, MARKERS, PALETTE, QUIET, SHADE

VOICES = {"F": "women's voices", "M": "men's voices"}
# What is changed, and the unit of a slope on it.
AXES = {
    "pitch": "change of pitch / semitones",
    "tract": "change of vocal-tract length / %",
    "third": "third of the pitch within the sex (1: lowest)",
}
PER = {"pitch": "semitone", "tract": "% of length"}
# Responses of the face; shares are shown in percent.
RESPONSES = {
    "angle": "angle moved / degrees",
    "apparent_age": "age of the drawn face / years",
    "male": "P(male) of the drawn face",
    "flipped": "drawn with the other sex",
}
SHARES = ("male", "flipped")


def dose_curves(table: pd.DataFrame, response: str, sham: float | None = None) -> Figure:
    """One of `RESPONSES` by `dose`, from `probes.dose_curve`: one panel per `axis`, a line for women and one for men.

    Dotted lines show the expected response, where the table has a column `world`; a dashed one the mean of the `sham`.
    """
    panels = table.groupby("axis")
    fig, (row,) = style.axes(4.2 * len(panels) + 0.6, 4.1, ncols=len(panels), sharey=True)
    for ax, (axis, curves) in zip(row, panels, strict=True):
        for (sex, line), colour, marker, dashes in zip(curves.groupby("sex"), PALETTE, MARKERS, LINES, strict=False):
            voices = VOICES[sex]
            ax.fill_between(line["dose"], line["low"], line["high"], color=colour, **SHADE)
            label = f"{voices} (n = {style.speakers(line)}), 95 % interval"
            ax.plot(line["dose"], line["value"], dashes, marker=marker, color=colour, label=label)
            if "world" in line:
                expected = CEILING_LINE | {"color": colour, "label": f"{voices}: expected in the world"}
                ax.plot(line["dose"], line["world"], marker=marker, markersize=3.5, **expected)
        if sham is not None:
            ax.axhline(sham, **CHANCE_LINE | {"label": "sham: other sentences"})
        steps = curves["dose"].unique()
        ax.set_xticks(steps, [f"{step:+g}" if min(steps) < 0 else f"{step:g}" for step in steps])
        ax.set(xlabel=AXES[axis])
    row[0].set_ylabel(RESPONSES[response])
    if response in SHARES:
        style.percent(row[0].yaxis)
    style.legend(fig, row[:1], len(panels))
    return fig


def dose_slopes(table: pd.DataFrame) -> Figure:
    """Slope of each `response` beside the expected one, from `probes.dose_slopes`: one panel per `axis`.

    Responses are in the order of the expected slopes on the first axis.
    """
    panels = table.groupby("axis")
    first = panels.get_group(table["axis"].min())
    order = first.sort_values("world")["response"]
    y = np.arange(len(order))
    fig, (row,) = style.axes(3.6 * len(panels) + 2.2, 0.34 * len(order) + 1.7, ncols=len(panels), sharey=True)
    for ax, (axis, slopes) in zip(row, panels, strict=True):
        slopes = slopes.set_index("response").loc[order]
        ax.axvline(0, color=QUIET, linewidth=1)
        style.intervals(ax, slopes, y, label="drawn faces, 95 % interval")
        ax.plot(slopes["world"], y, **CEILING_MARK | {"markersize": 13, "label": "expected in the world"})
        ax.xaxis.set_major_locator(MaxNLocator(5))
        ax.set(xlabel=f"{axis}: SD of true faces per {PER[axis]}")
        ax.set(title=f"n = {style.speakers(slopes)} speakers")
    row[0].set_yticks(y, style.words(order))
    row[0].set_ylabel("measure")
    style.legend(fig, row, 2)
    return fig


def cross_maps(table: pd.DataFrame) -> Figure:
    """Mean P(male) by two doses changed together, `semitones` and `percent`: a panel for women and one for men."""
    panels = table.groupby("sex")
    fig, (row,) = style.axes(4.0 * len(panels) + 0.7, 3.8, ncols=len(panels))
    for ax, (sex, cells) in zip(row, panels, strict=True):
        wide = cells.pivot(index="percent", columns="semitones", values="value").iloc[::-1]  # the longest on top
        ticks = {"xticklabels": wide.columns.map("{:+g}".format), "yticklabels": wide.index.map("{:+g}".format)}
        bar = {"cbar": ax is row[-1], "cbar_kws": {"label": RESPONSES["male"]}}
        style.heatmap(ax, wide, vmin=0, vmax=1, fmt=".2f", **ticks, **bar)
        title = f"{VOICES[sex]} (n = {style.speakers(cells)} speakers)"
        ax.set(title=title, xlabel=AXES["pitch"], ylabel=AXES["tract"])
        ax.tick_params(rotation=0)
    return fig

"""Controls, from the tables of `s2f.fairness.interventions`."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from s2f.plots import style
from s2f.plots.style import CHANCE_LINE, MARKERS, OURS, PALETTE, QUIET

# Names on the axis of `painters`; the others are shares of the residual.
PAINTERS = {"from_face": "image\narm", "best_painter": "best\npainter", "best_sampler": "best\nsampler"}
VERDICTS = ("within the margin", "beyond the margin", "too few speakers to tell")
PANELS = 4  # in a row of `survival`


def differences(table: pd.DataFrame) -> Figure:
    """Gaps of both arms and their difference by group, from `voice_less_image`: one panel per attribute."""
    panels = list(table.groupby("read", sort=False))
    rows = len(panels[0][1])
    fig, (line,) = style.axes(3.4 * len(panels) + 1.6, 0.42 * rows + 1.9, ncols=len(panels), sharex=True, sharey=True)
    for ax, (name, part) in zip(line, panels, strict=True):
        y = np.arange(len(part))
        ax.plot(100 * part["image_gap"], y - 0.25, "^", color=QUIET, markersize=5, label="gap in the image arm")
        ax.plot(100 * part["voice_gap"], y + 0.25, "s", color=PALETTE[2], markersize=5, label="gap in the voice arm")
        style.intervals(ax, part, y, unit=100.0, label="voice less image, 95 % interval")
        ax.axvline(0, **CHANCE_LINE | {"label": "no difference"})
        style.rules(ax, part["attribute"])
        ax.set(xlabel="group less the rest / points", title=f"{name.replace('_', ' ')} read right")
    style.named_rows(line[0], part["group"], part["n_speakers"])
    line[0].set_ylabel("group (n speakers)")
    style.legend(fig, line, 4)
    return fig


def painters(painted: pd.DataFrame, accuracy: pd.DataFrame) -> Figure:
    """Share of each label drawn over its true share, and accuracy, by painter: a row of panels per attribute.

    From `painters`. The painters are those of `PAINTERS`, and "0%", "50%", ...: faces from voice with that share of a
    random residual.
    """
    attributes = list(accuracy.groupby("attribute", sort=False))
    order = attributes[0][1]["painter"]
    x, ticks = np.arange(len(order)), [PAINTERS.get(name, f"voice\n+ {name}") for name in order]
    fig, grid = style.axes(1.6 * len(order) + 4.0, 2.9 * len(attributes) + 0.6, nrows=len(attributes), ncols=2)
    for (left, right), (attribute, scores) in zip(grid, attributes, strict=True):
        labels = list(painted[painted["attribute"] == attribute].groupby("label"))
        shifts = np.linspace(-0.24, 0.24, len(labels))
        for (label, rows), shift, colour, marker in zip(labels, shifts, PALETTE, MARKERS, strict=False):
            look = {"fmt": marker, "color": colour, "markersize": 5, "vertical": True}
            look["label"] = f"{label}: {rows['true_share'].iloc[0]:.0%} (n = {style.speakers(rows)})"
            style.intervals(left, rows, x + shift, "ratio", **look)
        left.axhline(1, **CHANCE_LINE | {"label": "as often as true"})
        left.set(ylabel="painted share / true share", ylim=(0, None))
        title = f"{attribute.replace('_', ' ')}: true share (n speakers)"
        left.legend(title=title, loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")
        style.intervals(right, scores, x, vertical=True, label="95 % interval")
        right.axhline(scores["chance"].iloc[0], **CHANCE_LINE | {"label": "always the commonest"})
        right.set(ylabel=f"{attribute.replace('_', ' ')} read right", ylim=(0, 1.03))
        style.percent(right.yaxis)
        right.legend(loc="lower left", fontsize="small")
        for ax in (left, right):
            ax.set_xticks(x, ticks, fontsize="small")
    for ax in grid[-1]:
        ax.set_xlabel("painter (from voice: share of the residual)")
    return fig


def equivalence(table: pd.DataFrame) -> Figure:
    """AUC of each control with its 90 % interval, beside the margin, from `equivalence`."""
    fig, ((ax,),) = style.axes(7.4, 0.4 * len(table) + 1.9)
    margin = table["margin"].iloc[0]
    ax.axvspan(0.5 - margin, 0.5 + margin, color="0.88", label=f"margin: chance ± {margin:g}")
    ax.axvline(0.5, **CHANCE_LINE)
    verdict = np.select([table["equivalent"], table["beyond"]], VERDICTS[:2], VERDICTS[2])
    for name, marker, colour in zip(VERDICTS, MARKERS, (OURS, PALETTE[1], QUIET), strict=False):
        at = np.flatnonzero(verdict == name)
        style.intervals(ax, table.iloc[at], at, fmt=marker, color=colour, label=f"{name}, 90 % interval")
    style.named_rows(ax, table["control"].str.replace("_", " "), table["n_speakers"])
    ax.set(xlabel="AUC of a probe, within strata", ylabel="control (n speakers)")
    ax.set_xlim(min(0.3, table["low"].min() - 0.02), 1.02)
    fig.legend(loc="outside lower center", ncols=2)
    return fig


def survival(table: pd.DataFrame) -> Figure:
    """A share in each arm beside chance, from `what_survives`: one panel per `what`, one row per arm."""
    panels = list(table.groupby("what", sort=False))
    lines = -(-len(panels) // PANELS)
    fig, grid = style.axes(2.6 * PANELS + 0.8, 2.1 * lines + 0.8, nrows=lines, ncols=PANELS, sharey=True)
    for ax, (what, part) in zip(grid.flat, panels, strict=False):
        y = np.arange(len(part))
        style.intervals(ax, part, y, label="95 % interval")
        ax.axvline(part["chance"].iloc[0], **CHANCE_LINE)
        ax.set(xlabel=what.replace("_", " "), title=f"n = {style.speakers(part)} speakers")
        ax.set_xlim(min(0.4, part["low"].min() - 0.02), 1.02)
        style.percent(ax.xaxis)
    for ax in grid.flat[len(panels) :]:
        ax.remove()
    for ax in grid[:, 0]:
        ax.set_yticks(y, part["arm"])
        ax.set(ylabel="recording", ylim=(len(y) - 0.5, -0.5))
    style.legend(fig, grid[0, :1], 2)
    return fig

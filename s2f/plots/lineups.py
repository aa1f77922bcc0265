"""Line-up risk, from the tables of `s2f.fairness.lineup` and of `matching.matching`."""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from s2f.plots import style
from s2f.plots.protocols import listener_band
from s2f.plots.style import CEILING_MARK, CHANCE_LINE, MARKERS, PALETTE, QUIET


def innocents_above(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Innocents above the true speaker by pool size, both axes logarithmic, from `lineup.innocents_above`.

    One line per score; chance and ceiling of the first. The background is grey where values are extrapolated.
    """
    fig, ((ax,),) = style.axes(6.8, 4.4)
    first = next(iter(curves.values()))
    style.bands(ax, curves, "pool")
    style.references(ax, first["pool"], first)
    limits = first["pool"].min(), first["pool"].max()
    ax.axvspan(first.loc[first["exact"], "pool"].max(), limits[1], color="0.94", zorder=0, label="extrapolated")
    ax.axhline(1, color=QUIET, linewidth=0.8)
    title = f"n = {style.speakers(first)} speakers; bands: 95 % intervals"
    ax.set(xscale="log", yscale="log", xlabel="people in the pool, the true speaker among them", title=title)
    ax.set(xlim=limits, ylabel="expected innocents above the true speaker")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(lambda count, _: f"{count:,.12g}")
    ax.legend(loc="upper left")
    return fig


def match_rates(matched: Mapping[int, Mapping[str, pd.DataFrame]], ceiling: str, listeners: Iterable = ()) -> Figure:
    """How often the true face is chosen out of n, by who the others are: one panel per n.

    `matched`: for each n, the tables of `Comparison.matching` by score; the score `ceiling`, if any, is drawn as one.
    For n = 2, human `listeners` (`others`, `low`, `high`) are grey bands. Rows give the speakers of the largest n.
    """
    largest = next(iter(matched[max(matched)].values()))
    rows = largest["others"].tolist()
    fig, (line,) = style.axes(4.0 * len(matched) + 2.4, 0.5 * len(rows) + 1.9, ncols=len(matched), sharey=True)
    for ax, (n, tables) in zip(line, matched.items(), strict=True):
        ours = {name: table for name, table in tables.items() if name != ceiling}
        for step, (name, table) in enumerate(ours.items()):
            y = np.arange(len(rows)) + 0.24 * (step - (len(ours) - 1) / 2)
            look = {"fmt": MARKERS[step], "color": PALETTE[step], "label": f"{name}, 95 % interval"}
            style.intervals(ax, table, y, **look)
        if ceiling in tables:
            ax.plot(tables[ceiling]["value"], range(len(rows)), markersize=13, **CEILING_MARK)
        ax.axvline(1 / n, **CHANCE_LINE)
        for study in listeners if n == 2 else ():
            if study.others in rows:
                listener_band(ax, rows.index(study.others), study)
        ax.set(title=f"the true face and {n - 1} other{'s' * (n > 2)}", xlabel="true face chosen", xlim=(0, 1))
        style.percent(ax.xaxis)
    style.named_rows(line[0], largest["others"].str.replace("_", " "), largest["n_speakers"])
    line[0].set_ylabel("who the others are (n speakers)")
    style.legend(fig, line)
    return fig


def top_matches(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """How often the first match differs from the true speaker in an attribute, from `lineup.top_matches`."""
    table = pd.concat(tables, names=["attribute"]).reset_index("attribute")
    table = table[table["value"].notna()].reset_index(drop=True)
    fig, ((ax,),) = style.axes(7.2, 0.36 * len(table) + 1.7)
    y = np.arange(len(table))
    style.intervals(ax, table, y, label="first match, 95 % interval")
    ax.plot(table["chance"], y, "D", color=QUIET, markerfacecolor="none", label="a random person of the gallery")
    if table["ceiling"].notna().any():
        ax.plot(table["ceiling"], y, markersize=13, **CEILING_MARK)
    style.rules(ax, table["attribute"])
    named = table["attribute"].str.replace("_", " ") + ": " + table["group"]
    style.named_rows(ax, named, table["n_speakers"])
    ax.set(xlabel="first match differs from the true speaker in this attribute", xlim=(-0.02, 1.02))
    ax.set_ylabel("true speaker (n speakers)")
    style.percent(ax.xaxis)
    fig.legend(loc="outside lower center", ncols=3)
    return fig


def calibration(table: pd.DataFrame, members: int) -> Figure:
    """Share of right choices by confidence in line-ups of `members`, from `lineup.calibration`."""
    fig, ((ax,),) = style.axes(5.6, 4.6)
    names = {"always": "speaker always in the line-up", "half": "speaker in half of the line-ups"}
    for (name, label), colour, marker in zip(names.items(), PALETTE, MARKERS, strict=False):
        rows = table[table["speaker_there"] == name]
        look = {"fmt": f"{marker}-", "color": colour, "label": f"{label}, 95 % interval"}
        style.intervals(ax, rows, rows["confident"], vertical=True, **look)
    ax.plot([0, 1], [0, 1], color="black", linewidth=0.8, label="as sure as right")
    ax.axhline(1 / members, **CHANCE_LINE)
    ax.set(xlabel="confidence in the face that is chosen", ylabel="choices that are right", xlim=(0, 1), ylim=(0, 1))
    ax.set_title(f"n = {style.speakers(table)} speakers a point")
    style.percent(ax.xaxis, ax.yaxis)
    fig.legend(loc="outside lower center", ncols=2, fontsize="small")
    return fig

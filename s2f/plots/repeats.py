"""Repeated recordings of a speaker: segments, languages and several clips, from `s2f.metrics.consistency`."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from matplotlib.figure import Figure

from s2f.plots import pictures, style
from s2f.plots.style import CEILING_MARK, LINES, MARKERS, PALETTE, QUIET

# What the rows of `consistency.by_language` are called in a legend.
KINDS = {"other_group": "language of another group", "own_group": "another language of the own group"}


def angle_distributions(angles: Mapping[str, np.ndarray], n_speakers: int) -> Figure:
    """Fig. 10: angles between segments, from `consistency.segment_angles`: one step line per kind of pair."""
    fig, ((ax,),) = style.axes(6.8, 3.6)
    bins = np.linspace(0, max(values.max() for values in angles.values()), 60)
    for (name, values), colour, dashes in zip(angles.items(), PALETTE, LINES, strict=False):
        shares = np.histogram(values, bins)[0] / len(values)
        label = f"{name.replace('_', ' ')}  (mean {values.mean():.0f}°)"
        ax.stairs(shares, bins, color=colour, linestyle=dashes, linewidth=1.6, label=label)
    title = f"n = {n_speakers:,} speakers, {len(next(iter(angles.values()))):,} segments"
    ax.set(xlabel="mean angle to other segments / degrees", ylabel="share of segments", title=title)
    style.percent(ax.yaxis)
    ax.legend()
    return fig


def language_shifts(table: pd.DataFrame) -> Figure:
    """Fig. 11: shift of the same speakers' faces with each language, from `consistency.by_language`."""
    fig, ((ax,),) = style.axes(7.2, 0.4 * len(table) + 2.0)
    for (kind, rows), colour, marker in zip(table.groupby("kind", sort=False), PALETTE, MARKERS, strict=False):
        look = {"fmt": marker, "color": colour, "label": f"{KINDS[kind]}, 95 % interval"}
        style.intervals(ax, rows, table.index.get_indexer(rows.index), **look)
    expected = CEILING_MARK | {"markersize": 15, "label": "a listener who goes by language alone"}
    ax.plot(table["expected"], range(len(table)), **expected)
    for place in (0, 1):
        ax.axvline(place, color=QUIET, linestyle="--", linewidth=1.2)
    style.named_rows(ax, table["language"], table["n_speakers"])
    ax.set(xlabel="shift of the face: 0 stays, 1 from the own group's mean face to the other's")
    ax.set(ylabel="language (n speakers)")
    fig.legend(loc="outside lower center", ncols=1)
    return fig


def strips(
    about: pd.DataFrame,
    names: Sequence[str],
    images: UInt8[np.ndarray, "faces height width 3"],
    true: Mapping[str, UInt8[np.ndarray, "height width 3"]],
) -> Figure:
    """Figs. 10 and 11: a column a speaker, the true face above, and below the first face of each name.

    `about` tells speaker_id, sex, age and group of each face; `true` holds the true face of each speaker_id. Every
    speaker must have every name.
    """
    number, speakers = pd.Series(range(len(about))), about["speaker_id"].to_numpy()
    first = number.groupby([np.asarray(names), speakers], sort=False).first().unstack(sort=False)
    rows = {"true face": np.stack([true[speaker] for speaker in first.columns])}
    rows |= {name: images[faces] for name, faces in first.iterrows()}
    people = about.iloc[first.iloc[0]]
    return pictures.gallery(rows, pictures.captions(people, "sex", "age", "group"))


def fusion_curve(table: pd.DataFrame, ylabel: str) -> Figure:
    """A score by number of `clips`, and its `gain` over a single clip, from `consistency.fused_recall`.

    Left the first rule with chance and ceiling, right the paired gain of every rule.
    """
    fig, ((left, right),) = style.axes(9.6, 3.8, ncols=2)
    first = table[table["rule"] == table["rule"].iloc[0]]
    style.bands(left, {f"{first['rule'].iloc[0]}, 95 % interval": first}, "clips")
    style.references(left, first["clips"], first)
    left.set(ylabel=ylabel, title=f"n = {style.speakers(first)} speakers", ylim=(0, 1))
    left.legend(loc="lower right", bbox_to_anchor=(1, 0.12))
    for step, (rule, rows) in enumerate(table.groupby("rule", sort=False)):
        beside = rows["clips"] * 1.06**step  # or the intervals would hide each other
        look = {"fmt": MARKERS[step], "color": PALETTE[step], "label": rule}
        style.intervals(right, rows, beside, "gain", vertical=True, **look)
    right.axhline(0, color=QUIET, linestyle="--", linewidth=1.2)
    right.set(ylabel="gain from a single clip", title="paired, 95 % intervals")
    right.legend(loc="upper left")
    for ax in (left, right):
        ax.set_xscale("log")
        ax.set_xticks(first["clips"], [f"{count:g}" for count in first["clips"]])
        ax.minorticks_off()
        ax.set_xlabel("clips of the speaker, each of another day")
        style.percent(ax.yaxis)
    return fig

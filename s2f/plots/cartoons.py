"""Avatars (Fig. 13 of the paper)."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from matplotlib.figure import Figure

from s2f.plots import pictures, style
from s2f.plots.style import CHANCE_LINE


def avatars(
    rows: Mapping[str, UInt8[np.ndarray, "people height width 3"]], captions: Sequence[str], credit: str
) -> Figure:
    """Faces and avatars in a `pictures.gallery`, with the `credit` that the licence of the avatars' style asks for."""
    fig = pictures.gallery(rows, captions)
    for ax in fig.axes:
        ax.images[0].set_interpolation("auto")  # smooth where an avatar is made smaller
    fig.supxlabel(credit, fontsize=6, color=style.QUIET, wrap=True)
    return fig


def agreement(table: pd.DataFrame) -> Figure:
    """Share of clips whose two avatars agree, one row per option, from `avatars.agreement`."""
    fig, ((ax,),) = style.axes(7.2, 0.5 * len(table) + 1.4)
    y = np.arange(len(table))
    style.intervals(ax, table, y, label="ours, 95 % interval")
    for column, dashes, colour in (("chance", "--", CHANCE_LINE["color"]), ("ceiling", ":", "black")):
        ax.vlines(table[column], y - 0.3, y + 0.3, colour, dashes, linewidth=1.8, label=column)
    style.named_rows(ax, table.index.to_series(), table["n_speakers"])
    ax.set(xlabel="clips whose avatars from voice and from true face agree", ylabel="option (n speakers)", xlim=(0, 1))
    style.percent(ax.xaxis)
    fig.legend(loc="outside lower center", ncols=3)
    return fig

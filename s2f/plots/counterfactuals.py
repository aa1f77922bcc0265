"""Which traits of the predicted face follow a change of a real voice, and how far it moves."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from s2f.plots import style
from s2f.plots.style import MARKERS, PALETTE, QUIET


def trait_shifts(systems: Mapping[str, pd.DataFrame], pairs: Mapping[str, tuple[str, str]]) -> Figure:
    """Mean change of each `trait` by copy: a row of panels for each system, a panel for each pair of opposite changes.

    `systems` are tables of `published.counterfactuals.trait_shifts` for one group of people; `pairs` names two copies.
    """
    first = next(iter(systems.values()))
    traits = list(first["trait"].unique())
    fig, grid = style.axes(
        3.0 * len(pairs) + 2.2,
        (0.34 * len(traits) + 0.8) * len(systems) + 0.6,
        nrows=len(systems),
        ncols=len(pairs),
        sharex=True,
        sharey=True,
    )
    for line, (system, table) in zip(grid, systems.items(), strict=True):
        for ax, (title, copies) in zip(line, pairs.items(), strict=True):
            ax.axvline(0, color=QUIET, linewidth=1)
            for copy, shift, colour, marker in zip(copies, (-0.13, 0.13), PALETTE, MARKERS, strict=False):
                part = table[table["copy"] == copy].set_index("trait").loc[traits]
                look = {"fmt": marker, "color": colour, "label": f"{('up', 'down')[shift > 0]}, 95 % interval"}
                style.intervals(ax, part, np.arange(len(traits)) + shift, **look)
            ax.set(title=title if ax is not line[0] else f"{system} (n = {style.speakers(table)})\n{title}")
        line[0].set_yticks(range(len(traits)), style.words(pd.Series(traits).replace({"ita": "skin tone (ITA)"})))
        line[0].set_ylim(len(traits) - 0.5, -0.5)
    for ax in grid[-1]:
        ax.set(xlabel="change / SD of faces")
    style.legend(fig, grid[0], 2)
    return fig


def moved(systems: Mapping[str, pd.DataFrame]) -> Figure:
    """Mean angle between two predictions, by `compared`: a row each with its people, a mark for each system."""
    first = next(iter(systems.values())).reset_index(drop=True)
    fig, ((ax,),) = style.axes(7.6, 0.38 * len(first) + 1.6)
    shifts = np.linspace(-0.13, 0.13, len(systems)) if len(systems) > 1 else [0.0]
    for (system, table), shift, colour, marker in zip(systems.items(), shifts, PALETTE, MARKERS, strict=False):
        look = {"fmt": marker, "color": colour, "label": f"{system}, 95 % interval"}
        style.intervals(ax, table, np.arange(len(first)) + shift, **look)
    style.named_rows(ax, first["compared"], first["n_speakers"])
    ax.set(xlabel="mean angle between the predictions / degrees", xlim=(0, None))
    fig.legend(loc="outside lower center", ncols=2)
    return fig

"""Errors that a model made, beside those that it expected."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from s2f.plots import style
from s2f.plots.style import OURS, QUIET

BINS = 8


def expected(copies: pd.DataFrame, yardstick: Mapping[str, float]) -> Figure:
    """Angle to the clean recording by the error that was expected: each copy, and median and 90th percentile of bins.

    Args:
        copies: columns `angle`, `expected`, `expected_90` (degrees), a row a copy.
        yardstick: `same_speaker`, the median angle between two recordings of one speaker (degrees).
    """
    fig, ((ax,),) = style.axes(6.4, 4.2)
    ax.plot(copies["expected"], copies["angle"], ".", color="0.8", markersize=4, label="one recording")
    order = np.array_split(np.argsort(copies["expected"].to_numpy(), kind="stable"), BINS)
    x = [copies["expected"].iloc[rows].median() for rows in order]
    for quantile, line, label in ((0.5, "-", "median"), (0.9, "--", "90th percentile")):
        y = [copies["angle"].iloc[rows].quantile(quantile) for rows in order]
        ax.plot(x, y, line, marker="o", color=OURS, label=f"{label} of an eighth of them")
    ax.axline((0, 0), slope=1, color=QUIET, linewidth=1, label="as expected (median)")
    ax.axhline(yardstick["same_speaker"], color="black", linestyle=":", label="another recording of the speaker")
    ax.set(xlabel="expected error / degrees", ylabel="angle to the clean recording / degrees")
    ax.set_ylim(0, copies["angle"].quantile(0.99))
    ax.set_xlim(0, copies["expected"].max() * 1.05)
    ax.set_title(f"n = {copies['speaker_id'].nunique()} speakers, {len(copies):,} degraded recordings")
    ax.legend()
    return fig

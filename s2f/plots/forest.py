"""Figures of the bias audit: a metric by group, beside what luck alone would do."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from s2f.plots import style
from s2f.plots.style import OURS, QUIET

# The audit's `mdd80` is 1.96 + 0.84 standard errors; luck alone stays within 1.96 of them in 95 of 100 cases.
LUCK = 1.96 / 2.80


def group_forest(table: pd.DataFrame, xlabel: str) -> Figure:
    """One metric by group, from `audit.disaggregate`; groups too small to have numbers are left out.

    The band of a group is where it falls in 95 of 100 cases if it is no different from the rest.
    """
    overall = table.loc[table["group"] == "overall", "estimate"].item()
    table = table[table["difference"].notna()].reset_index(drop=True)
    fig, ((ax,),) = style.axes(7.2, 0.38 * len(table) + 1.6)
    y = np.arange(len(table))
    rest, luck = table["estimate"] - table["difference"], LUCK * table["mdd80"]
    ax.barh(y, 2 * luck, left=rest - luck, height=0.8, color="0.88", label="range by luck, if no different")
    whiskers = style.whiskers(table["estimate"], table["ci_lo"], table["ci_hi"])
    ax.errorbar(table["estimate"], y, xerr=whiskers, fmt="o", color=OURS, label="group, 95 % interval")
    ax.axvline(overall, color=QUIET, linestyle="--", linewidth=1.2, label="all speakers")
    for edge in np.flatnonzero(table["attribute"].ne(table["attribute"].shift()))[1:]:
        ax.axhline(edge - 0.5, color="0.75", linewidth=0.8)  # between two attributes
    style.named_rows(ax, table["group"], table["n_speakers"])
    ax.set(xlabel=xlabel, ylabel="group (n speakers)")
    fig.legend(loc="outside lower center", ncols=3)
    return fig

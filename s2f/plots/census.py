"""The data card: the people of a corpus."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from s2f.plots import style
from s2f.plots.style import LINES, PALETTE


def people_overview(people: pd.DataFrame) -> Figure:
    """Age, pitch and vocal-tract length of the speakers by sex, and languages by group."""
    fig, axes = style.axes(9.6, 6.4, nrows=2, ncols=2)
    quantities = {"age": "age / years", "f0_hz": "mean pitch F0 / Hz", "vtl_cm": "vocal-tract length / cm"}
    for ax, (column, label) in zip(axes.flat, quantities.items(), strict=False):
        bins = np.histogram_bin_edges(people[column], 24)
        for (sex, values), colour, line in zip(people.groupby("sex")[column], PALETTE, LINES, strict=False):
            look = {"color": colour, "linestyle": line, "label": f"{sex}  (n = {len(values):,} speakers)"}
            sns.histplot(x=values, ax=ax, bins=bins, element="step", alpha=0.25, **look)
        ax.set(xlabel=label, ylabel="speakers")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    spoken = pd.crosstab(people["group"], people["language"])
    ax = axes[1, 1]
    style.heatmap(ax, spoken, fmt="d", cbar_kws={"label": "speakers"})
    ax.set(xlabel="language", ylabel="group")
    ax.tick_params(rotation=0, labelsize="small")
    return fig

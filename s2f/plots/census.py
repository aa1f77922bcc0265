"""The data card: who lives in a corpus."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from s2f.plots import style
from s2f.plots.style import LINES, PALETTE


def people_overview(people: pd.DataFrame) -> Figure:
    """The data card: age, pitch and vocal-tract length by sex, and who speaks which language."""
    fig, axes = style.axes(9.6, 6.4, nrows=2, ncols=2)
    quantities = {"age": "age / years", "f0_hz": "mean pitch F0 / Hz", "vtl_cm": "vocal-tract length / cm"}
    for ax, (column, label) in zip(axes.flat, quantities.items(), strict=False):
        bins = np.histogram_bin_edges(people[column], 24)
        for (sex, values), colour, line in zip(people.groupby("sex")[column], PALETTE, LINES, strict=False):
            sns.histplot(
                x=values,
                ax=ax,
                bins=bins,
                element="step",
                color=colour,
                alpha=0.25,
                linestyle=line,
                label=f"{sex}  (n = {len(values):,} speakers)",
            )
        ax.set(xlabel=label, ylabel="speakers")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    spoken = pd.crosstab(people["group"], people["language"])
    ax = axes[1, 1]
    sns.heatmap(
        spoken,
        ax=ax,
        cmap="cividis",
        annot=True,
        fmt="d",
        annot_kws={"fontsize": "small"},
        linewidths=1,
        cbar_kws={"label": "speakers"},
    )
    ax.set(xlabel="language", ylabel="group")
    ax.tick_params(rotation=0, labelsize="small")
    return fig

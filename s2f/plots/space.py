"""Figures of the feature space (Fig. 14 of the paper)."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.figure import Figure

from s2f.plots import style
from s2f.plots.style import MARKERS, PALETTE


def scatter_projection(points: Float[np.ndarray, "n 2"], labels: Sequence[str], method: str) -> Figure:
    """Coordinates of a projection (`method`: PCA, t-SNE, UMAP) by label; they have no unit."""
    names = pd.Categorical(labels)
    fig, ((ax,),) = style.axes(6.0, 4.6)
    for code, name in enumerate(names.categories):
        mine = points[names.codes == code]
        look = {
            "color": PALETTE[code % len(PALETTE)],
            "marker": MARKERS[code // len(PALETTE) % len(MARKERS)],
        }
        ax.scatter(*mine.T, s=12, alpha=0.7, linewidth=0, label=f"{name}  (n = {len(mine):,})", **look)
    ax.set(xlabel=f"{method} 1", ylabel=f"{method} 2", xticks=[], yticks=[])
    fig.legend(loc="outside right upper", markerscale=2)
    return fig

"""What goes in and what comes out: spectrograms and faces."""

from collections.abc import Mapping, Sequence

import numpy as np
import seaborn as sns
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure

from s2f.plots import style


def gallery(
    rows: Mapping[str, UInt8[np.ndarray, "people height width 3"]], captions: Sequence[str]
) -> Figure:
    """Faces: one row each kind (true, from face, from voice), one column a person."""
    fig, axes = style.axes(1.25 * len(captions) + 1.0, 1.3 * len(rows) + 0.5, nrows=len(rows), ncols=len(captions))
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for ax, image in zip(line, images, strict=True):
            ax.imshow(image, interpolation="nearest")
            ax.set(xticks=[], yticks=[])
            sns.despine(ax=ax, left=True, bottom=True)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for ax, caption in zip(axes[0], captions, strict=True):
        ax.set_title(caption, fontsize="small", loc="center")
    return fig


def spectrogram(
    spectrum: Float[np.ndarray, "2 frames bins"], frame_seconds: float = 0.01, top_hz: float = 8000
) -> Figure:
    """What the voice encoder gets: length of the compressed (real, imaginary), over time and frequency."""
    fig, ((ax,),) = style.axes(7.2, 3.2)
    seconds = spectrum.shape[1] * frame_seconds
    shown = ax.imshow(
        np.hypot(*spectrum).T,
        origin="lower",
        aspect="auto",
        extent=(0, seconds, 0, top_hz / 1000),
        cmap="magma",
    )
    fig.colorbar(shown, label="compressed magnitude")
    ax.set(xlabel="time / s", ylabel="frequency / kHz")
    return fig

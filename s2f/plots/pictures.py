"""Pictures: spectrograms and faces."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from s2f.plots import style

FRAME = {"visible": True, "color": style.PAPER, "linewidth": 3.5}


def gallery(rows: Mapping[str, UInt8[np.ndarray, "people height width 3"]], captions: Sequence[str]) -> Figure:
    """Faces: one row per kind (true, from face, from voice), one column per person."""
    fig, axes = style.axes(1.25 * len(captions) + 1.0, 1.3 * len(rows) + 0.5, nrows=len(rows), ncols=len(captions))
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for ax, image in zip(line, images, strict=True):
            _show(ax, image)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for ax, caption in zip(axes[0], captions, strict=True):
        ax.set_title(caption, fontsize="small", loc="center")
    return fig


def captions(people: pd.DataFrame, *labels: str, between: str = ", ") -> list[str]:
    """What is known of each person (row), such as "M, 34, G1"; labels without a value are left out."""
    return [
        between.join(f"{value:.0f}" if isinstance(value, float) else value for value in person if not pd.isna(value))
        for person in people[list(labels)].itertuples(index=False)
    ]


def retrieved(
    drawn: UInt8[np.ndarray, "queries height width 3"],
    gallery: UInt8[np.ndarray, "people height width 3"],
    own: Int[np.ndarray, "queries"],
    found: Int[np.ndarray, "queries first"],
    captions: Sequence[str],
) -> Figure:
    """Fig. 7: one row per query, with the face drawn from the voice, the true one, and the first found in the gallery.

    `own` and `found` are rows of the gallery; the true face is framed where it is found; each row has a caption.
    """
    pictures = np.concatenate([drawn[:, None], gallery[own, None], gallery[found]], axis=1)
    names = ["from voice", "true face", *(f"found {place}" for place in range(1, found.shape[1] + 1))]
    widths = [1, 1, 0.25, *[1] * found.shape[1]]  # with a gap between query and results
    size = 1.15 * sum(widths) + 1.6, 1.2 * len(pictures) + 0.4
    fig, axes = style.axes(*size, nrows=len(pictures), ncols=len(widths), width_ratios=widths)
    for ax in axes[:, 2]:
        ax.set_axis_off()
    axes = np.delete(axes, 2, axis=1)
    for line, images, caption in zip(axes, pictures, captions, strict=True):
        for ax, image in zip(line, images, strict=True):
            _show(ax, image)
        line[0].set_ylabel(caption, rotation=0, ha="right", va="center")
    for ax in axes[:, 2:][found == own[:, None]]:
        ax.spines[:].set(**FRAME)
    for ax, name in zip(axes[0], names, strict=True):
        ax.set_title(name, fontsize="small", loc="center")
    return fig


def _show(ax: Axes, image: UInt8[np.ndarray, "height width 3"]) -> None:
    """A picture without axes."""
    ax.imshow(image, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def spectrogram(
    spectrum: Float[np.ndarray, "2 frames bins"], frame_seconds: float = 0.01, top_hz: float = 8000
) -> Figure:
    """The voice encoder's input: magnitude of the compressed spectrum over time and frequency."""
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

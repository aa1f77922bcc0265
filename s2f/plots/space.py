"""The embedding space: projections (Fig. 14 of the paper), exaggerated faces, failures (Fig. 12)."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from s2f.plots import pictures, style
from s2f.plots.style import MARKERS, OURS, PALETTE, PAPER_MARK, QUIET, SHADE


def feature_map(
    points: Float[np.ndarray, "n 2"], trustworthiness: float, method: str, sides: Sequence[str], labels: pd.DataFrame
) -> Figure:
    """One projection of all embeddings: a row of panels for each of the `sides`, a column for each of the `labels`.

    Each label has its own colour and mark; the other sides are in grey. Coordinates have no unit.
    """
    sides = np.asarray(sides)
    rows = pd.unique(sides)
    fig, axes = style.axes(3.0 * labels.shape[1], 3.0 * len(rows) + 1.0, nrows=len(rows), ncols=labels.shape[1])
    for line, side in zip(axes, rows, strict=True):
        here = sides == side
        for ax, name in zip(line, labels, strict=True):
            ax.scatter(*points[~here].T, s=5, color="0.85", linewidth=0)
            values = pd.Categorical(labels[name])
            for code, value in enumerate(values.categories):
                mine = here & (values.codes == code)
                turn = code // len(PALETTE)  # after as many labels a colour returns, with another mark
                look = {"color": PALETTE[code % len(PALETTE)], "marker": MARKERS[(code + turn) % len(MARKERS)]}
                ax.scatter(*points[mine].T, s=13, alpha=0.8, linewidth=0, label=f"{value} (n = {mine.sum():,})", **look)
            title = f"{side}, by {name.replace('_', ' ')}"
            ax.set(xlabel=f"{method} 1", ylabel=f"{method} 2", xticks=[], yticks=[], title=title)
    for ax in axes[-1]:
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2, markerscale=1.5, fontsize="small")
    note = f"{method} of n = {len(points):,} features, trustworthiness {trustworthiness:.3f}; in grey the other row"
    fig.suptitle(note, fontsize="medium")
    return fig


def exaggeration_curves(
    table: pd.DataFrame, strengths: Mapping[str, float], names: Sequence[str], paper: Mapping[str, float]
) -> Figure:
    """Effect of exaggeration k on the variance of faces, and on accuracy and certainty of predicted attributes.

    Args:
        table: of `feature_space.appearance`.
        strengths: k of each arm to be shown.
        names: the attributes.
        paper: the paper's ratio of standard deviations by arm, where it reports one.
    """
    fig, (panels,) = style.axes(3.1 * (1 + len(names)), 3.6, ncols=1 + len(names))
    ks = list(strengths.values())

    def draw(ax: Axes, measure: str, **look) -> None:
        rows = table.xs(measure, level="measure").loc[list(strengths)]
        ax.fill_between(ks, rows["low"], rows["high"], color=look["color"], **SHADE)
        ax.plot(ks, rows["value"], **look)

    draw(panels[0], "pixel_sd_ratio", color=OURS, marker="o", label="ours")
    printed = {k: paper[arm] for arm, k in strengths.items() if arm in paper}
    panels[0].plot(list(printed), list(printed.values()), **PAPER_MARK)
    panels[0].axhline(1, color=QUIET, linestyle="--", linewidth=1.2, label="from photographs")
    panels[0].set(ylabel="standard deviation, ratio", title="how much faces differ", ylim=(0, None))
    for ax, name in zip(panels[1:], names, strict=True):
        draw(ax, f"{name}_accuracy", color=OURS, marker="o", label="accuracy")
        draw(ax, f"{name}_certainty", color=PALETTE[1], marker="s", linestyle="--", label="certainty")
        title = f"{name.replace('_', ' ')} read off the face"
        ax.set(ylabel="share right, mean probability", title=title, ylim=(0, 1.05))
    for ax in panels:
        ax.set(xlabel="exaggeration k", xticks=ks)
        ax.legend(loc="lower right", fontsize="small")
    fig.suptitle(f"n = {style.speakers(table)} speakers; bands: 95 % intervals", fontsize="medium")
    return fig


def captions(about: pd.DataFrame, read: pd.DataFrame) -> list[str]:
    """For each face what is known of the person, and below it what was read off the face (`feature_space.readings`).

    A star marks another group's language, where `about` has the column `mismatched`.
    """
    stars = np.where(about["mismatched"], "*", "") if "mismatched" in about else np.full(len(about), "")
    known = pictures.captions(about, "sex", "age", "group", "language", between=" ")
    labels = [label for label in ("sex", "age", "group") if label in read]
    if not labels:
        return known
    seen = pictures.captions(read, *labels, between=" ")
    return [f"{person}{star}\nread: {face}" for person, star, face in zip(known, stars, seen, strict=True)]


def failure_gallery(
    arms: Mapping[str, UInt8[np.ndarray, "clips size size 3"]],
    captions: Sequence[str],
    kinds: Mapping[str, Int[np.ndarray, "_"]],
) -> Figure:
    """Failures by kind, two kinds side by side: for the clips (rows of `arms`) of each, the faces of all arms."""
    across = max(1, *(len(rows) for rows in kinds.values()))
    down = -(-len(kinds) // 2)
    fig = Figure(figsize=(2 * (1.1 * across + 1.0), down * (1.1 * len(arms) + 0.8)), layout="constrained")
    parts = fig.subfigures(down, 2, squeeze=False).flat
    for part, (kind, rows) in zip(parts, kinds.items(), strict=False):
        part.suptitle(kind, fontsize="medium")
        grid = part.subplots(len(arms), across, squeeze=False)
        for line, (arm, faces) in zip(grid, arms.items(), strict=True):
            line[0].set_ylabel(arm, rotation=0, ha="right", va="center", fontsize="small")
            for ax in line:
                ax.set(xticks=[], yticks=[])
                sns.despine(ax=ax, left=True, bottom=True)
            for ax, row in zip(line, rows, strict=False):
                ax.imshow(faces[row], interpolation="nearest")
        for ax, row in zip(grid[0], rows, strict=False):
            ax.set_title(captions[row], fontsize="x-small", loc="center")
    return fig

"""What batches hold: rows, crops and variations that follow from the seed and the step alone."""

import math
from functools import lru_cache

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float32, Int16, Int64, UInt8
from torch import Tensor

from s2f.data.shards import Shards
from s2f.study.paths import UserError

SHIFT = 2  # px by which a photograph is moved at most


def rows_of(
    step: int, batch: int, n: int, seed: int, chances: Float[np.ndarray, "n"] | None = None
) -> Int64[np.ndarray, "rows"]:
    """Rows of the batch of `step`: each epoch permutes `n` rows anew and drops an incomplete batch.

    With `chances`, which need not sum to one, rows are drawn with replacement instead, each as often as its own says.
    """
    batch = min(batch, n)
    if chances is not None:
        return np.random.default_rng([seed, 2, step]).choice(n, batch, p=chances / chances.sum())
    epoch, position = divmod(step, n // batch)
    return _permutation(n, seed, epoch)[position * batch : (position + 1) * batch]


@lru_cache(maxsize=1)
def _permutation(n: int, seed: int, epoch: int) -> Int64[np.ndarray, "n"]:
    return np.random.default_rng([seed, 0, epoch]).permutation(n)


def balanced(labels: pd.Series) -> pd.Series:
    """Chances under which each label is drawn as often as any other, whatever its number of rows.

    `labels`: one a clip, by clip_id. Rows of one label are drawn alike: where a speaker has more clips than others, he
    or she is heard more often. UserError if a label is missing, because such a clip would never be drawn.
    """
    if labels.isna().any():
        raise UserError(f"{labels.index[labels.isna()][0]} has no label to balance by: fill it in or leave it out.")
    return 1 / labels.groupby(labels).transform("size")


def cropped(
    shards: Shards, clips: pd.DataFrame, samples: int, draw: np.random.Generator
) -> Int16[np.ndarray, "clips samples"]:
    """`samples` of each clip from a random place on; a clip that is too short is repeated."""
    spare = (clips["audio_samples"].to_numpy() - samples).clip(min=0)
    return shards.gather(clips, samples, draw.integers(0, spare, endpoint=True))


def shifted(
    photos: UInt8[np.ndarray, "all height width 3"],
    rows: Int64[np.ndarray, "rows"],
    draw: np.random.Generator,
) -> UInt8[np.ndarray, "rows height width 3"]:
    """The photographs `rows`, each moved by up to `SHIFT` px; the pixels at its edge are repeated."""
    _, height, width, _ = photos.shape
    down, right = draw.integers(-SHIFT, SHIFT, (2, len(rows), 1), endpoint=True)
    y = (np.arange(height) + down).clip(0, height - 1)
    x = (np.arange(width) + right).clip(0, width - 1)
    return photos[rows[:, None, None], y[:, :, None], x[:, None, :]]


def as_images(photos: UInt8[Tensor, "batch height width 3"]) -> Float32[Tensor, "batch 3 height width"]:
    """Photographs as the face encoder takes them: channels first, in [0, 1]."""
    return photos.permute(0, 3, 1, 2).float() / 255


def tensors(*arrays: np.ndarray) -> tuple[Tensor, ...]:
    """The arrays as tensors on the same memory."""
    return tuple(torch.from_numpy(array) for array in arrays)


def chunks(n: int, batch: int) -> list[Int64[np.ndarray, "rows"]]:
    """Rows 0 to n - 1 in parts of at most `batch`, of one size as nearly as can be."""
    return np.array_split(np.arange(n), math.ceil(n / batch))

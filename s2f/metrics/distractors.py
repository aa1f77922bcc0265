"""Features of people who do not exist, to fill a gallery that nobody could photograph or render."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int64

from s2f.metrics import bootstrap
from s2f.metrics.bootstrap import Estimate, Resampling
from s2f.study.paths import UserError

BLOCK = 16_384  # rows made at once


class Crowd(NamedTuple):
    """Modelled people, a row each."""

    features: Float32[np.ndarray, "n dim"]
    like: Int64[np.ndarray, "n"]  # the real person near whom each was drawn, whose sex and group it shares


def distractors(features: Float[np.ndarray, "people dim"], n: int, seed: int, bandwidth: float = 0.3) -> Crowd:
    """`n` people whose features are distributed like those of real people, of whom `features` has a row each.

    A smoothed bootstrap (Silverman & Young 1987): a random person, drawn towards the mean, plus Gaussian noise with the
    covariance of all, in proportions that keep mean and covariance. `bandwidth` is the share of the noise in the
    standard deviation: 0 repeats the people; 1 is a Gaussian, which is smoother than people are (two sexes, groups).

    What then rests on the model: a rank among the distractors for which fewer than one in `len(features)` people beat
    the true face is extrapolated. Leave out everybody whose rank is asked, or their lookalikes fill the gallery.
    """
    if len(features) < 2:
        raise UserError(f"Distractors are modelled on {len(features)} people: pass the features of two or more.")
    if not 0 <= bandwidth <= 1:
        raise UserError(f"The bandwidth of distractors is {bandwidth:g}: give 0 (real people) to 1 (a Gaussian).")
    rng = np.random.default_rng(seed)
    mean = features.mean(axis=0, dtype=float)
    centred = (features - mean).astype(np.float32)
    _, spread, directions = np.linalg.svd(centred, full_matrices=False)
    noise = np.float32(bandwidth / np.sqrt(len(features) - 1)) * spread[:, None] * directions
    near = np.float32(np.sqrt(1 - bandwidth**2)) * centred + mean.astype(np.float32)
    like, made = rng.integers(0, len(features), n), np.empty((n, features.shape[1]), np.float32)
    for start in range(0, n, BLOCK):
        rows = slice(start, start + BLOCK)
        made[rows] = near[like[rows]] + rng.standard_normal((len(like[rows]), len(noise)), np.float32) @ noise
    return Crowd(made, like)


def excess(
    scores: Float[np.ndarray, "people people"], modelled: Float[np.ndarray, "people"], resampling: Resampling
) -> Estimate:
    """Share of the real others whom a true face beats, less its share of a crowd (`modelled`): 0 if the model is right.

    `scores` has a voice of each person in a row and their faces in the columns; ties count half. The real others are a
    sample as well, so both people of a pair are resampled.
    """
    own = np.diagonal(scores)[:, None]
    others = 1 - np.eye(len(scores))
    beaten = (scores < own) + (scores == own) / 2
    return bootstrap.crossed(others * (beaten - modelled[:, None]), others, len(scores), resampling)

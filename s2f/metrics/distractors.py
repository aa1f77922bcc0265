"""Distractors: embeddings of modelled people, for galleries larger than anybody could photograph or render."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int64

from s2f.metrics import bootstrap
from s2f.metrics.bootstrap import Estimate, Resampling
from s2f.metrics.similarity import rounded
from s2f.study.numbers import finite
from s2f.study.paths import UserError

BLOCK = 16_384  # rows sampled at once


class Crowd(NamedTuple):
    """Modelled people, one per row."""

    features: Float32[np.ndarray, "n dim"]
    like: Int64[np.ndarray, "n"]  # the real person around whom each was sampled, whose attributes it shares


def distractors(features: Float[np.ndarray, "people dim"], n: int, seed: int, bandwidth: float = 0.3) -> Crowd:
    """Sample `n` people distributed like the real ones, by a smoothed bootstrap (Silverman & Young 1987).

    Each is a random person, shrunk towards the mean, plus Gaussian noise with the covariance of all, in proportions
    that keep mean and covariance. A rank among distractors is an extrapolation where fewer than one in `len(features)`
    people beat the true face.

    Args:
        features: embeddings of two or more real people, nobody of whom is queried: else lookalikes fill the gallery.
        n: number of distractors.
        seed: of the sample.
        bandwidth: share of the noise in the standard deviation, 0 (real people repeated) to 1 (a Gaussian, smoother
            than people of two sexes and several groups are).

    Raises:
        UserError: for fewer than two people, another bandwidth, or a feature that is not finite.
    """
    finite(feature=features)
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
    """Share of real others that a true face beats, less its share of distractors (`modelled`): 0 for a good model.

    `scores` of each person's voice (row) with each person's face (column); ties count half. The real others are a
    sample too, so both people of a pair are resampled.
    """
    scores = rounded(scores)
    own = np.diagonal(scores)[:, None]
    others = 1 - np.eye(len(scores))
    beaten = (scores < own) + (scores == own) / 2
    return bootstrap.crossed(others * (beaten - modelled[:, None]), others, len(scores), resampling)

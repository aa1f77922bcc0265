"""One speaker heard again: how alike the predictions for segments, recordings and languages are."""

import numpy as np
import pandas as pd
from jaxtyping import Float

from s2f import stats
from s2f.evaluate import Features, degrees
from s2f.paths import UserError
from s2f.retrieval import unit_rows
from s2f.stats import Column, Estimate, Resampling

# Rows of the matrix of angles between clips that are held at once.
ANGLE_CHUNK = 512


def consistency(pred: Features, speakers: Column, resampling: Resampling) -> pd.DataFrame:
    """Fig. 10 of the paper in numbers: angles to same and other speakers, and the intraclass correlation.

    The intraclass correlation is the part of the variance of the features, summed over dimensions, that lies
    between speakers (one-way analysis of variance). Speakers with one clip count only in the angles to
    others.
    """
    index = stats.number_speakers(speakers, pred=pred)
    clips = np.bincount(index.codes)
    own, other = _mean_angles(unit_rows(pred), index)
    repeated = clips[index.codes] > 1
    if not repeated.any() or index.count < 2:
        raise UserError("Consistency needs two clips of one speaker and two speakers: pass more clips.")
    speakers = np.asarray(speakers)
    rows = {
        "same speaker, degrees": stats.interval(own[repeated], speakers[repeated], resampling),
        "other speakers, degrees": stats.interval(other, speakers, resampling),
        "intraclass correlation": _intraclass(pred.astype(float), index, resampling),
    }
    return pd.DataFrame({name: estimate.row() for name, estimate in rows.items()}).T


def _mean_angles(
    unit: Features, index: stats.Speakers
) -> tuple[Float[np.ndarray, "clips"], Float[np.ndarray, "clips"]]:
    """Mean angle of each clip to its speaker's other clips (NaN without any) and to those of all others."""
    clips = np.bincount(index.codes)[index.codes]
    own, total = np.empty(len(unit)), np.empty(len(unit))
    for start in range(0, len(unit), ANGLE_CHUNK):
        rows = np.arange(start, min(start + ANGLE_CHUNK, len(unit)))
        between = degrees(unit[rows] @ unit.T)
        between[np.arange(len(rows)), rows] = 0  # to itself, without the rounding of arccos near 1
        own[rows] = (between * (index.codes[rows, None] == index.codes)).sum(axis=1)
        total[rows] = between.sum(axis=1)
    return own / np.where(clips > 1, clips - 1, np.nan), (total - own) / (len(unit) - clips)


def _intraclass(pred: Features, index: stats.Speakers, resampling: Resampling) -> Estimate:
    centred = pred - pred.mean(axis=0)
    clips = np.bincount(index.codes).astype(float)
    sums = np.zeros((index.count, pred.shape[1]))
    np.add.at(sums, index.codes, centred)
    squares = np.bincount(index.codes, np.square(centred).sum(axis=1))
    explained = np.square(sums).sum(axis=1) / clips

    def statistic(weights: Float[np.ndarray, "replicates speakers"]) -> Float[np.ndarray, "replicates"]:
        drawn, n = weights.sum(axis=1), weights @ clips
        of_mean = np.square(weights @ sums).sum(axis=1) / n
        between = (weights @ explained - of_mean) / (drawn - 1)
        within = weights @ (squares - explained) / np.maximum(n - drawn, 1)
        size = (n - weights @ clips**2 / n) / (drawn - 1)  # clips a speaker, when their numbers differ
        total = between + (size - 1) * within
        return np.where(total > 0, (between - within) / np.where(total > 0, total, 1), 0.0)

    return stats.bootstrap(statistic, len(pred), index.count, resampling, width=sums.size // index.count)

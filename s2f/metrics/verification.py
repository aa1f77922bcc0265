"""Verification: do this voice and this face belong to one person? AUC and equal error rate."""

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from s2f.metrics import bootstrap
from s2f.metrics.bootstrap import Column, Estimate, Resampling
from s2f.metrics.retrieval import QUERY_CHUNK
from s2f.metrics.similarity import Features, Metric, pairwise, rounded
from s2f.study.numbers import finite
from s2f.study.paths import UserError


def trials(pred: Features, true: Features, speakers: Column, seed: int, metric: Metric = "cosine") -> pd.DataFrame:
    """Verification trials: each voice with its true face and with that of a random other speaker.

    Args:
        pred: predicted embedding of each clip.
        true: embedding of each clip's true face.
        speakers: who speaks in each clip; at least two (UserError).
        seed: of the draw of other speakers.
        metric: the score, as `similarity.pairwise` takes it.

    Returns:
        One row per trial: `query` and `face` (speakers), `score`, `same`.
    """
    index = bootstrap.number_speakers(speakers, pred=pred, true=true)
    finite(predicted_feature=pred, true_feature=true)
    if index.count < 2:
        raise UserError("Verification needs clips of at least two speakers: pass more clips.")
    names = np.asarray(speakers)
    clips = np.arange(len(names))
    faces = np.column_stack([clips, _another_speaker(index, seed)])
    scores = np.empty(faces.shape)
    for start in range(0, len(names), QUERY_CHUNK):
        rows = slice(start, start + QUERY_CHUNK)
        wanted = faces[rows]
        block = pairwise(pred[rows], true[wanted.ravel()], metric)
        scores[rows] = block[np.arange(len(wanted))[:, None], np.arange(wanted.size).reshape(wanted.shape)]
    table = {"query": names.repeat(faces.shape[1]), "face": names[faces.ravel()], "score": scores.ravel()}
    return pd.DataFrame(table | {"same": (faces == clips[:, None]).ravel()})


def _another_speaker(index: bootstrap.Speakers, seed: int) -> Int[np.ndarray, "clips"]:
    """For each clip, a random clip of another speaker."""
    order = np.argsort(index.codes, kind="stable")
    counts = np.bincount(index.codes)
    first, own = (np.cumsum(counts) - counts)[index.codes], counts[index.codes]
    pick = np.random.default_rng(seed).integers(0, len(index.codes) - own)
    return order[np.where(pick >= first, pick + own, pick)]


def verification(table: pd.DataFrame, resampling: Resampling) -> dict[str, Estimate]:
    """Area under the ROC curve (`auc`) and equal error rate (`eer`) of trials, both speakers of a trial resampled.

    `table` as `trials` makes it; UserError unless it holds matched and unmatched trials.
    """
    together = pd.concat([table["query"], table["face"]], ignore_index=True)
    index = bootstrap.number_speakers(together)
    query, face = index.codes[: len(table)], index.codes[len(table) :]
    scores, same = rounded(table["score"].to_numpy(float)), table["same"].to_numpy(bool)
    if same.all() or not same.any():
        raise UserError("The column same holds one value only: verification needs matched and unmatched trials.")

    def by_trial(weights: Float[np.ndarray, "replicates speakers"]) -> Float[np.ndarray, "replicates trials"]:
        # A matched trial has one speaker, who counts once.
        return weights[:, query] * np.where(same, 1, weights[:, face])

    def auc(weights: Float[np.ndarray, "replicates speakers"]) -> Float[np.ndarray, "replicates"]:
        wins, pairs = bootstrap.pair_wins(scores, same, by_trial(weights)).T
        return wins / np.where(pairs > 0, pairs, np.nan)

    def eer(weights: Float[np.ndarray, "replicates speakers"]) -> Float[np.ndarray, "replicates"]:
        return bootstrap.equal_error_rate(*bootstrap.weights_by_score(scores, same, by_trial(weights)))

    size = len(table), index.count, resampling
    return {name: bootstrap.bootstrap(part, *size, width=len(table)) for name, part in (("auc", auc), ("eer", eer))}

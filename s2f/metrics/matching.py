"""1:N matching: how often a voice's true face beats those of other speakers.

An exact expectation over the choice of opponents, with no list of trials (for those: `protocols.matching`).
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.special import comb

from s2f.metrics import bootstrap
from s2f.metrics.bootstrap import Column, Estimate, Resampling
from s2f.metrics.retrieval import QUERY_CHUNK, compare
from s2f.metrics.similarity import Features, Metric, pairwise
from s2f.study.numbers import finite


class Board(NamedTuple):
    """For each clip and speaker: does that face lose to the clip's true one, does it tie, is it an opponent."""

    loses: Bool[np.ndarray, "clips speakers"]
    ties: Bool[np.ndarray, "clips speakers"]
    opponent: Bool[np.ndarray, "clips speakers"]

    @classmethod
    def of(
        cls,
        better: Bool[np.ndarray, "clips speakers"],
        equal: Bool[np.ndarray, "clips speakers"],
        index: bootstrap.Speakers,
    ) -> "Board":
        """From the faces that score better than a clip's true one and those that tie with it."""
        other = index.codes[:, None] != np.arange(index.count)
        return cls(~better & ~equal, equal, np.ones_like(equal)).among(other)

    def among(self, opponent: Bool[np.ndarray, "clips speakers"]) -> "Board":
        return Board(*(part & opponent for part in self))


def _board(
    pred: Features, true: Features, index: bootstrap.Speakers, shown: Int[np.ndarray, "speakers"], metric: Metric
) -> Board:
    """Each clip's true face against the shown faces of all other speakers."""
    better, equal = [], []
    for start in range(0, len(pred), QUERY_CHUNK):
        rows = slice(start, start + QUERY_CHUNK)
        own = true[rows]
        # One call scores true and shown faces, so that equal faces get equal scores.
        scores = pairwise(pred[rows], np.concatenate([own, true[shown]]), metric)
        wins, ties = compare(scores[:, len(own) :], np.diagonal(scores))
        better.append(wins)
        equal.append(ties)
    return Board.of(np.concatenate(better), np.concatenate(equal), index)


def matching(
    pred: Features,
    true: Features,
    speakers: Column,
    resampling: Resampling,
    n: int = 2,
    metric: Metric = "cosine",
    strata: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """1:N matching: how often a voice's true face beats those of n - 1 random other speakers, ties shared.

    For n = 2 both speakers of a trial are resampled, for larger n only the voice's. An attribute-only observer is this
    function with the one-hot attribute as both `pred` and `true`.

    Args:
        pred: predicted embedding of each clip.
        true: embedding of each clip's true face.
        speakers: who speaks in each clip.
        resampling: how intervals are made; its seed also draws the face shown for each speaker.
        n: faces in a trial.
        metric: the score, as `similarity.pairwise` takes it.
        strata: labels of each clip, a column for each stratum, or None.

    Returns:
        One row against anybody, one against people with the same label in each column of `strata`, and one against
        those who share all of them. Clips with fewer than n - 1 opponents are left out (NaN if none is left).
    """
    index = bootstrap.number_speakers(speakers, pred=pred, true=true)
    finite(predicted_feature=pred, true_feature=true)
    shown = _shown(index, resampling.seed)
    return _by_stratum(_board(pred, true, index, shown, metric), index, shown, speakers, resampling, n, strata)


def matching_from_scores(
    scores: Float[np.ndarray, "clips gallery"],
    true_index: Int[np.ndarray, "clips"],
    speakers: Column,
    resampling: Resampling,
    n: int = 2,
    strata: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """1:N matching as `matching`, from a table of scores, larger when closer.

    Args:
        scores: the score of each clip's voice with each face of the gallery.
        true_index: the gallery column of each clip's own face.
        speakers: who speaks in each clip.
        resampling: how intervals are made; its seed also draws the face shown for each speaker.
        n: faces in a trial.
        strata: labels of each clip, a column for each stratum, or None.
    """
    index = bootstrap.number_speakers(speakers, scores=scores, true_index=true_index)
    finite(score=scores)
    shown = _shown(index, resampling.seed)
    own = scores[np.arange(len(scores)), true_index]
    board = Board.of(*compare(scores[:, true_index[shown]], own), index)
    return _by_stratum(board, index, shown, speakers, resampling, n, strata)


def _shown(index: bootstrap.Speakers, seed: int) -> Int[np.ndarray, "speakers"]:
    """A random clip of each speaker, whose face stands for the speaker."""
    order = np.random.default_rng(seed).permutation(len(index.codes))
    return order[np.unique(index.codes[order], return_index=True)[1]]


def _by_stratum(
    board: Board,
    index: bootstrap.Speakers,
    shown: Int[np.ndarray, "speakers"],
    speakers: Column,
    resampling: Resampling,
    n: int,
    strata: pd.DataFrame | None,
) -> pd.DataFrame:
    rows = []
    for name, values in _strata(strata, len(index.codes)).items():
        # A missing label has code -1 and shares a stratum with nobody.
        rivals = board.among((values[:, None] == values[shown]) & (values >= 0)[:, None])
        estimate = _matching_estimate(rivals, np.asarray(speakers), index, n, resampling)
        rows.append({"others": name, "n": n, "chance": 1 / n} | estimate.row())
    return pd.DataFrame(rows)


def _strata(strata: pd.DataFrame | None, n_clips: int) -> dict[str, Int[np.ndarray, "clips"]]:
    """Stratum codes by name: everybody, each column, and all columns together."""
    named = {"anybody": np.zeros(n_clips, dtype=int)}
    if strata is None:
        return named
    named |= {f"same {column}": strata.groupby(column).ngroup().fillna(-1).to_numpy(int) for column in strata}
    if strata.shape[1] > 1:
        named["same " + " and ".join(strata)] = strata.groupby(list(strata)).ngroup().fillna(-1).to_numpy(int)
    return named


def _matching_estimate(
    board: Board, speakers: np.ndarray, index: bootstrap.Speakers, n: int, resampling: Resampling
) -> Estimate:
    playable = board.opponent.sum(axis=1) >= n - 1
    if not playable.any():
        nothing = float("nan")
        return Estimate(nothing, nothing, nothing, 0, 0, "none", np.empty(0))
    if n > 2:
        return bootstrap.interval(matching_credit(board, n)[playable], speakers[playable], resampling, share=True)
    # Each voice has weight one, however many opponents its stratum holds.
    opponents = board.opponent[playable]
    weight = 1 / opponents.sum(axis=1, keepdims=True)
    credit = board.loses[playable] + board.ties[playable] / 2
    won, met = (_by_speaker(cells * weight, index.codes[playable], index.count) for cells in (credit, opponents))
    involved = np.flatnonzero(met.any(axis=0) | met.any(axis=1))
    won, met = (part[np.ix_(involved, involved)] for part in (won, met))
    return bootstrap.crossed(won, met, int(playable.sum()), resampling)


def _by_speaker(
    cells: Float[np.ndarray, "clips speakers"], codes: Int[np.ndarray, "clips"], count: int
) -> Float[np.ndarray, "speakers speakers"]:
    sums = np.zeros((count, count))
    np.add.at(sums, codes, cells)
    return sums


def matching_credit(board: Board, n: int) -> Float[np.ndarray, "clips"]:
    """Expected score of one 1:N trial with n - 1 distinct random opponents; faces tied for first share it.

    With w opponents worse, e equal, m in all: (C(w+e+1, n) - C(w, n)) / ((e+1) C(m, n-1)).
    """
    worse, equal, met = (part.sum(axis=1) for part in board)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (comb(worse + equal + 1, n) - comb(worse, n)) / ((equal + 1) * comb(met, n - 1))

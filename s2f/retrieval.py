"""Finding the face of a voice: ranks, recall, 1:N matching and verification, each with its chance level.

Ties are shared, never broken by position, so that an embedding that knows nothing scores chance. Matching, and recall
in a smaller gallery, are exact expectations over the choice of the other faces: given how many are better and how many
tie, the outcome of drawing some of them is hypergeometric, and no list of trials has to be drawn.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Float32, Int, Shaped
from scipy.spatial.distance import cdist
from scipy.special import comb
from scipy.stats import hypergeom

from s2f import stats
from s2f.manifest import HeldOut
from s2f.paths import UserError
from s2f.stats import Column, Estimate, Resampling

Features = Float[np.ndarray, "clips dim"]
# The name of a distance, or a function of (queries, gallery) with one score a pair, larger when closer.
Metric = str | Callable[[np.ndarray, np.ndarray], np.ndarray]

# Scores closer than this part of the row's largest are tied: matrix products round by about 1e-13.
TIE = 1e-9
# Directions with less than this part of the largest spread are rounding, not signal.
RANK = 1e-6
QUERY_CHUNK = 256


def similarity(
    queries: Float[np.ndarray, "queries dim"], gallery: Float[np.ndarray, "gallery dim"], metric: Metric
) -> Float[np.ndarray, "queries gallery"]:
    """Scores in float64, larger when closer: cosine, -L1, -squared L2 (ordered as L2), or a callable's."""
    if callable(metric):
        return metric(queries, gallery)
    queries, gallery = queries.astype(float), gallery.astype(float)
    if metric == "cosine":
        return unit_rows(queries) @ unit_rows(gallery).T
    if metric == "l1":
        return -cdist(queries, gallery, "cityblock")
    if metric == "l2":
        centre = gallery.mean(axis=0)  # distances do not change, and the products below lose fewer digits
        queries, gallery = queries - centre, gallery - centre
        return 2 * queries @ gallery.T - np.square(queries).sum(1)[:, None] - np.square(gallery).sum(1)
    raise UserError(f"The metric {metric!r} is not known: use l1, l2, cosine or a function of (queries, gallery).")


def unit_rows(features: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "n dim"]:
    """Rows of length one; a row of zeros stays zero and has cosine zero with everything."""
    features = features.astype(float)
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(length > 0, length, 1)


class Ranks(NamedTuple):
    """For each query, how many of the `others` score better than its true face and how many tie with it."""

    better: Int[np.ndarray, "queries"]
    equal: Int[np.ndarray, "queries"]
    others: int

    @property
    def expected(self) -> Float[np.ndarray, "queries"]:
        """Mean 1-based rank of the true face when ties are put in random order."""
        return 1 + self.better + self.equal / 2

    @property
    def wins(self) -> Float[np.ndarray, "queries"]:
        """Share of the others whom the true face beats, ties half: 1:2 matching against each of them."""
        return 1 - (self.better + self.equal / 2) / self.others


def ranks(
    queries: Float[np.ndarray, "queries dim"],
    gallery: Float[np.ndarray, "gallery dim"],
    true_index: Int[np.ndarray, "queries"],
    metric: Metric = "cosine",
    chunk: int = QUERY_CHUNK,
) -> Ranks:
    """Place of each query's true face in one gallery; memory is bounded by chunk x gallery scores."""
    better, equal = [], []
    for start in range(0, len(queries), chunk):
        truth = true_index[start : start + chunk]
        scores = similarity(queries[start : start + chunk], gallery, metric)
        wins, ties = _compare(scores, scores[np.arange(len(truth)), truth])
        better.append(wins.sum(axis=1))
        equal.append(ties.sum(axis=1) - 1)  # the true face ties with itself
    return Ranks(np.concatenate(better), np.concatenate(equal), len(gallery) - 1)


def _compare(
    scores: Float[np.ndarray, "queries gallery"], target: Float[np.ndarray, "queries"]
) -> tuple[Bool[np.ndarray, "queries gallery"], Bool[np.ndarray, "queries gallery"]]:
    """Which faces score better than the target, and which tie."""
    margin = scores - target[:, None]
    tie = TIE * np.maximum(np.abs(scores).max(axis=1), np.abs(target))[:, None]
    return margin > tie, np.abs(margin) <= tie


def recall_at(placed: Ranks, items: int, size: int | None = None) -> Float[np.ndarray, "queries"]:
    """Probability that a query's true face is among the first `items` of a gallery of `size` (default: all).

    A smaller gallery holds the true face and size - 1 of the others at random.
    """
    drawn = placed.others if size is None else size - 1
    ahead = np.arange(placed.others + 1)
    hit = hypergeom.cdf(items - 1, placed.others, ahead, drawn)
    # In random order the true face has 0 to `equal` of its ties ahead of it, each with the same probability.
    cumulative = np.concatenate([[0.0], np.cumsum(hit)])
    return (cumulative[placed.better + placed.equal + 1] - cumulative[placed.better]) / (placed.equal + 1)


def recall(
    placed: Ranks, speakers: Column, ks: Sequence[int], resampling: Resampling, size: int | None = None
) -> pd.DataFrame:
    """R@K in both readings, first K items and first K percent, in a gallery of `size` (default: all).

    Table 3 of the paper must be percent: its random row is 1, 2, 5, 10 % for K = 1, 2, 5, 10 of 5,000 faces. K percent
    are rounded down to whole faces. Indexed by reading and k.
    """
    whole = placed.others + 1 if size is None else size
    rows = []
    for reading in ("items", "percent"):
        for k in ks:
            items = min(k if reading == "items" else k * whole // 100, whole)
            estimate = stats.interval(recall_at(placed, items, size), speakers, resampling, share=True)
            row = {"reading": reading, "k": k, "items": items, "size": whole, "chance": items / whole}
            rows.append(row | estimate.row())
    return pd.DataFrame(rows).set_index(["reading", "k"])


def nearest(
    queries: Float[np.ndarray, "queries dim"], gallery: Float[np.ndarray, "gallery dim"], metric: Metric, count: int
) -> Int[np.ndarray, "queries {count}"]:
    """The first `count` rows of the gallery for each query, best first."""
    return np.argsort(-similarity(queries, gallery, metric), axis=1, kind="stable")[:, :count]


def at_quantiles(placed: Ranks, quantiles: Sequence[float]) -> Int[np.ndarray, "quantiles"]:
    """The queries that stand at these quantiles when all are ordered by the rank of their true face, best first.

    So the examples of a figure are chosen by a rule, not by eye.
    """
    order = np.argsort(placed.expected, kind="stable")
    return order[np.round(np.asarray(quantiles) * (len(order) - 1)).astype(int)]


class Board(NamedTuple):
    """For each clip and speaker: does that face lose to the clip's own, does it tie, is it an opponent."""

    loses: Bool[np.ndarray, "clips speakers"]
    ties: Bool[np.ndarray, "clips speakers"]
    opponent: Bool[np.ndarray, "clips speakers"]

    def among(self, opponent: Bool[np.ndarray, "clips speakers"]) -> "Board":
        return Board(*(part & opponent for part in self))


def _board(
    pred: Features, true: Features, index: stats.Speakers, shown: Int[np.ndarray, "speakers"], metric: Metric
) -> Board:
    """Each clip's own face against the shown faces of all other speakers."""
    wins, ties = [], []
    for start in range(0, len(pred), QUERY_CHUNK):
        rows = slice(start, start + QUERY_CHUNK)
        own = true[rows]
        # One call scores own and shown faces, so that equal faces get equal scores.
        scores = similarity(pred[rows], np.concatenate([own, true[shown]]), metric)
        better, equal = _compare(scores[:, len(own) :], np.diagonal(scores))
        wins.append(better)
        ties.append(equal)
    equal = np.concatenate(ties)
    everybody = np.ones_like(equal)
    other = index.codes[:, None] != np.arange(index.count)
    return Board(~np.concatenate(wins) & ~equal, equal, everybody).among(other)


def matching(
    pred: Features,
    true: Features,
    speakers: Column,
    resampling: Resampling,
    n: int = 2,
    metric: Metric = "cosine",
    strata: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """1:N matching: how often a voice's own face beats n - 1 random other speakers' faces, ties shared.

    Rows: against anybody; against people who share the voice's value in each column of `strata`; against
    people who share all of them. For n = 2 both sides are resampled, for larger n only the voices. Clips with
    fewer than n - 1 opponents in the stratum are left out (NaN when none is left). The score of a model that
    knows nothing but an attribute is this function on the one-hot attribute as both `pred` and `true`.
    """
    index = stats.number_speakers(speakers, pred=pred, true=true)
    order = np.random.default_rng(resampling.seed).permutation(len(index.codes))
    shown = order[np.unique(index.codes[order], return_index=True)[1]]  # a random clip of each speaker
    board = _board(pred, true, index, shown, metric)
    rows = []
    for name, values in _strata(strata, len(pred)).items():
        # A missing label is coded -1 and shares a stratum with nobody.
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
    board: Board, speakers: np.ndarray, index: stats.Speakers, n: int, resampling: Resampling
) -> Estimate:
    playable = board.opponent.sum(axis=1) >= n - 1
    if not playable.any():
        nothing = float("nan")
        return Estimate(nothing, nothing, nothing, 0, 0, "none", np.empty(0))
    if n > 2:
        return stats.interval(matching_credit(board, n)[playable], speakers[playable], resampling, share=True)
    # Each voice counts once, however many opponents its stratum holds.
    opponents = board.opponent[playable]
    weight = 1 / opponents.sum(axis=1, keepdims=True)
    credit = board.loses[playable] + board.ties[playable] / 2
    won, met = (_by_speaker(cells * weight, index.codes[playable], index.count) for cells in (credit, opponents))
    involved = np.flatnonzero(met.any(axis=0) | met.any(axis=1))
    won, met = (part[np.ix_(involved, involved)] for part in (won, met))
    return stats.crossed(won, met, int(playable.sum()), resampling)


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


def trials(pred: Features, true: Features, speakers: Column, seed: int, metric: Metric = "cosine") -> pd.DataFrame:
    """Verification trials, one row each: `query` and `face` (speakers), `score`, `same`.

    Every voice meets its own face and one of another speaker.
    """
    index = stats.number_speakers(speakers, pred=pred, true=true)
    if index.count < 2:
        raise UserError("Verification needs clips of at least two speakers: pass more clips.")
    names = np.asarray(speakers)
    clips = np.arange(len(names))
    faces = np.column_stack([clips, _another_speaker(index, seed)])
    scores = np.empty(faces.shape)
    for start in range(0, len(names), QUERY_CHUNK):
        rows = slice(start, start + QUERY_CHUNK)
        wanted = faces[rows]
        block = similarity(pred[rows], true[wanted.ravel()], metric)
        scores[rows] = block[np.arange(len(wanted))[:, None], np.arange(wanted.size).reshape(wanted.shape)]
    table = {"query": names.repeat(faces.shape[1]), "face": names[faces.ravel()], "score": scores.ravel()}
    return pd.DataFrame(table | {"same": (faces == clips[:, None]).ravel()})


def _another_speaker(index: stats.Speakers, seed: int) -> Int[np.ndarray, "clips"]:
    """For each clip, a random clip of another speaker."""
    order = np.argsort(index.codes, kind="stable")
    counts = np.bincount(index.codes)
    first, own = (np.cumsum(counts) - counts)[index.codes], counts[index.codes]
    pick = np.random.default_rng(seed).integers(0, len(index.codes) - own)
    return order[np.where(pick >= first, pick + own, pick)]


def verification(table: pd.DataFrame, resampling: Resampling) -> dict[str, Estimate]:
    """`auc` and equal error rate (`eer`) of trials (as `trials` makes them), both speakers of a trial resampled."""
    together = pd.concat([table["query"], table["face"]], ignore_index=True)
    index = stats.number_speakers(together)
    query, face = index.codes[: len(table)], index.codes[len(table) :]
    scores, same = table["score"].to_numpy(float), table["same"].to_numpy(bool)
    if same.all() or not same.any():
        raise UserError("The column same holds one value only: verification needs matched and unmatched trials.")

    def by_trial(weights: Float[np.ndarray, "replicates speakers"]) -> Float[np.ndarray, "replicates trials"]:
        # A matched trial has one speaker, who counts once.
        return weights[:, query] * np.where(same, 1, weights[:, face])

    def auc(weights: Float[np.ndarray, "replicates speakers"]) -> Float[np.ndarray, "replicates"]:
        wins, pairs = stats.pair_wins(scores, same, by_trial(weights)).T
        return wins / np.where(pairs > 0, pairs, np.nan)

    def eer(weights: Float[np.ndarray, "replicates speakers"]) -> Float[np.ndarray, "replicates"]:
        return stats.equal_error_rate(*stats.weights_by_score(scores, same, by_trial(weights)))

    size = len(table), index.count, resampling
    return {name: stats.bootstrap(part, *size, width=len(table)) for name, part in (("auc", auc), ("eer", eer))}


@dataclass(frozen=True)
class LikelihoodRatio:
    """Metric log p(face | prediction) - log p(face) of a joint Gaussian, fitted on pairs that are not tested.

    Cosine weighs every direction by its size; this weighs it by what the voice tells of it. In canonical
    directions, where prediction u and face v have unit variance and correlation r, the log ratio is the sum
    of -log(1 - r^2) / 2 + (2 r u v - r^2 (u^2 + v^2)) / (2 (1 - r^2)).
    """

    pred_mean: Float[np.ndarray, "pred_dim"]
    pred_map: Float[np.ndarray, "pred_dim canonical"]
    true_mean: Float[np.ndarray, "true_dim"]
    true_map: Float[np.ndarray, "true_dim canonical"]
    correlations: Float[np.ndarray, "canonical"]

    @classmethod
    def fit(
        cls, pred: Float[np.ndarray, "clips pred"], true: Float[np.ndarray, "clips true"], dims: int = 32
    ) -> "LikelihoodRatio":
        """Fit on one row a clip, in `dims` principal directions a side."""
        pred_mean, pred_map = _whitening(pred.astype(float), dims)
        true_mean, true_map = _whitening(true.astype(float), dims)
        u, v = (pred - pred_mean) @ pred_map, (true - true_mean) @ true_map
        left, correlations, right = np.linalg.svd(u.T @ v / len(u), full_matrices=False)
        correlations = np.minimum(_without_noise(correlations, u.shape[1], v.shape[1], len(u)), 1 - RANK)
        return cls(pred_mean, pred_map @ left, true_mean, true_map @ right.T, correlations)

    def __call__(
        self, queries: Float[np.ndarray, "queries pred_dim"], gallery: Float[np.ndarray, "gallery true_dim"]
    ) -> Float[np.ndarray, "queries gallery"]:
        u, v = (queries - self.pred_mean) @ self.pred_map, (gallery - self.true_mean) @ self.true_map
        r, rest = self.correlations, 1 - self.correlations**2
        squares = (np.square(u) @ (r**2 / rest))[:, None] + np.square(v) @ (r**2 / rest)
        return (u * (r / rest)) @ v.T - squares / 2 - np.log(rest).sum() / 2


def _whitening(
    features: Float[np.ndarray, "clips dim"], dims: int
) -> tuple[Float[np.ndarray, "dim"], Float[np.ndarray, "dim kept"]]:
    """Mean and the map to at most `dims` principal components of unit variance; none where nothing varies."""
    mean = features.mean(axis=0)
    _, spread, directions = np.linalg.svd(features - mean, full_matrices=False)
    kept = min(dims, int((spread > RANK * max(spread[0], np.abs(features).max())).sum()))
    return mean, directions[:kept].T * (np.sqrt(len(features)) / spread[:kept])


def _without_noise(
    correlations: Float[np.ndarray, "canonical"], rows: int, columns: int, n_clips: int
) -> Float[np.ndarray, "canonical"]:
    """Canonical correlations less what chance adds: shrinkage of Gavish and Donoho (2017) for white noise.

    Correlations up to (1 + sqrt(beta)) sqrt(rows / n_clips), which unrelated pairs reach too, become zero.
    """
    rows, columns = max(rows, columns), min(rows, columns)
    unit, beta = np.sqrt(rows / n_clips), columns / max(rows, 1)
    above = np.maximum(correlations / (unit or 1), 1 + np.sqrt(beta))
    return unit * np.sqrt(np.maximum((above**2 - beta - 1) ** 2 - 4 * beta, 0)) / above


class Gallery(NamedTuple):
    """The faces that held-out voices are compared with: a template a person, the mean feature of their photographs."""

    names: Shaped[np.ndarray, "people"]  # the test speakers, sorted
    faces: Float32[np.ndarray, "people dim"]  # their templates
    own: Int[np.ndarray, "test_clips"]  # which of them speaks in each test clip
    validation: Float32[np.ndarray, "val_clips dim"]  # the template that belongs to each validation clip
    test: Bool[np.ndarray, "clips"]  # which of the held-out clips are test clips

    @classmethod
    def of(
        cls, held: HeldOut, features: Float32[np.ndarray, "photos dim"], owners: Shaped[np.ndarray, "photos"]
    ) -> "Gallery":
        """Templates of the held-out speakers; `owners` names the person in each photograph."""
        templates = pd.DataFrame(features).groupby(owners).mean().astype(np.float32)
        names, own = np.unique(held.speakers, return_inverse=True)
        validation = held.clips.loc[~held.test, "speaker_id"]
        if missing := sorted({*names, *validation} - set(templates.index)):
            raise UserError(f"There is no photograph of speaker {missing[0]}: make the features of photographs again.")
        faces, fitted = (templates.loc[people].to_numpy() for people in (names, validation))
        return cls(names, faces, own, fitted, held.test)

    def likelihood_ratio(self, heard: Float[np.ndarray, "clips dim"], dims: int) -> LikelihoodRatio:
        """The score fitted on the validation clips; `heard` are the predicted features of all held-out clips."""
        return LikelihoodRatio.fit(heard[~self.test], self.validation, dims)

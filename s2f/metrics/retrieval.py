"""Retrieving the face of a voice from a gallery: ranks, recall, and its chance level.

Ties are shared, never broken by position, so that an embedding that knows nothing scores chance. Two faces tie when
their own scores do (`similarity.rounded`); no other face has a say in it. Recall in a smaller
gallery is an exact expectation over the choice of the other faces: given how many are better and how many tie, the
outcome of drawing some of them is hypergeometric, and no trials have to be drawn.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.stats import hypergeom

from s2f.metrics import bootstrap
from s2f.metrics.bootstrap import Column, Resampling
from s2f.metrics.similarity import Metric, pairwise, rounded
from s2f.study.numbers import finite
from s2f.study.paths import UserError

QUERY_CHUNK = 256


class Ranks(NamedTuple):
    """For each query, the number of the `others` that score better than its true face, and that tie with it."""

    better: Int[np.ndarray, "queries"]
    equal: Int[np.ndarray, "queries"]
    others: int

    @property
    def expected(self) -> Float[np.ndarray, "queries"]:
        """Mean rank (from 1) of the true face over random orders of ties."""
        return 1 + self.better + self.equal / 2

    @property
    def wins(self) -> Float[np.ndarray, "queries"]:
        """Share of the others that the true face beats, ties counting half: 1:2 matching against each of them."""
        return 1 - (self.better + self.equal / 2) / self.others


def ranks(
    queries: Float[np.ndarray, "queries dim"],
    gallery: Float[np.ndarray, "gallery dim"],
    true_index: Int[np.ndarray, "queries"],
    metric: Metric = "cosine",
    chunk: int = QUERY_CHUNK,
) -> Ranks:
    """Rank each query's true face in one gallery; memory is bounded by chunk x gallery scores.

    Args:
        queries: embeddings of the voices.
        gallery: embeddings of the faces.
        true_index: the gallery row of each query's true face.
        metric: the score, larger when closer, as `similarity.pairwise` takes it.
        chunk: queries scored at once.
    """
    finite(query_feature=queries, gallery_feature=gallery)
    better, equal = [], []
    for start in range(0, len(queries), chunk):
        rows = slice(start, start + chunk)
        part = ranks_from_scores(pairwise(queries[rows], gallery, metric), true_index[rows])
        better.append(part.better)
        equal.append(part.equal)
    return Ranks(np.concatenate(better), np.concatenate(equal), len(gallery) - 1)


def ranks_from_scores(
    scores: Float[np.ndarray, "queries gallery"], true_index: Int[np.ndarray, "queries"], chunk: int = QUERY_CHUNK
) -> Ranks:
    """Rank each query's true face from a table of scores, larger when closer.

    Args:
        scores: the score of each query with each face of the gallery.
        true_index: the gallery column of each query's true face.
        chunk: queries compared at once.
    """
    finite(score=scores)
    better, equal = [], []
    for start in range(0, len(scores), chunk):
        part, truth = scores[start : start + chunk], true_index[start : start + chunk]
        wins, ties = compare(part, part[np.arange(len(truth)), truth])
        better.append(wins.sum(axis=1))
        equal.append(ties.sum(axis=1) - 1)  # the true face ties with itself
    return Ranks(np.concatenate(better), np.concatenate(equal), scores.shape[1] - 1)


def compare(
    scores: Float[np.ndarray, "queries gallery"], target: Float[np.ndarray, "queries"]
) -> tuple[Bool[np.ndarray, "queries gallery"], Bool[np.ndarray, "queries gallery"]]:
    """Which faces score better than the query's target, and which tie with it."""
    scores, target = rounded(scores), rounded(target)[:, None]
    return scores > target, scores == target


def recall_at(ranks: Ranks, items: int, size: int | None = None) -> Float[np.ndarray, "queries"]:
    """Probability that each query's true face is among the first `items` of a gallery of `size` (default: all).

    A smaller gallery holds the true face and size - 1 of the others, drawn at random. UserError for a larger one.
    """
    if size is not None and size > ranks.others + 1:
        raise UserError(f"A gallery of {size} cannot be drawn from {ranks.others + 1} people: set a smaller `gallery`.")
    drawn = ranks.others if size is None else size - 1
    ahead = np.arange(ranks.others + 1)
    hit = hypergeom.cdf(items - 1, ranks.others, ahead, drawn)
    # In random order the true face has 0 to `equal` of its ties ahead of it, each with the same probability.
    cumulative = np.concatenate([[0.0], np.cumsum(hit)])
    return (cumulative[ranks.better + ranks.equal + 1] - cumulative[ranks.better]) / (ranks.equal + 1)


def recall(
    ranks: Ranks, speakers: Column, ks: Sequence[int], resampling: Resampling, size: int | None = None
) -> pd.DataFrame:
    """R@K in both readings, first K items and first K percent, in a gallery of `size` (default: all).

    Table 3 of the paper must be percent: its random row is 1, 2, 5, 10 % for K = 1, 2, 5, 10 of 5,000 faces. K percent
    are rounded down to whole faces. The table is indexed by reading ("items" or "percent") and k.
    """
    whole = ranks.others + 1 if size is None else size
    rows = []
    for reading in ("items", "percent"):
        for k in ks:
            items = min(k if reading == "items" else k * whole // 100, whole)
            estimate = bootstrap.interval(recall_at(ranks, items, size), speakers, resampling, share=True)
            row = {"reading": reading, "k": k, "items": items, "size": whole, "chance": items / whole}
            rows.append(row | estimate.row())
    return pd.DataFrame(rows).set_index(["reading", "k"])


def nearest(
    queries: Float[np.ndarray, "queries dim"], gallery: Float[np.ndarray, "gallery dim"], metric: Metric, count: int
) -> Int[np.ndarray, "queries {count}"]:
    """The `count` best rows of the gallery for each query, best first."""
    return np.argsort(-pairwise(queries, gallery, metric), axis=1, kind="stable")[:, :count]


def at_quantiles(ranks: Ranks, quantiles: Sequence[float]) -> Int[np.ndarray, "quantiles"]:
    """The queries at these quantiles of the rank of their true face, best first.

    So the examples of a figure are chosen by rule, not by eye.
    """
    order = np.argsort(ranks.expected, kind="stable")
    return order[np.round(np.asarray(quantiles) * (len(order) - 1)).astype(int)]

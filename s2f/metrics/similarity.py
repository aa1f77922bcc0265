"""Scores between embeddings, and the distance of a predicted embedding from the true one."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.spatial.distance import cdist

from s2f.metrics import bootstrap
from s2f.metrics.bootstrap import Column, Resampling
from s2f.study.numbers import finite
from s2f.study.paths import UserError

Features = Float[np.ndarray, "clips dim"]

# Scores tie when they are equal to so many significant bits, about nine digits.
BITS = 30


def angles(pred: Features, true: Features) -> Float[np.ndarray, "clips"]:
    """Angle in degrees between each prediction and its true embedding (90 where one of them is zero)."""
    finite(predicted_feature=pred, true_feature=true)
    return degrees((unit_rows(pred) * unit_rows(true)).sum(axis=1))


def degrees(cosine: np.ndarray) -> np.ndarray:
    """Angles of cosines, which may lie a rounding error outside [-1, 1]."""
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def feature_similarity(pred: Features, true: Features) -> pd.DataFrame:
    """Table 2 of the paper: mean and standard deviation over clips of the angle, L2 and L1 distance.

    Only the angle compares with the paper: L2 and L1 grow with the `scale`, the length of the true embedding, which the
    paper does not report.
    """
    error = pred.astype(float) - true
    columns = {
        "angle_deg": angles(pred, true),
        "l2": np.linalg.norm(error, axis=1),
        "l1": np.abs(error).sum(axis=1),
        "scale": np.linalg.norm(true.astype(float), axis=1),
    }
    return pd.DataFrame({name: {"mean": d.mean(), "sd": d.std()} for name, d in columns.items()}).T


def duration_curve(values: Mapping[float, Column], speakers: Column, resampling: Resampling) -> pd.DataFrame:
    """Mean of a per-clip value at each duration (seconds), and its paired difference from that at the longest."""
    estimates = {seconds: bootstrap.interval(values[seconds], speakers, resampling) for seconds in sorted(values)}
    longest = estimates[max(estimates)]
    rows = []
    for seconds, estimate in estimates.items():
        gap = bootstrap.difference(estimate, longest, resampling)
        paired = {"versus_longest": gap.value, "versus_low": gap.low, "versus_high": gap.high}
        rows.append({"seconds": seconds} | estimate.row() | paired)
    return pd.DataFrame(rows)


# The name of a distance, or a function of (queries, gallery) that scores each pair, larger when closer.
Metric = str | Callable[[np.ndarray, np.ndarray], np.ndarray]


def pairwise(
    queries: Float[np.ndarray, "queries dim"], gallery: Float[np.ndarray, "gallery dim"], metric: Metric
) -> Float[np.ndarray, "queries gallery"]:
    """Scores in float64, larger when closer: cosine, -L1, -squared L2 (same order as L2), or those of a callable.

    They are `rounded`, so that equal pairs have equal scores. Distances are sums over the differences of the pair, not
    products less lengths, whose error would grow with the lengths. UserError for any other metric, or for a feature or
    score that is not finite.
    """
    finite(query_feature=queries, gallery_feature=gallery)
    if callable(metric):
        return rounded(metric(queries, gallery))
    queries, gallery = queries.astype(float), gallery.astype(float)
    if metric == "cosine":
        return rounded_to_unit(unit_rows(queries) @ unit_rows(gallery).T)
    if metric == "l1":
        return rounded(-cdist(queries, gallery, "cityblock"))
    if metric == "l2":
        return rounded(-cdist(queries, gallery, "sqeuclidean"))
    raise UserError(f"The metric {metric!r} is not known: use l1, l2, cosine or a function of (queries, gallery).")


def paired(
    queries: Float[np.ndarray, "pairs dim"], faces: Float[np.ndarray, "pairs dim"], metric: str
) -> Float[np.ndarray, "pairs"]:
    """Scores, cosine or -squared L2, of each query with the face of its row, `rounded` as in `pairwise`."""
    queries, faces = queries.astype(float), faces.astype(float)
    if metric == "cosine":
        return rounded_to_unit((unit_rows(queries) * unit_rows(faces)).sum(axis=1))
    return rounded(-np.square(queries - faces).sum(axis=1))


def rounded(scores: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    """Scores to `BITS` significant bits of their own: how all ranks, matches and trials decide what ties.

    What is equal in exact arithmetic, but was summed in another order, is equal afterwards. The order of scores is
    kept, no other score counts, and rounding twice changes nothing. UserError for a score that is not finite.
    """
    finite(score=scores)
    dropped = 53 - BITS  # of the 53 significant bits of a number; a carry goes on into its exponent, as it should
    bits = np.ascontiguousarray(scores, dtype=float).view(np.int64)
    return ((bits + (1 << dropped - 1)) & -(1 << dropped)).view(float)


def rounded_to_unit(scores: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    """Scores to `BITS` bits after the point: of cosines and log-ratios, whose error does not shrink with them."""
    return np.round(np.ldexp(scores, BITS)) / 2.0**BITS


def unit_rows(features: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "n dim"]:
    """Rows of length one; a row of zeros stays zero and has cosine zero with everything."""
    features = features.astype(float)
    # By a power of two, which costs no digit: the squares of very long or short rows leave the range of numbers.
    exponent = np.frexp(np.abs(features).max(axis=1, keepdims=True, initial=0))[1]
    features = np.ldexp(features, -exponent)
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(length > 0, length, 1)

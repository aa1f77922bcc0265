"""Scores between embeddings, and the distance of a predicted embedding from the true one."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.spatial.distance import cdist

from s2f.metrics import bootstrap
from s2f.metrics.bootstrap import Column, Resampling
from s2f.study.paths import UserError

Features = Float[np.ndarray, "clips dim"]


def angles(pred: Features, true: Features) -> Float[np.ndarray, "clips"]:
    """Angle in degrees between each prediction and its true embedding (90 where one of them is zero)."""
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

    UserError for any other metric.
    """
    if callable(metric):
        return metric(queries, gallery)
    queries, gallery = queries.astype(float), gallery.astype(float)
    if metric == "cosine":
        return unit_rows(queries) @ unit_rows(gallery).T
    if metric == "l1":
        return -cdist(queries, gallery, "cityblock")
    if metric == "l2":
        centre = gallery.mean(axis=0)  # leaves distances alone, and the products below lose fewer digits
        queries, gallery = queries - centre, gallery - centre
        return 2 * queries @ gallery.T - np.square(queries).sum(1)[:, None] - np.square(gallery).sum(1)
    raise UserError(f"The metric {metric!r} is not known: use l1, l2, cosine or a function of (queries, gallery).")


def unit_rows(features: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "n dim"]:
    """Rows of length one; a row of zeros stays zero and has cosine zero with everything."""
    features = features.astype(float)
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(length > 0, length, 1)

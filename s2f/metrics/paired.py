"""Paired comparison of systems on the same voices and faces.

A system is a square table of scores, larger when closer: a row per voice, a column per face, the true pairs on the
diagonal. There is one row per person, so people are resampled as rows and columns at once.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from s2f.metrics import bootstrap, retrieval, similarity
from s2f.metrics.bootstrap import Estimate, Resampling

Scores = Float[np.ndarray, "people people"]


def scores(
    predicted: Float[np.ndarray, "people dim"], faces: Float[np.ndarray, "people dim"], metric: similarity.Metric = "l2"
) -> Scores:
    """The scores of a system that predicts the embedding of the face from each voice."""
    return similarity.pairwise(predicted, faces, metric)


def ranks(system: Scores) -> retrieval.Ranks:
    """Rank each voice's true face among all faces."""
    return retrieval.ranks_from_scores(system, np.arange(len(system)))


def matching(
    systems: Mapping[str, Scores],
    reference: str,
    resampling: Resampling,
    strata: pd.DataFrame | None = None,
    allowed: Bool[np.ndarray, "people people"] | None = None,
) -> pd.DataFrame:
    """1:2 matching: how often the true face beats another, ties half, and its paired `difference` from `reference`.

    Args:
        systems: scores by name.
        reference: the system that the others are compared with.
        resampling: how intervals are made; both people of a pair are resampled.
        strata: labels of the people, a column for each stratum; nobody shares a missing label.
        allowed: which faces (columns) may be offered to each voice; None: all.

    Returns:
        One row per system (`arm`) and kind of opponents (`others`): anybody, or people with the same label.
    """
    people = len(systems[reference])
    anybody = np.ones((people, people), dtype=bool) if allowed is None else allowed
    offered = {"anybody": anybody & ~np.eye(people, dtype=bool)}
    for name in () if strata is None else strata:
        label = strata[name].to_numpy()
        same = (label[:, None] == label) & pd.notna(label)
        offered[f"same {name.replace('_', ' ')}"] = offered["anybody"] & same
    rows = []
    for others, pairs in offered.items():
        arms = {arm: _matching(system, pairs, resampling) for arm, system in systems.items()}
        rows += _beside(arms, reference, resampling, {"others": others, "chance": 0.5})
    return pd.DataFrame(rows)


def _matching(system: Scores, offered: Bool[np.ndarray, "people people"], resampling: Resampling) -> Estimate:
    voices = offered.any(axis=1)
    weight = offered / np.maximum(offered.sum(axis=1, keepdims=True), 1)  # every voice has weight one
    system = similarity.rounded(system)
    own = np.diagonal(system)[:, None]
    won = (system < own) + (system == own) / 2
    return bootstrap.crossed(won * weight, weight, int(voices.sum()), resampling)


def recall(
    systems: Mapping[str, Scores], reference: str, ks: Sequence[int], size: int, resampling: Resampling
) -> pd.DataFrame:
    """R@K in galleries of `size` faces, and its paired `difference` from `reference`: one row per k and `arm`."""
    return _hits(systems, reference, [(k, size, {"k": k, "size": size, "chance": k / size}) for k in ks], resampling)


def choice(systems: Mapping[str, Scores], reference: str, sizes: Sequence[int], resampling: Resampling) -> pd.DataFrame:
    """1:N matching: how often the true face is the best of N; one row per n and `arm`."""
    return _hits(systems, reference, [(1, n, {"n": n, "chance": 1 / n}) for n in sizes], resampling)


def _hits(
    systems: Mapping[str, Scores], reference: str, galleries: Iterable[tuple[int, int, dict]], resampling: Resampling
) -> pd.DataFrame:
    """The true face is among the first `items` of `size`, for (items, size, columns); only voices are resampled."""
    ranked = {arm: ranks(system) for arm, system in systems.items()}
    people, rows = np.arange(len(systems[reference])), []
    for items, size, columns in galleries:
        hits = {arm: retrieval.recall_at(found, items, size) for arm, found in ranked.items()}
        arms = {arm: bootstrap.interval(values, people, resampling, share=True) for arm, values in hits.items()}
        rows += _beside(arms, reference, resampling, columns)
    return pd.DataFrame(rows)


def _beside(arms: Mapping[str, Estimate], reference: str, resampling: Resampling, columns: dict) -> list[dict]:
    """Rows of estimates with their paired difference from the reference arm."""
    return [
        columns
        | {"arm": arm}
        | estimate.row()
        | bootstrap.difference(estimate, arms[reference], resampling).row("difference")
        for arm, estimate in arms.items()
    ]

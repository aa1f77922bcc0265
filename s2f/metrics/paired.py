"""Systems compared on the same voices and the same faces: every difference is taken pair by pair.

A system is a table of scores, a row a voice and a column a face, larger when closer; a voice and its face have the same
number. There is one row a person, so people are resampled as rows and columns at once.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from s2f.metrics import bootstrap, retrieval, similarity
from s2f.metrics.bootstrap import Column, Estimate, Resampling
from s2f.study import paths

Scores = Float[np.ndarray, "people people"]


def scores(
    heard: Float[np.ndarray, "people dim"], faces: Float[np.ndarray, "people dim"], metric: similarity.Metric = "l2"
) -> Scores:
    """The scores of a system that says of each voice what its face is like."""
    return similarity.pairwise(heard, faces, metric)


def placed(system: Scores) -> retrieval.Ranks:
    """Rank each voice's own face among all faces."""
    return retrieval.ranks_from_scores(system, np.arange(len(system)))


def matching(
    systems: Mapping[str, Scores],
    reference: str,
    resampling: Resampling,
    strata: pd.DataFrame | None = None,
    allowed: Bool[np.ndarray, "people people"] | None = None,
) -> pd.DataFrame:
    """1:2 matching: how often the own face beats another's, ties half, and how much more often than with `reference`.

    Rows (`others`, `arm`): against anybody, and against people who share the label in a column of `strata`, None with
    nobody. `allowed` are the faces that may be offered to a voice. Voices and faces are resampled together.
    """
    people = len(systems[reference])
    anybody = np.ones((people, people), dtype=bool) if allowed is None else allowed
    offered = {"anybody": anybody & ~np.eye(people, dtype=bool)}
    for name in () if strata is None else strata:
        label = strata[name].to_numpy()
        same = (label[:, None] == label) & pd.notna(label)
        offered[f"same {name.replace('_', ' ')}"] = offered["anybody"] & same
    rows = []
    for others, there in offered.items():
        arms = {arm: _matching(system, there, resampling) for arm, system in systems.items()}
        rows += _beside(arms, reference, resampling, {"others": others, "chance": 0.5})
    return pd.DataFrame(rows)


def _matching(system: Scores, offered: Bool[np.ndarray, "people people"], resampling: Resampling) -> Estimate:
    voices = offered.any(axis=1)
    weight = offered / np.maximum(offered.sum(axis=1, keepdims=True), 1)  # every voice counts once
    own = np.diagonal(system)[:, None]
    won = (system < own) + (system == own) / 2
    return bootstrap.crossed(won * weight, weight, int(voices.sum()), resampling)


def recall(
    systems: Mapping[str, Scores], reference: str, ks: Sequence[int], size: int, resampling: Resampling
) -> pd.DataFrame:
    """R@K in galleries of `size` (all faces: their number), and how much better than `reference`; rows (`k`, `arm`)."""
    places = {arm: placed(system) for arm, system in systems.items()}
    rows = []
    for k in ks:
        hits = {arm: retrieval.recall_at(ranks, k, size) for arm, ranks in places.items()}
        rows += _voices(hits, reference, resampling, {"k": k, "size": size, "chance": k / size})
    return pd.DataFrame(rows)


def choice(systems: Mapping[str, Scores], reference: str, sizes: Sequence[int], resampling: Resampling) -> pd.DataFrame:
    """1:N matching: how often the own face is the best of N; rows (`n`, `arm`)."""
    places = {arm: placed(system) for arm, system in systems.items()}
    rows = []
    for size in sizes:
        hits = {arm: retrieval.recall_at(ranks, 1, size) for arm, ranks in places.items()}
        rows += _voices(hits, reference, resampling, {"n": size, "chance": 1 / size})
    return pd.DataFrame(rows)


def _voices(hits: Mapping[str, Column], reference: str, resampling: Resampling, common: dict) -> list[dict]:
    """Rows of shares a voice: only voices are resampled."""
    who = np.arange(len(hits[reference]))
    arms = {arm: bootstrap.interval(values, who, resampling, share=True) for arm, values in hits.items()}
    return _beside(arms, reference, resampling, common)


def _beside(arms: Mapping[str, Estimate], reference: str, resampling: Resampling, common: dict) -> list[dict]:
    rows = []
    for arm, estimate in arms.items():
        more = bootstrap.combine(np.subtract, estimate, arms[reference], resampling=resampling)
        rows.append(common | {"arm": arm} | estimate.row() | more.row("difference"))
    return rows


nested = paths.nested  # until the notebooks call it by its own name

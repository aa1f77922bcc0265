"""Craniofacial measures of drawn against true faces: Fig. 5(c) of the paper."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from s2f.metrics import bootstrap
from s2f.metrics.bootstrap import Column, Resampling
from s2f.metrics.ceiling import shares
from s2f.study.numbers import finite

Measures = Float[np.ndarray, "clips measures"]


def craniofacial(
    true: Measures,
    drawn: Measures,
    names: Sequence[str],
    speakers: Column,
    resampling: Resampling,
    strata: Column | None = None,
    permutations: int = 999,
    best: Measures | None = None,
) -> pd.DataFrame:
    """Fig. 5(c) of the paper: Pearson's r of each measure, true against drawn faces.

    p values are from permutations: each speaker's drawings get the true measures of a random speaker (of the same
    stratum).

    Args:
        true: measures of the true face of each clip.
        drawn: measures of the drawn face of each clip.
        names: names of the measures.
        speakers: who speaks in each clip.
        resampling: how intervals are made; they are pointwise unless it is simultaneous.
        strata: label of each clip, or None; with labels there are rows for r within strata as well.
        permutations: number of permutations.
        best: measures that the ideal observer expects, or None.

    Returns:
        One row per measure and view (`speakers`: "all" or "within"): `r` with interval; `random`, the mean |r| of
        permuted pairs, and `random_p95`, its 95th percentile; `p`, and `p_adjusted` for all measures; with `best`, the
        columns of `ceiling.shares`.
    """
    index = bootstrap.number_speakers(speakers, true=true, drawn=drawn)
    finite(true_measure=true, drawn_measure=drawn)
    everybody = np.zeros(len(true), dtype=int)
    views = {"all": everybody}
    if strata is not None:
        views["within"] = np.unique(np.asarray(strata), return_inverse=True)[1]
    rows = []
    for view, stratum in views.items():
        x, y = (demeaned(side, stratum) for side in (true, drawn))
        null = np.abs(_random_pairs(x, y, index, stratum, permutations, resampling.seed))
        for column, name in enumerate(names):
            estimate = bootstrap.correlation(x[:, column], y[:, column], speakers, resampling)
            size = abs(estimate.value) - bootstrap.NO_VARIANCE  # equal up to rounding counts as reached
            row = {
                "p": (1 + (null[:, column] >= size).sum()) / (1 + permutations),
                "p_adjusted": (1 + (null.max(axis=1) >= size).sum()) / (1 + permutations),
                "random": null[:, column].mean(),
                "random_p95": np.quantile(null[:, column], 0.95),
            }
            if best is not None:
                expected = demeaned(best[:, column], stratum)
                ceiling = bootstrap.correlation(x[:, column], expected, speakers, resampling)
                row |= shares(estimate, 0.0, ceiling, resampling)
            rows.append({"measure": name, "speakers": view} | estimate.row() | row)
    return pd.DataFrame(rows).rename(columns={"value": "r"})


def demeaned(values: Float[np.ndarray, "clips *columns"], strata: Int[np.ndarray, "clips"]) -> np.ndarray:
    """The values less the mean of their stratum."""
    values = values.astype(float)
    means = np.stack([values[strata == stratum].mean(axis=0) for stratum in range(strata.max() + 1)])
    return values - means[strata]


def _random_pairs(
    x: Measures,
    y: Measures,
    index: bootstrap.Speakers,
    strata: Int[np.ndarray, "clips"],
    permutations: int,
    seed: int,
) -> Float[np.ndarray, "permutations measures"]:
    """r of each measure when clips keep their y and take the mean x of a random speaker of the same stratum."""
    rng = np.random.default_rng(seed)
    per_speaker = np.stack([np.bincount(index.codes, c, index.count) for c in x.T], axis=1)
    per_speaker /= np.bincount(index.codes)[:, None]
    stratum_of = np.zeros(index.count, dtype=int)
    stratum_of[index.codes] = strata
    by_stratum = np.argsort(stratum_of, kind="stable")
    rs = np.empty((permutations, x.shape[1]))
    unit_y = np.stack([bootstrap.standardised(c) for c in y.T], axis=1)
    for i in range(permutations):
        # Sorting by stratum with random ties pairs speakers at random inside each stratum.
        partner = np.empty(index.count, dtype=int)
        partner[by_stratum] = np.lexsort((rng.random(index.count), stratum_of))
        shuffled = per_speaker[partner][index.codes]
        spread = shuffled.std(axis=0)
        rs[i] = (shuffled * unit_y).mean(axis=0) / np.where(spread > 0, spread, 1)
    return rs

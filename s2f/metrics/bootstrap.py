"""Confidence intervals that resample speakers, because the clips of one speaker are not independent observations.

A replicate gives each speaker a weight: how often a draw with replacement picked them. Most statistics are functions of
weighted sums, so one matrix product of weights and per-speaker sums makes all replicates.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped
from scipy.stats import t as student_t

from s2f.study.numbers import finite
from s2f.study.paths import UserError

Column = Shaped[np.ndarray, "clips"] | pd.Series
Statistic = Callable[[Float[np.ndarray, "replicates speakers"]], Float[np.ndarray, "replicates"]]

# With fewer speakers percentile intervals are too narrow (85 % real coverage at 5 speakers, 91 % at 10).
PERCENTILE_SPEAKERS = 30
# Numbers held at once by one block of replicates: 32 MB of float64.
BLOCK_CELLS = 2**22
# A standardised variable with less variance than this is constant up to rounding.
NO_VARIANCE = 1e-12


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """How intervals are made: coverage `level`, simultaneous over `family` intervals (Bonferroni)."""

    seed: int
    replicates: int = 10_000
    level: float = 0.95
    family: int = 1

    @property
    def tail(self) -> float:
        """Probability beyond each end of one interval."""
        return (1 - self.level) / self.family / 2

    def simultaneous(self, family: int) -> "Resampling":
        """The same, for `family` intervals that cover simultaneously."""
        return replace(self, family=family)


@dataclass(frozen=True)
class Estimate:
    """A value with its interval and its replicates (for "cluster-t", its values with one speaker left out)."""

    value: float
    low: float
    high: float
    n_clips: int
    n_speakers: int
    method: str
    resampled: Float[np.ndarray, "replicates"] = field(repr=False, compare=False)

    def row(self, name: str | None = None) -> dict[str, float | int]:
        """The columns of a results table: value, low, high, n_clips, n_speakers; or `name`, `name`_low, `name`_high."""
        if name is not None:
            return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}
        return {key: getattr(self, key) for key in ("value", "low", "high", "n_clips", "n_speakers")}


class Speakers(NamedTuple):
    """Speaker numbers in sorted order, so that results do not depend on the order of the rows."""

    codes: Int[np.ndarray, "clips"]
    count: int


def number_speakers(speakers: Column, **columns: np.ndarray | pd.Series | pd.DataFrame) -> Speakers:
    """Number the speakers; UserError if there are none or another column has a different length."""
    if len(speakers) == 0:
        raise UserError("No clips are left for a statistic: check the filters before this step.")
    for name, column in columns.items():
        if len(column) != len(speakers):
            raise UserError(f"{name} has {len(column)} rows, speakers {len(speakers)}: pass one row per clip.")
    names, codes = np.unique(np.asarray(speakers), return_inverse=True)
    return Speakers(codes, len(names))


def bootstrap(statistic: Statistic, n_clips: int, n_speakers: int, resampling: Resampling, width: int = 0) -> Estimate:
    """Interval of any statistic of speaker weights: percentile from 30 speakers on, jackknife-t below.

    Args:
        statistic: maps each row of speaker weights to a value, NaN where undefined (such replicates are left out).
        n_clips: number of clips, as the estimate reports it.
        n_speakers: number of speakers, the columns of the weights.
        resampling: seed, replicates and coverage.
        width: numbers that `statistic` holds at once for each row, if more than one per speaker.
    """
    value = float(statistic(np.ones((1, n_speakers)))[0])
    if n_speakers < PERCENTILE_SPEAKERS:
        method, resampled = "cluster-t", statistic(1 - np.eye(n_speakers))
    else:
        method = "percentile"
        blocks = weight_blocks(n_speakers, resampling, max(width, n_speakers))
        resampled = np.concatenate([statistic(weights) for weights in blocks])
    low, high = _ends(value, resampled, method, resampling)
    return Estimate(value, low, high, n_clips, n_speakers, method, resampled)


def weight_blocks(
    n_speakers: int, resampling: Resampling, width: int
) -> Iterator[Float[np.ndarray, "replicates {n_speakers}"]]:
    """Multinomial speaker weights in blocks; the draws do not depend on the block size.

    Weights that fit into one block are kept: a study makes hundreds of intervals from the same ones.
    """
    rows = max(1, BLOCK_CELLS // width)
    if resampling.replicates * n_speakers <= BLOCK_CELLS:
        kept = _kept_weights(n_speakers, resampling.seed, resampling.replicates)
        yield from (kept[start : start + rows] for start in range(0, len(kept), rows))
        return
    rng = np.random.default_rng(resampling.seed)
    for start in range(0, resampling.replicates, rows):
        yield _weights(rng, min(rows, resampling.replicates - start), n_speakers)


@lru_cache(maxsize=8)
def _kept_weights(n_speakers: int, seed: int, replicates: int) -> Float[np.ndarray, "{replicates} {n_speakers}"]:
    weights = _weights(np.random.default_rng(seed), replicates, n_speakers)
    weights.flags.writeable = False
    return weights


def _weights(rng: np.random.Generator, rows: int, n_speakers: int) -> Float[np.ndarray, "{rows} {n_speakers}"]:
    """How often each speaker is picked by as many draws with replacement as there are speakers."""
    picks = rng.integers(0, n_speakers, (rows, n_speakers)) + n_speakers * np.arange(rows)[:, None]
    counts = np.bincount(picks.ravel(), minlength=rows * n_speakers)
    return counts.reshape(rows, n_speakers).astype(float)


def _ends(
    value: float, resampled: Float[np.ndarray, "replicates"], method: str, resampling: Resampling
) -> tuple[float, float]:
    """Low and high end of an interval; NaN with fewer than two replicates."""
    exists = resampled[~np.isnan(resampled)]
    if len(exists) < 2:
        return float("nan"), float("nan")
    if method == "percentile":
        low, high = np.quantile(exists, [resampling.tail, 1 - resampling.tail])
        return float(low), float(high)
    n = len(exists)
    standard_error = np.sqrt((n - 1) * exists.var())
    half = student_t.ppf(1 - resampling.tail, n - 1) * standard_error
    return float(value - half), float(value + half)


def from_sums(
    columns: Float[np.ndarray, "clips columns"],
    function: Callable[[Float[np.ndarray, "replicates columns"]], Float[np.ndarray, "replicates"]],
    speakers: Column,
    resampling: Resampling,
) -> Estimate:
    """Interval of a function of sums over clips: a mean, a ratio, a correlation, a slope.

    UserError for a value that is not finite: leave such clips out.
    """
    index = number_speakers(speakers, columns=columns)
    finite(value=columns)
    sums = np.stack([np.bincount(index.codes, column, index.count) for column in columns.T], axis=1)
    return bootstrap(lambda weights: function(weights @ sums), len(columns), index.count, resampling)


def interval(
    values: Column,
    speakers: Column,
    resampling: Resampling,
    weights: Column | None = None,
    share: bool = False,
) -> Estimate:
    """Mean over clips.

    Args:
        values: one value per clip.
        speakers: who speaks in each clip.
        resampling: seed, replicates and coverage.
        weights: weight of each clip; None: all alike.
        share: the values lie in [0, 1]. The interval is cut there; if all values are 0 or all are 1, where resampling
            has no spread, its far end is the exact binomial bound with speakers as trials.
    """
    values = np.asarray(values, dtype=float)
    weights = np.ones_like(values) if weights is None else np.asarray(weights, dtype=float)
    estimate = ratio(values * weights, weights, speakers, resampling)
    if not share:
        return estimate
    bound = resampling.tail ** (1 / estimate.n_speakers)
    low = bound if estimate.value == 1 else max(estimate.low, 0.0)
    high = 1 - bound if estimate.value == 0 else min(estimate.high, 1.0)
    return replace(estimate, low=low, high=high)


def ratio(numerator: Column, denominator: Column, speakers: Column, resampling: Resampling) -> Estimate:
    """Ratio of two sums over clips; NaN where the denominator is zero."""
    columns = np.stack([np.asarray(side, dtype=float) for side in (numerator, denominator)], axis=1)
    return from_sums(columns, _ratio, speakers, resampling)


def _ratio(sums: Float[np.ndarray, "replicates 2"]) -> Float[np.ndarray, "replicates"]:
    return sums[:, 0] / np.where(sums[:, 1] == 0, np.nan, sums[:, 1])


def correlation(x: Column, y: Column, speakers: Column, resampling: Resampling) -> Estimate:
    """Pearson's r over clips; 0 where a side is constant."""
    return from_sums(_moments(x, y), _pearson, speakers, resampling)


def slope(x: Column, y: Column, speakers: Column, resampling: Resampling) -> Estimate:
    """Slope of the least-squares line of y on x over clips; NaN where x is constant."""
    scale = _spread(y) / (_spread(x) or np.nan)
    return from_sums(_moments(x, y), lambda sums: scale * _unit_slope(sums), speakers, resampling)


def variance_ratio(x: Column, y: Column, speakers: Column, resampling: Resampling) -> Estimate:
    """Var(y) / Var(x) over clips; NaN where x is constant."""
    scale = (_spread(y) / (_spread(x) or np.nan)) ** 2

    def ratio(sums: Float[np.ndarray, "replicates 6"]) -> Float[np.ndarray, "replicates"]:
        var_x, var_y, _ = _second_moments(sums)
        return scale * _ratio(np.stack([var_y, var_x], axis=1))

    return from_sums(_moments(x, y), ratio, speakers, resampling)


def _spread(values: Column) -> float:
    return float(np.asarray(values, dtype=float).std())


def _moments(x: Column, y: Column) -> Float[np.ndarray, "clips 6"]:
    """Columns 1, x, y, xx, yy, xy of the standardised variables: centred first, or the sums would cancel."""
    finite(x=x, y=y)
    x, y = (standardised(np.asarray(side, dtype=float)) for side in (x, y))
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)


def standardised(values: Float[np.ndarray, "clips"]) -> Float[np.ndarray, "clips"]:
    """The values with zero mean and unit variance; all zero if they are constant."""
    centred = values - values.mean()
    spread = centred.std()
    return centred / spread if spread > NO_VARIANCE * np.abs(values).max() else np.zeros_like(values)


def _second_moments(sums: Float[np.ndarray, "replicates 6"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Variances of x and y and their covariance, from sums of 1, x, y, xx, yy, xy."""
    _, x, y, xx, yy, xy = (sums / sums[:, :1]).T
    return xx - x * x, yy - y * y, xy - x * y


def _pearson(sums: Float[np.ndarray, "replicates 6"]) -> Float[np.ndarray, "replicates"]:
    var_x, var_y, cov = _second_moments(sums)
    constant = (var_x < NO_VARIANCE) | (var_y < NO_VARIANCE)
    return np.where(constant, 0.0, cov / np.sqrt(np.where(constant, 1.0, var_x * var_y)))


def _unit_slope(sums: Float[np.ndarray, "replicates 6"]) -> Float[np.ndarray, "replicates"]:
    var_x, _, cov = _second_moments(sums)
    return _ratio(np.stack([cov, var_x], axis=1))


def auc(
    scores: Column, positive: Column, speakers: Column, resampling: Resampling, strata: Column | None = None
) -> Estimate:
    """Area under the ROC curve, ties counting half; with `strata`, over pairs of clips in the same stratum."""
    index = number_speakers(speakers, scores=scores, positive=positive)
    scores, positive = np.asarray(scores, dtype=float), np.asarray(positive, dtype=bool)
    finite(score=scores)
    strata = np.zeros(len(scores)) if strata is None else np.asarray(strata)
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]

    def statistic(weights: Float[np.ndarray, "replicates speakers"]) -> Float[np.ndarray, "replicates"]:
        clips = weights[:, index.codes]
        parts = [pair_wins(scores[rows], positive[rows], clips[:, rows]) for rows in members]
        return _ratio(np.sum(parts, axis=0))

    return bootstrap(statistic, len(scores), index.count, resampling, width=len(scores))


def pair_wins(
    scores: Float[np.ndarray, "clips"],
    positive: Shaped[np.ndarray, "clips"],
    weights: Float[np.ndarray, "r clips"],
) -> Float[np.ndarray, "r 2"]:
    """Weighted count of (positive, negative) pairs in which the positive scores higher, ties half; and of all pairs."""
    above, below = weights_by_score(scores, positive, weights)
    beaten = np.cumsum(below, axis=1) - below / 2
    return np.stack([(above * beaten).sum(axis=1), above.sum(axis=1) * below.sum(axis=1)], axis=1)


def weights_by_score(
    scores: Float[np.ndarray, "clips"],
    positive: Shaped[np.ndarray, "clips"],
    weights: Float[np.ndarray, "r clips"],
) -> tuple[Float[np.ndarray, "r distinct"], Float[np.ndarray, "r distinct"]]:
    """Total weight of the positives and of the negatives at each distinct score, lowest first."""
    order = np.argsort(scores, kind="stable")
    starts = np.unique(scores[order], return_index=True)[1]
    ordered, truth = weights[:, order], positive[order]
    positives, negatives = (np.add.reduceat(ordered * side, starts, axis=1) for side in (truth, ~truth))
    return positives, negatives


def equal_error_rate(
    matched: Float[np.ndarray, "r distinct"], unmatched: Float[np.ndarray, "r distinct"]
) -> Float[np.ndarray, "r"]:
    """Rate at which false acceptance equals false rejection, on straight lines between the points of the ROC curve.

    Takes the weights of matched and unmatched trials from `weights_by_score`.
    """
    with np.errstate(invalid="ignore"):
        rejected, accepted = (np.cumsum(w, axis=1) / w.sum(axis=1, keepdims=True) for w in (matched, unmatched))
    start = np.zeros((len(rejected), 1))
    rejected, accepted = np.hstack([start, rejected]), 1 - np.hstack([start, accepted])
    gap = rejected - accepted  # rises from -1 to 1
    after = np.argmax(gap >= 0, axis=1)
    rows, before = np.arange(len(gap)), after - 1
    step = gap[rows, before] / (gap[rows, before] - gap[rows, after])
    return rejected[rows, before] + step * (rejected[rows, after] - rejected[rows, before])


def crossed(
    total: Float[np.ndarray, "speakers speakers"],
    count: Float[np.ndarray, "speakers speakers"],
    n_clips: int,
    resampling: Resampling,
) -> Estimate:
    """Mean over trials between two speakers, both of whom are resampled: a trial weighs w[query] w[other].

    Args:
        total: sum of the outcomes of the trials with the voice of each speaker (row) and the face of each (column).
        count: number of those trials.
        n_clips: number of clips, as the estimate reports it.
        resampling: seed, replicates and coverage.
    """

    def statistic(weights: Float[np.ndarray, "replicates speakers"]) -> Float[np.ndarray, "replicates"]:
        sums = [((weights @ part) * weights).sum(axis=1) for part in (total, count)]
        return _ratio(np.stack(sums, axis=1))

    return bootstrap(statistic, n_clips, len(total), resampling)


def combine(function: Callable[..., float | np.ndarray], *parts: Estimate, resampling: Resampling) -> Estimate:
    """Estimate of a function of estimates, resampled together, so that what they share cancels.

    UserError unless all were made from the same number of speakers and replicates.
    """
    first = parts[0]
    for part in parts[1:]:
        if (part.n_speakers, len(part.resampled)) != (first.n_speakers, len(first.resampled)):
            raise UserError(
                f"Estimates over {first.n_speakers} and {part.n_speakers} speakers cannot be combined:"
                " make them from the same speakers with the same resampling."
            )
    value = float(function(*(part.value for part in parts)))
    resampled = np.asarray(function(*(part.resampled for part in parts)))
    low, high = _ends(value, resampled, first.method, resampling)
    return Estimate(value, low, high, first.n_clips, first.n_speakers, first.method, resampled)


def difference(estimate: Estimate, reference: Estimate, resampling: Resampling) -> Estimate:
    """`estimate` less `reference`, paired: both are resampled together."""
    return combine(np.subtract, estimate, reference, resampling=resampling)


def against(values: Mapping[str, Column], reference: str, speakers: Column, resampling: Resampling) -> pd.DataFrame:
    """Mean of a per-clip value in each arm (row), and its paired `difference` (with interval) from the reference."""
    estimates = {name: interval(column, speakers, resampling) for name, column in values.items()}
    rows = {
        name: estimate.row() | difference(estimate, estimates[reference], resampling).row("difference")
        for name, estimate in estimates.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")

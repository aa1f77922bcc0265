"""Probes of the predicted embedding: negative controls, and dose-response experiments.

In a dose-response experiment each speaker is recorded at several doses of one change (pitch, vocal-tract length), all
else equal, so that speakers are compared with themselves. `world` is the expected true face given the changed voice:
the response of an ideal observer.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.preprocessing import StandardScaler

from s2f.metrics import bootstrap
from s2f.metrics.attributes import PENALTIES
from s2f.metrics.bootstrap import Column, Estimate, Resampling
from s2f.metrics.craniofacial import demeaned
from s2f.metrics.similarity import Features
from s2f.study.numbers import finite
from s2f.study.paths import UserError


def negative_controls(
    features: Features,
    labels: pd.DataFrame,
    speakers: Column,
    train: Bool[np.ndarray, "clips"],
    resampling: Resampling,
    strata: Column | None = None,
    dims: int = 32,
) -> pd.DataFrame:
    """Linear probes for labels that no voice carries: each must be at chance.

    Args:
        features: predicted embedding of each clip.
        labels: a column per probe; missing labels are left out.
        speakers: who speaks in each clip; nobody in both training and test clips (UserError).
        train: the training clips; the others are tested.
        resampling: how intervals are made, with simultaneous coverage over all probes.
        strata: label of each clip, or None: only clips of one stratum are compared, for labels that go with sex or age.
        dims: principal directions of the embedding that the probes see.

    Returns:
        One row per label (`control`): `metric` "auc" for two labels or "r" (Pearson) for numbers, chance, estimate,
        `bound` (the largest distance from chance inside the interval) and `at_chance`.
    """
    finite(predicted_feature=features)
    speakers = np.asarray(speakers)
    shared = set(speakers[train]) & set(speakers[~train])
    if shared:
        raise UserError(f"Speaker {sorted(shared)[0]} is on both sides of the split: split by speaker.")
    together = resampling.simultaneous(labels.shape[1])
    strata = np.zeros(len(speakers)) if strata is None else np.asarray(strata)
    seen = _principal(features, train, dims)
    rows = []
    for name in labels:
        known = labels[name].notna().to_numpy()
        fitted, tested = train & known, ~train & known
        kind, chance, estimate = _probe(seen, labels[name], fitted, tested, speakers, strata, together)
        bound = max(abs(estimate.low - chance), abs(estimate.high - chance))
        passed = bool(estimate.low <= chance <= estimate.high)
        rows.append(
            {"control": name, "metric": kind, "chance": chance} | estimate.row() | {"bound": bound, "at_chance": passed}
        )
    return pd.DataFrame(rows)


def _principal(features: Features, train: Bool[np.ndarray, "clips"], dims: int) -> Float[np.ndarray, "clips kept"]:
    """Standardised embeddings in `dims` principal directions of the training clips."""
    if not np.ptp(features[train], axis=0).any():
        return np.zeros((len(features), 1))  # nothing varies: there are no principal directions
    scaled = StandardScaler().fit(features[train].astype(float)).transform(features.astype(float))
    return PCA(min(dims, *scaled[train].shape), random_state=0).fit(scaled[train]).transform(scaled)


def _probe(
    seen: Float[np.ndarray, "clips kept"],
    label: pd.Series,
    fitted: Bool[np.ndarray, "clips"],
    tested: Bool[np.ndarray, "clips"],
    speakers: np.ndarray,
    strata: np.ndarray,
    resampling: Resampling,
) -> tuple[str, float, Estimate]:
    values = label[fitted | tested].unique()
    if len(values) == 2:
        positive = (label == max(values)).to_numpy()
        probe = LogisticRegression(C=0.1, max_iter=2000).fit(seen[fitted], positive[fitted])
        scores = probe.decision_function(seen[tested])
        return "auc", 0.5, bootstrap.auc(scores, positive[tested], speakers[tested], resampling, strata[tested])
    if not pd.api.types.is_numeric_dtype(label):
        raise UserError(f"The control {label.name} has {len(values)} labels: pass one 0/1 column per label.")
    truth = label.to_numpy(float)
    guess = RidgeCV(PENALTIES).fit(seen[fitted], truth[fitted]).predict(seen[tested])
    stratum = np.unique(strata[tested], return_inverse=True)[1]
    x, y = (demeaned(side, stratum) for side in (truth[tested], guess))
    return "r", 0.0, bootstrap.correlation(x, y, speakers[tested], resampling)


def dose_curve(
    by: pd.DataFrame,
    values: Column,
    speakers: Column,
    resampling: Resampling,
    share: bool = False,
    world: Column | None = None,
) -> pd.DataFrame:
    """Mean of a per-clip value in each combination of the columns of `by` (dose, sex ...), with pointwise intervals.

    `share`: the values lie in [0, 1]; `world`: expected value of each clip, whose mean is a column.
    """
    values, speakers = np.asarray(values, dtype=float), np.asarray(speakers)
    rows = []
    for key, at in _parts(by):
        row = key | bootstrap.interval(values[at], speakers[at], resampling, share=share).row()
        rows.append(row if world is None else row | {"world": np.asarray(world)[at].mean()})
    return pd.DataFrame(rows)


def crossings(
    by: pd.DataFrame, doses: Column, values: Column, level: float, speakers: Column, resampling: Resampling
) -> pd.DataFrame:
    """Dose at which the mean of a per-clip value has risen to `level`, in each combination of the columns of `by`.

    Interpolated between doses. A curve that starts above the level gives the smallest dose, one that never reaches it
    the largest (`reached` is false): read either as a bound. UserError unless every speaker has every dose.
    """
    doses, values, speakers = (np.asarray(column) for column in (doses, values, speakers))
    rows = []
    for key, at in _parts(by):
        estimate = _crossing(doses[at], values[at].astype(float), level, speakers[at], resampling)
        reached = pd.Series(values[at]).groupby(doses[at]).mean().max() >= level
        rows.append(key | estimate.row() | {"reached": bool(reached)})
    return pd.DataFrame(rows)


def _parts(by: pd.DataFrame) -> Iterator[tuple[dict, Int[np.ndarray, "clips"]]]:
    """Each combination of the columns of `by` that occurs, with its rows."""
    for key, at in by.groupby(list(by.columns)).indices.items():
        yield dict(zip(by.columns, key if isinstance(key, tuple) else (key,), strict=True)), at


def _crossing(
    doses: np.ndarray, values: np.ndarray, level: float, speakers: np.ndarray, resampling: Resampling
) -> Estimate:
    steps, at = np.unique(doses, return_inverse=True)
    given = np.eye(len(steps))[at]
    _check_complete(speakers, doses, "doses")

    def first(sums: Float[np.ndarray, "replicates columns"]) -> Float[np.ndarray, "replicates"]:
        totals, counts = np.split(sums, 2, axis=1)
        means = totals / counts
        risen = means >= level
        after = np.where(risen.any(axis=1), risen.argmax(axis=1), len(steps) - 1)
        before, rows = np.maximum(after - 1, 0), np.arange(len(means))
        low, high = means[rows, before], means[rows, after]
        part = (level - low) / np.where(high > low, high - low, 1)
        part = np.where(risen[rows, after], part, 1).clip(0, 1)
        return steps[before] + part * (steps[after] - steps[before])

    columns = np.hstack([given * values[:, None], given])
    return bootstrap.from_sums(columns, first, speakers, resampling)


def within_slope(
    x: Float[np.ndarray, "clips *columns"],
    y: Float[np.ndarray, "clips *columns"],
    speakers: Column,
    resampling: Resampling,
) -> Estimate:
    """Common slope of y on x within speakers (and columns), by least squares; NaN if x never changes within one."""
    codes = bootstrap.number_speakers(speakers, x=x, y=y).codes
    finite(x=x, y=y)
    x, y = (demeaned(side, codes).reshape(len(codes), -1) for side in (x, y))
    return bootstrap.ratio((x * y).sum(axis=1), (x * x).sum(axis=1), speakers, resampling)


def followed(
    axes: Column, responses: pd.DataFrame, world: pd.DataFrame, speakers: Column, resampling: Resampling
) -> pd.DataFrame:
    """Common slope of all responses on their expected values (`world`) within speakers, on each of the `axes`.

    1: they follow; below 1: they move too little; 0: they do not respond.
    """
    (x, y), speakers = (table.to_numpy(float) for table in (world, responses)), np.asarray(speakers)
    return pd.DataFrame(
        key | within_slope(x[at], y[at], speakers[at], resampling).row()
        for key, at in _parts(pd.DataFrame({"axis": np.asarray(axes)}))
    )


def dose_slopes(
    axes: Column,
    doses: Column,
    responses: pd.DataFrame,
    speakers: Column,
    resampling: Resampling,
    world: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Change of each response (column) per unit of dose within speakers, on each of the `axes`.

    Intervals have simultaneous coverage over the responses of an axis (Bonferroni); `moves` where they exclude 0.
    `world` has the expected responses of the same clips; their slope is a column.
    """
    doses, speakers = np.asarray(doses, dtype=float), np.asarray(speakers)
    together = resampling.simultaneous(responses.shape[1])
    rows = []
    for (key, at), name in product(_parts(pd.DataFrame({"axis": np.asarray(axes)})), responses):
        found = within_slope(doses[at], responses[name].to_numpy()[at], speakers[at], together)
        row = key | {"response": name} | found.row() | {"moves": bool(found.low > 0 or found.high < 0)}
        if world is not None:
            row["world"] = within_slope(doses[at], world[name].to_numpy()[at], speakers[at], resampling).value
        rows.append(row)
    return pd.DataFrame(rows)


def beside_sham(
    conditions: Column, values: Column, speakers: Column, sham: str, resampling: Resampling
) -> pd.DataFrame:
    """Mean of a per-clip value under each condition, and its paired `difference` (with interval) from the sham.

    UserError unless every speaker has every condition.
    """
    conditions, values, speakers = (np.asarray(column) for column in (conditions, values, speakers))
    if sham not in conditions:
        raise UserError(f"There is no condition {sham!r} to compare with: name one of {', '.join(set(conditions))}.")
    _check_complete(speakers, conditions, "conditions")
    estimates = {
        name: bootstrap.interval(values[conditions == name], speakers[conditions == name], resampling)
        for name in np.unique(conditions).tolist()
    }
    return pd.DataFrame(
        {"condition": name}
        | estimate.row()
        | bootstrap.difference(estimate, estimates[sham], resampling).row("difference")
        for name, estimate in estimates.items()
    )


def _check_complete(speakers: np.ndarray, steps: np.ndarray, name: str) -> None:
    if (pd.crosstab(speakers, steps) == 0).any(axis=None):
        raise UserError(f"Some speaker misses one of the {name} {np.unique(steps).tolist()}: record all of them.")


def thirds(trait: Column, strata: Column) -> Int[np.ndarray, "clips"]:
    """Tercile of each clip's trait within its stratum: 1 (lowest) to 3."""
    finite(trait=np.asarray(trait))
    grouped = pd.Series(np.asarray(trait)).groupby(np.asarray(strata))
    return np.ceil(3 * grouped.rank() / grouped.transform("size")).to_numpy(int)

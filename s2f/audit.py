"""Who the model serves worse: metrics by group beside what luck alone would do, and who is painted as whom.

Speakers are the unit: intervals resample them, and nulls deal the groups out to them anew. A finding says
that a metric differs between groups of these speakers; it does not say why, and no finding does not say that
there is none.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from fairlearn.metrics import MetricFrame
from jaxtyping import Bool, Float
from scipy.stats import norm

from s2f import stats
from s2f.paths import UserError
from s2f.stats import Column, Estimate, Resampling

# Fewer speakers than this say too little, and too much about each of them: only their number is printed.
MINIMUM_SPEAKERS = 10
# A difference of this many standard errors is found four times out of five at two-sided 5 %.
DETECTABLE = norm.ppf(0.975) + norm.ppf(0.80)
PERMUTATION_BLOCK = 500


class Groups(NamedTuple):
    """Large enough groups over all attributes: who is in each, and who in another one of its attribute."""

    keys: list[tuple[str, str]]
    inside: Bool[np.ndarray, "groups speakers"]
    outside: Bool[np.ndarray, "groups speakers"]


def disaggregate(
    values: Column,
    groups: pd.DataFrame,
    speakers: Column,
    resampling: Resampling,
    *,
    metric: str,
    intersections: Sequence[Sequence[str]] = (),
    share: bool = False,
    permutations: int = 9_999,
    minimum: int = MINIMUM_SPEAKERS,
) -> pd.DataFrame:
    """Mean of a metric by group, for each column of `groups` and each intersection: one row an estimate.

    A group's `difference` is its mean less that of the rest of its attribute; `p_raw` and `p_adj` (max-T over
    all groups) come from dealing the groups out to the speakers anew, and `mdd80` is the difference that
    would be found four times out of five. Rows `gap` (largest less smallest mean) and `lowest` carry the mean
    and the 95th percentile (`lowest`: 5th) that luck alone gives. Groups below `minimum` speakers have a
    `suppressed_reason` and no numbers. A missing label leaves a clip out of that attribute.
    """
    index = stats.number_speakers(speakers, values=values, groups=groups)
    values, speakers = np.asarray(values, dtype=float), np.asarray(speakers)
    labels = _labels(groups, intersections)
    sums = np.stack(
        [np.bincount(index.codes, column, index.count) for column in (values, np.ones_like(values))], 1
    )
    of_speaker = {name: _by_speaker(name, column, index, speakers) for name, column in labels.items()}
    kept = _groups(of_speaker, minimum)
    observed = _means(sums, kept)
    null = _null(sums, kept, permutations, resampling.seed)
    tested = _test(observed, null)

    overall = stats.interval(values, speakers, resampling, share=share)
    rows = [{"attribute": "all", "group": "overall"} | _numbers(overall)]
    for name, column in labels.items():
        known = column.notna().to_numpy()
        point = MetricFrame(
            metrics=lambda _, predicted: predicted.mean(),
            y_true=values[known],
            y_pred=values[known],
            sensitive_features=column[known],
        ).by_group
        for group, mean in point.items():
            key, clips = (name, str(group)), (column == group).to_numpy()
            row = {"attribute": name, "group": str(group), "n_clips": int(clips.sum())}
            if key in kept.keys:
                estimate = stats.interval(values[clips], speakers[clips], resampling, share=share)
                row |= _numbers(estimate) | {"estimate": mean} | tested[kept.keys.index(key)]
            else:
                n = int((of_speaker[name] == group).sum())
                row |= {"n_speakers": n, "suppressed_reason": f"fewer than {minimum} speakers"}
            rows.append(row)
        rows += _extremes(name, kept, observed, null)
    return pd.DataFrame(rows).assign(metric=metric).reindex(columns=COLUMNS)


COLUMNS = ["attribute", "group", "metric", "n_clips", "n_speakers", "estimate", "ci_lo", "ci_hi", "ci_method"]
COLUMNS += ["difference", "null_mean", "null_p95", "p_raw", "p_adj", "mdd80", "suppressed_reason"]


def _numbers(estimate: Estimate) -> dict:
    names = {"value": "estimate", "low": "ci_lo", "high": "ci_hi"}
    row = {names.get(name, name): value for name, value in estimate.row().items()}
    return row | {"ci_method": estimate.method}


def _labels(groups: pd.DataFrame, intersections: Sequence[Sequence[str]]) -> dict[str, pd.Series]:
    """Labels by attribute, as text; an intersection is known where all its parts are."""
    text = groups.reset_index(drop=True).astype("string")
    joint = {" x ".join(parts): text[list(parts)].agg(" x ".join, axis=1) for parts in intersections}
    known = {" x ".join(parts): text[list(parts)].notna().all(axis=1) for parts in intersections}
    labels = {str(name): text[name] for name in text} | {
        name: joint[name].where(known[name]) for name in joint
    }
    return {name: column.astype(object).where(column.notna(), None) for name, column in labels.items()}


def _by_speaker(name: str, column: pd.Series, index: stats.Speakers, speakers: np.ndarray) -> pd.Series:
    """The label of each speaker; UserError if one has two, because groups are dealt out to speakers."""
    by_speaker = column.groupby(index.codes)
    changing = by_speaker.nunique() > 1
    if changing.any():
        who = speakers[index.codes == changing.idxmax()][0]
        raise UserError(
            f"Speaker {who} has more than one {name}: compare such clips in pairs within speakers."
        )
    return by_speaker.first()


def _groups(of_speaker: dict[str, pd.Series], minimum: int) -> Groups:
    keys, inside, outside = [], [], []
    for name, labels in of_speaker.items():
        counts = labels.value_counts()
        large = labels.isin(counts.index[counts >= minimum]).to_numpy()
        for group in sorted(counts.index[counts >= minimum]):
            members = (labels == group).to_numpy()
            keys.append((name, group))
            inside.append(members)
            outside.append(large & ~members)
    n_speakers = len(next(iter(of_speaker.values())))
    shape = (len(keys), n_speakers)
    return Groups(keys, np.reshape(inside, shape).astype(bool), np.reshape(outside, shape).astype(bool))


class Means(NamedTuple):
    """Mean of each group, and less that of the rest of its attribute (NaN where nobody else is)."""

    group: Float[np.ndarray, "*deals groups"]
    difference: Float[np.ndarray, "*deals groups"]


def _means(sums: Float[np.ndarray, "*deals speakers 2"], kept: Groups) -> Means:
    inside, outside = (side.astype(float) @ sums for side in (kept.inside, kept.outside))
    group = inside[..., 0] / inside[..., 1]
    rest = outside[..., 0] / np.where(outside[..., 1] > 0, outside[..., 1], np.nan)
    return Means(group, group - rest)


def _null(sums: Float[np.ndarray, "speakers 2"], kept: Groups, permutations: int, seed: int) -> Means:
    """Means when the speakers are dealt out to the groups at random, their clips kept together."""
    rng = np.random.default_rng(seed)
    deals = []
    for start in range(0, permutations, PERMUTATION_BLOCK):
        rows = min(PERMUTATION_BLOCK, permutations - start)
        order = rng.permuted(np.tile(np.arange(len(sums)), (rows, 1)), axis=1)
        deals.append(_means(sums[order], kept))
    return Means(*(np.concatenate(side) for side in zip(*deals, strict=True)))


def _test(observed: Means, null: Means) -> list[dict[str, float]]:
    """Two-sided permutation test of each group against the rest, and max-T over all groups."""
    spread = null.difference.std(axis=0)
    scale = np.where(spread > 0, spread, np.nan)
    found, luck = np.abs(observed.difference / scale), np.abs(null.difference / scale)
    largest = np.where(np.isnan(luck), 0, luck).max(axis=1, initial=0)
    rows = []
    for column, size in enumerate(found):
        testable = not np.isnan(size)
        rows.append(
            {
                "difference": observed.difference[column],
                "p_raw": _reached(luck[:, column], size) if testable else np.nan,
                "p_adj": _reached(largest, size) if testable else np.nan,
                "mdd80": DETECTABLE * scale[column],
            }
        )
    return rows


def _reached(luck: Float[np.ndarray, "deals"], size: float) -> float:
    # Deals that repeat the observed one differ from it by rounding.
    return (1 + (luck >= size - stats.NO_VARIANCE).sum()) / (1 + len(luck))


def _extremes(name: str, kept: Groups, observed: Means, null: Means) -> list[dict]:
    """The rows `gap` and `lowest` of one attribute, if two of its groups are large enough."""
    columns = [i for i, (attribute, _) in enumerate(kept.keys) if attribute == name]
    if len(columns) < 2:
        return []
    means, luck = observed.group[columns], null.group[:, columns]
    gap, lucky_gap = np.ptp(means), np.ptp(luck, axis=1)
    lowest, lucky_lowest = means.min(), luck.min(axis=1)
    n_speakers = int(kept.inside[columns].sum())
    common = {"attribute": name, "n_speakers": n_speakers}
    return [
        common
        | {"group": "gap", "estimate": gap, "null_mean": lucky_gap.mean()}
        | {"null_p95": np.quantile(lucky_gap, 0.95), "p_raw": _reached(lucky_gap, gap)},
        common
        | {"group": "lowest", "estimate": lowest, "null_mean": lucky_lowest.mean()}
        | {"null_p95": np.quantile(lucky_lowest, 0.05), "p_raw": _reached(-lucky_lowest, -lowest)},
    ]


def painted_share(
    true: Column,
    painted: Column,
    speakers: Column,
    resampling: Resampling,
    posterior: Float[np.ndarray, "clips labels"] | None = None,
    labels: Sequence[str] | None = None,
) -> pd.DataFrame:
    """How often each label is painted for how often it is true: `ratio` 1 is faithful, 0 is erased.

    Given a probe's `posterior` over `labels` from the voice, `bayes_ratio` and `bayes_recall` are those of
    the painter who always paints the likeliest label. Even that one erases minorities whom the voice betrays
    little, so only the shortfall beyond it (`amplification` above 0) is the model's own; its interval pairs
    the two painters.
    """
    true, painted = np.asarray(true), np.asarray(painted)
    labels = list(np.unique(true)) if labels is None else list(labels)
    if posterior is not None and posterior.shape[1] != len(labels):
        raise UserError(
            f"The posterior has {posterior.shape[1]} columns for {len(labels)} labels: pass one a label."
        )
    likeliest = None if posterior is None else np.asarray(labels)[posterior.argmax(axis=1)]
    rows = []
    for label in labels:
        here = true == label
        if not here.any():
            raise UserError(f"No clip is truly {label!r}: leave it out of the labels.")
        ratio = stats.ratio(painted == label, here, speakers, resampling)
        row = {
            "label": label,
            "n_clips": int(here.sum()),
            "n_speakers": len(np.unique(np.asarray(speakers)[here])),
        }
        row |= {"true_share": here.mean(), "painted_share": (painted == label).mean()}
        row |= {
            "ratio": ratio.value,
            "low": ratio.low,
            "high": ratio.high,
            "recall": (painted[here] == label).mean(),
        }
        if likeliest is not None:
            bayes = stats.ratio(likeliest == label, here, speakers, resampling)
            more = stats.combine(np.subtract, bayes, ratio, resampling=resampling)
            row |= {"bayes_ratio": bayes.value, "bayes_recall": (likeliest[here] == label).mean()}
            row |= {
                "amplification": more.value,
                "amplification_low": more.low,
                "amplification_high": more.high,
            }
        rows.append(row)
    return pd.DataFrame(rows)


def shrinkage(
    true: Column, painted: Column, speakers: Column, resampling: Resampling, groups: Column | None = None
) -> pd.DataFrame:
    """Slope of a painted number (age, a face measure) on the true one, and Var(painted) / Var(true).

    A slope of 1 is faithful, 0 paints everybody average. Rows: everybody, then each group of at least 10
    speakers.
    """
    true, painted, speakers = (np.asarray(column) for column in (true, painted, speakers))
    members = {"overall": np.ones(len(true), dtype=bool)}
    if groups is not None:
        groups = np.asarray(groups)
        for group in pd.unique(pd.Series(groups).dropna().sort_values()):
            if len(np.unique(speakers[groups == group])) >= MINIMUM_SPEAKERS:
                members[str(group)] = groups == group
    rows = []
    for group, clips in members.items():
        side = (true[clips], painted[clips], speakers[clips], resampling)
        slope, ratio = stats.slope(*side), stats.variance_ratio(*side)
        spread = {"variance_ratio": ratio.value, "variance_low": ratio.low, "variance_high": ratio.high}
        rows.append({"group": group} | slope.row() | spread)
    return pd.DataFrame(rows).rename(columns={"value": "slope"})

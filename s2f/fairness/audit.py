"""Who the model serves worse: metrics by group beside what luck alone would do, and who is painted as whom.

Speakers are the unit: intervals resample them, and nulls deal the groups out to them anew. A finding says
that a metric differs between groups of these speakers; it does not say why, and no finding does not say that
there is none.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from fairlearn.metrics import MetricFrame
from jaxtyping import Bool, Float, Int
from scipy.stats import norm

from s2f.metrics import bootstrap, retrieval
from s2f.metrics.bootstrap import Column, Estimate, Resampling
from s2f.metrics.retrieval import Ranks
from s2f.study.paths import UserError

# Fewer speakers than this say too little, and too much about each of them: only their number is printed.
MINIMUM_SPEAKERS = 10
# A difference of this many standard errors is found four times out of five at two-sided 5 %.
DETECTABLE = norm.ppf(0.975) + norm.ppf(0.80)
PERMUTATION_BLOCK = 500
HIGHER, LOWER = "higher", "lower"
FAMILIES = {"gap": "gaps", "ratio": "ratios", "worst": "worst groups"}
COLUMNS = ["metric", "better", "attribute", "group", "n_clips", "n_speakers", "estimate", "ci_lo", "ci_hi", "ci_method"]
COLUMNS += ["difference", "null_mean", "null_p95", "p_raw", "p_adj", "family", "mdd80", "suppressed_reason"]


class Metric(NamedTuple):
    """A number a clip: does it lie in [0, 1], and is less of it better?"""

    values: Column
    share: bool = False
    error: bool = False

    @property
    def better(self) -> str:
        return LOWER if self.error else HIGHER


def usual_metrics(
    placed: Ranks,
    size: int,
    read: pd.DataFrame,
    apparent_age: Float[np.ndarray, "clips"] | None,
    angles: Float[np.ndarray, "clips"],
    true: pd.DataFrame,
) -> dict[str, Metric]:
    """The metrics of the audit by name: of matching, of the drawn face, and of the feature.

    `placed`: the rank of each clip's true face in the gallery, of which the recall takes `size` faces; `read`, the
    labels, and `apparent_age` (years), as classifiers read them off the drawn face, beside the `true` columns of the
    same names and `age` (None where ages are not known); `angles` between predicted and true feature (degrees).
    """
    drawn = {f"drawn in the true {name.replace('_', ' ')}": read[name].astype(str) == true[name] for name in read}
    metrics = {
        "1:2 matches won": Metric(placed.wins, share=True),
        f"among the first 10 of {size}": Metric(retrieval.recall_at(placed, 10, size), share=True),
        **{name: Metric(right.to_numpy(float), share=True) for name, right in drawn.items()},
    }
    if apparent_age is not None:
        metrics["error of apparent age (years)"] = Metric(np.abs(apparent_age - true["age"].to_numpy()), error=True)
    return metrics | {"angle to the true feature (degrees)": Metric(angles, error=True)}


class Groups(NamedTuple):
    """Large enough groups over all attributes: who is in each, and who in another one of its attribute."""

    keys: list[tuple[str, str]]
    inside: Bool[np.ndarray, "groups speakers"]
    outside: Bool[np.ndarray, "groups speakers"]

    def of(self, attribute: str) -> Int[np.ndarray, "members"]:
        """The rows of an attribute's groups."""
        return np.array([row for row, (name, _) in enumerate(self.keys) if name == attribute], dtype=int)


def disaggregate(
    values: Column,
    groups: pd.DataFrame,
    speakers: Column,
    resampling: Resampling,
    *,
    metric: str,
    share: bool = False,
    error: bool = False,
    **options,
) -> pd.DataFrame:
    """One metric by group: `by_group`, with its options, of a single column."""
    return by_group({metric: Metric(values, share, error)}, groups, speakers, resampling, **options)


def by_group(
    metrics: Mapping[str, Metric],
    groups: pd.DataFrame,
    speakers: Column,
    resampling: Resampling,
    *,
    intersections: Sequence[Sequence[str]] = (),
    permutations: int = 9_999,
    minimum: int = MINIMUM_SPEAKERS,
) -> pd.DataFrame:
    """Means of metrics by group, for each column of `groups` and each intersection: one row an estimate.

    A group's `difference` is its mean less that of the rest of its attribute, and `mdd80` what would be found four
    times out of five. Rows `gap` (largest less smallest mean), `ratio` (smallest to largest) and `worst` (the mean of
    the group served worst) sum an attribute up. The null deals the groups out to the speakers anew, for all metrics
    alike: `null_mean` is what luck alone gives, `null_p95` what it does not go beyond, to the worse, in 95 of 100
    deals. `p_adj` (max-T) allows for all rows of a `family`: the groups of all metrics are one, two-sided; so are the
    gaps, the ratios and the worst groups, one-sided. Groups below `minimum` speakers have a `suppressed_reason` and no
    numbers. A missing label leaves a clip out of that attribute; a missing value is a UserError.
    """
    values = {name: np.asarray(metric.values, dtype=float) for name, metric in metrics.items()}
    index = bootstrap.number_speakers(speakers, groups=groups, **values)
    for name, column in values.items():
        if np.isnan(column).any():
            raise UserError(f"The metric {name!r} has no value for some clips: leave them out of the audit.")
    speakers, labels = np.asarray(speakers), _labels(groups, intersections)
    columns = (*values.values(), np.ones(len(speakers)))
    sums = np.stack([np.bincount(index.codes, column, index.count) for column in columns], axis=1)
    of_speaker = {name: _by_speaker(name, column, index, speakers) for name, column in labels.items()}
    kept = _groups(of_speaker, index.count, minimum)
    observed, null = _means(sums, kept), _null(sums, kept, permutations, resampling.seed)
    compared = _compared(observed, null, metrics, kept)
    summed_up = _summed_up(observed, null, metrics, kept, sums[:, -1])
    points = {name: _fairlearn_means(values, column) for name, column in labels.items()}

    rows = []
    for metric, column in values.items():
        share, key = metrics[metric].share, {"metric": metric, "better": metrics[metric].better}
        overall = bootstrap.interval(column, speakers, resampling, share=share)
        rows.append(key | {"attribute": "all", "group": "overall"} | _numbers(overall))
        for name, label in labels.items():
            key["attribute"] = name
            for group, mean in points[name][metric].items():
                clips = (label == group).to_numpy()
                row = key | {"group": str(group), "n_clips": int(clips.sum())}
                if (name, group) in kept.keys:
                    estimate = bootstrap.interval(column[clips], speakers[clips], resampling, share=share)
                    row |= _numbers(estimate) | {"estimate": mean} | compared[metric, name, group]
                else:
                    n = int((of_speaker[name] == group).sum())
                    row |= {"n_speakers": n, "suppressed_reason": f"fewer than {minimum} speakers"}
                rows.append(row)
            rows += [key | row for row in summed_up.get((metric, name), [])]
    return pd.DataFrame(rows).reindex(columns=COLUMNS)


def _numbers(estimate: Estimate) -> dict:
    names = {"value": "estimate", "low": "ci_lo", "high": "ci_hi"}
    row = {names.get(name, name): value for name, value in estimate.row().items()}
    return row | {"ci_method": estimate.method}


def _fairlearn_means(values: Mapping[str, np.ndarray], labels: pd.Series) -> pd.DataFrame:
    """Mean of each metric (column) in each group (row)."""
    known = np.flatnonzero(labels.notna())
    means = {name: partial(_mean_of, column) for name, column in values.items()}
    return MetricFrame(metrics=means, y_true=known, y_pred=known, sensitive_features=labels.iloc[known]).by_group


def _mean_of(column: np.ndarray, clips: np.ndarray, _: np.ndarray) -> float:
    return column[clips].mean()


def _labels(groups: pd.DataFrame, intersections: Sequence[Sequence[str]]) -> dict[str, pd.Series]:
    """Labels by attribute, as text; an intersection is known where all its parts are."""
    text = groups.reset_index(drop=True).astype("string")
    joint = {" x ".join(parts): text[list(parts)].agg(" x ".join, axis=1) for parts in intersections}
    known = {" x ".join(parts): text[list(parts)].notna().all(axis=1) for parts in intersections}
    labels = {str(name): text[name] for name in text} | {name: joint[name].where(known[name]) for name in joint}
    return {name: column.astype(object).where(column.notna(), None) for name, column in labels.items()}


def _by_speaker(name: str, column: pd.Series, index: bootstrap.Speakers, speakers: np.ndarray) -> pd.Series:
    """The label of each speaker; UserError if one has two, because groups are dealt out to speakers."""
    by_speaker = column.groupby(index.codes)
    changing = by_speaker.nunique() > 1
    if changing.any():
        who = speakers[index.codes == changing.idxmax()][0]
        raise UserError(f"Speaker {who} has more than one {name}: compare such clips in pairs within speakers.")
    return by_speaker.first()


def _groups(of_speaker: dict[str, pd.Series], n_speakers: int, minimum: int) -> Groups:
    keys, inside, outside = [], [], []
    for name, labels in of_speaker.items():
        counts = labels.value_counts()
        large = labels.isin(counts.index[counts >= minimum]).to_numpy()
        for group in sorted(counts.index[counts >= minimum]):
            members = (labels == group).to_numpy()
            keys.append((name, group))
            inside.append(members)
            outside.append(large & ~members)
    shape = (len(keys), n_speakers)
    return Groups(keys, np.reshape(inside, shape).astype(bool), np.reshape(outside, shape).astype(bool))


class Means(NamedTuple):
    """Mean of each group, and less that of the rest of its attribute (NaN where nobody else is)."""

    group: Float[np.ndarray, "*deals groups metrics"]
    difference: Float[np.ndarray, "*deals groups metrics"]


def _means(sums: Float[np.ndarray, "*deals speakers columns"], kept: Groups) -> Means:
    """The last column of `sums` counts clips."""
    inside, outside = (side.astype(float) @ sums for side in (kept.inside, kept.outside))
    group = inside[..., :-1] / inside[..., -1:]
    rest = outside[..., :-1] / np.where(outside[..., -1:] > 0, outside[..., -1:], np.nan)
    return Means(group, group - rest)


def _null(sums: Float[np.ndarray, "speakers columns"], kept: Groups, permutations: int, seed: int) -> Means:
    """Means when the speakers are dealt out to the groups at random, their clips kept together."""
    rng = np.random.default_rng(seed)
    deals = []
    for start in range(0, permutations, PERMUTATION_BLOCK):
        rows = min(PERMUTATION_BLOCK, permutations - start)
        order = rng.permuted(np.tile(np.arange(len(sums)), (rows, 1)), axis=1)
        deals.append(_means(sums[order], kept))
    return Means(*(np.concatenate(side) for side in zip(*deals, strict=True)))


def _compared(
    observed: Means, null: Means, metrics: Mapping[str, Metric], kept: Groups
) -> dict[tuple[str, str, str], dict]:
    """Each group against the rest of its attribute, by metric, attribute and group."""
    spread = null.difference.std(axis=0)
    scale = np.where(spread > bootstrap.NO_VARIANCE, spread, np.nan)
    p_raw, p_adj = _p_values(np.abs(observed.difference / scale), np.abs(null.difference / scale))
    worse = _worse(metrics)
    columns = {
        "difference": observed.difference,
        "null_mean": null.group.mean(axis=0),
        "null_p95": worse * np.quantile(worse * null.group, 0.95, axis=0),
        "p_raw": p_raw,
        "p_adj": p_adj,
        "mdd80": DETECTABLE * scale,
    }
    alone = np.isnan(observed.difference)
    columns = {name: np.where(alone, np.nan, cells) for name, cells in columns.items()}
    return {
        (metric, *key): {"family": "groups"} | {name: cells[row, column] for name, cells in columns.items()}
        for row, key in enumerate(kept.keys)
        for column, metric in enumerate(metrics)
    }


def _summed_up(
    observed: Means, null: Means, metrics: Mapping[str, Metric], kept: Groups, clips: Float[np.ndarray, "speakers"]
) -> dict[tuple[str, str], list[dict]]:
    """The rows `gap`, `ratio` and `worst` by metric and attribute, where two groups are large enough."""
    members = {name: kept.of(name) for name in dict.fromkeys(name for name, _ in kept.keys)}
    members = {name: groups for name, groups in members.items() if len(groups) > 1}
    rows: dict[tuple[str, str], list[dict]] = {(metric, name): [] for metric in metrics for name in members}
    if not rows:
        return rows
    worse = _worse(metrics)
    found, luck = (
        np.stack([_summaries(side.group[..., groups, :], worse) for groups in members.values()], axis=-3)
        for side in (observed, null)
    )
    for place, (what, sign) in enumerate({"gap": 1, "ratio": -1, "worst": worse}.items()):
        value, by_luck = found[:, place], luck[:, :, place]
        centre, spread = by_luck.mean(axis=0), by_luck.std(axis=0)
        scale = np.where(spread > bootstrap.NO_VARIANCE, spread, np.nan)
        p_raw, p_adj = _p_values(*(sign * (side - centre) / scale for side in (value, by_luck)))
        limit = sign * np.quantile(sign * by_luck, 0.95, axis=0)
        for row, (name, groups) in enumerate(members.items()):
            who = kept.inside[groups].any(axis=0)
            size = {"n_clips": int(clips[who].sum()), "n_speakers": int(who.sum())}
            for column, metric in enumerate(metrics):
                cells = {"estimate": value, "null_mean": centre, "null_p95": limit, "p_raw": p_raw, "p_adj": p_adj}
                numbers = {key: cell[row, column] for key, cell in cells.items()}
                if not np.isnan(numbers["estimate"]):
                    rows[metric, name].append({"group": what, "family": FAMILIES[what]} | size | numbers)
    return rows


def _worse(metrics: Mapping[str, Metric]) -> Int[np.ndarray, "metrics"]:
    """1 where more of a metric is worse, -1 where less is."""
    return np.array([1 if metric.error else -1 for metric in metrics.values()])


def _summaries(
    means: Float[np.ndarray, "*deals groups metrics"], worse: Int[np.ndarray, "metrics"]
) -> Float[np.ndarray, "*deals 3 metrics"]:
    """Gap, ratio (NaN for a metric that goes below zero) and worst mean of the groups of an attribute."""
    low, high = means.min(axis=-2), means.max(axis=-2)
    ratio = np.where(high > 0, low / np.where(high > 0, high, 1), 1.0)
    return np.stack([high - low, np.where(low < 0, np.nan, ratio), np.where(worse > 0, high, low)], axis=-2)


def _p_values(
    found: Float[np.ndarray, "rows metrics"], luck: Float[np.ndarray, "deals rows metrics"]
) -> tuple[Float[np.ndarray, "rows metrics"], Float[np.ndarray, "rows metrics"]]:
    """Permutation p of each standardised statistic, alone and allowing for all of them (max-T); NaN stays NaN."""
    luck = np.where(np.isnan(luck), -np.inf, luck)
    largest = luck.max(axis=(1, 2), initial=-np.inf)[:, None, None]
    # Deals that repeat the observed one differ from it by rounding.
    reached = [(1 + (null >= found - bootstrap.NO_VARIANCE).sum(axis=0)) / (1 + len(luck)) for null in (luck, largest)]
    return tuple(np.where(np.isnan(found), np.nan, p) for p in reached)


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
        raise UserError(f"The posterior has {posterior.shape[1]} columns for {len(labels)} labels: pass one a label.")
    likeliest = None if posterior is None else np.asarray(labels)[posterior.argmax(axis=1)]
    rows = []
    for label in labels:
        here = true == label
        if not here.any():
            raise UserError(f"No clip is truly {label!r}: leave it out of the labels.")
        ratio = bootstrap.ratio(painted == label, here, speakers, resampling)
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
            bayes = bootstrap.ratio(likeliest == label, here, speakers, resampling)
            more = bootstrap.combine(np.subtract, bayes, ratio, resampling=resampling)
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
        slope, ratio = bootstrap.slope(*side), bootstrap.variance_ratio(*side)
        spread = {"variance_ratio": ratio.value, "variance_low": ratio.low, "variance_high": ratio.high}
        rows.append({"group": group} | slope.row() | spread)
    return pd.DataFrame(rows).rename(columns={"value": "slope"})

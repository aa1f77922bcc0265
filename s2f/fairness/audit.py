"""Who the model serves worse: metrics by group beside what luck alone would do, and who is painted as whom.

Speakers are the unit: intervals resample them, and null distributions permute the groups among them. A finding says
that a metric differs between groups of these speakers, not why; no finding does not say that there is no difference.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.stats import norm

from s2f.metrics import bootstrap, retrieval
from s2f.metrics.bootstrap import Column, Estimate, Resampling
from s2f.metrics.retrieval import Ranks
from s2f.study.numbers import finite
from s2f.study.paths import UserError

# Of a group of fewer speakers only their number is printed: its metrics would be uncertain, and tell on individuals.
MINIMUM_SPEAKERS = 10
# A difference of this many standard errors is found with a power of 80 % at two-sided 5 %.
DETECTABLE = norm.ppf(0.975) + norm.ppf(0.80)
PERMUTATION_BLOCK = 500
HIGHER, LOWER = "higher", "lower"
FAMILIES = {"gap": "gaps", "ratio": "ratios", "worst": "worst groups"}
COLUMNS = ["metric", "better", "attribute", "group", "n_clips", "n_speakers", "estimate", "ci_lo", "ci_hi", "ci_method"]
COLUMNS += ["difference", "null_mean", "null_p95", "p_raw", "p_adj", "family", "mdd80", "suppressed_reason"]


class Metric(NamedTuple):
    """Per-clip values of a metric."""

    values: Column
    share: bool = False  # do they lie in [0, 1]?
    error: bool = False  # is less of them better?

    @property
    def better(self) -> str:
        return LOWER if self.error else HIGHER


def usual_metrics(
    ranks: Ranks,
    size: int,
    predicted: pd.DataFrame,
    apparent_age: Float[np.ndarray, "clips"] | None,
    angles: Float[np.ndarray, "clips"],
    true: pd.DataFrame,
) -> dict[str, Metric]:
    """The metrics of the audit by name: of matching, of the drawn face, and of the feature.

    Args:
        ranks: of each clip's true face in the gallery.
        size: faces of the gallery that recall is computed for.
        predicted: labels that classifiers read off the drawn face, a column for each attribute.
        apparent_age: years, read off the drawn face; None where ages are not known.
        angles: between predicted and true feature, degrees.
        true: true labels in columns of the same names, and `age`.
    """
    right = {
        f"drawn in the true {name.replace('_', ' ')}": predicted[name].astype(str) == true[name] for name in predicted
    }
    metrics = {
        "1:2 matches won": Metric(ranks.wins, share=True),
        f"among the first 10 of {size}": Metric(retrieval.recall_at(ranks, 10, size), share=True),
        **{name: Metric(hits.to_numpy(float), share=True) for name, hits in right.items()},
    }
    if apparent_age is not None:
        metrics["error of apparent age (years)"] = Metric(np.abs(apparent_age - true["age"].to_numpy()), error=True)
    return metrics | {"angle to the true feature (degrees)": Metric(angles, error=True)}


class Groups(NamedTuple):
    """The groups of all attributes that are large enough."""

    keys: list[tuple[str, str]]  # attribute and group
    inside: Bool[np.ndarray, "groups speakers"]
    outside: Bool[np.ndarray, "groups speakers"]  # in another group of the same attribute


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
    """Metrics by group, for each column of `groups` and each intersection: a row for each metric, attribute and group.

    A group's `difference` is its mean less that of the rest of its attribute, and `mdd80` the difference that would be
    found with a power of 80 %. The rows `gap` (largest less smallest mean), `ratio` (smallest to largest) and `worst`
    (the mean of the group served worst) summarise an attribute. The null distribution permutes the groups among the
    speakers, for all metrics alike: `null_mean` is its mean, `null_p95` its 95th percentile in the unfavourable
    direction. `p_adj` (max-T) is adjusted for all rows of a `family`: the groups of all metrics are one, two-sided; so
    are the gaps, the ratios and the worst groups, one-sided.

    Args:
        metrics: per-clip values by name.
        groups: labels of each clip, a column for each attribute; a missing label leaves a clip out of that attribute.
        speakers: who speaks in each clip.
        resampling: how intervals are made; its seed is that of the permutations too.
        intersections: columns of `groups` to be crossed, such as ("sex", "group").
        permutations: of the null distribution.
        minimum: groups of fewer speakers have a `suppressed_reason` and no numbers.

    UserError for a value that is not finite, or for a speaker in two groups of an attribute.
    """
    values = {name: np.asarray(metric.values, dtype=float) for name, metric in metrics.items()}
    index = bootstrap.number_speakers(speakers, groups=groups, **values)
    finite(**{f"metric {name!r}": column for name, column in values.items()})
    speakers, labels = np.asarray(speakers), _labels(groups, intersections)
    columns = (*values.values(), np.ones(len(speakers)))
    sums = np.stack([np.bincount(index.codes, column, index.count) for column in columns], axis=1)
    of_speaker = {name: _by_speaker(name, column, index, speakers) for name, column in labels.items()}
    kept = _groups(of_speaker, index.count, minimum)
    observed, null = _means(sums, kept), _null(sums, kept, permutations, resampling.seed)
    compared = _compared(observed, null, metrics, kept)
    summed_up = _summed_up(observed, null, metrics, kept, sums[:, -1])

    rows = []
    for metric, column in values.items():
        share, key = metrics[metric].share, {"metric": metric, "better": metrics[metric].better}
        overall = bootstrap.interval(column, speakers, resampling, share=share)
        rows.append(key | {"attribute": "all", "group": "overall"} | _numbers(overall))
        for name, label in labels.items():
            key["attribute"] = name
            for group in sorted(set(label.dropna())):
                clips = (label == group).to_numpy()
                row = key | {"group": str(group), "n_clips": int(clips.sum())}
                if (name, group) in kept.keys:
                    estimate = bootstrap.interval(column[clips], speakers[clips], resampling, share=share)
                    row |= _numbers(estimate) | {"estimate": column[clips].mean()} | compared[metric, name, group]
                else:
                    n = int((of_speaker[name] == group).sum())
                    row |= {"n_speakers": n, "suppressed_reason": f"fewer than {minimum} speakers"}
                rows.append(row)
            rows += [key | row for row in summed_up.get((metric, name), [])]
    return pd.DataFrame(rows).reindex(columns=COLUMNS)


def _numbers(estimate: Estimate) -> dict:
    low_high = {"ci_lo": estimate.low, "ci_hi": estimate.high, "ci_method": estimate.method}
    return {"estimate": estimate.value, "n_clips": estimate.n_clips, "n_speakers": estimate.n_speakers} | low_high


def _labels(groups: pd.DataFrame, intersections: Sequence[Sequence[str]]) -> dict[str, pd.Series]:
    """Labels by attribute, as text; an intersection is known where all its parts are."""
    text = groups.reset_index(drop=True).astype("string")
    for first, *rest in intersections:
        text[" x ".join([first, *rest])] = text[first].str.cat(text[rest], sep=" x ")
    return {str(name): text[name].astype(object).where(text[name].notna(), None) for name in text}


def _by_speaker(name: str, column: pd.Series, index: bootstrap.Speakers, speakers: np.ndarray) -> pd.Series:
    """The label of each speaker; UserError if one has two, because groups are permuted among speakers."""
    by_speaker = column.groupby(index.codes)
    changing = by_speaker.nunique() > 1
    if changing.any():
        who = speakers[index.codes == changing.idxmax()][0]
        raise UserError(f"Speaker {who} has more than one {name}: compare such clips in pairs within speakers.")
    return by_speaker.first()


def _groups(of_speaker: dict[str, pd.Series], n_speakers: int, minimum: int) -> Groups:
    kept = {}
    for name, labels in of_speaker.items():
        counts = labels.value_counts()
        large = labels.isin(counts.index[counts >= minimum]).to_numpy()
        for group in sorted(counts.index[counts >= minimum]):
            members = (labels == group).to_numpy()
            kept[name, group] = members, large & ~members
    inside, outside = np.array(list(kept.values()), dtype=bool).reshape(len(kept), 2, n_speakers).swapaxes(0, 1)
    return Groups(list(kept), inside, outside)


class Means(NamedTuple):
    """Mean of each group, and its difference from the rest of its attribute (NaN where there is no rest)."""

    group: Float[np.ndarray, "*permutations groups metrics"]
    difference: Float[np.ndarray, "*permutations groups metrics"]


def _means(sums: Float[np.ndarray, "*permutations speakers columns"], kept: Groups) -> Means:
    """From sums over the clips of each speaker, whose last column counts clips."""
    inside, outside = (side.astype(float) @ sums for side in (kept.inside, kept.outside))
    group = inside[..., :-1] / inside[..., -1:]
    rest = outside[..., :-1] / np.where(outside[..., -1:] > 0, outside[..., -1:], np.nan)
    return Means(group, group - rest)


def _null(sums: Float[np.ndarray, "speakers columns"], kept: Groups, permutations: int, seed: int) -> Means:
    """Means under the null: groups are permuted among the speakers, whose clips stay together."""
    rng = np.random.default_rng(seed)
    blocks = []
    for start in range(0, permutations, PERMUTATION_BLOCK):
        rows = min(PERMUTATION_BLOCK, permutations - start)
        order = rng.permuted(np.tile(np.arange(len(sums)), (rows, 1)), axis=1)
        blocks.append(_means(sums[order], kept))
    return Means(*(np.concatenate(part) for part in zip(*blocks, strict=True)))


def _compared(
    observed: Means, null: Means, metrics: Mapping[str, Metric], kept: Groups
) -> dict[tuple[str, str, str], dict]:
    """Each group against the rest of its attribute, by metric, attribute and group."""
    scale = _spread(null.difference)
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
    attributes = pd.Series([name for name, _ in kept.keys], dtype=object)
    members = {name: rows.to_numpy() for name, rows in attributes.groupby(attributes, sort=False).groups.items()}
    members = {name: groups for name, groups in members.items() if len(groups) > 1}
    rows: dict[tuple[str, str], list[dict]] = {(metric, name): [] for metric in metrics for name in members}
    if not rows:
        return rows
    worse = _worse(metrics)
    found, luck = (
        np.stack([_summaries(means.group[..., groups, :], worse) for groups in members.values()], axis=-3)
        for means in (observed, null)
    )
    for place, (what, sign) in enumerate({"gap": 1, "ratio": -1, "worst": worse}.items()):
        value, by_luck = found[:, place], luck[:, :, place]
        centre, scale = by_luck.mean(axis=0), _spread(by_luck)
        p_raw, p_adj = _p_values(*(sign * (side - centre) / scale for side in (value, by_luck)))
        limit = sign * np.quantile(sign * by_luck, 0.95, axis=0)
        cells = {"estimate": value, "null_mean": centre, "null_p95": limit, "p_raw": p_raw, "p_adj": p_adj}
        for row, (name, groups) in enumerate(members.items()):
            who = kept.inside[groups].any(axis=0)
            common = {
                "group": what,
                "family": FAMILIES[what],
                "n_clips": int(clips[who].sum()),
                "n_speakers": int(who.sum()),
            }
            for column, metric in enumerate(metrics):
                if not np.isnan(value[row, column]):
                    rows[metric, name].append(common | {key: cell[row, column] for key, cell in cells.items()})
    return rows


def _spread(null: Float[np.ndarray, "permutations rows metrics"]) -> Float[np.ndarray, "rows metrics"]:
    """Standard deviation over permutations, NaN where they are all alike."""
    spread = null.std(axis=0)
    return np.where(spread > bootstrap.NO_VARIANCE, spread, np.nan)


def _worse(metrics: Mapping[str, Metric]) -> Int[np.ndarray, "metrics"]:
    """1 where more of a metric is worse, -1 where less is."""
    return np.array([1 if metric.error else -1 for metric in metrics.values()])


def _summaries(
    means: Float[np.ndarray, "*permutations groups metrics"], worse: Int[np.ndarray, "metrics"]
) -> Float[np.ndarray, "*permutations 3 metrics"]:
    """Gap, ratio (NaN for a metric that goes below zero) and worst mean of the groups of an attribute."""
    low, high = means.min(axis=-2), means.max(axis=-2)
    ratio = np.where(high > 0, low / np.where(high > 0, high, 1), 1.0)
    return np.stack([high - low, np.where(low < 0, np.nan, ratio), np.where(worse > 0, high, low)], axis=-2)


def _p_values(
    found: Float[np.ndarray, "rows metrics"], luck: Float[np.ndarray, "permutations rows metrics"]
) -> tuple[Float[np.ndarray, "rows metrics"], Float[np.ndarray, "rows metrics"]]:
    """Permutation p of each standardised statistic, alone and allowing for all of them (max-T); NaN stays NaN."""
    luck = np.where(np.isnan(luck), -np.inf, luck)
    largest = luck.max(axis=(1, 2), initial=-np.inf)[:, None, None]
    # Permutations that repeat the observed grouping differ from it by rounding.
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
    """Share painted with each label over the share that truly has it: a `ratio` of 1 is faithful, 0 erases it.

    Even the painter who always paints the likeliest label given the voice (Bayes) erases minorities of whom voices tell
    little. Only the shortfall beyond that painter's ratio, the `amplification`, is the model's own; its interval pairs
    the two painters.

    Args:
        true: true label of each clip.
        painted: label read off the face drawn for each clip.
        speakers: who speaks in each clip.
        resampling: how intervals are made.
        posterior: probability of each label given the voice, for `bayes_ratio`, `bayes_recall` and `amplification`.
        labels: the columns of `posterior` (default: the true labels, sorted).
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
        row = {"label": label, "n_clips": int(here.sum()), "n_speakers": len(np.unique(np.asarray(speakers)[here]))}
        row |= {"true_share": here.mean(), "painted_share": (painted == label).mean()}
        row |= {"ratio": ratio.value, "low": ratio.low, "high": ratio.high, "recall": (painted[here] == label).mean()}
        if likeliest is not None:
            bayes = bootstrap.ratio(likeliest == label, here, speakers, resampling)
            shortfall = bootstrap.combine(np.subtract, bayes, ratio, resampling=resampling)
            row |= {"bayes_ratio": bayes.value, "bayes_recall": (likeliest[here] == label).mean()}
            row |= shortfall.row("amplification")
        rows.append(row)
    return pd.DataFrame(rows)


def shrinkage(
    true: Column, painted: Column, speakers: Column, resampling: Resampling, groups: Column | None = None
) -> pd.DataFrame:
    """Slope of a painted number (age, a face measure) on the true one, and Var(painted) / Var(true).

    A slope of 1 is faithful, 0 paints everybody average. Rows: everybody, then each group of at least
    `MINIMUM_SPEAKERS` speakers.
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


def contrast(
    values: Column, inside: Column, speakers: Column, resampling: Resampling, outside: Column | None = None
) -> Estimate:
    """Mean of the clips inside a group less that of the clips `outside` (default: all others).

    A replicate without a clip on one side does not count.
    """
    values, inside = np.asarray(values, dtype=float), np.asarray(inside, dtype=bool)
    outside = ~inside if outside is None else np.asarray(outside, dtype=bool)
    columns = np.stack([values * inside, inside, values * outside, outside], axis=1)

    def difference(sums: Float[np.ndarray, "replicates 4"]) -> Float[np.ndarray, "replicates"]:
        means = sums[:, ::2] / np.where(sums[:, 1::2] > 0, sums[:, 1::2], np.nan)
        return means[:, 0] - means[:, 1]

    return bootstrap.from_sums(columns, difference, speakers, resampling)

"""Who the model serves worse: metrics by group beside what luck alone would do, and who is painted as whom.

Speakers are the unit: intervals resample them, and null distributions permute the groups among them. The permuted
statistic is a difference over its own standard error (studentised): a group whose speakers have few clips has a less
certain mean than the groups that permutations make of all speakers, which a plain difference takes for a finding. Such
a test is exact where speakers can be exchanged, and right in large groups where only their means are equal (Janssen
1997; Chung & Romano 2013). A finding says that a metric differs between groups of these speakers, not why; no finding
does not say that there is no difference.
"""

from collections.abc import Iterable, Mapping, Sequence
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
LEVEL = 0.05
POWER = norm.ppf(0.80)
# A variance of few speakers is uncertain, and 0 where they are alike by luck. That of a group is estimated from its own
# speakers and from as many others as this, who vary as all speakers with so many clips do.
BORROWED = 40
# Permutations that repeat the observed grouping differ from it by less.
ROUNDING = 1e-9
PERMUTATION_BLOCK = 50  # what they hold fits a processor's cache
HIGHER, LOWER = "higher", "lower"
FAMILIES = {"gap": "gaps", "ratio": "ratios", "worst": "worst groups"}
COLUMNS = ["metric", "better", "attribute", "group", "n_clips", "n_speakers", "estimate", "ci_lo", "ci_hi", "ci_method"]
COLUMNS += ["difference", "se", "null_mean", "null_p95", "p_raw", "p_adj", "family", "mdd80", "mdd80_adj"]
COLUMNS += ["suppressed_reason"]


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
    """The groups of all attributes that are large enough, those of an attribute one after the other."""

    keys: list[tuple[str, str]]  # attribute and group
    inside: Bool[np.ndarray, "groups speakers"]

    @property
    def rows(self) -> dict[str, Int[np.ndarray, "_"]]:
        """The rows of each attribute."""
        attributes = np.array([name for name, _ in self.keys])
        return {name: np.flatnonzero(attributes == name) for name in dict.fromkeys(attributes.tolist())}


class Scale(NamedTuple):
    """Where each metric lies over all clips; what is compared is in units of `spread` from `centre`."""

    centre: Float[np.ndarray, "metrics"]
    spread: Float[np.ndarray, "metrics"]
    low: Float[np.ndarray, "metrics"]
    high: Float[np.ndarray, "metrics"]

    @classmethod
    def of(cls, values: Float[np.ndarray, "clips metrics"]) -> "Scale":
        return cls(values.mean(axis=0), values.std(axis=0), values.min(axis=0), values.max(axis=0))

    def means(
        self, compared: Float[np.ndarray, "*permutations groups metrics"]
    ) -> Float[np.ndarray, "*permutations groups metrics"]:
        """Means in the units of the metrics, within the range of their clips."""
        return np.clip(self.centre + self.spread * compared, self.low, self.high)


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

    A group's `difference` is its mean less that of the rest of its attribute, `se` the standard error of that, by
    speaker. `mdd80` is the difference that would be found in 80 % of studies with this standard error, `mdd80_adj` the
    same if all comparisons are allowed for. The rows `gap` (largest less smallest mean), `ratio` (smallest to largest)
    and `worst` (the mean of the group served worst) summarise an attribute.

    The null distribution permutes the groups among the speakers, for all metrics alike. p values compare differences in
    units of their standard errors, in the data and in each permutation. `p_adj` (max-T) is adjusted for all rows of a
    `family`: the groups of all metrics are one, two-sided; so are the gaps and the ratios, which both ask whether any
    group of an attribute differs from the rest; so are the worst groups, one-sided. `null_mean` is the mean over the
    permutations, and `null_p95` the 95th percentile in the unfavourable direction; there the mean of a group varies by
    the standard error that it has in the data.

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
    of_speaker = {name: _by_speaker(name, column, index, speakers) for name, column in labels.items()}
    kept = _groups(of_speaker, index.count, minimum)
    stacked = np.stack(list(values.values()), axis=1)
    scale, moments = Scale.of(stacked), _moments(stacked, index)
    observed = _compared(moments, kept)
    null = _null(moments, kept, observed, scale, permutations, resampling.seed)
    compared = _of_groups(observed, null, scale, metrics, kept)
    summed_up = _of_attributes(observed, null, scale, metrics, kept, np.bincount(index.codes))

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
        for group in sorted(counts.index[counts >= minimum]):
            kept[name, group] = (labels == group).to_numpy()
    return Groups(list(kept), np.array(list(kept.values()), dtype=bool).reshape(len(kept), n_speakers))


class Moments(NamedTuple):
    """Of each speaker with n clips of sum S: S, S², S n of each metric, n, n², whose totals tell mean and variance.

    The `components` are the variance between speakers, of which S has n² times as much, and within them, n times.
    """

    columns: Float[np.ndarray, "*permutations speakers columns"]
    components: Float[np.ndarray, "2 metrics"]


class Compared(NamedTuple):
    """Each group and the rest of its attribute (NaN where there is none), in the units of `Scale`."""

    mean: Float[np.ndarray, "*permutations groups metrics"]
    mean_se: Float[np.ndarray, "*permutations groups metrics"]
    difference: Float[np.ndarray, "*permutations groups metrics"]
    se: Float[np.ndarray, "*permutations groups metrics"]
    df: Float[np.ndarray, "*permutations groups metrics"]
    deviate: Float[np.ndarray, "*permutations groups metrics"]  # difference / se, made standard normal


class Null(NamedTuple):
    """What the permutations make of each group: its mean, with the group's own standard error, and its deviate."""

    mean: Float[np.ndarray, "permutations groups metrics"]
    deviate: Float[np.ndarray, "permutations groups metrics"]


def _moments(values: Float[np.ndarray, "clips metrics"], index: bootstrap.Speakers) -> Moments:
    unit = np.stack([bootstrap.standardised(column) for column in values.T], axis=1)
    sums = np.stack([np.bincount(index.codes, column, index.count) for column in unit.T], axis=1)
    clips = np.bincount(index.codes).astype(float)[:, None]
    of_speakers, n = (sums**2).sum(axis=0), clips.sum()
    # Analysis of variance: clips about the means of their speakers, and what that leaves of the sums of the speakers.
    within = ((unit**2).sum(axis=0) - (sums**2 / clips).sum(axis=0)) / max(n - index.count, 1)
    within = np.minimum(within, of_speakers / n)
    between = (of_speakers - within * n) / (clips**2).sum()
    columns = np.concatenate([sums, sums**2, sums * clips, clips, clips**2], axis=1)
    return Moments(columns, np.stack([between, within]))


def _compared(moments: Moments, kept: Groups) -> Compared:
    """Welch's t statistic of each group's mean and that of the rest, with variances clustered by speaker."""
    inside = kept.inside.astype(float) @ moments.columns
    outside = np.empty_like(inside)
    for rows in kept.rows.values():
        outside[..., rows, :] = inside[..., rows, :].sum(axis=-2, keepdims=True) - inside[..., rows, :]
    sides = [_side(totals, moments.components) for totals in (inside, outside)]
    (mean, variance, df), (rest, rest_variance, rest_df) = sides
    both = variance + rest_variance
    df = both**2 / (variance**2 / df + rest_variance**2 / rest_df)
    difference, se = mean - rest, np.sqrt(both)
    return Compared(mean, np.sqrt(variance), difference, se, df, _normal(difference / se, df))


def _side(
    totals: Float[np.ndarray, "*permutations groups columns"], components: Float[np.ndarray, "2 metrics"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over clips, its variance clustered by speaker (NaN if there is none), and degrees of freedom."""
    sums, squares, products, n, n2 = np.split(totals, np.cumsum([components.shape[1]] * 3 + [1]), axis=-1)
    n = np.where(n > 0, n, np.nan)
    speakers = n**2 / n2  # as many, with equally many clips each, would be as certain (Kish)
    mean, df = sums / n, speakers - 1 + BORROWED
    squares = squares - 2 * mean * products + mean**2 * n2  # the sum over speakers of (S - mean n)²
    between, within = components
    variance = (speakers * squares + BORROWED * (between * n2 + within * n)) / df / n**2
    return mean, np.where(variance > bootstrap.NO_VARIANCE**2, variance, np.nan), df


def _normal(
    t: Float[np.ndarray, "*permutations groups metrics"], df: Float[np.ndarray, "*permutations groups metrics"]
) -> Float[np.ndarray, "*permutations groups metrics"]:
    """The normal deviate that is as unlikely as a t statistic: small and large groups on one scale (Wallace 1959)."""
    return np.sign(t) * (8 * df + 1) / (8 * df + 3) * np.sqrt(df * np.log1p(t**2 / df))


def _null(moments: Moments, kept: Groups, observed: Compared, scale: Scale, permutations: int, seed: int) -> Null:
    """Groups are permuted among the speakers, whose clips stay together."""
    rng = np.random.default_rng(seed)
    blocks = []
    for start in range(0, permutations, PERMUTATION_BLOCK):
        rows = min(PERMUTATION_BLOCK, permutations - start)
        order = rng.permuted(np.tile(np.arange(kept.inside.shape[1]), (rows, 1)), axis=1)
        found = _compared(moments._replace(columns=np.take(moments.columns, order, axis=0)), kept)
        mean = np.nan_to_num(found.mean / found.mean_se * observed.mean_se)  # NaN where a metric is the same for all
        blocks.append(Null(scale.means(mean), found.deviate))
    return Null(*(np.concatenate(part) for part in zip(*blocks, strict=True)))


def _of_groups(
    observed: Compared, null: Null, scale: Scale, metrics: Mapping[str, Metric], kept: Groups
) -> dict[tuple[str, str, str], dict]:
    """Each group against the rest of its attribute, by metric, attribute and group."""
    found, luck = np.abs(observed.deviate), np.abs(null.deviate)
    p_raw, p_adj = _p_values(found, luck)
    critical, critical_of_all = (np.quantile(side, 1 - LEVEL, axis=0) for side in (luck, _largest(luck)))
    worse = _worse(metrics)
    columns = {
        "difference": scale.spread * observed.difference,
        "se": scale.spread * observed.se,
        "null_mean": null.mean.mean(axis=0),
        "null_p95": worse * np.quantile(worse * null.mean, 1 - LEVEL, axis=0),
        "p_raw": p_raw,
        "p_adj": p_adj,
        "mdd80": scale.spread * _detectable(critical, observed),
        "mdd80_adj": scale.spread * _detectable(critical_of_all, observed),
    }
    alone = np.isnan(observed.difference)
    columns = {name: np.where(alone, np.nan, cells) for name, cells in columns.items()}
    return {
        (metric, *key): {"family": "groups"} | {name: cells[row, column] for name, cells in columns.items()}
        for row, key in enumerate(kept.keys)
        for column, metric in enumerate(metrics)
    }


def _detectable(
    critical: Float[np.ndarray, "#groups #metrics"], observed: Compared
) -> Float[np.ndarray, "groups metrics"]:
    """The difference whose deviate is beyond the critical one with a power of 80 %.

    Of a noncentral t statistic: its denominator varies, by 1 / sqrt(2 df), as well as its numerator.
    """
    df = observed.df
    t = np.sqrt(df * np.expm1((critical * (8 * df + 3) / (8 * df + 1)) ** 2 / df))
    return (t + POWER * np.sqrt(1 + t**2 / (2 * df))) * observed.se


def _of_attributes(
    observed: Compared,
    null: Null,
    scale: Scale,
    metrics: Mapping[str, Metric],
    kept: Groups,
    clips: Int[np.ndarray, "speakers"],
) -> dict[tuple[str, str], list[dict]]:
    """The rows `gap`, `ratio` and `worst` by metric and attribute, where two groups are large enough."""
    members = {name: groups for name, groups in kept.rows.items() if len(groups) > 1}
    rows: dict[tuple[str, str], list[dict]] = {(metric, name): [] for metric in metrics for name in members}
    if not rows:
        return rows
    worse = _worse(metrics)
    found, luck = (
        np.stack([_summaries(means[..., groups, :], worse) for groups in members.values()], axis=-3)
        for means in (scale.means(observed.mean), null.mean)
    )
    differs = _p_of_largest(np.abs(observed.deviate), np.abs(null.deviate), members.values())
    lags = _p_of_largest(worse * observed.deviate, worse * null.deviate, members.values())
    summaries = {"gap": (1, differs), "ratio": (-1, differs), "worst": (worse, lags)}
    for place, (what, (sign, (p_raw, p_adj))) in enumerate(summaries.items()):
        value, by_luck = found[:, place], luck[:, :, place]
        limit = sign * np.quantile(sign * by_luck, 1 - LEVEL, axis=0)
        cells = {"estimate": value, "null_mean": by_luck.mean(axis=0), "null_p95": limit}
        cells |= {"p_raw": p_raw, "p_adj": p_adj}
        for row, (name, groups) in enumerate(members.items()):
            who = kept.inside[groups].any(axis=0)
            common = {
                "group": what,
                "family": FAMILIES[what],
                "n_clips": int(clips[who].sum()),
                "n_speakers": int(who.sum()),
            }
            for column, metric in enumerate(metrics):
                if what != "ratio" or scale.low[column] >= 0:
                    rows[metric, name].append(common | {key: cell[row, column] for key, cell in cells.items()})
    return rows


def _p_of_largest(
    found: Float[np.ndarray, "groups metrics"],
    luck: Float[np.ndarray, "permutations groups metrics"],
    members: Iterable[Int[np.ndarray, "_"]],
) -> tuple[Float[np.ndarray, "attributes metrics"], Float[np.ndarray, "attributes metrics"]]:
    """`_p_values` of the largest deviate of each attribute, standardised, as the largest of many groups is larger."""
    found, luck = (np.stack([side[..., rows, :].max(axis=-2) for rows in members], axis=-2) for side in (found, luck))
    centre, spread = luck.mean(axis=0), luck.std(axis=0)
    spread = np.where(spread > 0, spread, np.nan)
    return _p_values((found - centre) / spread, (luck - centre) / spread)


def _worse(metrics: Mapping[str, Metric]) -> Int[np.ndarray, "metrics"]:
    """1 where more of a metric is worse, -1 where less is."""
    return np.array([1 if metric.error else -1 for metric in metrics.values()])


def _summaries(
    means: Float[np.ndarray, "*permutations groups metrics"], worse: Int[np.ndarray, "metrics"]
) -> Float[np.ndarray, "*permutations 3 metrics"]:
    """Gap, ratio (for metrics that are never below zero) and worst mean of the groups of an attribute."""
    low, high = means.min(axis=-2), means.max(axis=-2)
    ratio = np.where(high > 0, low / np.where(high > 0, high, 1), 1.0)
    return np.stack([high - low, ratio, np.where(worse > 0, high, low)], axis=-2)


def _p_values(
    found: Float[np.ndarray, "rows metrics"], luck: Float[np.ndarray, "permutations rows metrics"]
) -> tuple[Float[np.ndarray, "rows metrics"], Float[np.ndarray, "rows metrics"]]:
    """Permutation p of each statistic, alone and allowing for all of them (max-T); NaN stays NaN."""
    nearly = found - ROUNDING
    reached = [(1 + (side >= nearly).sum(axis=0)) / (1 + len(luck)) for side in (luck, _largest(luck))]
    return tuple(np.where(np.isnan(found), np.nan, p) for p in reached)


def _largest(luck: Float[np.ndarray, "permutations rows metrics"]) -> Float[np.ndarray, "permutations 1 1"]:
    """The largest statistic of each permutation; NaN if there is none."""
    return np.fmax.reduce(luck, axis=(1, 2), keepdims=True, initial=np.nan)


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

"""What a predicted face has in common with the true one: the paper's tables, and negative controls."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from s2f import stats
from s2f.paths import UserError
from s2f.retrieval import unit_rows
from s2f.stats import Column, Estimate, Resampling

Features = Float[np.ndarray, "clips dim"]
Measures = Float[np.ndarray, "clips measures"]

PENALTIES = np.logspace(-1, 5, 13)
# Rows of the matrix of angles between clips that are held at once.
ANGLE_CHUNK = 512


def angles(pred: Features, true: Features) -> Float[np.ndarray, "clips"]:
    """Angle in degrees between each prediction and its true feature (90 where one of them is zero)."""
    return _degrees((unit_rows(pred) * unit_rows(true)).sum(axis=1))


def _degrees(cosine: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def feature_similarity(pred: Features, true: Features) -> pd.DataFrame:
    """Table 2 of the paper: mean and standard deviation over clips of the angle, L2 and L1 distance.

    L2 and L1 depend on the scale of the features; only the angle compares with the paper.
    """
    apart = pred.astype(float) - true
    distances = {
        "angle_deg": angles(pred, true),
        "l2": np.linalg.norm(apart, axis=1),
        "l1": np.abs(apart).sum(axis=1),
    }
    return pd.DataFrame({name: {"mean": d.mean(), "sd": d.std()} for name, d in distances.items()}).T


def confusion(true: Column, painted: Column, labels: Sequence[str]) -> pd.DataFrame:
    """Fig. 4 of the paper: row-normalised confusion of `labels` (rows: true), with the clips of each in `n`.

    A row without clips is NaN.
    """
    for column in (true, painted):
        unknown = set(np.asarray(column).tolist()) - set(labels)
        if unknown:
            raise UserError(
                f"The label {sorted(unknown)[0]!r} is not one of {list(labels)}: add it to the labels."
            )
    pairs = pd.crosstab(np.asarray(true), np.asarray(painted))
    counts = pairs.reindex(index=labels, columns=labels, fill_value=0)
    n = counts.sum(axis=1)
    table = counts.div(n.where(n > 0), axis=0)
    return table.assign(n=n).rename_axis(index="true", columns="painted")


def agreement(
    true: Column, painted: Column, speakers: Column, resampling: Resampling, best: Column | None = None
) -> pd.DataFrame:
    """Overall and balanced accuracy, and in `chance` what always naming the commonest (any) label scores.

    `best` are the labels that the best possible observer names: their overall accuracy is the `ceiling`, and
    `share_of_ceiling` (with interval) how much of the way from chance to it is reached.
    """
    true, painted = np.asarray(true), np.asarray(painted)
    labels, codes, counts = np.unique(true, return_inverse=True, return_counts=True)
    right = (true == painted).astype(float)
    overall = stats.interval(right, speakers, resampling, share=True)
    hits, members = (np.eye(len(labels))[codes] * part[:, None] for part in (right, np.ones_like(right)))

    def mean_recall(sums: Float[np.ndarray, "replicates columns"]) -> Float[np.ndarray, "replicates"]:
        hit, of = np.split(sums, 2, axis=1)
        return (hit / np.where(of > 0, of, np.nan)).mean(axis=1)

    balanced = stats.from_sums(np.hstack([hits, members]), mean_recall, speakers, resampling)
    chance = counts.max() / len(true)
    rows = {
        "overall": {"chance": chance} | overall.row(),
        "balanced": {"chance": 1 / len(labels)} | balanced.row(),
    }
    if best is not None:
        ceiling = stats.interval((true == np.asarray(best)).astype(float), speakers, resampling, share=True)
        rows["overall"] |= shares(overall, chance, ceiling, resampling)
    return pd.DataFrame(rows).T.rename_axis("accuracy")


def attribute_classifier(features: Features, labels: Column) -> Pipeline:
    """Reads an attribute off face features: logistic regression for labels, ridge regression for numbers.

    Fit it on true faces of the training speakers; the same classifier then judges both arms, so that its own
    errors cancel in the difference.
    """
    labels = np.asarray(labels)
    numeric = labels.dtype.kind == "f"
    judge = RidgeCV(PENALTIES) if numeric else LogisticRegression(C=0.1, max_iter=2000)
    return make_pipeline(StandardScaler(), judge).fit(features, labels)


def attributes(
    seen: Features,
    labels: pd.DataFrame,
    arms: Mapping[str, Features],
    true: pd.DataFrame,
    best: pd.DataFrame,
    speakers: Column,
    resampling: Resampling,
) -> tuple[pd.DataFrame, dict[tuple[str, str], pd.DataFrame]]:
    """Fig. 4 for each attribute (column of `labels`, `true`, `best`) and each arm: overall accuracies, confusions.

    `seen` and `labels` are the true faces that the classifiers learn from; `arms` the features of faces of the
    clips, whose labels are `true` and, for the best possible observer, `best`.
    """
    scores, counts = {}, {}
    for name in labels:
        judge = attribute_classifier(seen, labels[name])
        for arm, features in arms.items():
            painted = judge.predict(features)
            scores[name, arm] = agreement(true[name], painted, speakers, resampling, best[name]).loc["overall"]
            counts[name, arm] = confusion(true[name], painted, sorted(labels[name].unique()))
    return pd.DataFrame(scores).T.rename_axis(["attribute", "arm"]), counts


def nested_attributes(scores: pd.DataFrame, counts: Mapping[tuple[str, str], pd.DataFrame]) -> dict:
    """What `attributes` found, as JSON holds it: attribute, arm, then `overall` and for each label its recall."""
    nested: dict = {}
    for (name, arm), table in counts.items():
        recalls = {label: {"value": table.loc[label, label], "n": table.loc[label, "n"]} for label in table.index}
        nested.setdefault(name, {})[arm] = recalls | {"overall": scores.loc[(name, arm)].to_dict()}
    return nested


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
    """Fig. 5(c) of the paper: Pearson r of each measure, true against drawn faces, with `strata` also within.

    `best` are the measures that the best possible observer expects: their r is the `ceiling`, of which
    `share_of_ceiling` (with interval) is reached.
    p values come from giving each speaker's drawings the true measures of a random speaker (of the same
    stratum): `random` is the mean |r| of such pairs, `random_p95` its 95th percentile, `p_adjusted` allows
    for all measures. Intervals are pointwise unless `resampling` says otherwise.
    """
    index = stats.number_speakers(speakers, true=true, drawn=drawn)
    everybody = np.zeros(len(true), dtype=int)
    views = {"all": everybody}
    if strata is not None:
        views["within"] = np.unique(np.asarray(strata), return_inverse=True)[1]
    rows = []
    for view, stratum in views.items():
        x, y = (_demeaned(side, stratum) for side in (true, drawn))
        null = np.abs(_random_pairs(x, y, index, stratum, permutations, resampling.seed))
        for column, name in enumerate(names):
            estimate = stats.correlation(x[:, column], y[:, column], speakers, resampling)
            size = abs(estimate.value) - stats.NO_VARIANCE  # equal up to rounding counts as reached
            row = {
                "p": (1 + (null[:, column] >= size).sum()) / (1 + permutations),
                "p_adjusted": (1 + (null.max(axis=1) >= size).sum()) / (1 + permutations),
                "random": null[:, column].mean(),
                "random_p95": np.quantile(null[:, column], 0.95),
            }
            if best is not None:
                expected = _demeaned(best[:, column], stratum)
                ceiling = stats.correlation(x[:, column], expected, speakers, resampling)
                row |= shares(estimate, 0.0, ceiling, resampling)
            rows.append({"measure": name, "speakers": view} | estimate.row() | row)
    return pd.DataFrame(rows).rename(columns={"value": "r"})


def _demeaned(values: Float[np.ndarray, "clips *columns"], strata: Int[np.ndarray, "clips"]) -> np.ndarray:
    """Values less the mean of their stratum."""
    values = values.astype(float)
    means = np.stack([values[strata == stratum].mean(axis=0) for stratum in range(strata.max() + 1)])
    return values - means[strata]


def _random_pairs(
    x: Measures,
    y: Measures,
    index: stats.Speakers,
    strata: Int[np.ndarray, "clips"],
    permutations: int,
    seed: int,
) -> Float[np.ndarray, "permutations measures"]:
    """r of each measure when clips keep their speaker's y and take the mean x of another speaker."""
    rng = np.random.default_rng(seed)
    per_speaker = np.stack([np.bincount(index.codes, c, index.count) for c in x.T], axis=1)
    per_speaker /= np.bincount(index.codes)[:, None]
    stratum_of = np.zeros(index.count, dtype=int)
    stratum_of[index.codes] = strata
    by_stratum = np.argsort(stratum_of, kind="stable")
    rs = np.empty((permutations, x.shape[1]))
    unit_y = np.stack([stats.standardised(c) for c in y.T], axis=1)
    for i in range(permutations):
        # Sorting by stratum with random ties pairs speakers at random inside each stratum.
        partner = np.empty(index.count, dtype=int)
        partner[by_stratum] = np.lexsort((rng.random(index.count), stratum_of))
        shuffled = per_speaker[partner][index.codes]
        spread = shuffled.std(axis=0)
        rs[i] = (shuffled * unit_y).mean(axis=0) / np.where(spread > 0, spread, 1)
    return rs


def duration_curve(values: Mapping[float, Column], speakers: Column, resampling: Resampling) -> pd.DataFrame:
    """Mean of a value a clip at each duration in seconds, and its paired difference from the longest."""
    estimates = {seconds: stats.interval(values[seconds], speakers, resampling) for seconds in sorted(values)}
    longest = estimates[max(estimates)]
    rows = []
    for seconds, estimate in estimates.items():
        gap = stats.combine(np.subtract, estimate, longest, resampling=resampling)
        paired = {"versus_longest": gap.value, "versus_low": gap.low, "versus_high": gap.high}
        rows.append({"seconds": seconds} | estimate.row() | paired)
    return pd.DataFrame(rows)


def consistency(pred: Features, speakers: Column, resampling: Resampling) -> pd.DataFrame:
    """Fig. 10 of the paper in numbers: angles to same and other speakers, and the intraclass correlation.

    The intraclass correlation is the part of the variance of the features, summed over dimensions, that lies
    between speakers (one-way analysis of variance). Speakers with one clip count only in the angles to
    others.
    """
    index = stats.number_speakers(speakers, pred=pred)
    clips = np.bincount(index.codes)
    own, other = _mean_angles(unit_rows(pred), index)
    repeated = clips[index.codes] > 1
    if not repeated.any() or index.count < 2:
        raise UserError("Consistency needs two clips of one speaker and two speakers: pass more clips.")
    speakers = np.asarray(speakers)
    rows = {
        "same speaker, degrees": stats.interval(own[repeated], speakers[repeated], resampling),
        "other speakers, degrees": stats.interval(other, speakers, resampling),
        "intraclass correlation": _intraclass(pred.astype(float), index, resampling),
    }
    return pd.DataFrame({name: estimate.row() for name, estimate in rows.items()}).T


def _mean_angles(
    unit: Features, index: stats.Speakers
) -> tuple[Float[np.ndarray, "clips"], Float[np.ndarray, "clips"]]:
    """Mean angle of each clip to its speaker's other clips (NaN without any) and to those of all others."""
    clips = np.bincount(index.codes)[index.codes]
    own, total = np.empty(len(unit)), np.empty(len(unit))
    for start in range(0, len(unit), ANGLE_CHUNK):
        rows = np.arange(start, min(start + ANGLE_CHUNK, len(unit)))
        between = _degrees(unit[rows] @ unit.T)
        between[np.arange(len(rows)), rows] = 0  # to itself, without the rounding of arccos near 1
        own[rows] = (between * (index.codes[rows, None] == index.codes)).sum(axis=1)
        total[rows] = between.sum(axis=1)
    return own / np.where(clips > 1, clips - 1, np.nan), (total - own) / (len(unit) - clips)


def _intraclass(pred: Features, index: stats.Speakers, resampling: Resampling) -> Estimate:
    centred = pred - pred.mean(axis=0)
    clips = np.bincount(index.codes).astype(float)
    sums = np.zeros((index.count, pred.shape[1]))
    np.add.at(sums, index.codes, centred)
    squares = np.bincount(index.codes, np.square(centred).sum(axis=1))
    explained = np.square(sums).sum(axis=1) / clips

    def statistic(weights: Float[np.ndarray, "replicates speakers"]) -> Float[np.ndarray, "replicates"]:
        drawn, n = weights.sum(axis=1), weights @ clips
        of_mean = np.square(weights @ sums).sum(axis=1) / n
        between = (weights @ explained - of_mean) / (drawn - 1)
        within = weights @ (squares - explained) / np.maximum(n - drawn, 1)
        size = (n - weights @ clips**2 / n) / (drawn - 1)  # clips a speaker, when their numbers differ
        total = between + (size - 1) * within
        return np.where(total > 0, (between - within) / np.where(total > 0, total, 1), 0.0)

    return stats.bootstrap(statistic, len(pred), index.count, resampling, width=sums.size // index.count)


def negative_controls(
    features: Features,
    labels: pd.DataFrame,
    speakers: Column,
    train: Bool[np.ndarray, "clips"],
    resampling: Resampling,
    strata: Column | None = None,
    dims: int = 32,
) -> pd.DataFrame:
    """Can a linear probe read labels off predicted features? What no voice carries must come out at chance.

    Probes learn on the clips of `train` and are judged on the others: AUC for two labels, Pearson r for
    numbers. With `strata`, only clips of one stratum are compared, for labels that go with sex or age. All
    intervals hold together; `bound` is the largest distance from chance that they leave possible.
    """
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
            {"control": name, "metric": kind, "chance": chance}
            | estimate.row()
            | {"bound": bound, "at_chance": passed}
        )
    return pd.DataFrame(rows)


def _principal(
    features: Features, train: Bool[np.ndarray, "clips"], dims: int
) -> Float[np.ndarray, "clips kept"]:
    """Standardised features in `dims` principal directions of the training clips."""
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
        return "auc", 0.5, stats.auc(scores, positive[tested], speakers[tested], resampling, strata[tested])
    if not pd.api.types.is_numeric_dtype(label):
        raise UserError(f"The control {label.name} has {len(values)} labels: pass one 0/1 column a label.")
    truth = label.to_numpy(float)
    guess = RidgeCV(PENALTIES).fit(seen[fitted], truth[fitted]).predict(seen[tested])
    stratum = np.unique(strata[tested], return_inverse=True)[1]
    x, y = (_demeaned(side, stratum) for side in (truth[tested], guess))
    return "r", 0.0, stats.correlation(x, y, speakers[tested], resampling)


def share_of_ceiling(
    value: Estimate, chance: float, ceiling: Estimate | float, resampling: Resampling
) -> Estimate:
    """(value - chance) / (ceiling - chance): 0 at chance, 1 at the best any system could reach.

    A ceiling that was itself estimated on the same clips is resampled together with the value.
    """
    if isinstance(ceiling, Estimate):
        return stats.combine(lambda v, c: (v - chance) / (c - chance), value, ceiling, resampling=resampling)
    return stats.combine(lambda v: (v - chance) / (ceiling - chance), value, resampling=resampling)


def shares(value: Estimate, chance: float, ceiling: Estimate, resampling: Resampling) -> dict[str, float]:
    """The columns that set a value beside its ceiling: `ceiling`, `share_of_ceiling`, `share_low`, `share_high`."""
    share = share_of_ceiling(value, chance, ceiling, resampling)
    return {
        "ceiling": ceiling.value,
        "share_of_ceiling": share.value,
        "share_low": share.low,
        "share_high": share.high,
    }

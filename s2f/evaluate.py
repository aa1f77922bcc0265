"""What a predicted face has in common with the true one: the paper's tables, beside the best possible."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
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


def angles(pred: Features, true: Features) -> Float[np.ndarray, "clips"]:
    """Angle in degrees between each prediction and its true feature (90 where one of them is zero)."""
    return degrees((unit_rows(pred) * unit_rows(true)).sum(axis=1))


def degrees(cosine: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def feature_similarity(pred: Features, true: Features) -> pd.DataFrame:
    """Table 2 of the paper: mean and standard deviation over clips of the angle, L2 and L1 distance.

    Only the angle compares with the paper: L2 and L1 grow with the `scale`, the length of the true feature, which the
    paper does not print.
    """
    apart = pred.astype(float) - true
    columns = {
        "angle_deg": angles(pred, true),
        "l2": np.linalg.norm(apart, axis=1),
        "l1": np.abs(apart).sum(axis=1),
        "scale": np.linalg.norm(true.astype(float), axis=1),
    }
    return pd.DataFrame({name: {"mean": d.mean(), "sd": d.std()} for name, d in columns.items()}).T


def label_shares(labels: pd.DataFrame) -> dict[str, dict]:
    """Fig. 4(b) of the paper: for each attribute (column) and label, the share of people (`value`) and their number."""
    return {
        name: {label: {"value": n / len(labels), "n": n} for label, n in labels[name].value_counts(sort=False).items()}
        for name in sorted(labels)
    }


def confusion(true: Column, painted: Column, labels: Sequence[str]) -> pd.DataFrame:
    """Fig. 4 of the paper: row-normalised confusion (rows: true), with the clips of each true label in `n`.

    `labels` are those that a classifier knows, and the columns. A true label that it does not know cannot be painted:
    its row has no shares (NaN), like that of a label without clips.
    """
    unknown = set(np.asarray(painted).tolist()) - set(labels)
    if unknown:
        raise UserError(f"The label {sorted(unknown)[0]!r} is not one of {list(labels)}: add it to the labels.")
    rows = [*labels, *sorted(set(np.asarray(true).tolist()) - set(labels))]
    counts = pd.crosstab(np.asarray(true), np.asarray(painted)).reindex(index=rows, columns=labels, fill_value=0)
    n = counts.sum(axis=1)
    shares = counts.div(n.where(n > 0), axis=0)
    shares.loc[rows[len(labels) :]] = np.nan
    return shares.assign(n=n).rename_axis(index="true", columns="painted")


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


def read_attributes(
    seen: Float[np.ndarray, "faces dim"], labels: pd.DataFrame, faces: Mapping[str, Features]
) -> dict[str, pd.DataFrame]:
    """The labels that classifiers read off the features of each kind of face, a column an attribute.

    A classifier for each attribute (column of `labels`) learns from the true faces `seen`; the labels that it knows are
    the categories of its column.
    """
    judges = {name: attribute_classifier(seen, labels[name]) for name in labels}
    return {
        kind: pd.DataFrame({n: pd.Categorical(judge.predict(clips), judge.classes_) for n, judge in judges.items()})
        for kind, clips in faces.items()
    }


def attributes(
    true: pd.DataFrame,
    painted: pd.DataFrame,
    speakers: Column,
    resampling: Resampling,
    best: pd.DataFrame | None = None,
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Fig. 4 for each attribute (column): overall accuracy, and the confusion.

    `true` and `painted` (from `read_attributes`) are the labels of two faces a clip, such as the true face and the one
    drawn from its voice; `best` those that the best possible observer names.
    """
    scores, matrices = {}, {}
    for name in painted:
        limit = None if best is None else best[name]
        scores[name] = agreement(true[name], painted[name], speakers, resampling, limit).loc["overall"]
        matrices[name] = confusion(true[name], painted[name], list(painted[name].cat.categories))
    return pd.DataFrame(scores).T.rename_axis("attribute"), matrices


def attribute_results(arms: Mapping[str, tuple[pd.DataFrame, dict[str, pd.DataFrame]]]) -> dict[str, dict]:
    """What `attributes` found in each arm, as JSON holds it.

    `attributes`: attribute, arm, and there `overall` and the recall of each label (NaN for one that the classifier does
    not know). `confusions`: arm, attribute, true label, painted label.
    """
    kept: dict = {}
    shares: dict = {}
    for arm, (scores, matrices) in arms.items():
        for name, table in matrices.items():
            cells = table.drop(columns="n")
            recalls = {
                label: {"value": cells.at[label, label] if label in cells else np.nan, "n": n}
                for label, n in table["n"].items()
            }
            kept.setdefault(name, {})[arm] = recalls | {"overall": scores.loc[name].to_dict()}
            shares.setdefault(arm, {})[name] = cells.to_dict("index")
    return {"attributes": kept, "confusions": shares}


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
        x, y = (demeaned(side, stratum) for side in (true, drawn))
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
                expected = demeaned(best[:, column], stratum)
                ceiling = stats.correlation(x[:, column], expected, speakers, resampling)
                row |= shares(estimate, 0.0, ceiling, resampling)
            rows.append({"measure": name, "speakers": view} | estimate.row() | row)
    return pd.DataFrame(rows).rename(columns={"value": "r"})


def demeaned(values: Float[np.ndarray, "clips *columns"], strata: Int[np.ndarray, "clips"]) -> np.ndarray:
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


def share_of_ceiling(value: Estimate, chance: float, ceiling: Estimate | float, resampling: Resampling) -> Estimate:
    """(value - chance) / (ceiling - chance): 0 at chance, 1 at the best any system could reach.

    A ceiling that was itself estimated on the same clips is resampled together with the value.
    """
    if isinstance(ceiling, Estimate):
        return stats.combine(lambda v, c: (v - chance) / (c - chance), value, ceiling, resampling=resampling)
    return stats.combine(lambda v: (v - chance) / (ceiling - chance), value, resampling=resampling)


def beside_ceiling(
    values: Column, best: Column, chance: float, speakers: Column, resampling: Resampling
) -> dict[str, float]:
    """A share a clip (a hit, a match) as a row of results: estimate, chance, and how much of the ceiling is reached.

    `best` are the shares of the best possible observer of the same clips.
    """
    ours, ceiling = (stats.interval(side, speakers, resampling, share=True) for side in (values, best))
    return {"chance": chance} | ours.row() | shares(ours, chance, ceiling, resampling)


def shares(value: Estimate, chance: float, ceiling: Estimate, resampling: Resampling) -> dict[str, float]:
    """The columns that set a value beside its ceiling: `ceiling`, `share_of_ceiling`, `share_low`, `share_high`."""
    share = share_of_ceiling(value, chance, ceiling, resampling)
    return {
        "ceiling": ceiling.value,
        "share_of_ceiling": share.value,
        "share_low": share.low,
        "share_high": share.high,
    }

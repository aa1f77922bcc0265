"""Attributes (sex, age, group) that a classifier reads off faces: Fig. 4 of the paper."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from s2f.metrics import bootstrap
from s2f.metrics.bootstrap import Column, Resampling
from s2f.metrics.ceiling import shares
from s2f.metrics.similarity import Features
from s2f.study.paths import UserError

PENALTIES = np.logspace(-1, 5, 13)


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
    overall = bootstrap.interval(right, speakers, resampling, share=True)
    hits, members = (np.eye(len(labels))[codes] * part[:, None] for part in (right, np.ones_like(right)))

    def mean_recall(sums: Float[np.ndarray, "replicates columns"]) -> Float[np.ndarray, "replicates"]:
        hit, of = np.split(sums, 2, axis=1)
        return (hit / np.where(of > 0, of, np.nan)).mean(axis=1)

    balanced = bootstrap.from_sums(np.hstack([hits, members]), mean_recall, speakers, resampling)
    chance = counts.max() / len(true)
    rows = {
        "overall": {"chance": chance} | overall.row(),
        "balanced": {"chance": 1 / len(labels)} | balanced.row(),
    }
    if best is not None:
        ceiling = bootstrap.interval((true == np.asarray(best)).astype(float), speakers, resampling, share=True)
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

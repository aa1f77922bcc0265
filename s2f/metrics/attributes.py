"""Attributes (sex, age, group) predicted from faces by a classifier: Fig. 4 of the paper."""

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
from s2f.study.numbers import finite
from s2f.study.paths import UserError

PENALTIES = np.logspace(-1, 5, 13)


def label_shares(labels: pd.DataFrame) -> dict[str, dict]:
    """Fig. 4(b) of the paper: share (`value`) and number (`n`) of people by attribute (column) and label."""
    return {
        name: {label: {"value": n / len(labels), "n": n} for label, n in labels[name].value_counts(sort=False).items()}
        for name in sorted(labels)
    }


def confusion(true: Column, predicted: Column, labels: Sequence[str]) -> pd.DataFrame:
    """Fig. 4 of the paper: row-normalised confusion matrix (rows: true), with the number of clips in `n`.

    The columns are `labels`, those that the classifier knows (UserError if it predicted another). A true label that it
    does not know, or that has no clips, has a row of NaN.
    """
    unknown = set(np.asarray(predicted).tolist()) - set(labels)
    if unknown:
        raise UserError(f"The label {sorted(unknown)[0]!r} is not one of {list(labels)}: add it to the labels.")
    rows = [*labels, *sorted(set(np.asarray(true).tolist()) - set(labels))]
    counts = pd.crosstab(np.asarray(true), np.asarray(predicted)).reindex(index=rows, columns=labels, fill_value=0)
    n = counts.sum(axis=1)
    shares = counts.div(n.where(n > 0), axis=0)
    shares.loc[rows[len(labels) :]] = np.nan
    return shares.assign(n=n).rename_axis(index="true", columns="predicted")


def agreement(
    true: Column, predicted: Column, speakers: Column, resampling: Resampling, best: Column | None = None
) -> pd.DataFrame:
    """Overall and balanced accuracy (rows) beside `chance`: that of always predicting the commonest (any) label.

    With the labels `best` that the ideal observer predicts, the overall accuracy has the columns of `ceiling.shares`.
    """
    true, predicted = np.asarray(true), np.asarray(predicted)
    labels, codes, counts = np.unique(true, return_inverse=True, return_counts=True)
    right = (true == predicted).astype(float)
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
    """A classifier of an attribute from face embeddings: logistic regression for labels, ridge regression for numbers.

    Fit it on true faces of the training speakers; the same classifier then predicts in all arms, so that its own errors
    cancel in their difference.
    """
    labels = np.asarray(labels)
    finite(face_feature=features, label=labels)
    numeric = labels.dtype.kind == "f"
    classifier = RidgeCV(PENALTIES) if numeric else LogisticRegression(C=0.1, max_iter=2000)
    return make_pipeline(StandardScaler(), classifier).fit(features, labels)


def read_attributes(
    seen: Float[np.ndarray, "faces dim"], labels: pd.DataFrame, faces: Mapping[str, Features]
) -> dict[str, pd.DataFrame]:
    """Predict attributes from the embeddings of each kind of face.

    Args:
        seen: embeddings of true faces to learn from.
        labels: their attributes, one per column.
        faces: embeddings to predict from, by kind of face.

    Returns:
        By kind of face, a table with a column per attribute, whose categories are the labels that the classifier knows.
    """
    finite(**{f"feature_of_{kind}": clips for kind, clips in faces.items()})
    fitted = {name: attribute_classifier(seen, labels[name]) for name in labels}
    return {
        kind: pd.DataFrame({n: pd.Categorical(model.predict(clips), model.classes_) for n, model in fitted.items()})
        for kind, clips in faces.items()
    }


def attributes(
    true: pd.DataFrame,
    predicted: pd.DataFrame,
    speakers: Column,
    resampling: Resampling,
    best: pd.DataFrame | None = None,
) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """Fig. 4 for each attribute: overall accuracy (a row each, from `agreement`), and the `confusion` by attribute.

    `true` and `predicted` (from `read_attributes`) are the labels of two faces per clip, such as the true face and the
    one drawn from its voice; `best` those that the ideal observer predicts.
    """
    scores, matrices = {}, {}
    for name in predicted:
        limit = None if best is None else best[name]
        scores[name] = agreement(true[name], predicted[name], speakers, resampling, limit).loc["overall"]
        matrices[name] = confusion(true[name], predicted[name], list(predicted[name].cat.categories))
    return pd.DataFrame(scores).T.rename_axis("attribute"), matrices


def attribute_results(arms: Mapping[str, tuple[pd.DataFrame, dict[str, pd.DataFrame]]]) -> dict[str, dict]:
    """The results of `attributes` in each arm as nested dicts.

    `attributes`: attribute, arm, then `overall` and the recall of each label (NaN for one that the classifier does not
    know). `confusions`: arm, attribute, true label, predicted label.
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

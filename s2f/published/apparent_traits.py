"""Traits read off drawn faces by judges who have seen neither the person nor a face drawn from a voice.

A judge learns on faces drawn from pictures (`f2f`) of the other folds' people, with a label from their true faces, so
what it gets wrong in a face drawn from the voice is not the gap between photographs and drawings.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression

from s2f.fairness import audit
from s2f.heads import ridge
from s2f.heads.ridge import Features, Fold
from s2f.metrics import attributes, bootstrap
from s2f.metrics.bootstrap import Column, Resampling


def judged(seen: Features, labels: Column, faces: Mapping[str, Features], fold: Fold) -> dict[str, np.ndarray]:
    """The label that judges trained on `seen` read off each kind of face, everybody by a judge of other people."""
    labels = np.asarray(labels)
    read = {kind: np.empty_like(labels) for kind in faces}
    for part in np.unique(fold):
        inside = fold == part
        judge = attributes.attribute_classifier(seen[~inside], labels[~inside])
        for kind, features in faces.items():
            read[kind][inside] = judge.predict(features[inside])
    return read


def heard(
    voice: Float[np.ndarray, "people _"], labels: Column, fold: Fold
) -> tuple[Float[np.ndarray, "people labels"], list[str]]:
    """The probability of each label given the voice, by a linear probe of other people's voices; and the labels."""
    labels = np.asarray(labels)
    names = sorted(set(labels))
    chances = np.zeros((len(labels), len(names)))
    for part in np.unique(fold):
        inside = fold == part
        probe = ridge.head([voice.shape[1]])[:-1]
        learned = LogisticRegression(C=10, max_iter=2000).fit(probe.fit_transform(voice[~inside]), labels[~inside])
        columns = [names.index(name) for name in learned.classes_]
        chances[np.ix_(inside, columns)] = learned.predict_proba(probe.transform(voice[inside]))
    return chances, names


def painted(
    labels: pd.DataFrame,
    faces: Mapping[str, Features],
    seen: Features,
    voice: Float[np.ndarray, "people _"],
    fold: Fold,
    resampling: Resampling,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How often each label is painted for how often it is true, and how often rightly, for each attribute and kind.

    `faces` are the kinds that are judged, `seen` those that the judges learn on. Beside them stands the Bayes painter
    (`audit.painted_share`), who always draws the label that is `likeliest` given the voice.
    """
    who, shares, right = labels.index.to_numpy(), [], []
    for attribute in labels:
        truth = labels[attribute].to_numpy()
        chances, names = heard(voice, truth, fold)
        read = judged(seen, truth, faces, fold)
        for kind, labels_read in read.items():
            table = audit.painted_share(truth, labels_read, who, resampling, chances, names)
            shares.append(table.assign(attribute=attribute, kind=kind))
        for kind, named in (read | {"likeliest": np.asarray(names)[chances.argmax(axis=1)]}).items():
            table = attributes.agreement(truth, named, who, resampling).reset_index()
            right.append(table.assign(attribute=attribute, kind=kind))
    return pd.concat(shares, ignore_index=True), pd.concat(right, ignore_index=True)


def towards_average(
    true: Column, drawn: Mapping[str, Column], who: Column, resampling: Resampling, groups: Column
) -> pd.DataFrame:
    """Slope of a number seen in drawn faces on the true one, by group: 1 is faithful, 0 draws everybody alike."""
    tables = {kind: audit.shrinkage(true, values, who, resampling, groups) for kind, values in drawn.items()}
    rows = pd.concat(tables, names=["kind"]).reset_index("kind")
    bias = [
        bootstrap.interval(np.asarray(values) - np.asarray(true), who, resampling).row() | {"kind": kind}
        for kind, values in drawn.items()
    ]
    return rows.merge(pd.DataFrame(bias)[["kind", "value"]].rename(columns={"value": "mean_difference"}), on="kind")

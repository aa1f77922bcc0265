"""Traits read off drawn faces by classifiers that have seen neither the person nor a face drawn from a voice.

A classifier learns from faces drawn from pictures (`f2f`) of the other folds' people, with labels from their true
faces, so its errors on a face drawn from the voice are not those of the step from photographs to drawings.
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


def label_probabilities(
    voice: Float[np.ndarray, "people _"], labels: Column, fold: Fold
) -> tuple[Float[np.ndarray, "people labels"], list[str]]:
    """Out-of-fold probability of each label given the voice, by a linear probe; and the labels."""
    labels = np.asarray(labels)
    names = sorted(set(labels))
    probabilities = np.zeros((len(labels), len(names)))
    for test in ridge.held_out(fold):
        scale = ridge.regression([voice.shape[1]])[:-1]
        probe = LogisticRegression(C=10, max_iter=2000).fit(scale.fit_transform(voice[~test]), labels[~test])
        columns = [names.index(name) for name in probe.classes_]
        probabilities[np.ix_(test, columns)] = probe.predict_proba(scale.transform(voice[test]))
    return probabilities, names


def painted(
    labels: pd.DataFrame,
    faces: Mapping[str, Features],
    seen: Features,
    voice: Float[np.ndarray, "people _"],
    fold: Fold,
    resampling: Resampling,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How often each label is painted and how often rightly, a row for each attribute, kind of face, and label.

    The kind `likeliest` is the Bayes painter (`audit.painted_share`), who always paints the likeliest label given the
    voice.

    Args:
        labels: true labels, a row for each person and a column for each attribute.
        faces: features of drawn faces by kind.
        seen: features of the faces that classifiers learn from.
        voice: features of the voices, for the Bayes painter.
        fold: the fold of each person.
        resampling: how intervals are made.
    """
    read = {kind: labels.astype(object) for kind in faces}
    for test in ridge.held_out(fold):
        tested = {kind: features[test] for kind, features in faces.items()}
        for kind, table in attributes.read_attributes(seen[~test], labels[~test], tested).items():
            read[kind].loc[test] = table.astype(object).to_numpy()
    people, shares, accuracies = labels.index.to_numpy(), [], []
    for attribute in labels:
        true = labels[attribute].to_numpy()
        probabilities, names = label_probabilities(voice, true, fold)
        painted = {kind: table[attribute].to_numpy() for kind, table in read.items()}
        for kind, values in painted.items():
            table = audit.painted_share(true, values, people, resampling, probabilities, names)
            shares.append(table.assign(attribute=attribute, kind=kind))
        for kind, values in (painted | {"likeliest": np.asarray(names)[probabilities.argmax(axis=1)]}).items():
            table = attributes.agreement(true, values, people, resampling).reset_index()
            accuracies.append(table.assign(attribute=attribute, kind=kind))
    return pd.concat(shares, ignore_index=True), pd.concat(accuracies, ignore_index=True)


def towards_average(
    true: Column, drawn: Mapping[str, Column], people: Column, resampling: Resampling, groups: Column
) -> pd.DataFrame:
    """Slope of a number seen in drawn faces on the true one, by kind and group: 1 is faithful, 0 draws all alike."""
    tables = []
    for kind, values in drawn.items():
        bias = bootstrap.interval(np.asarray(values) - np.asarray(true), people, resampling).value
        table = audit.shrinkage(true, values, people, resampling, groups)
        tables.append(table.assign(kind=kind, mean_difference=bias))
    return pd.concat(tables, ignore_index=True)

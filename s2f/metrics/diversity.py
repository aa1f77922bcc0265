"""Diversity of a set of faces: near-duplicates, distances within people, and how drawing changes the variance."""

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import cdist, pdist

from s2f.metrics import bootstrap
from s2f.metrics.bootstrap import Column, Estimate, Resampling
from s2f.study.numbers import finite

Features = Float[np.ndarray, "clips dim"]


def neighbours(features: Features, people: Column) -> Float[np.ndarray, "clips"]:
    """Distance of each clip to the nearest clip of another person; 0: the same picture under another name."""
    finite(feature=features)
    distances = cdist(features, features)
    people = np.asarray(people)
    distances[people[:, None] == people] = np.inf
    return distances.min(axis=1)


def within(features: Features, people: Column) -> Float[np.ndarray, "pairs"]:
    """Distances between all pairs of clips of the same person."""
    finite(feature=features)
    people = np.asarray(people)
    return np.concatenate([pdist(features[people == person]) for person in np.unique(people)])


def spread(true: Features, drawn: Features, people: Column, resampling: Resampling) -> dict[str, Estimate]:
    """How drawing changes the variance of faces, over all directions of the embedding together.

    `variance_ratio`: variance of the drawn faces over that of the true ones. `slope` of drawn on true: 1 if faithful, 0
    if all are drawn alike. `shared`: squared correlation of drawn and true.
    """
    finite(true_feature=true, drawn_feature=drawn)
    dim = true.shape[1]
    sides = [side.astype(float) - side.mean(axis=0) for side in (true, drawn)]  # or sums of squares would cancel
    products = [(a * b).sum(axis=1) for a, b in ((sides[0], sides[0]), (sides[1], sides[1]), (sides[0], sides[1]))]
    columns = np.column_stack([np.ones(len(true)), *products, *sides])

    def moments(sums: Float[np.ndarray, "replicates columns"]) -> list[Float[np.ndarray, "replicates"]]:
        sums = sums / sums[:, :1]
        x, y = sums[:, 4 : 4 + dim], sums[:, 4 + dim :]
        return [sums[:, 1 + i] - (a * b).sum(axis=1) for i, (a, b) in enumerate(((x, x), (y, y), (x, y)))]

    functions = {
        "variance_ratio": lambda xx, yy, xy: yy / xx,
        "slope": lambda xx, yy, xy: xy / xx,
        "shared": lambda xx, yy, xy: xy**2 / (xx * yy),
    }
    return {
        name: bootstrap.from_sums(columns, lambda sums, f=function: f(*moments(sums)), people, resampling)
        for name, function in functions.items()
    }

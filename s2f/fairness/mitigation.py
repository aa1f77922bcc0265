"""Trainings compared by group: what a remedy does for those who are served worst, and what it costs the others."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Shaped

from s2f.metrics import bootstrap, retrieval
from s2f.metrics.bootstrap import Column, Resampling
from s2f.metrics.likelihood_ratio import LikelihoodRatio
from s2f.study.paths import UserError


def scores(
    predicted: Float[np.ndarray, "voices dim"],
    faces: Float[np.ndarray, "voices dim"],
    test: Bool[np.ndarray, "voices"],
    dims: int,
    gallery: int,
) -> dict[str, Float[np.ndarray, "tested"]]:
    """How well the face of each tested voice is found among those of all of them, a value for each test row.

    `matching` is 1:2 matching and `recall_at_10` the probability of being among the first ten of a gallery, both by the
    likelihood ratio; `matching_cosine` needs no fit.

    Args:
        predicted: the predicted feature, one row for each speaker.
        faces: that of the true face.
        test: the rows that are tested; the others fit the likelihood ratio.
        dims: directions of the likelihood ratio.
        gallery: faces of the gallery that recall is computed for.
    """
    ratio, own = LikelihoodRatio.fit(predicted[~test], faces[~test], dims), np.arange(test.sum())
    fitted, plain = (retrieval.ranks(predicted[test], faces[test], own, metric) for metric in (ratio, "cosine"))
    recall = retrieval.recall_at(fitted, 10, gallery)
    return {"matching": fitted.wins, "matching_cosine": plain.wins, "recall_at_10": recall}


def remedies(
    arms: Mapping[str, Float[np.ndarray, "_ clips"]],
    groups: pd.DataFrame,
    speakers: Column,
    reference: str,
    resampling: Resampling,
    minimum: int,
    ceiling: Float[np.ndarray, "clips"] | None = None,
) -> pd.DataFrame:
    """The score of each arm by group, and its difference from the arm `reference`.

    The groups are `everybody`, each label of each attribute, and for each attribute the `lowest`: the mean of the group
    with the lowest, which may be another group in another arm. `value` and `difference` are means over seeds; their
    intervals resample speakers, those of both arms together. `seeds_low` to `seeds_high` is the range of the difference
    over the seeds.

    Args:
        arms: scores in [0, 1], a row for each training (seed) and a column for each clip.
        groups: labels of each clip, a column for each attribute.
        speakers: who speaks in each clip.
        reference: the arm that the others are compared with.
        resampling: how intervals are made.
        minimum: of a group of fewer speakers only their number is given.
        ceiling: the score of the best possible observer for each clip.

    UserError if there is no arm `reference`, or an arm has neither as many seeds as that nor a single one.
    """
    if reference not in arms:
        raise UserError(f"There is no arm {reference!r} to compare with: there are {', '.join(arms)}.")
    for arm, parts in arms.items():
        if len(parts) not in (1, len(arms[reference])):
            raise UserError(f"The arm {arm!r} has {len(parts)} seeds: give it as many as {reference!r}, or one.")
    speakers, rows = np.asarray(speakers), []
    for (attribute, group), members in _groups(groups, speakers, minimum).items():
        clips = members.any(axis=0)
        row = {"attribute": attribute, "group": group, "n_speakers": len(np.unique(speakers[clips]))}
        if row["n_speakers"] < minimum:
            rows += [{"arm": arm} | row for arm in arms]
            continue
        own, side = members[:, clips], (speakers[clips], resampling)
        sums = {arm: [_columns(part[clips], own) for part in parts] for arm, parts in arms.items()}
        found = {arm: bootstrap.from_sums(np.mean(parts, axis=0), _lowest, *side) for arm, parts in sums.items()}
        seeds = {arm: _lowest(np.sum(parts, axis=1)) for arm, parts in sums.items()}
        if ceiling is not None:
            row["ceiling"] = _lowest(_columns(ceiling[clips], own).sum(axis=0)[None]).item()
        for arm, estimate in found.items():
            gap = bootstrap.combine(np.subtract, estimate, found[reference], resampling=resampling)
            by_seed = seeds[arm] - seeds[reference]
            numbers = estimate.row() | {"low": max(estimate.low, 0.0), "high": min(estimate.high, 1.0)}
            numbers |= gap.row("difference") | {"seeds_low": by_seed.min(), "seeds_high": by_seed.max()}
            rows.append({"arm": arm} | row | numbers)
    return pd.DataFrame(rows)


def _groups(
    groups: pd.DataFrame, speakers: Shaped[np.ndarray, "clips"], minimum: int
) -> dict[tuple[str, str], Bool[np.ndarray, "_ clips"]]:
    """The clips of each group, a single row; for `lowest` a row for each group that is large enough."""
    found = {("all", "everybody"): np.ones((1, len(groups)), dtype=bool)}
    for attribute, labels in groups.items():
        members = {label: (labels == label).to_numpy()[None] for label in sorted(labels.dropna().unique())}
        found |= {(attribute, label): clips for label, clips in members.items()}
        large = [clips for clips in members.values() if len(np.unique(speakers[clips[0]])) >= minimum]
        if len(large) > 1:
            found[attribute, "lowest"] = np.concatenate(large)
    return found


def _columns(
    values: Float[np.ndarray, "clips"], members: Bool[np.ndarray, "groups clips"]
) -> Float[np.ndarray, "clips twice_groups"]:
    """Per-clip numerators (values of each group) and denominators (its clips) of the means of groups."""
    return np.concatenate([values * members, members]).T.astype(float)


def _lowest(sums: Float[np.ndarray, "replicates twice_groups"]) -> Float[np.ndarray, "replicates"]:
    total, count = np.split(sums, 2, axis=1)
    return (total / np.where(count > 0, count, np.nan)).min(axis=1)

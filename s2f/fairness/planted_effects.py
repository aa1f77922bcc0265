"""What an audit found, the worst first, and how much of it was planted.

In a synthetic world the truth is known. What was put in stands beside what the audit finds of it in a few hundred
speakers; and the gap that the best possible observer cannot avoid beside the model's, so that a reader sees which part
of it the model adds.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from s2f.fairness.audit import FAMILIES, LOWER
from s2f.metrics import bootstrap, retrieval
from s2f.metrics.bootstrap import Column, Estimate, Resampling
from s2f.study.paths import UserError

LEVEL = 0.05
NAMES = {"estimate": "value", "ci_lo": "low", "ci_hi": "high"}
SHOWN = ["value", "low", "high", "n_speakers", "difference", "p_adj", "suppressed_reason"]
SUMMED_UP = ["value", "null_mean", "null_p95", "p_adj"]


def worst(table: pd.DataFrame) -> dict:
    """The group that is served worst: of all metrics, the row that lies the most standard errors to the worse.

    Takes the table of `audit.by_group`. With the row come `rest` and `n_rest`, the mean and the number of the other
    speakers of its attribute, `comparisons`, the size of its family, and all of it as one `sentence`.
    """
    tested = table[(table["family"] == "groups") & table["p_adj"].notna()]
    if tested.empty:
        return {"sentence": "No two groups have enough speakers to be compared."}
    sign = np.where(tested["better"] == LOWER, 1, -1)
    row = tested.loc[(sign * tested["difference"] / tested["mdd80"]).idxmax()]
    others = tested[(tested[["metric", "attribute"]] == row[["metric", "attribute"]]).all(axis=1)].drop(row.name)
    n, n_rest = int(row["n_speakers"]), int(others["n_speakers"].sum())
    rest = row["estimate"] - row["difference"]
    verdict = "Served worst" if row["p_adj"] <= LEVEL else "Nobody is served worse beyond luck; the furthest"
    sentence = (
        f"{verdict}, by {row['attribute'].replace('_', ' ')}: {row['group']} (n = {n} speakers). "
        f"{row['metric'].capitalize()}: {row['estimate']:.3g} [{row['ci_lo']:.3g}, {row['ci_hi']:.3g}], against "
        f"{rest:.3g} for the other {n_rest}; by luck alone it would be no worse than {row['null_p95']:.3g} in 95 of "
        f"100 cases (p = {row['p_adj']:.2g}, allowing for all {len(tested)} comparisons)."
    )
    found = row[["metric", "better", "attribute", "group", "null_p95", "p_adj"]].to_dict()
    found |= {name: row[column] for column, name in NAMES.items()} | {"n_speakers": n, "rest": rest, "n_rest": n_rest}
    return found | {"comparisons": len(tested), "sentence": sentence}


def nested(table: pd.DataFrame) -> dict:
    """The table of `audit.by_group` as JSON holds it: metric, attribute, group (or `gap`, `ratio`, `worst`), number."""
    tree: dict = {}
    for row in table.rename(columns=NAMES).to_dict("records"):
        shown = SUMMED_UP if row["group"] in FAMILIES else SHOWN
        numbers = {name: row[name] for name in shown if pd.notna(row[name])}
        tree.setdefault(row["metric"], {}).setdefault(row["attribute"], {})[row["group"]] = numbers
    return tree


class Confound(NamedTuple):
    """What follows exactly from the joint distribution of group and language."""

    own_language: float  # share of the speakers who speak a language of their own group
    shares: dict[str, float]  # of the groups
    likeliest: dict[str, str]  # the group to name when only the language tells it
    named: dict[str, float]  # how often each group is named so
    right_gap: float  # how much less often rightly for another group's language than for the own group's; NaN if none

    @classmethod
    def of(cls, joint: pd.DataFrame, home: pd.DataFrame) -> "Confound":
        """`joint`: P(group, language), groups x languages; `home`: is the language one of the group's own?"""
        if abs(joint.to_numpy().sum() - 1) > 1e-6 or not joint.index.equals(home.index):
            raise UserError("The joint distribution of group and language must sum to 1, and `home` have its groups.")
        likeliest = joint.idxmax()
        right = joint.index.to_numpy()[:, None] == likeliest.to_numpy()
        own, other = (joint.where(side, 0.0) for side in (home, ~home))
        missed, hit = (side.to_numpy()[right].sum() / (side.to_numpy().sum() or np.nan) for side in (other, own))
        named = joint.sum().groupby(likeliest).sum().reindex(joint.index, fill_value=0.0)
        shares = joint.sum(axis=1)
        return cls(own.to_numpy().sum(), shares.to_dict(), likeliest.to_dict(), named.to_dict(), missed - hit)


class Plant(NamedTuple):
    """Something put into a world, and a share a clip whose mean shows it; with `inside`, its mean there less elsewhere.

    `model` is the same share for the model, where `values` are those of the best possible observer.
    """

    truth: float
    values: Column
    speakers: Column
    inside: Column | None = None
    model: Column | None = None


def plants(
    trained: Confound,
    tested: Confound,
    voiced: pd.DataFrame,
    crowd: pd.DataFrame,
    about: pd.DataFrame,
    model: pd.DataFrame,
) -> dict[str, Plant]:
    """The confound and the imbalance of the groups, in the labels of the speakers and in what can be made of voices.

    `voiced`: the training and validation speakers; `about`: the speaker of each test clip, `crowd` as many people of
    the same world as can be had, both with the matches that the best possible observer `wins`; `model`: the matches it
    `wins` in each test clip, and the `group` it paints. That observer names the likeliest group of a language. What a
    world does not have, such as speakers of another group's language, is left out.
    """
    speakers, foreign, group = about["speaker_id"], about["mismatched"], about["group"]
    named = about["language"].map(tested.likeliest)
    smallest = min(tested.shares, key=tested.shares.get)
    by_speech, by_size = (gap(crowd["wins"], side) for side in (crowd["mismatched"], crowd["group"] == smallest))
    found = {
        "own_language_training": Plant(trained.own_language, ~voiced["mismatched"], voiced.index.to_numpy()),
        "own_language_test": Plant(tested.own_language, ~foreign, speakers),
        **{f"share_{name}": Plant(share, group == name, speakers) for name, share in tested.shares.items()},
        "matching_by_speech": Plant(by_speech, about["wins"], speakers, foreign, model["wins"]),
        "matching_smallest": Plant(by_size, about["wins"], speakers, group == smallest, model["wins"]),
        "right_group_by_speech": Plant(tested.right_gap, named == group, speakers, foreign, model["group"] == group),
        "painted_smallest": Plant(
            tested.named[smallest], named == smallest, speakers, model=model["group"] == smallest
        ),
    }
    return {name: plant for name, plant in found.items() if not np.isnan(plant.truth)}


def planted(plants: Mapping[str, Plant], resampling: Resampling) -> pd.DataFrame:
    """What the audit finds of each plant beside its true size; `holds`: the truth lies inside the interval.

    The intervals hold together (Bonferroni).
    """
    together, rows = resampling.simultaneous(len(plants)), []
    for name, plant in plants.items():
        found = _shown(plant.values, plant, together)
        holds = found.low - bootstrap.NO_VARIANCE <= plant.truth <= found.high + bootstrap.NO_VARIANCE
        rows.append({"planted": name, "truth": plant.truth} | found.row() | {"holds": bool(holds)})
    return pd.DataFrame(rows)


def against_best(plants: Mapping[str, Plant], resampling: Resampling) -> pd.DataFrame:
    """The model's number beside that of the best possible observer, for plants with both.

    `value` is what the model adds, its number less the observer's, paired by clip; the intervals hold together.
    """
    both = {name: plant for name, plant in plants.items() if plant.model is not None}
    together, rows = resampling.simultaneous(len(both)), []
    for name, plant in both.items():
        model, best = (np.asarray(side, dtype=float) for side in (plant.model, plant.values))
        row = {"planted": name}
        for arm, values in {"model": model, "best": best}.items():
            found = _shown(values, plant, together)
            row |= {arm: found.value, f"{arm}_low": found.low, f"{arm}_high": found.high}
        added = _shown(model - best, plant, together, share=False)
        rows.append(row | added.row())
    return pd.DataFrame(rows)


def _shown(values: Column, plant: Plant, resampling: Resampling, share: bool = True) -> Estimate:
    if plant.inside is None:
        return bootstrap.interval(values, plant.speakers, resampling, share=share)
    return contrast(values, plant.inside, plant.speakers, resampling)


def contrast(values: Column, inside: Column, speakers: Column, resampling: Resampling) -> Estimate:
    """Mean of the clips inside less mean of the others; a replicate without one side does not count."""
    values, inside = np.asarray(values, dtype=float), np.asarray(inside, dtype=bool)
    columns = np.stack([values * inside, inside, values * ~inside, ~inside], axis=1).astype(float)

    def apart(sums: Float[np.ndarray, "replicates 4"]) -> Float[np.ndarray, "replicates"]:
        means = sums[:, ::2] / np.where(sums[:, 1::2] > 0, sums[:, 1::2], np.nan)
        return means[:, 0] - means[:, 1]

    return bootstrap.from_sums(columns, apart, speakers, resampling)


def gap(values: Column, inside: Column) -> float:
    """Mean of the values inside less mean of the others, of a population large enough to be the truth; NaN if none."""
    values, inside = np.asarray(values, dtype=float), np.asarray(inside, dtype=bool)
    if inside.all() or not inside.any():
        return np.nan
    return float(values[inside].mean() - values[~inside].mean())


def matches_won(
    people: pd.DataFrame, scores: Callable[[pd.DataFrame], Float[np.ndarray, "people people"]], size: int
) -> Float[np.ndarray, "people"]:
    """1:2 matches that the best possible observer wins, by person, among about `size` of the people at a time.

    `scores` gives the score of each of some people's voices with each one's face.
    """
    parts = np.array_split(np.arange(len(people)), max(1, len(people) // size))
    return np.concatenate(
        [retrieval.ranks_from_scores(scores(people.iloc[part]), np.arange(len(part))).wins for part in parts]
    )

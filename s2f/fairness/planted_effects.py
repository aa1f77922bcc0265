"""The worst finding of an audit, and how the audit estimates effects whose true size is known.

In a synthetic world the true size of a confound or an imbalance is known. It stands beside what the audit estimates
from a few hundred speakers, and the model's gap beside the one that the best possible observer cannot avoid.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from s2f.fairness.audit import FAMILIES, LEVEL, LOWER, contrast
from s2f.metrics import bootstrap, retrieval
from s2f.metrics.bootstrap import Column, Estimate, Resampling
from s2f.study.paths import UserError

NAMES = {"estimate": "value", "ci_lo": "low", "ci_hi": "high"}
SHOWN = ["value", "low", "high", "n_speakers", "difference", "p_adj", "mdd80_adj", "suppressed_reason"]
SUMMED_UP = ["value", "null_mean", "null_p95", "p_adj"]


def worst(table: pd.DataFrame) -> dict:
    """The group served worst: of all metrics, the row that is worse than the rest by the most standard errors.

    Takes the table of `audit.by_group`. With the row come `rest` and `n_rest`, the mean and the number of the other
    speakers of its attribute, `comparisons`, the size of its family, and a `sentence` that says it all.
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
        f"100 cases (p = {row['p_adj']:.2g}, allowing for all {len(tested)} comparisons). Of groups like these, a "
        f"difference of {row['mdd80_adj']:.2g} would be found in 80 of 100 studies."
    )
    found = row[["metric", "better", "attribute", "group", "null_p95", "p_adj", "mdd80_adj"]].to_dict()
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
    """What the joint distribution of group and language implies."""

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
    """An effect of known size, and per-clip values whose mean, or difference of two means, estimates it."""

    truth: float
    values: Column  # of the best possible observer, in [0, 1]
    speakers: Column
    inside: Column | None = None  # the clips whose mean is compared with that of the others
    model: Column | None = None  # the model's values

    def estimate(self, values: Column, resampling: Resampling, share: bool = True) -> Estimate:
        if self.inside is None:
            return bootstrap.interval(values, self.speakers, resampling, share=share)
        return contrast(values, self.inside, self.speakers, resampling)


def plants(
    trained: Confound,
    tested: Confound,
    voiced: pd.DataFrame,
    crowd: pd.DataFrame,
    about: pd.DataFrame,
    model: pd.DataFrame,
) -> dict[str, Plant]:
    """The confound and the imbalance of the groups, in the labels of the speakers and in what voices tell.

    The best possible observer names the likeliest group of a language. Effects that a world does not have, such as one
    of speaking another group's language where nobody does, are left out.

    Args:
        trained: of the training and validation speakers.
        tested: of the test speakers.
        voiced: the training and validation speakers, by name.
        crowd: a large sample of people of the same world, with the matches that the best possible observer `wins`.
        about: the speaker of each test clip, with the same column.
        model: the matches that the model `wins` in each test clip, and the `group` that it paints.
    """
    speakers, foreign, group = about["speaker_id"], about["mismatched"], about["group"]
    likeliest = about["language"].map(tested.likeliest)
    smallest = min(tested.shares, key=tested.shares.get)
    by_speech, by_size = (gap(crowd["wins"], side) for side in (crowd["mismatched"], crowd["group"] == smallest))
    found = {
        "own_language_training": Plant(trained.own_language, ~voiced["mismatched"], voiced.index.to_numpy()),
        "own_language_test": Plant(tested.own_language, ~foreign, speakers),
        **{f"share_{name}": Plant(share, group == name, speakers) for name, share in tested.shares.items()},
        "matching_by_speech": Plant(by_speech, about["wins"], speakers, foreign, model["wins"]),
        "matching_smallest": Plant(by_size, about["wins"], speakers, group == smallest, model["wins"]),
        "right_group_by_speech": Plant(
            tested.right_gap, likeliest == group, speakers, foreign, model["group"] == group
        ),
        "painted_smallest": Plant(
            tested.named[smallest], likeliest == smallest, speakers, model=model["group"] == smallest
        ),
    }
    return {name: plant for name, plant in found.items() if not np.isnan(plant.truth)}


def planted(plants: Mapping[str, Plant], resampling: Resampling) -> pd.DataFrame:
    """The estimate of each effect beside its true size; `holds`: the truth lies inside the interval.

    The coverage of the intervals is simultaneous (Bonferroni).
    """
    simultaneous, rows = resampling.simultaneous(len(plants)), []
    for name, plant in plants.items():
        found = plant.estimate(plant.values, simultaneous)
        holds = found.low - bootstrap.NO_VARIANCE <= plant.truth <= found.high + bootstrap.NO_VARIANCE
        rows.append({"planted": name, "truth": plant.truth} | found.row() | {"holds": bool(holds)})
    return pd.DataFrame(rows)


def against_best(plants: Mapping[str, Plant], resampling: Resampling) -> pd.DataFrame:
    """The model's number beside that of the best possible observer, for effects with both.

    `value` is what the model adds, its number less the observer's, paired by clip. The coverage of the intervals is
    simultaneous (Bonferroni).
    """
    both = {name: plant for name, plant in plants.items() if plant.model is not None}
    simultaneous, rows = resampling.simultaneous(len(both)), []
    for name, plant in both.items():
        model, best = (np.asarray(side, dtype=float) for side in (plant.model, plant.values))
        row = {"planted": name}
        for arm, values in {"model": model, "best": best}.items():
            row |= plant.estimate(values, simultaneous).row(arm)
        rows.append(row | plant.estimate(model - best, simultaneous, share=False).row())
    return pd.DataFrame(rows)


def gap(values: Column, inside: Column) -> float:
    """Mean of the values inside less mean of the others; NaN where there are no others, or nobody inside."""
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

"""Avatars of many faces, as tables: their traits, the choices that follow, and how far those of two faces agree."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from sklearn.pipeline import Pipeline

from s2f.metrics import attributes, bootstrap
from s2f.metrics.bootstrap import Column, Resampling
from s2f.metrics.similarity import Features
from s2f.models import avatar


def readers(seen: Features, people: pd.DataFrame) -> dict[str, Pipeline]:
    """Regressions that read each trait of `avatar.OPTIONS` off face features.

    `seen` are features of the true faces of training speakers, `people` their rows of the people table.
    """
    return {trait: attributes.attribute_classifier(seen, people[trait]) for trait in avatar.TRAITS}


def read(judges: Mapping[str, Pipeline], features: Features) -> pd.DataFrame:
    """The traits of faces as numbers, a column each."""
    return pd.DataFrame({trait: judge.predict(features) for trait, judge in judges.items()})


def choose(traits: pd.DataFrame) -> pd.DataFrame:
    """The choices of `avatar.choose` for each row of a table of traits, a column an option."""
    return pd.DataFrame([avatar.choose(row) for row in traits.to_dict("records")], index=traits.index)


def pictures(chosen: pd.DataFrame, size: int = 192) -> UInt8[np.ndarray, "avatars {size} {size} 3"]:
    """The avatars of a table of `choose` as pixels."""
    return np.stack([avatar.picture(row, size) for row in chosen.to_dict("records")])


def together(chosen: pd.DataFrame) -> pd.DataFrame:
    """The table of `choose` with another column, `all four`, that names the whole avatar."""
    return chosen.assign(**{"all four": chosen.agg(", ".join, axis=1)})


def reading(found: pd.DataFrame, true: pd.DataFrame, speakers: Column, resampling: Resampling) -> pd.DataFrame:
    """Pearson r of traits read off faces with the true ones in the same columns, a row for each trait."""
    rows = {name: bootstrap.correlation(found[name], true[name], speakers, resampling).row() for name in found}
    return pd.DataFrame(rows).T.rename_axis("trait")


def agreement(
    true: pd.DataFrame, predicted: pd.DataFrame, best: pd.DataFrame, speakers: Column, resampling: Resampling
) -> pd.DataFrame:
    """How often two avatars of a clip make the same choice, a row for each option (column).

    `true` are the choices from the true face, `predicted` those from the voice, `best` those of the best possible
    observer (`ceiling`); `chance` is the commonest choice, given to everybody.
    """
    rows = {
        name: attributes.agreement(true[name], predicted[name], speakers, resampling, best[name]).loc["overall"]
        for name in true
    }
    return pd.DataFrame(rows).T.rename_axis("option")

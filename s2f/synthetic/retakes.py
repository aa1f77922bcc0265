"""The same speakers recorded again: on other days, or in languages that they never spoke."""

import numpy as np
import pandas as pd
from jaxtyping import Int16

from s2f.study.config import World
from s2f.synthetic import people, speech, studio

# The group in which each language is at home, and the first language of each group.
HOME = {language: group for group, spoken in people.HOME_LANGUAGES.items() for language in spoken}
FIRST = {group: spoken[0] for group, spoken in people.HOME_LANGUAGES.items()}


def in_every_language(rows: pd.DataFrame, takes: int) -> pd.DataFrame:
    """Rows of a people table for so many takes of each speaker in each language, and in `home` the language's group."""
    table = rows.loc[rows.index.repeat(len(HOME) * takes)].reset_index(drop=True)
    table["language"] = np.tile(np.repeat(list(HOME), takes), len(rows))
    return table.assign(home=table["language"].map(HOME))


def record(rows: pd.DataFrame, seconds: float, world: World, seed: int) -> Int16[np.ndarray, "rows samples"]:
    """A recording of each row of a people table, 16 kHz, each on a day of its own (`speech.session`)."""
    rng = np.random.default_rng(seed)
    today = [speech.session(speech.voice_of(row), rng, world.session_spread) for _, row in rows.iterrows()]
    return studio.record(today, rng.integers(2**31, size=len(today)).tolist(), seconds, world.workers)


def group_told(languages: pd.Series, world: World) -> pd.DataFrame:
    """P(group | language) among the training speakers of a world: a row a language given, a column a group."""
    joint = people.language_given_group(world.confound).mul(world.group_shares, axis=0)
    return (joint / joint.sum())[languages].T.reset_index(drop=True)

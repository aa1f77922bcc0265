"""The same speakers recorded again, in other sessions or in other languages."""

import numpy as np
import pandas as pd
from jaxtyping import Int16

from s2f.study.config import World
from s2f.synthetic import people, speech, studio

# The group of each home language, and the first home language of each group.
HOME = {language: group for group, spoken in people.HOME_LANGUAGES.items() for language in spoken}
FIRST = {group: spoken[0] for group, spoken in people.HOME_LANGUAGES.items()}


def in_every_language(rows: pd.DataFrame, takes: int) -> pd.DataFrame:
    """Repeat each row of a people table `takes` times per language; `home` is the group whose home language it is."""
    table = rows.loc[rows.index.repeat(len(HOME) * takes)].reset_index(drop=True)
    table["language"] = np.tile(np.repeat(list(HOME), takes), len(rows))
    return table.assign(home=table["language"].map(HOME))


def record(rows: pd.DataFrame, seconds: float, world: World, seed: int) -> Int16[np.ndarray, "rows samples"]:
    """Record each row of a people table in a session of its own (`speech.session`).

    Args:
        rows: Rows of the people table.
        seconds: Duration of each recording.
        world: Settings of the synthetic world: session variability and number of processes.
        seed: Seed of the sessions and the recordings.

    Returns:
        16 kHz samples, one recording per row.
    """
    rng = np.random.default_rng(seed)
    today = [speech.session(speech.voice_of(row), rng, world.session_spread) for _, row in rows.iterrows()]
    return studio.record(today, rng.integers(2**31, size=len(today)).tolist(), seconds, world.workers)


def group_told(languages: pd.Series, world: World) -> pd.DataFrame:
    """P(group | language) among the training speakers of a world: one row per given language, one column per group."""
    joint = people.language_given_group(world.confound).mul(world.group_shares, axis=0)
    return (joint / joint.sum())[languages].T.reset_index(drop=True)

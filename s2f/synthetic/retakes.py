"""The same speakers again: parts of a recording, and recordings of other days or in languages they never spoke."""

import numpy as np
import pandas as pd
from jaxtyping import Int16

from s2f.signal.audio import SAMPLE_RATE
from s2f.study.config import World
from s2f.study.paths import UserError
from s2f.synthetic import people, speech, studio

# The group in which each language is at home, and the first language of each group.
HOME = {language: group for group, spoken in people.HOME_LANGUAGES.items() for language in spoken}
FIRST = {group: spoken[0] for group, spoken in people.HOME_LANGUAGES.items()}


def repeated(rows: pd.DataFrame, takes: int) -> pd.DataFrame:
    """Each row of a table so many times, one after the other, numbered from 0."""
    return rows.loc[rows.index.repeat(takes)].reset_index(drop=True)


def segments(clips: pd.DataFrame, seconds: float) -> pd.DataFrame:
    """Rows of a manifest for the parts of so many seconds of each clip, as many as the shortest clip has.

    `segment` names a part, such as "recording 2, part 1", by the order of the speaker's clips in the table. UserError
    when a clip is shorter than a part.
    """
    length = round(seconds * SAMPLE_RATE)
    parts = int(clips["audio_samples"].min()) // length
    if parts == 0:
        raise UserError(f"A clip is shorter than {seconds:g} s: ask for shorter segments.")
    take = (1 + clips.groupby("speaker_id").cumcount()).repeat(parts).to_numpy()
    table, part = repeated(clips, parts), np.tile(np.arange(parts), len(clips))
    names = [f"recording {i}, part {j + 1}" for i, j in zip(take, part, strict=True)]
    return table.assign(audio_offset=table["audio_offset"] + length * part, audio_samples=length, segment=names)


def in_every_language(rows: pd.DataFrame, takes: int) -> pd.DataFrame:
    """Rows of a people table for so many takes of each speaker in each language, and in `home` the language's group."""
    table = repeated(rows, len(HOME) * takes)
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

"""Controlled changes of the voice: the same people recorded again with one property of the voice changed.

A *take* is one recording of one person, an *arm* is one change applied to everybody, and a *dose* is its size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from jaxtyping import Int16

from s2f.signal.landmarks import MEASURES, measures
from s2f.study.config import World
from s2f.study.paths import UserError
from s2f.synthetic import ideal_observer, people, render, speech, studio

Arm = Mapping[str, float]  # changed settings, a subset of the keys of UNCHANGED
UNCHANGED = {"semitones": 0.0, "percent": 0.0, "noise_db": 0.0, "tempo_percent": 0.0, "sentences": 0}
# Changes on which a predicted face should hardly depend. In the synthetic world tempo depends only on vocal age.
SHAMS = {
    "other sentences": {"sentences": 1},
    "10 dB more noise": {"noise_db": 10.0},
    "10 % faster": {"tempo_percent": 10.0},
}
# For each axis: the setting that varies, the setting held fixed, and the sign of a change from male to female voices.
AXES = {"pitch": ("semitones", "percent", 1), "tract": ("percent", "semitones", -1)}


def cast(table: pd.DataFrame, split: str, speakers: int) -> pd.DataFrame:
    """Select the first `speakers // 2` women and as many men of a split of the people table.

    Raises:
        UserError: If the split has fewer women or men.
    """
    chosen = table[table["split"] == split].groupby("sex").head(speakers // 2).reset_index(drop=True)
    if len(chosen) < 2 * (speakers // 2):
        raise UserError(f"The split {split} has too few women or men for {speakers} speakers: ask for fewer.")
    return chosen


def arms(semitones: Sequence[float], percent: Sequence[float]) -> dict[str, Arm]:
    """Arms by name: every combination of pitch change (semitones) and tract-length change (%), and the `SHAMS`.

    Combinations are named like "pitch +4, tract -8".
    """
    grid = {
        f"pitch {pitch:+g}, tract {tract:+g}": {"semitones": pitch, "percent": tract}
        for pitch in semitones
        for tract in percent
    }
    return grid | SHAMS


def record(
    cast: pd.DataFrame, arms: Mapping[str, Arm], seconds: float, seed: int, workers: int
) -> tuple[pd.DataFrame, Int16[np.ndarray, "takes samples"]]:
    """Record every person in every arm.

    Args:
        cast: Rows of the people table.
        arms: Arms by name, as from `arms`.
        seconds: Duration of each recording.
        seed: Seed of the sentences and the noise.
        workers: Number of processes; it does not affect the recordings.

    Returns:
        The table of `plan`, and the recordings at 16 kHz, one per row.
    """
    takes, voices = plan(cast, arms, seed)
    return takes, studio.record(voices, takes["take_seed"].tolist(), seconds, workers)


def plan(cast: pd.DataFrame, arms: Mapping[str, Arm], seed: int) -> tuple[pd.DataFrame, list[speech.Voice]]:
    """Plan one take per person and arm, person by person.

    Args:
        cast: Rows of the people table.
        arms: Arms by name, as from `arms`.
        seed: Seed of the sentences and the noise.

    Returns:
        The table of takes, and the voice of each. The table has the columns of `cast`, with `f0_hz` and `vtl_cm` of the
        take; `person` (row in `cast`); `arm`; the requested settings (the keys of `UNCHANGED`); the actual changes
        `pitch` (semitones) and `tract` (%), which differ where a voice is clipped to `speech.RANGES`; and `take_seed`,
        the same for all takes of a person with the same `sentences`.
    """
    asked = pd.DataFrame([UNCHANGED | arm for arm in arms.values()]).assign(arm=list(arms))
    takes = cast.assign(person=np.arange(len(cast))).merge(asked, how="cross")
    own = [speech.voice_of(person) for _, person in cast.iterrows()]
    voices = [_changed(own[take.person], take) for take in takes.itertuples()]
    f0, vtl = np.array([(voice.f0_hz, voice.vtl_cm) for voice in voices]).T
    done = {"pitch": 12 * np.log2(f0 / takes["f0_hz"]), "tract": 100 * (vtl / takes["vtl_cm"] - 1)}
    seeds = seed * 10**6 + 10 * takes["person"] + takes["sentences"]
    return takes.assign(**done, take_seed=seeds, f0_hz=f0, vtl_cm=vtl), voices


def _changed(voice: speech.Voice, take) -> speech.Voice:
    wanted = {
        "f0_hz": voice.f0_hz * 2 ** (take.semitones / 12),
        "vtl_cm": voice.vtl_cm * (1 + take.percent / 100),
        "wpm": voice.wpm * (1 + take.tempo_percent / 100),
        "snr_db": voice.snr_db - take.noise_db,
    }
    return replace(voice, **{name: float(np.clip(value, *speech.RANGES[name])) for name, value in wanted.items()})


def expectation(takes: pd.DataFrame, world: World, population: int, seed: int) -> pd.DataFrame:
    """Expected face given the voice of each take, according to the ideal observer (`ideal_observer.Observer`).

    Args:
        takes: Table of `plan`; language and vocal age are those of the person.
        world: Settings of the synthetic world.
        population: Number of people in the Monte-Carlo sample.
        seed: Seed of that sample.

    Returns:
        One row per take, with the columns `male` (probability), `flipped` (whether the most likely sex differs from
        that of the person), `apparent_age` (years) and the 13 craniofacial measures (px).
    """
    observer = ideal_observer.observer(takes, world, population, seed)
    known = observer.population
    landmarks = render.canonical_landmarks(people.identity(known), world.size).numpy()
    table = pd.DataFrame(observer.expected(measures(landmarks)), takes.index, MEASURES)
    return table.assign(
        male=observer.chances(known["sex"], ["M"])[:, 0],
        flipped=observer.most_likely(known["sex"]) != takes["sex"],
        apparent_age=observer.expected(known["age"].to_numpy()),
    )


def along(takes: pd.DataFrame) -> pd.DataFrame:
    """Select the takes that change at most one of pitch and tract length, one axis of `AXES` after the other.

    Args:
        takes: Table of `plan`; further columns are kept.

    Returns:
        The selected rows (unchanged takes appear once per axis) with the columns `axis`, `dose` (requested), `done`
        (actual) and `towards` (the dose, signed so that positive values are changes towards the other sex).
    """
    same = (takes[["noise_db", "tempo_percent", "sentences"]] == 0).all(axis=1)
    parts = []
    for axis, (dose, other, sign) in AXES.items():
        rows = takes[same & (takes[other] == 0)]
        towards = rows[dose] * np.where(rows["sex"] == "M", sign, -sign)
        parts.append(rows.assign(axis=axis, dose=rows[dose], done=rows[axis], towards=towards))
    return pd.concat(parts)

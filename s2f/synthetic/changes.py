"""Takes: the same people recorded again with one thing about the voice changed, and all else the same."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from jaxtyping import Int16

from s2f.signal.landmarks import MEASURES, measures
from s2f.study.config import World
from s2f.study.paths import UserError
from s2f.synthetic import ideal_observer, people, render, speech, studio

Arm = Mapping[str, float]  # what an arm changes: some keys of UNCHANGED
UNCHANGED = {"semitones": 0.0, "percent": 0.0, "noise_db": 0.0, "tempo_percent": 0.0, "sentences": 0}
# What a face should hardly depend on; of the tempo the world says only that older voices are slower.
SHAMS = {
    "other sentences": {"sentences": 1},
    "10 dB more noise": {"noise_db": 10.0},
    "10 % faster": {"tempo_percent": 10.0},
}
# The two doses: what is asked for, what stays as it is meanwhile, and the sign of a man's way to a woman's voice.
AXES = {"pitch": ("semitones", "percent", 1), "tract": ("percent", "semitones", -1)}


def cast(table: pd.DataFrame, split: str, speakers: int) -> pd.DataFrame:
    """The first women and the first men of a split of the people table, as many of each, `speakers` in all."""
    chosen = table[table["split"] == split].groupby("sex").head(speakers // 2).reset_index(drop=True)
    if len(chosen) < 2 * (speakers // 2):
        raise UserError(f"The split {split} has too few women or men for {speakers} speakers: ask for fewer.")
    return chosen


def arms(semitones: Sequence[float], percent: Sequence[float]) -> dict[str, Arm]:
    """Each change of pitch with each of tract length, named such as "pitch +4, tract -8", and the shams."""
    grid = {
        f"pitch {pitch:+g}, tract {tract:+g}": {"semitones": pitch, "percent": tract}
        for pitch in semitones
        for tract in percent
    }
    return grid | SHAMS


def record(
    cast: pd.DataFrame, arms: Mapping[str, Arm], seconds: float, seed: int, workers: int
) -> tuple[pd.DataFrame, Int16[np.ndarray, "takes samples"]]:
    """`plan` carried out: its table, and the recordings (16 kHz)."""
    takes, voices = plan(cast, arms, seed)
    return takes, studio.record(voices, takes["take_seed"].tolist(), seconds, workers)


def plan(cast: pd.DataFrame, arms: Mapping[str, Arm], seed: int) -> tuple[pd.DataFrame, list[speech.Voice]]:
    """A take of everybody in each arm, one person after the other, and the voice of each take.

    The table is that of the people, with the pitch and the tract length of the take, and with `person` (row of the
    cast), `arm`, what it asks for (`UNCHANGED`), and the doses it got, `pitch` (semitones) and `tract` (%): a voice
    stays inside `speech.RANGES`. The takes of a person have one `take_seed`, unless `sentences` differ.
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
    """What the world expects of the true face of somebody with the voice of each take (`ideal_observer.Observer`).

    Columns: `male` (probability), `flipped` (the likelier sex is not that of the person), `apparent_age` (years) and
    the 13 measures (px). All else of the voice, language and vocal age, stays that of the person.
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
    """The takes with no other change than one dose, one axis after the other; `takes` may have further columns.

    Adds `axis`, `dose` (asked for), `done` (got), and `towards`, the dose with its sign such that more of it is nearer
    to the voices of the other sex.
    """
    same = (takes[["noise_db", "tempo_percent", "sentences"]] == 0).all(axis=1)
    parts = []
    for axis, (dose, other, sign) in AXES.items():
        rows = takes[same & (takes[other] == 0)]
        towards = rows[dose] * np.where(rows["sex"] == "M", sign, -sign)
        parts.append(rows.assign(axis=axis, dose=rows[dose], done=rows[axis], towards=towards))
    return pd.concat(parts)

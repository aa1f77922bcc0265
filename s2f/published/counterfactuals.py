"""Real recordings with something changed, and how far the predicted face follows.

Pitch and formants are shifted by analysis and resynthesis (`signal.resynthesis`), whose own part shows in the control;
beside it stand worse ways of the sound (`signal.degradation`) and the two halves of a recording.
"""

import hashlib
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Float32, Int
from sklearn.pipeline import Pipeline

from s2f.heads import ridge
from s2f.heads.ridge import Blocks, Fold
from s2f.metrics import bootstrap, similarity
from s2f.metrics.bootstrap import Resampling
from s2f.models import pretrained
from s2f.models.extraction import VOICE_DIMS
from s2f.signal import audio, degradation, resynthesis, speech
from s2f.study import blocks, code
from s2f.study.paths import UserError

SECONDS = 6.0  # of a recording
BLOCK = 8  # recordings a job
AS_RECORDED, CONTROL = "as recorded", "resynthesis"
HALVES = "first half", "second half"

_campplus = cache(pretrained.CamPlus)
_ge2e = cache(pretrained.Ge2e)


class Copy(NamedTuple):
    """One copy of a recording: shifted, degraded, or a part of it."""

    name: str
    kind: str  # "shift", "part", or one of `degradation.KINDS`
    semitones: float = 0.0
    percent: float = 0.0
    severity: float = 0.0  # of a degradation; of a part, where it begins (share of the recording)


def shifts(semitones: float, percent: float) -> list[Copy]:
    """The control, pitch up and down, formants up and down, and both together."""
    steps = {
        f"pitch {semitones:+g} semitones": (semitones, 0.0),
        f"pitch {-semitones:+g} semitones": (-semitones, 0.0),
        f"formants {percent:+g} %": (0.0, percent),
        f"formants {-percent:+g} %": (0.0, -percent),
        "both up": (semitones, percent),
        "both down": (-semitones, -percent),
    }
    return [Copy(CONTROL, "shift")] + [Copy(name, "shift", *step) for name, step in steps.items()]


def worse_ways(severities: dict[str, float]) -> list[Copy]:
    """A degradation of each kind, at the severity in its unit."""
    return [
        Copy(f"{kind} {severity:g} {degradation.KINDS[kind].unit}", kind, severity=severity)
        for kind, severity in severities.items()
    ]


def parts() -> list[Copy]:
    """The recording as it is, and its halves."""
    first, second = HALVES
    return [Copy(AS_RECORDED, "part"), Copy(first, "part", severity=0.0), Copy(second, "part", severity=0.5)]


def embeddings(
    paths: Sequence[Path], copies: Sequence[Copy], seed: int, kept: Path, workers: int
) -> list[Float32[np.ndarray, "recordings copies _"]]:
    """Features of every copy of every recording by the pretrained front ends, an array for each of `VOICE_DIMS`.

    A copy takes the way of any recording: speech is found in it, and its level is set.

    Args:
        paths: sound files; their first 6 s count.
        copies: what is made of each.
        seed: of noise and rooms.
        kept: where finished blocks of work lie, so that an interruption keeps them.
        workers: number of processes; it does not affect the result.

    Returns:
        NaN where no speech or pitch was found in a copy, or its file cannot be read.
    """
    jobs = {}
    for start in range(0, len(paths), BLOCK):
        some = list(paths[start : start + BLOCK])
        files = [(path.parent.name, path.name, path.stat().st_size) for path in some]  # wherever their folder lies
        key = hashlib.sha256(repr((files, start, list(copies), seed, code.digest(_embed))).encode()).hexdigest()[:24]
        jobs[kept / f"{key}.npz"] = partial(_embed, some, start, list(copies), seed)
    blocks.keep(jobs, workers)
    made = [blocks.load(file) for file in jobs]
    return [np.concatenate([arrays[name] for arrays in made]) for name in VOICE_DIMS]


def _embed(paths, first, copies, seed):
    features = {name: np.full((len(paths), len(copies), dim), np.nan, np.float32) for name, dim in VOICE_DIMS.items()}
    networks = _campplus(), _ge2e()
    for row, path in enumerate(paths):
        for column, copy in enumerate(copies):
            draw = np.random.default_rng([seed, first + row, column])
            try:
                spoken = speech.isolate(_changed(audio.read(path, SECONDS), copy, draw), path)
            except UserError:
                continue  # its row stays unknown
            wave = spoken.astype(np.float32) / audio.FULL_SCALE
            for network in networks:
                for name, values in network(wave).items():
                    features[name][row, column] = values
    return features


def _changed(wave: Float32[np.ndarray, "samples"], copy: Copy, draw: np.random.Generator) -> np.ndarray:
    if copy.name == AS_RECORDED:
        return wave
    if copy.kind == "shift":
        return resynthesis.shifted(wave, copy.semitones, copy.percent)
    if copy.kind == "part":
        begin = round(copy.severity * len(wave))
        return wave[begin : begin + len(wave) // 2]
    return degradation.degrade(wave, copy.kind, copy.severity, draw)


def complete(queries: Sequence[Float32[np.ndarray, "recordings copies _"]]) -> Bool[np.ndarray, "recordings"]:
    """The recordings of which every copy has features."""
    return np.all([np.isfinite(block).all(axis=(1, 2)) for block in queries], axis=0)


class Learned(NamedTuple):
    """What was learned from the people outside one fold."""

    tested: Bool[np.ndarray, "people"]  # the people of the fold
    head: Pipeline  # from a voice to a feature of a face
    reader: Pipeline  # from such a feature to what the face looks like
    mean: Float[np.ndarray, "dim"]  # feature of the training people


def learn(
    voice: Blocks, target: Float[np.ndarray, "people dim"], traits: Float[np.ndarray, "people traits"], fold: Fold
) -> list[Learned]:
    """A head and a reader for each fold, from everybody else.

    Args:
        voice: features of the voices, an array for each kind.
        target: the features to predict, such as those of the true faces.
        traits: what these faces look like, each in its own standard deviations.
        fold: the fold of each person.
    """
    made = []
    for tested in ridge.held_out(fold):
        head = ridge.fit([block[~tested] for block in voice], target[~tested])
        reader = ridge.fit([target[~tested]], traits[~tested])
        made.append(Learned(tested, head, reader, target[~tested].mean(axis=0)))
    return made


class Followed(NamedTuple):
    """Out-of-fold predictions for copies of recordings, and what readers see in them."""

    features: Float[np.ndarray, "rows copies dim"]  # less the mean of the training people
    traits: Float[np.ndarray, "rows copies traits"]


def follow(
    learned: Sequence[Learned],
    rows: Int[np.ndarray, "rows"],
    queries: Sequence[Float[np.ndarray, "rows copies _"]],
) -> Followed:
    """The predictions for every copy by the head that never learned from its speaker.

    Args:
        learned: a head and a reader for each fold.
        rows: whose recordings the copies are, as rows of the people that were learned from.
        queries: features of the copies, an array for each kind.
    """
    joined = np.concatenate(queries, axis=2)
    recordings, copies, dim = joined.shape
    features = np.empty((recordings, copies, len(learned[0].mean)))
    traits, order = [], []
    for tested, head, reader, mean in learned:
        here = np.flatnonzero(tested[rows])
        if not len(here):
            continue
        found = head.predict(joined[here].reshape(-1, dim))
        features[here] = (found - mean).reshape(len(here), copies, -1)
        traits.append(reader.predict(found).reshape(len(here), copies, -1))
        order.append(here)
    return Followed(features, np.concatenate(traits)[np.argsort(np.concatenate(order))])


def trait_shifts(
    traits: Float[np.ndarray, "rows copies traits"],
    copies: Sequence[Copy],
    names: Sequence[str],
    sex: pd.Series,
    who: Int[np.ndarray, "rows"],
    resampling: Resampling,
) -> pd.DataFrame:
    """Mean change of each trait against the control, in standard deviations of faces.

    Args:
        traits: of the shifted copies, the control first, as `follow` reads them.
        copies: what they are.
        names: of the traits.
        sex: "F" or "M" for each row.
        who: the number of each person.
        resampling: how intervals are made; they are pointwise.

    Returns:
        Rows by `of` (everybody, women, men), `trait` and `copy`.
    """
    groups = {"everybody": np.ones(len(who), bool), "women": (sex == "F").to_numpy(), "men": (sex == "M").to_numpy()}
    rows = []
    for of, members in groups.items():
        for column, trait in enumerate(names):
            for place, copy in enumerate(copies[1:], 1):
                change = traits[members, place, column] - traits[members, 0, column]
                estimate = bootstrap.interval(change, who[members], resampling)
                rows.append({"of": of, "trait": trait, "copy": copy.name} | estimate.row())
    return pd.DataFrame(rows)


def moved(
    features: Float[np.ndarray, "rows copies dim"],
    copies: Sequence[Copy],
    who: Int[np.ndarray, "rows"],
    resampling: Resampling,
) -> pd.DataFrame:
    """Mean angle (degrees) between the predictions for each copy and for the recording as it is; between the halves.

    Args:
        features: of the copies, as `follow` predicts them.
        copies: what they are; `parts` among them.
        who: the number of each person.
        resampling: how intervals are made.

    Returns:
        A row for each copy (`compared`), the halves first, and the paired `difference` of each from the halves.
    """
    place = {copy.name: row for row, copy in enumerate(copies)}
    first, second = HALVES
    angles = {"the other half": similarity.angles(features[:, place[second]], features[:, place[first]])}
    reference = features[:, place[AS_RECORDED]]
    for name, row in place.items():
        if name not in (AS_RECORDED, *HALVES):
            angles[name] = similarity.angles(features[:, row], reference)
    return bootstrap.against(angles, next(iter(angles)), who, resampling).rename_axis("compared").reset_index()


def other_people(
    features: Float[np.ndarray, "people dim"], fold: Fold, who: Int[np.ndarray, "people"], resampling: Resampling
) -> bootstrap.Estimate:
    """Mean angle (degrees) between the predictions for two people of a fold, as the same head makes them."""
    each = np.empty(len(fold))
    for test in ridge.held_out(fold):
        unit = similarity.unit_rows(features[test])
        apart = similarity.degrees(unit @ unit.T)
        np.fill_diagonal(apart, 0)
        each[test] = apart.sum(axis=1) / (len(apart) - 1)
    return bootstrap.interval(each, who, resampling)

"""Baselines for any corpus: the face feature of a voice from numbers that were not learned from its pairs.

    phonetics   pitch, formants and spectrum (`signal.voice_statistics`)
    networks    the embeddings of two pretrained speaker networks (`models.front_ends`)

A person of the training split is one row: the mean of some of their recordings, and the template of their photographs.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float, Float32, Int16

from s2f.data import checksums
from s2f.data.corpus import Corpus
from s2f.data.shards import Shards
from s2f.heads import contrastive, ridge
from s2f.heads.ridge import Blocks, Features
from s2f.metrics import similarity
from s2f.models.front_ends import SpeakerNetworks
from s2f.models.losses import Matcher
from s2f.signal import voice_statistics
from s2f.signal.audio import FULL_SCALE, SAMPLE_RATE
from s2f.study import blocks, code

BLOCK = 32  # recordings a job
PLACE = ("audio_shard", "audio_offset", "audio_samples")


class _Phonetics:
    """Statistics of pitch, formants and spectrum, for which no network is needed."""

    WIDTHS = (len(voice_statistics.NAMES),)

    def __init__(self, models: Path) -> None:
        pass

    def __call__(self, spoken: Int16[np.ndarray, "samples"]) -> Float[np.ndarray, "statistics"]:
        return voice_statistics.statistics(spoken.astype(np.float32) / FULL_SCALE)


FRONT_ENDS = {"phonetics": _Phonetics, "networks": SpeakerNetworks}


def embed(
    corpus: Corpus, clips: pd.DataFrame, seconds: float, front_end: str, models: Path, scratch: Path, workers: int
) -> Float32[np.ndarray, "clips dim"]:
    """What a front end makes of recordings; NaN where a number is not known of a voice.

    Args:
        corpus: whose recordings they are.
        clips: rows of its table of clips.
        seconds: how much of each recording counts, from its beginning.
        front_end: one of `FRONT_ENDS`.
        models: the folder of its networks (`pretrained.export_voice`).
        scratch: where finished blocks are kept, so that an interrupted call goes on; they are removed at the end.
        workers: number of processes; it does not affect the result.
    """
    sums = corpus.folder / checksums.SUMS
    made_of = (sums.read_text(encoding="utf-8") if sums.is_file() else "", seconds, front_end, code.digest(_embed))
    jobs: dict[Path, partial] = {}
    for start in range(0, len(clips), BLOCK):
        rows = list(clips[list(PLACE)].iloc[start : start + BLOCK].itertuples(index=False, name=None))
        key = hashlib.sha256(repr((made_of, rows)).encode()).hexdigest()[:24]
        jobs[scratch / f"{front_end}-{key}.npz"] = partial(_embed, corpus.shards, rows, seconds, front_end, models)
    with blocks.alone(scratch):
        blocks.spread(jobs, workers, about=front_end)
        embedded = [blocks.load(path)["features"] for path in jobs]
        for path in jobs:
            path.unlink()
    return np.concatenate(embedded)


def _embed(
    shards: Shards, rows: Sequence[tuple[str, int, int]], seconds: float, front_end: str, models: Path
) -> blocks.Arrays:
    embedding, most = FRONT_ENDS[front_end](models), round(seconds * SAMPLE_RATE)
    waves = (np.array(shards.clip(name, offset, min(samples, most))) for name, offset, samples in rows)
    return {"features": np.stack([embedding(wave) for wave in waves]).astype(np.float32)}


def some_of_each(clips: pd.DataFrame, most: int) -> pd.DataFrame:
    """The first recordings of each speaker, `most` at most, a speaker's side by side."""
    return clips[clips.groupby("speaker_id").cumcount() < most].sort_values("speaker_id", kind="stable")


def centred_cosine(mean: Float[np.ndarray, "dim"]) -> similarity.Metric:
    """The cosine of features less a mean face: what a face has in common with all others tells nobody apart."""

    def metric(
        queries: Float[np.ndarray, "queries dim"], gallery: Float[np.ndarray, "gallery dim"]
    ) -> Float[np.ndarray, "queries gallery"]:
        return similarity.pairwise(queries - mean, gallery - mean, "cosine")

    return metric


class Learned(NamedTuple):
    """Two heads on a front end, and how recordings get their predictions."""

    regression: Callable[[Features], Features]
    matcher: Matcher  # a score of predictions and faces

    def predict(self, embedded: Float32[np.ndarray, "clips width"]) -> Float32[np.ndarray, "clips dim"]:
        """The face features that the regression predicts."""
        return self.regression(embedded.astype(float)).astype(np.float32)


def learn(
    embedded: Float32[np.ndarray, "clips width"],
    speakers: pd.Series,
    templates: pd.DataFrame,
    front_end: str,
    *,
    folds: int,
    seed: int,
    dims: int,
    steps: Sequence[int],
) -> Learned:
    """Learn a ridge regression, and contrastive maps on top of it, from the people of the training split.

    Args:
        embedded: what the front end makes of their recordings.
        speakers: who speaks in each.
        templates: the face feature of each person, by name (`Corpus.templates`).
        front_end: one of `FRONT_ENDS`.
        folds: into which people are dealt, so that the maps learn from predictions for people new to the regression.
        seed: of that lot.
        dims: of the small space of the maps.
        steps: how long the maps may learn (rising); the best is chosen among these people.

    Raises:
        UserError: if the people are too few for so many folds.
    """
    means = pd.DataFrame(embedded.astype(float)).groupby(speakers.to_numpy()).mean()  # of those that are known
    faces = templates.loc[means.index].to_numpy(float)
    voice: Blocks = np.split(means.to_numpy(), np.cumsum(FRONT_ENDS[front_end].WIDTHS)[:-1], axis=1)
    fold = ridge.folds(means.index.to_numpy(), folds, seed)
    return Learned(ridge.fit(voice, faces).predict, contrastive.fit(voice, faces, fold, dims, steps))

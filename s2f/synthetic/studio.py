"""Recordings of arbitrary voices, for experiments that change one property of a voice."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from jaxtyping import Int16

from s2f.study import blocks
from s2f.synthetic import speech

BLOCK = 16  # recordings per job


def record(
    voices: Sequence[speech.Voice], seeds: Sequence[int], seconds: float, workers: int
) -> Int16[np.ndarray, "voices samples"]:
    """Record each voice (see `speech.recording`).

    With the same seed, two voices of one language read the same sentences, so that only the voice differs.

    Args:
        voices: Voices to record.
        seeds: Seed of each recording, for the sentences and the noise.
        seconds: Duration of each recording.
        workers: Number of processes; it does not affect the samples.

    Returns:
        16 kHz samples, one recording per voice.
    """
    parts = [slice(start, start + BLOCK) for start in range(0, len(voices), BLOCK)]
    jobs = [partial(_recordings, voices[part], seeds[part], seconds) for part in parts]
    return np.concatenate(blocks.compute(jobs, workers))


def _recordings(
    voices: Sequence[speech.Voice], seeds: Sequence[int], seconds: float
) -> Int16[np.ndarray, "voices samples"]:
    with speech.Espeak() as espeak:
        return np.stack(
            [speech.recording(espeak, voice, seconds, int(seed)) for voice, seed in zip(voices, seeds, strict=True)]
        )

"""The studio: any voices recorded on demand, for experiments that change one thing about a voice."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from jaxtyping import Int16

from s2f.study import blocks
from s2f.synthetic import speech

BLOCK = 16  # recordings that one process makes in a go


def record(
    voices: Sequence[speech.Voice], seeds: Sequence[int], seconds: float, workers: int
) -> Int16[np.ndarray, "voices samples"]:
    """Recordings (16 kHz) of each voice reading for `seconds`; its seed picks the sentences and the noise.

    With the same seed two voices of one language read the same sentences: they differ in nothing but the voice. The
    samples do not depend on `workers`, the number of processes.
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

"""The studio: any voices recorded on demand, for experiments that change one thing about a voice."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int16

from s2f.synthetic import pool, speech

BLOCK = 16  # recordings that one process makes in a go


def record(
    voices: Sequence[speech.Voice], seeds: Sequence[int], seconds: float, workers: int
) -> Int16[np.ndarray, "voices samples"]:
    """Each voice reads for `seconds`, 16 kHz; its seed picks the sentences and the noise.

    With one seed two voices of one language read the same sentences: they differ in nothing but the voice. The
    samples do not depend on `workers`.
    """
    starts = range(0, len(voices), BLOCK)
    jobs = [(voices[start : start + BLOCK], seeds[start : start + BLOCK], seconds) for start in starts]
    return np.concatenate(pool.run(_recordings, jobs, workers, unit="block"))


def _recordings(
    job: tuple[Sequence[speech.Voice], Sequence[int], float],
) -> Int16[np.ndarray, "voices samples"]:
    voices, seeds, seconds = job
    with speech.Espeak() as espeak:
        return np.stack(
            [speech.recording(espeak, voice, seconds, int(seed)) for voice, seed in zip(voices, seeds, strict=True)]
        )

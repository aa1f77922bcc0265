"""The studio records what it is asked for, whoever does the work."""

from dataclasses import replace

import numpy as np
import pytest

from s2f.signal.audio import SAMPLE_RATE
from s2f.synthetic import speech, studio

VOICE = speech.Voice("en-us", f0_hz=120.0, vtl_cm=17.0, wpm=160.0, breath=0.0, flutter=2.0, roughness=0)


def test_recordings_do_not_depend_on_the_workers():
    voices = [replace(VOICE, f0_hz=100.0 + pitch) for pitch in range(studio.BLOCK + 3)]
    seeds = list(range(len(voices)))
    one, two = (studio.record(voices, seeds, 1.0, workers) for workers in (1, 2))
    assert one.shape == (len(voices), SAMPLE_RATE)
    np.testing.assert_array_equal(one, two)
    with speech.Espeak() as espeak:
        np.testing.assert_array_equal(one[-1], speech.recording(espeak, voices[-1], 1.0, seeds[-1]))


def test_a_failing_worker_is_heard_of():
    with pytest.raises(ValueError, match="zip"):
        studio.record([VOICE], [1, 2], 1.0, 1)

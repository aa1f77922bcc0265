"""Where somebody speaks: sample by sample what the package of the detector finds."""

import numpy as np
import pytest
import silero_vad

from s2f.signal import voice_activity


@pytest.fixture(scope="module")
def theirs():
    model = silero_vad.load_silero_vad(sequence=True)

    def find(wave):
        return [(part["start"], part["end"]) for part in silero_vad.get_speech_timestamps_sequence(wave, model)]

    return find


def test_the_stretches_are_those_of_the_package(theirs, spoken, rng):
    """With gaps of every length around those that end a stretch, noise, and ends at any sample."""
    voice = spoken(20)
    found = []
    for _ in range(40):
        pieces = []
        for _ in range(rng.integers(1, 6)):
            start, length = rng.integers(0, len(voice) // 2), rng.integers(1_000, 40_000)
            pieces += [voice[start : start + length], np.zeros(rng.integers(0, 9_000), np.float32)]
        wave = np.concatenate(pieces)
        wave += rng.choice([0, 0.001, 0.03]) * rng.standard_normal(len(wave), dtype=np.float32)
        found.append(voice_activity.stretches(wave))
        assert found[-1] == theirs(wave)
    assert max(map(len, found)) > 2 and min(map(len, found)) < 2


@pytest.mark.parametrize("samples", [0, 1, 511, 512, 16_000])
def test_where_nobody_speaks_there_is_none(samples):
    assert voice_activity.stretches(np.zeros(samples, np.float32)) == []


def test_a_long_recording_is_seen_in_blocks_without_a_seam(theirs, spoken):
    wave = np.resize(spoken(20), 60 * 16_000)
    assert voice_activity.stretches(wave) == theirs(wave)

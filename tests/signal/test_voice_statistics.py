"""Pitch and formants of a known voice."""

import numpy as np
import pytest
from scipy.signal import lfilter

from s2f.signal import voice_statistics


def test_statistics_of_a_known_voice():
    """A pulse train at 150 Hz through a tube with formants 500, 1500, 2500, 3500 Hz."""
    rate = voice_statistics.SAMPLE_RATE
    pulses = np.zeros(2 * rate)
    pulses[:: rate // 150] = 1
    wave = pulses
    for hertz in (500, 1500, 2500, 3500):
        radius, angle = np.exp(-np.pi * 80 / rate), 2 * np.pi * hertz / rate
        poles = [1, -2 * radius * np.cos(angle), radius**2]
        wave = lfilter([1], poles, wave)
    loud = (wave / np.abs(wave).max()).astype(np.float32)
    found = dict(zip(voice_statistics.NAMES, voice_statistics.statistics(loud), strict=True))
    assert found["pitch_median"] == pytest.approx(12 * np.log2(1.5), abs=0.3)
    assert np.exp(found["formant_2_median"]) == pytest.approx(1500, rel=0.07)
    silence = voice_statistics.statistics(1e-3 * np.random.default_rng(0).standard_normal(rate).astype(np.float32))
    assert len(silence) == len(voice_statistics.NAMES)

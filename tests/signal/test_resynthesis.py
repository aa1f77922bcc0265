"""Pitch and formants of an invented voice are where the shift puts them, as Praat measures it."""

import numpy as np
import pytest
from scipy.signal import lfilter

from s2f.signal import resynthesis, voice_statistics
from s2f.signal.audio import SAMPLE_RATE
from s2f.study.paths import UserError

TRACT = (500, 1500, 2500, 3500, 4500)  # Hz, as many as Praat looks for


@pytest.fixture(scope="module")
def vowel():
    """3 s of a vowel at 110 to 140 Hz, through a tube of 17.5 cm."""
    time = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    phase = np.cumsum(125 + 15 * np.sin(2 * np.pi * time)) / SAMPLE_RATE
    wave = np.diff(np.floor(phase), prepend=0)
    for hertz in TRACT:
        radius, angle = np.exp(-np.pi * 80 / SAMPLE_RATE), 2 * np.pi * hertz / SAMPLE_RATE
        wave = lfilter([1], [1, -2 * radius * np.cos(angle), radius**2], wave)
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


def measured(wave):
    """Median pitch (semitones) and the middle frequencies of the formants (Hz)."""
    found = dict(zip(voice_statistics.NAMES, voice_statistics.statistics(wave), strict=True))
    formants = [np.exp(found[f"formant_{number}_median"]) for number in voice_statistics.FORMANTS]
    return found["pitch_median"], np.array(formants)


# The first formant is left out: only some four harmonics lie below it, and Praat draws it to one of them. Others are
# found within a per cent, and the pitch within a tenth of a semitone.
@pytest.mark.parametrize(
    "semitones, percent", [(0.0, 0.0), (3.0, 0.0), (-3.0, 0.0), (0.0, 8.0), (0.0, -8.0), (3.0, 8.0), (-3.0, -8.0)]
)
def test_a_shift_moves_what_it_should_and_nothing_else(vowel, semitones, percent):
    shifted = resynthesis.shifted(vowel, semitones, percent)
    assert shifted.shape == vowel.shape and shifted.dtype == np.float32 and np.abs(shifted).max() <= 1
    (pitch, formants), (before, tract) = measured(shifted), measured(vowel)
    assert pitch - before == pytest.approx(semitones, abs=0.2)
    assert 100 * (formants / tract - 1)[1:] == pytest.approx(percent, abs=1.2)


def test_what_has_no_pitch_or_would_be_no_voice_is_refused(vowel, rng):
    with pytest.raises(UserError, match="No pitch was found"):
        resynthesis.shifted(1e-3 * rng.standard_normal(SAMPLE_RATE).astype(np.float32), 3.0)
    with pytest.raises(UserError, match="20 semitones and 0 % leaves no natural voice"):
        resynthesis.shifted(vowel, 20.0)
    with pytest.raises(UserError, match="ask for at most 12 semitones and 25 %"):
        resynthesis.shifted(vowel, percent=-30.0)


def test_one_recording_gives_one_resynthesis(vowel):
    """Praat places the periods of what has no voice by lot, and its lots go on from call to call."""
    noisy = vowel + 0.02 * np.random.default_rng(0).standard_normal(len(vowel)).astype(np.float32)
    first, second = (resynthesis.shifted(noisy, 3.0) for _ in range(2))
    np.testing.assert_array_equal(first, second)

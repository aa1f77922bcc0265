"""Degradations: each does what its unit says, by the seed alone, and training crops keep their level."""

import numpy as np
import pytest

from s2f.signal import degradation, speech
from s2f.signal.audio import FULL_SCALE, SAMPLE_RATE, to_int16
from s2f.study.paths import UserError

EVERY = [(kind, severity) for kind, made in degradation.KINDS.items() for severity in made.severities]


def draw():
    return np.random.default_rng([7, 1])


def power(wave):
    return np.mean(np.square(wave, dtype=float))


@pytest.mark.parametrize(("kind", "severity"), EVERY)
def test_a_copy_is_as_long_finite_in_range_and_repeatable(kind, severity, speech_like):
    wave = speech_like(2.5)
    copy = degradation.degrade(wave, kind, severity, draw())
    assert copy.shape == wave.shape and copy.dtype == np.float32
    assert np.isfinite(copy).all() and np.abs(copy).max() <= 1
    assert not np.array_equal(copy, wave)
    np.testing.assert_array_equal(degradation.degrade(wave, kind, severity, draw()), copy)


@pytest.mark.parametrize("snr", [40.0, 10.0])
def test_noise_is_as_far_below_as_it_says(snr, speech_like):
    wave = 0.3 * speech_like(3)  # far from full scale, where the sum would be cut
    added = degradation.degrade(wave, "noise", snr, draw()) - wave
    assert 10 * np.log10(power(wave) / power(added)) == pytest.approx(snr, abs=0.01)


def test_a_room_goes_on_sounding_for_its_time(rng):
    click = np.zeros(2 * SAMPLE_RATE, np.float32)
    click[0] = 0.5
    tail = degradation.degrade(click, "reverberation", 0.6, draw())[1:]
    early, late = (power(tail[start : start + 1600]) for start in (0, round(0.3 * SAMPLE_RATE)))
    # 60 dB in 0.6 s are 30 dB in 0.3 s; 1,600 samples fix a power within 0.2 dB (one standard error).
    assert 10 * np.log10(early / late) == pytest.approx(30, abs=1)
    assert power(tail[round(0.6 * SAMPLE_RATE) :]) < 1e-16  # rounding of the fast convolution


@pytest.mark.parametrize("khz", [3.4, 7.0])
def test_a_telephone_passes_its_band_alone(khz, rng):
    wave = rng.normal(0, 0.1, 3 * SAMPLE_RATE).astype(np.float32)
    before, after = (
        np.abs(np.fft.rfft(part)) ** 2 for part in (wave, degradation.degrade(wave, "telephone", khz, draw()))
    )
    hertz = np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE)
    band = (hertz > 500) & (hertz < 900 * khz)
    assert after[band].sum() == pytest.approx(before[band].sum(), rel=0.05)
    assert after[hertz > 1100 * khz].sum() < 1e-4 * before[hertz > 1100 * khz].sum()
    assert after[hertz < 100].sum() < 0.02 * before[hertz < 100].sum()  # 8-bit noise remains


def test_a_telephone_codes_by_the_mu_law_of_its_standard(speech_like):
    wave = speech_like(2)
    spectrum, hertz = np.fft.rfft(wave.astype(float)), np.fft.rfftfreq(len(wave), 1 / SAMPLE_RATE)
    low_pass = 1 / (1 + (hertz / 3400) ** 64)
    high_pass = 1 / (1 + (300 / np.maximum(hertz, 1)) ** 8)
    band = np.fft.irfft(spectrum * low_pass * high_pass, len(wave))
    samples = np.rint(band / np.abs(band).max() * FULL_SCALE).clip(-FULL_SCALE, FULL_SCALE - 1) / FULL_SCALE
    steps = np.round(127 * np.sign(samples) * np.log1p(255 * np.abs(samples)) / np.log(256)) / 127
    coded = np.sign(steps) * np.expm1(np.abs(steps) * np.log(256)) / 255 * np.abs(band).max()
    plain = np.fft.irfft(np.fft.rfft(coded) * low_pass, len(wave))
    # In float32 a few samples in a thousand are rounded to the next of the 16-bit steps, and of the 8-bit ones.
    error, noise = power(degradation.degrade(wave, "telephone", 3.4, draw()) - plain), power(coded - band)
    assert error < 0.02 * noise


def test_clipping_cuts_the_peaks_alone(speech_like):
    wave = speech_like(2)
    copy = degradation.degrade(wave, "clipping", 6.0, draw())
    limit = np.abs(wave).max() * 10 ** (-6 / 20)
    np.testing.assert_allclose(copy, np.clip(wave, -limit, limit), rtol=0, atol=2**-24)


def test_an_unknown_kind_is_refused(speech_like):
    with pytest.raises(UserError, match="'wind': take one of reverberation"):
        degradation.degrade(speech_like(1), "wind", 1.0, draw())


def test_crops_are_degraded_in_the_share_that_was_set_and_keep_their_level(speech_like):
    wave = to_int16(speech.levelled(speech_like(1)))
    crops = np.stack([wave] * 60)
    for share in (0.0, 0.5, 1.0):
        varied = degradation.vary(crops, share, np.random.default_rng(3))
        changed = (varied != crops).any(axis=1)
        # Of 60 crops, 0.5 +- 4 standard errors; a degraded crop may meet no kind at all and only be rounded again.
        assert changed.mean() <= share + 4 * np.sqrt(share * (1 - share) / 60)
        assert changed.mean() >= 0.6 * share - 4 * np.sqrt(share * (1 - share) / 60)
        levels = 10 * np.log10(np.mean((varied / FULL_SCALE) ** 2, axis=1))
        np.testing.assert_allclose(levels, 10 * np.log10(power(wave / FULL_SCALE)), atol=3)
    np.testing.assert_array_equal(varied, degradation.vary(crops, 1.0, np.random.default_rng(3)))

"""One way from a recording to the model: level, offset, silence and channels change nothing; no voice is no speech."""

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from s2f.signal import speech
from s2f.signal.audio import FULL_SCALE, SAMPLE_RATE
from s2f.study.paths import UserError


def power_db(wave):
    return 10 * np.log10(np.mean(np.square(wave, dtype=float)))


def isolated(wave):
    return speech.isolate(np.asarray(wave, np.float32)).astype(float) / FULL_SCALE


def spectrum_db(wave):
    """Mean power in 40 bands of 200 Hz, dB."""
    power = np.square(np.abs(np.fft.rfft(wave)))[: len(wave) // 2]
    return 10 * np.log10([band.mean() for band in np.array_split(power / len(wave), 40)])


def assert_same(wave, reference):
    # The detector may move an edge by a frame of 32 ms or two, of 3.5 s.
    assert len(wave) == pytest.approx(len(reference), abs=3 * 512)
    np.testing.assert_allclose(spectrum_db(wave), spectrum_db(reference), rtol=0, atol=1.5)


@settings(max_examples=10, phases=[Phase.explicit, Phase.generate])
@given(gain_db=st.floats(-45.0, 20.0), offset=st.floats(-0.3, 0.3))
def test_level_and_offset_change_nothing(gain_db, offset, spoken):
    wave = spoken(4)
    changed = wave * 10 ** (gain_db / 20) + offset
    assert_same(isolated(changed), isolated(wave))


@pytest.mark.parametrize("before", [0.5, 10.0, 61.0])
@pytest.mark.parametrize("after", [0.0, 7.0])
def test_silence_around_speech_changes_nothing(before, after, spoken):
    wave = spoken(4)
    padded = np.concatenate([np.zeros(round(SAMPLE_RATE * before)), wave, np.zeros(round(SAMPLE_RATE * after))])
    # The detector has a memory, so an edge may move by a few of its frames of 32 ms.
    assert len(isolated(padded)) == pytest.approx(len(isolated(wave)), abs=5 * 512)


def test_pauses_between_words_are_cut_out(spoken):
    wave = spoken(4)
    parts = np.split(wave, range(SAMPLE_RATE, len(wave), SAMPLE_RATE))
    paused = np.concatenate([piece for part in parts for piece in (part, np.zeros(SAMPLE_RATE, np.float32))])
    assert len(isolated(paused)) == pytest.approx(len(isolated(wave)), rel=0.05)


def test_speech_comes_out_at_one_level(spoken):
    levels = [power_db(isolated(spoken(4) * gain)) for gain in (0.01, 0.3)]
    assert levels[0] == pytest.approx(levels[1], abs=0.1)
    # The level is that of the loud frames; the soft ones that count here as well are up to 10 dB below their mean.
    assert speech.LEVEL_DB - 3 < levels[0] < speech.LEVEL_DB + 0.5


@pytest.mark.parametrize("seconds", [1 / SAMPLE_RATE, 0.02, 0.2], ids=["click", "knock", "bang"])
@pytest.mark.parametrize("gain_db", [0.0, -20.0, -40.0])
def test_bangs_far_louder_than_the_speech_do_not_set_its_level(seconds, gain_db, spoken):
    wave = spoken(4)
    banged = wave * np.float32(10 ** (gain_db / 20))
    samples = max(1, round(seconds * SAMPLE_RATE))
    for start in range(SAMPLE_RATE // 2, len(wave), SAMPLE_RATE):
        banged[start : start + samples] = np.random.default_rng(start).choice([-1.0, 1.0], samples)
    kept, reference = isolated(banged), isolated(wave)
    # Speech under a bang may be lost: 4 bangs, and two frames of 32 ms of the detector at either side of each.
    assert len(kept) == pytest.approx(len(reference), abs=4 * (samples + 4 * 512))
    loud = [np.median([power_db(frame + 1e-9) for frame in np.array_split(part, 150)]) for part in (kept, reference)]
    # Of the loud frames, which make the level, those under the bangs are lost.
    assert loud[0] == pytest.approx(loud[1], abs=2)
    assert np.abs(kept).max() < 1  # and nothing of the bangs is left


def test_the_same_recording_gives_the_same_samples(spoken):
    np.testing.assert_array_equal(speech.isolate(spoken(3)), speech.isolate(spoken(3)))


def no_speech():
    rng, time = np.random.default_rng(0), np.arange(6 * SAMPLE_RATE) / SAMPLE_RATE
    white = rng.standard_normal(len(time))
    pink = np.fft.irfft(np.fft.rfft(white) / np.sqrt(np.maximum(np.arange(len(time) // 2 + 1), 1)))
    hum = sum(np.sin(2 * np.pi * 50 * k * time) / k for k in range(1, 9))
    chords = sum(np.sin(2 * np.pi * hertz * time) for hertz in (220, 277, 330)) * np.exp(-3 * (time % 0.5))
    return {
        "nothing": np.zeros(len(time)),
        "only an offset": np.full(len(time), 0.3),
        "a muted microphone": rng.integers(-3, 4, len(time)) / FULL_SCALE,
        "white noise": 0.1 * white,
        "pink noise": 0.1 * pink / pink.std(),
        "hum": 0.1 * hum,
        "a tone": 0.3 * np.sin(2 * np.pi * 440 * time),
        "a sweep": 0.3 * np.sin(2 * np.pi * (100 + 300 * time) * time),
        "chords": 0.1 * chords,
        "clicks": (np.arange(len(time)) % 4000 == 0).astype(float),
        "one sample": np.ones(1),
        "no sample": np.zeros(0),
    }


@pytest.mark.parametrize("name", no_speech())
def test_what_is_no_speech_is_refused_by_name(name):
    with pytest.raises(UserError, match="No speech was found in memo.wav"):
        speech.isolate(no_speech()[name].astype(np.float32), "memo.wav")


def test_too_little_speech_is_refused_with_how_much_there_is(spoken):
    with pytest.raises(UserError, match=r"Only 0\.[0-4] s of speech was found"):
        speech.isolate(np.append(spoken(4)[: round(0.45 * SAMPLE_RATE)], np.zeros(SAMPLE_RATE, np.float32)))


def test_signs_of_quality_follow_what_was_done(spoken):
    wave, rng = spoken(5), np.random.default_rng(1)
    noisy = wave + rng.standard_normal(len(wave)) * np.sqrt(np.mean(wave**2)) * 10 ** (-5 / 20)
    spectrum = np.fft.rfft(wave)
    spectrum[len(spectrum) // 2 :] = 0
    dull = np.fft.irfft(spectrum, len(wave))
    clipped = np.clip(wave, -0.1 * np.abs(wave).max(), 0.1 * np.abs(wave).max())
    plain = speech.quality(speech.isolate(wave))
    changed = [speech.quality(speech.isolate(part.astype(np.float32))) for part in (noisy, dull, clipped)]
    assert changed[0]["dynamics"] < plain["dynamics"] - 5
    assert changed[1]["treble"] < plain["treble"] - 10
    assert changed[2]["crest"] < plain["crest"] - 5

"""The speech of synthetic speakers: what is asked of a voice is what is heard."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import parselmouth
import pytest
from scipy.fft import dct

from s2f.signal.audio import SAMPLE_RATE
from s2f.study.paths import UserError
from s2f.synthetic.sentences import SENTENCES
from s2f.synthetic.speech import LANGUAGES, RANGES, Espeak, Voice, recording, session, voice_of

VOICE = Voice(language="en-us", f0_hz=120, vtl_cm=16.5, wpm=170, breath=3, flutter=2, roughness=2)
ROW = {"speaker_id": "test00007", "language": "de", "f0_hz": 201.5, "vtl_cm": 14.2, "wpm": 171.3}
ROW |= {"breath": 4.0, "flutter": 3.0, "roughness": 2}


@pytest.fixture(scope="module")
def espeak():
    with Espeak() as espeak:
        yield espeak


def pitch(samples):
    """Mean pitch by Praat's autocorrelation, Hz."""
    sound = parselmouth.Sound(samples / 32768, SAMPLE_RATE)
    track = sound.to_pitch_ac(pitch_floor=50, pitch_ceiling=600).selected_array["frequency"]
    return track[track > 0].mean()


def envelope(samples, hertz):
    """Long-term spectrum in dB at some frequencies, smoothed over 200 Hz: formants without harmonics."""
    frames = np.lib.stride_tricks.sliding_window_view(samples / 32768.0, 1024)[::256] * np.hanning(1024)
    power = np.mean(np.abs(np.fft.rfft(frames)) ** 2, 0)
    smooth = np.convolve(power, np.hanning(27) / np.hanning(27).sum(), "same")
    return 10 * np.log10(np.interp(hertz, np.fft.rfftfreq(1024, 1 / SAMPLE_RATE), smooth))


def test_every_language_has_a_dozen_sentences_of_its_own():
    assert set(SENTENCES) == set(LANGUAGES)
    for sentences in SENTENCES.values():
        assert len(set(sentences)) == len(sentences) >= 12


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_speaks_at_the_pitch_asked_for(espeak, language):
    for f0, vtl in ((95, 17.5), (210, 14.0)):
        voice = replace(VOICE, language=language, f0_hz=f0, vtl_cm=vtl)
        heard = pitch(recording(espeak, voice, 8, seed=1))
        # Intonation moves with the sentences: the measured spread over draws of them is 2 %.
        assert heard == pytest.approx(f0, rel=0.06)


def test_pitch_range_reaches_from_men_to_children(espeak):
    for f0 in (70, 150, 300):
        heard = pitch(recording(espeak, replace(VOICE, f0_hz=f0, vtl_cm=1800 / (f0 + 90) + 8), 8, seed=2))
        assert heard == pytest.approx(f0, rel=0.06)


@pytest.mark.parametrize("vtl", [12.0, 14.0, 19.0])
def test_tract_length_scales_the_spectrum(espeak, vtl):
    """A tract k times as long has its envelope at 1/k of the frequencies."""
    reference, changed = (
        espeak.say(replace(VOICE, vtl_cm=cm, f0_hz=100, snr_db=60), SENTENCES["en-us"][0], seed=1) for cm in (16.0, vtl)
    )
    hertz = np.linspace(400, 3500, 200)
    target = envelope(reference, hertz)
    scales = np.arange(0.6, 1.6, 0.005)
    fits = [np.corrcoef(target, envelope(changed, hertz * scale))[0, 1] for scale in scales]
    # A bin of 16 Hz is 3 % of a first formant; higher ones fix the scale better.
    assert scales[np.argmax(fits)] == pytest.approx(16.0 / vtl, rel=0.02)


@pytest.mark.parametrize("seconds", [0.5, 3.0, 6.0, 7.3, 60.0])
def test_a_recording_lasts_exactly_as_long_as_asked(espeak, seconds):
    wave = recording(espeak, replace(VOICE, wpm=260), seconds, seed=3)
    assert wave.dtype == np.int16
    assert len(wave) == round(seconds * SAMPLE_RATE)


def test_no_recording_is_silent_or_clipped(espeak):
    rng = np.random.default_rng(0)
    for seed, language in enumerate([*LANGUAGES] * 3):
        numbers = {name: rng.uniform(low, high) for name, (low, high) in RANGES.items()}
        numbers |= {"roughness": seed % 6, "snr_db": rng.uniform(20, 40)}
        wave = recording(espeak, Voice(language=language, **numbers), 3, seed) / 32768
        level = 20 * np.log10(np.sqrt(np.mean(wave**2)))
        assert -30 < level < -22  # -23 dB plus the noise, or less where the peak limits it
        assert np.abs(wave).max() < 0.98
        seconds = wave.reshape(3, SAMPLE_RATE)
        assert np.all(np.sqrt(np.mean(seconds**2, 1)) > 0.01)


def test_the_noise_floor_is_where_it_was_asked_for(espeak):
    text = SENTENCES["en-us"][0]
    clean, noisy = (espeak.say(replace(VOICE, snr_db=snr), text, seed=5) / 32768 for snr in (90, 20))
    floor = noisy - clean * (np.dot(noisy, clean) / np.dot(clean, clean))
    # 40,000 smoothed samples fix the power within 2 %, which is 0.1 dB.
    assert 10 * np.log10(np.mean(clean**2) / np.mean(floor**2)) == pytest.approx(20, abs=0.2)


def test_samples_depend_on_voice_text_and_seed_only(espeak):
    first = recording(espeak, VOICE, 3, seed=1)
    other = recording(espeak, replace(VOICE, language="fr", breath=20), 3, seed=2)
    np.testing.assert_array_equal(first, recording(espeak, VOICE, 3, seed=1))
    with Espeak() as second:  # beside the first, in another order
        np.testing.assert_array_equal(other, recording(second, replace(VOICE, language="fr", breath=20), 3, seed=2))
        np.testing.assert_array_equal(first, recording(second, VOICE, 3, seed=1))
    assert (first != recording(espeak, VOICE, 3, seed=2)).any()


def test_two_seeds_read_different_sentences_and_a_breathy_voice_differs_by_seed(espeak):
    text = SENTENCES["en-us"][1]
    breathy = replace(VOICE, breath=15)
    assert (espeak.say(breathy, text, seed=1)[8000:16000] != espeak.say(breathy, text, seed=2)[8000:16000]).any()
    lengths = {len(espeak.say(VOICE, sentence, seed=1)) for sentence in SENTENCES["en-us"]}
    assert len(lengths) == len(SENTENCES["en-us"])


def test_speakers_can_be_told_apart_by_a_plain_recogniser(espeak):
    """20 speakers of one language, two sessions each with other sentences: nearest by MFCC."""
    rng = np.random.default_rng(4)
    cepstra, names = [], np.repeat(np.arange(20), 2)
    for i in range(20):
        f0, vtl = (120, 16.9) if i % 2 else (205, 14.1)
        row = ROW | {
            "speaker_id": f"s{i}",
            "f0_hz": f0 * rng.normal(1, 0.15),
            "vtl_cm": vtl * rng.normal(1, 0.05),
        }
        row |= {"breath": rng.uniform(1, 18), "flutter": rng.uniform(2, 9), "wpm": rng.uniform(140, 185)}
        for clip in range(2):
            cepstra.append(mfcc(recording(espeak, session(voice_of(row), rng, spread=1.0), 6, seed=2 * i + clip)))
    scaled = (np.array(cepstra) - np.mean(cepstra, 0)) / np.std(cepstra, 0)
    distance = np.linalg.norm(scaled[:, None] - scaled[None], axis=-1) + np.diag(np.full(40, np.inf))
    # Measured over 12 such groups: 0.69 +- 0.12. Three deviations lower is still six times chance (1 / 39).
    assert np.mean(names[distance.argmin(1)] == names) > 0.3


def mfcc(samples):
    """Mean and spread over time of 39 cepstral coefficients of 64 mel bands, the level left out."""
    frames = np.lib.stride_tricks.sliding_window_view(samples / 32768.0, 512)[::160] * np.hanning(512)
    power = np.abs(np.fft.rfft(frames)) ** 2
    mel = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 66)
    edges = np.searchsorted(np.fft.rfftfreq(512, 1 / SAMPLE_RATE), 700 * (10 ** (mel / 2595) - 1))
    pairs = zip(edges, edges[2:], strict=False)
    bands = np.stack([power[:, low : max(high, low + 1)].sum(1) for low, high in pairs], 1)
    cepstra = dct(np.log(bands + 1e-9), norm="ortho")[:, 1:40]
    return np.concatenate([cepstra.mean(0), cepstra.std(0)])


def test_voice_of_keeps_the_row_and_draws_timbre_from_the_name():
    voice = voice_of(ROW)
    assert {name: getattr(voice, name) for name in ROW if name != "speaker_id"} == {
        name: value for name, value in ROW.items() if name != "speaker_id"
    }
    assert voice == voice_of(dict(ROW))
    other = voice_of(ROW | {"speaker_id": "test00008"})
    assert other.formant != voice.formant
    many = np.array([voice_of(ROW | {"speaker_id": str(i)}).formant for i in range(400)])
    # 3600 draws: the standard error of the spread is 0.02 / sqrt(7200), 1.2 %.
    assert many.std() == pytest.approx(0.02, rel=0.05)


def test_a_session_without_spread_is_the_voice_itself():
    assert session(VOICE, np.random.default_rng(1), spread=0.0) == VOICE


def test_sessions_scatter_by_the_amounts_named():
    rng = np.random.default_rng(2)
    days = [session(VOICE, rng, spread=1.0) for _ in range(1000)]
    semitones = 12 * np.log2([day.f0_hz / VOICE.f0_hz for day in days])
    # The standard error of a spread over 1000 draws is 2.2 %.
    assert np.std(semitones) == pytest.approx(0.7, rel=0.1)
    assert np.std(np.log([day.wpm for day in days])) == pytest.approx(0.06, rel=0.1)
    assert np.std(np.log([day.vtl_cm for day in days])) == pytest.approx(0.006, rel=0.1)
    assert 20 <= min(day.snr_db for day in days) < max(day.snr_db for day in days) <= 40
    assert all(0 <= session(replace(VOICE, breath=0), rng, spread=2.0).breath <= 25 for _ in range(100))


@pytest.mark.parametrize("wrong", [{"language": "tlh"}, {"f0_hz": 20.0}, {"vtl_cm": 30.0}, {"roughness": 7}])
def test_an_impossible_voice_is_refused_by_name(wrong):
    (value,) = wrong.values()
    with pytest.raises(UserError, match=str(value)):
        replace(VOICE, **wrong)


def test_text_without_sound_is_refused(espeak):
    with pytest.raises(UserError, match="no sound"):
        espeak.say(VOICE, " ", seed=1)


def test_a_missing_or_foreign_wheel_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(UserError, match="espeakng-loader"):
        Espeak()
    monkeypatch.undo()
    import espeakng_loader

    (tmp_path / "libespeak-ng.so").write_bytes(b"for another machine")
    monkeypatch.setattr(espeakng_loader, "get_library_path", lambda: str(tmp_path / "libespeak-ng.so"))
    with pytest.raises(UserError, match="espeakng-loader"):
        Espeak()


def test_nothing_is_left_behind(tmp_path):
    code = (
        "from s2f.synthetic.speech import Espeak, Voice\n"
        "with Espeak() as espeak: espeak.say(Voice('de', 120, 17, 170, 1, 2, 2), 'Ja.', 1)"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(tmp_path)}, check=True)
    assert not list(tmp_path.iterdir())

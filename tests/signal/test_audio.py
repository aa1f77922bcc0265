import os

import numpy as np
import pytest
import soundfile
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st
from torchaudio.transforms import MelSpectrogram

from s2f.signal import audio
from s2f.signal.spectrograms import BANDS, QUIETEST, mel_statistics, spectrograms
from s2f.study.paths import UserError

SIX_SECONDS = 96_000


def plain_stft(wave):
    """The framing of the paper, frame by frame: (frames, 257) complex."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    starts = range(0, len(wave) - 399, 160)
    return np.stack([np.fft.rfft(wave[start : start + 400].astype(np.float64) * window, 512) for start in starts])


def write(path, samples, rate=16_000):
    soundfile.write(path, np.asarray(samples, np.float32), rate, "FLOAT")
    return path


def test_six_seconds_are_598_frames_of_257_bins(speech_like):
    spectrogram = spectrograms(torch.from_numpy(speech_like(6)))
    assert spectrogram.shape == (2, 598, 257)
    assert spectrogram.dtype == torch.float32
    assert spectrogram.is_contiguous()


@pytest.mark.parametrize(("seconds", "frames"), [(0.2, 18), (2.61, 259), (3, 298), (6, 598)])
def test_frames_follow_from_the_length(seconds, frames, speech_like):
    wave = torch.from_numpy(speech_like(seconds))
    assert audio.n_frames(len(wave)) == frames == spectrograms(wave).shape[1]


def test_spectrogram_is_the_power_law_of_the_plain_stft(speech_like):
    wave = speech_like(6)
    ours = spectrograms(torch.from_numpy(wave)).double().numpy()
    reference = plain_stft(wave)
    # Undoing the power law turns a relative error e of ours into e / 0.3. log2, times 0.3 and exp2 each round
    # to 2^-24 of values below 2^5, which exp2 makes relative: e < 3 * 2^5 * 2^-24 * ln 2, 4e-6. The float32
    # FFT of 512 points adds at most log2(512) = 9 roundings of the sum of |x| * window, below 200 * peak.
    error = np.abs(np.sign(ours) * np.abs(ours) ** (1 / 0.3) - np.stack([reference.real, reference.imag]))
    allowed = 9 * 2**-24 * 200 * np.abs(wave).max() + 4e-6 / 0.3 * np.abs(reference)
    assert (error <= allowed).all()


def test_every_sample_under_a_window_counts_and_no_other(speech_like):
    wave = torch.from_numpy(speech_like(0.5))
    used = 400 + 160 * (audio.n_frames(len(wave)) - 1)
    before = spectrograms(wave)
    wave[used:] = 9.0
    assert torch.equal(spectrograms(wave), before)
    wave[used - 1] += 9.0
    assert not torch.equal(spectrograms(wave)[:, -1], before[:, -1])


def test_a_batch_is_its_clips(speech_like):
    waves = torch.from_numpy(speech_like(2.4)).reshape(2, 3, 6400)
    batch = spectrograms(waves)
    assert batch.shape == (2, 3, 2, 38, 257)
    for i in range(2):
        for j in range(3):
            assert torch.equal(batch[i, j], spectrograms(waves[i, j]))


def test_sixteen_bits_are_scaled(speech_like):
    integers = torch.from_numpy(audio.to_int16(speech_like(1)))
    assert torch.equal(spectrograms(integers), spectrograms(integers / 32768))


def test_silence_is_zero_and_no_gradient_is_kept():
    wave = torch.zeros(8000, requires_grad=True)
    spectrogram = spectrograms(wave)
    assert not spectrogram.any() and not spectrogram.requires_grad


def test_a_wave_below_one_window_is_refused():
    with pytest.raises(UserError, match="399 samples"):
        spectrograms(torch.zeros(399))


@pytest.mark.parametrize("seconds", [0.025, 0.5, 6])
def test_a_spectrogram_without_torch_is_the_same(seconds, speech_like):
    wave = speech_like(seconds)
    for recording in (wave, audio.to_int16(wave)):
        ours, theirs = audio.spectrogram(recording), spectrograms(torch.from_numpy(recording)).numpy()
        assert ours.dtype == np.float32 and ours.shape == theirs.shape
        # As on a GPU: |a^.3 - b^.3| <= 2^.7 |a - b|^.3, where both are good to 1e-4.
        assert np.abs(ours - theirs).max() < 2**0.7 * 1e-4**0.3
        loud = np.abs(theirs) > 1
        np.testing.assert_allclose(ours[loud], theirs[loud], rtol=1e-4)
    with pytest.raises(UserError, match="399 samples"):
        audio.spectrogram(np.zeros(399, np.float32))


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_resampling_is_that_of_torchaudio(rate, tmp_path, rng):
    wave = rng.uniform(-0.5, 0.5, 2 * rate + 17).astype(np.float32)
    wave -= wave.mean()
    theirs = torchaudio.functional.resample(
        torch.from_numpy(wave),
        rate,
        16_000,
        lowpass_filter_width=audio.ZERO_CROSSINGS,
        rolloff=audio.ROLLOFF,
        resampling_method="sinc_interp_kaiser",
        beta=audio.KAISER_BETA,
    ).numpy()
    ours = audio.read(write(tmp_path / "a.wav", wave, rate))
    # Theirs is a float32 filter, whose places are off by 2^-24 of some 100 crossings, each a slope of at most pi.
    np.testing.assert_allclose(ours, theirs / max(1, np.abs(theirs).max()), rtol=0, atol=3e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_agrees(speech_like):
    waves = torch.from_numpy(speech_like(12)).reshape(2, -1)
    ours, cpu = spectrograms(waves.cuda()).cpu(), spectrograms(waves)
    # |a^.3 - b^.3| <= 2^.7 |a - b|^.3, where an FFT of 512 float32 values of peak 0.5 is good to 1e-4.
    assert (ours - cpu).abs().max() < 2**0.7 * 1e-4**0.3
    loud = cpu.abs() > 1
    torch.testing.assert_close(ours[loud], cpu[loud], rtol=1e-4, atol=0)


@given(st.integers(1, 50), st.integers(1, 200))
def test_fit_length_repeats_end_to_start(length, samples):
    wave = np.arange(length, dtype=np.int16)
    fitted = audio.fit_length(wave, samples)
    assert fitted.dtype == np.int16
    assert fitted.tolist() == [i % length for i in range(samples)]


def test_nothing_cannot_be_repeated():
    with pytest.raises(UserError, match="empty clip"):
        audio.fit_length(np.zeros(0, np.float32), 10)


@settings(max_examples=20)
@given(st.lists(st.integers(-32768, 32767), min_size=1))
def test_sixteen_bits_survive_the_way_through_float(samples):
    samples = np.array(samples, np.int16)
    assert np.array_equal(audio.to_int16(samples.astype(np.float32) / 32768), samples)


def test_to_int16_clips():
    assert audio.to_int16(np.array([-2.0, 1.0, 0.0])).tolist() == [-32768, 32767, 0]


def test_a_16_khz_file_is_read_as_it_is(tone):
    path = tone("a.wav", subtype="PCM_16")
    wave = audio.read(path)
    assert wave.dtype == np.float32
    assert np.array_equal(audio.to_int16(wave), soundfile.read(path, dtype="int16")[0])


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.mp3"])
def test_other_formats_are_read(name, tone):
    wave = audio.read(tone(name, hertz=440))
    assert abs(len(wave) - 16_000) < 0.1 * 16_000  # lossy codecs pad
    assert np.abs(np.fft.rfft(wave, 16_000)).argmax() == 440


@pytest.mark.parametrize(
    ("rate", "hertz"),
    [(8_000, 3_000), (11_025, 4_000), (22_050, 7_000), (44_100, 1_000), (44_100, 7_000), (96_000, 7_000)],
)
def test_any_rate_becomes_16_khz(rate, hertz, tone):
    wave = audio.read(tone("a.wav", hertz=hertz, rate=rate, subtype="FLOAT"))
    assert len(wave) == 16_000
    ideal = 0.5 * np.sin(2 * np.pi * hertz * np.arange(16_000) / 16_000)
    # -54 dB of full scale; the ends, where the filter sees past the file, do not count.
    assert np.abs(wave - ideal)[400:-400].max() < 1e-3


def test_nothing_folds_down_from_above_8_khz(tmp_path):
    t = np.arange(48_000) / 48_000
    low, high = (0.5 * np.sin(2 * np.pi * hertz * t) for hertz in (1_000, 9_000))
    alone = audio.read(write(tmp_path / "low.wav", low, 48_000))
    both = audio.read(write(tmp_path / "both.wav", low + high, 48_000))
    assert np.abs(both - alone)[400:-400].max() < 1e-3


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_the_start_of_a_file_is_the_start_of_the_whole(rate, tone):
    path = tone("a.wav", hertz=523, seconds=3, rate=rate)
    start = audio.read(path, seconds=1)
    assert len(start) == 16_000
    # Each sample sums the same products, perhaps in another order: a few float32 roundings of a peak of 0.5.
    np.testing.assert_allclose(start, audio.read(path)[:16_000], rtol=0, atol=1e-6)


def test_more_seconds_than_there_are_give_all(tone):
    assert len(audio.read(tone("a.wav"), seconds=60)) == 16_000


@pytest.mark.parametrize("peak", [1.5, 20_000.0])
def test_float_samples_beyond_full_scale_are_scaled_down(peak, tone):
    wave = audio.read(tone("a.wav", peak=peak, subtype="FLOAT"))
    ideal = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    np.testing.assert_allclose(wave, ideal, rtol=0, atol=1e-4)  # no sample hits the peak of the sine exactly


def channels_of(wave, *gains):
    return np.stack([np.float32(gain) * wave for gain in gains], axis=1)


@pytest.mark.parametrize(
    "gains",
    [(1, -1), (1, -0.9), (1, 0), (0, 0, 1, 0, 0, 0), (0.01, 1)],
    ids=["opposite", "nearly opposite", "one silent", "centre of 5.1", "one quiet"],
)
def test_where_channels_disagree_the_loudest_is_read(gains, tmp_path, speech_like):
    wave = speech_like(1)
    soundfile.write(tmp_path / "a.wav", channels_of(wave, *gains), 16_000, "FLOAT")
    np.testing.assert_allclose(audio.read(tmp_path / "a.wav"), wave, rtol=0, atol=2**-24)


def test_channels_that_agree_are_averaged(tmp_path, speech_like, rng):
    channels = channels_of(speech_like(1), 1, 0.9) + rng.normal(0, 0.001, (16_000, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", channels, 16_000, "FLOAT")
    np.testing.assert_allclose(audio.read(tmp_path / "a.wav"), channels.mean(axis=1), rtol=0, atol=2**-24)


def streamed(path):
    """Give a FLAC the header that a pipe leaves: "unknown" (0) samples, in bits 108 to 143 of its STREAMINFO."""
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)


@pytest.mark.parametrize("seconds", [None, 2, 60])
def test_a_streamed_flac_without_a_length_is_read_whole(seconds, tone):
    path = tone("a.flac", seconds=23)
    whole = audio.read(path)
    streamed(path)
    np.testing.assert_array_equal(audio.read(path, seconds), whole[: None if seconds is None else 16_000 * seconds])


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.mp3"])
def test_of_a_file_that_was_cut_off_the_part_before_is_read(name, tmp_path, rng):
    soundfile.write(tmp_path / name, rng.normal(0, 0.1, 12 * 16_000), 16_000)
    whole = audio.read(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: round(0.6 * len(content))])
    cut = audio.read(tmp_path / name)
    assert 0.4 * len(whole) < len(cut) < 0.7 * len(whole)
    # The last block of a lossy codec fades out.
    np.testing.assert_allclose(cut[:-8000], whole[: len(cut) - 8000], rtol=0, atol=1e-3)


def test_a_name_in_any_encoding_is_read(tone):
    path = tone("a.wav")
    latin = os.fsdecode(os.fsencode(path.parent) + b"/M\xfcller.wav")
    os.rename(path, latin)
    assert len(audio.read(latin)) == 16_000


def pipe(path):
    os.mkfifo(path)
    return path


BAD = {
    "missing": (lambda folder: folder / "none.wav", "no sound file"),
    "folder": (lambda folder: folder, "is a folder"),
    "empty": (lambda folder: write(folder / "a.wav", []), "no samples"),
    "empty at 44.1 kHz": (lambda folder: write(folder / "a.wav", [], 44_100), "no samples"),
    "pipe": (lambda folder: pipe(folder / "a.wav"), "is a pipe"),
    "NaN": (lambda folder: write(folder / "a.wav", [0.1, float("nan")] * 8000), "NaN"),
    "infinite": (lambda folder: write(folder / "a.wav", [0.1, float("inf")] * 8000), "infinite"),
    "odd rate": (lambda folder: write(folder / "a.wav", np.full(8000, 0.5), 22_051), "22051 Hz"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_named_in_one_sentence(case, tmp_path):
    make, words = BAD[case]
    path = make(tmp_path)
    with pytest.raises(UserError, match=words) as caught:
        audio.read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.wav", "a.raw", "a.mp3", "a.txt"])
def test_text_is_not_audio(name, tmp_path):
    (tmp_path / name).write_text("not a sound\n" * 100)
    with pytest.raises(UserError, match="not audio"):
        audio.read(tmp_path / name)


def test_statistics_of_the_mel_spectrum_show_level_spread_and_change(rng):
    noise = rng.normal(0, 1000, 32_000)
    louder, faded = 2 * noise, noise * np.repeat([1, 0.1], 16_000)
    waves = np.stack([noise, louder, faded]).astype(np.int16)
    mean, spread, change = mel_statistics(torch.from_numpy(waves)).unflatten(1, (3, -1)).numpy().swapaxes(0, 1)
    # Twice the amplitude is four times the power, in every band.
    np.testing.assert_allclose(mean[1] - mean[0], np.log(4), atol=0.02)
    np.testing.assert_allclose(change[1], change[0], rtol=0.05)
    # Half of the frames lie 20 dB lower: a step of log 100 adds a quarter of its square to the variance.
    step = np.log(100)
    np.testing.assert_allclose(spread[2], np.sqrt(spread[0] ** 2 + step**2 / 4), rtol=0.1)
    # Those of the library's own spectrum of power.
    spectrum = MelSpectrogram(audio.SAMPLE_RATE, audio.N_FFT, audio.WINDOW, audio.HOP, n_mels=BANDS)
    plain = (spectrum(torch.from_numpy(waves) / audio.FULL_SCALE) + QUIETEST).log().mean(dim=2).numpy()
    np.testing.assert_allclose(mean, plain, atol=1e-5)

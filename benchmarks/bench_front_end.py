"""CPU time of the front end and of packed reads beside the plain way; the ratio in a group is what counts."""

import time

import numpy as np
import pytest
import soundfile
import torch

from s2f.data.shards import Shards, ShardWriter
from s2f.signal.audio import to_int16
from s2f.signal.spectrograms import spectrograms

SIX_SECONDS = 96_000
CLIPS = 32


def group(name, rounds):
    """The mark of a benchmark; one on the module would lose to one on a function, and its timer with it."""
    return pytest.mark.benchmark(group=name, timer=time.process_time, warmup=True, min_rounds=rounds)


@pytest.fixture(scope="module")
def waves():
    return np.random.default_rng(0).uniform(-0.5, 0.5, (CLIPS, SIX_SECONDS)).astype(np.float32)


def plain_numpy(wave):
    """Frames, window, rfft and power law as a textbook writes them."""
    window = np.hanning(401)[:-1].astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(wave, 400)[::160] * window
    stft = np.fft.rfft(frames, 512)
    parts = np.stack([stft.real, stft.imag])
    return np.sign(parts) * np.abs(parts) ** np.float32(0.3)


def plain_torch(waves):
    """The whole batch at once, with pow."""
    frames = waves.unfold(-1, 400, 160) * torch.hann_window(400)
    parts = torch.view_as_real(torch.fft.rfft(frames, n=512)).movedim(-1, 1)
    return (parts.sign() * parts.abs().pow(0.3)).contiguous()


@group("front end", rounds=20)
def test_spectrogram(benchmark, waves):
    wave = torch.from_numpy(waves[0])
    assert benchmark(spectrograms, wave).shape == (2, 598, 257)


@group("front end", rounds=20)
def test_spectrogram_plain(benchmark, waves):
    assert benchmark(plain_numpy, waves[0]).shape == (2, 598, 257)


@group("front end, batch", rounds=5)
def test_spectrogram_batch(benchmark, waves):
    assert benchmark(spectrograms, torch.from_numpy(waves)).shape == (CLIPS, 2, 598, 257)


@group("front end, batch", rounds=5)
def test_spectrogram_batch_plain(benchmark, waves):
    assert benchmark(plain_torch, torch.from_numpy(waves)).shape == (CLIPS, 2, 598, 257)


@group("packed reads", rounds=20)
def test_gather(benchmark, waves, tmp_path):
    with ShardWriter(tmp_path, "train", CLIPS * SIX_SECONDS) as writer:
        places = [writer.append(to_int16(wave)) for wave in waves]
    names, offsets = zip(*places, strict=True)
    columns = (names, offsets, [SIX_SECONDS] * CLIPS)
    assert benchmark(Shards(tmp_path).gather, columns, SIX_SECONDS).shape == (CLIPS, SIX_SECONDS)


@group("packed reads", rounds=20)
def test_gather_plain(benchmark, waves, tmp_path):
    paths = [tmp_path / f"{i}.wav" for i in range(CLIPS)]
    for path, wave in zip(paths, waves, strict=True):
        soundfile.write(path, wave, 16_000, "PCM_16")

    def read_all():
        return np.stack([soundfile.read(path, dtype="int16")[0] for path in paths])

    assert benchmark(read_all).shape == (CLIPS, SIX_SECONDS)

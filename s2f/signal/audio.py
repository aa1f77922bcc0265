"""Audio input of the voice encoder: mono 16 kHz waveforms and the compressed spectrogram of section 3."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch
from jaxtyping import Float, Float32, Int16, Shaped
from torch import Tensor
from torch.nn.functional import pad

from s2f.study.paths import UserError

SAMPLE_RATE = 16_000
WINDOW = 400  # 25 ms; the paper prints "25 mm"
HOP = 160  # 10 ms
N_FFT = 512
N_BINS = N_FFT // 2 + 1
POWER = 0.3
FULL_SCALE = 32_768  # a 16-bit sample is divided by this, as in libsndfile

LARGEST_FILTER = 20_000_000  # limit on the size of the resampling filter; common rates need less than 1/50 of it
BLOCK_SECONDS = 10  # decoded at a time, so that what comes before a damaged place is kept
AGREEMENT = 0.7  # channels agree if their mean keeps so much of the power of the loudest


def read(path: str | Path, seconds: int | float | None = None) -> Float32[np.ndarray, "samples"]:
    """Read an audio file as mono 16 kHz float32 in [-1, 1].

    Channels are averaged; where they disagree (one is silent, the phase is opposite, two people speak), the loudest is
    taken. Of a damaged file, what comes before the damage is read. Samples beyond 1 are scaled down.

    Args:
        path: file in any format that libsndfile reads, of any common sample rate.
        seconds: decode only the first `seconds` of the file; all of it by default.

    Raises:
        UserError: if the file is missing, not audio or without samples, has NaN or infinite samples, or has a sample
            rate whose conversion to 16 kHz needs too large a filter.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder: name one sound file.")
    if not path.exists():
        raise UserError(f"There is no sound file {path}: check the name.")
    if not path.is_file():
        raise UserError(f"{path} is a pipe or a device: write the sound to a file first.")
    channels, rate = _decode(path, seconds)
    if not np.isfinite(channels).all():
        raise UserError(f"{path} holds NaN or infinite samples: export it again.")
    wave = _resample(_mono(channels), rate, path)
    if seconds is not None:
        wave = wave[: round(seconds * SAMPLE_RATE)]
    return wave / max(1, np.abs(wave).max())  # the filter may exceed 1 again


def _decode(path: Path, seconds: int | float | None) -> tuple[Float32[np.ndarray, "frames channels"], int]:
    """The samples of a file, or of its first seconds, and their rate."""
    try:
        # As bytes, in which a name may be in any encoding.
        with soundfile.SoundFile(os.fsencode(path)) as file:
            rate = file.samplerate
            # 0.1 s more, so that the resampling filter does not see the cut.
            parts = list(_blocks(file, math.inf if seconds is None else math.ceil((seconds + 0.1) * rate)))
    # soundfile raises TypeError for headerless .raw files, whose sample rate is unknown.
    except (soundfile.SoundFileError, TypeError):
        raise UserError(
            f"{path} is not audio that libsndfile can read (empty, damaged, or another format): export it as WAV."
        ) from None
    if not parts:
        raise UserError(f"{path} holds no samples, or its header says so: export it again.")
    return np.concatenate(parts), rate


def _blocks(file: soundfile.SoundFile, frames: int | float) -> Iterator[Float32[np.ndarray, "block channels"]]:
    """The first `frames` of a file in blocks; fewer where it ends before, or is damaged."""
    left = frames
    while left > 0:
        # A streamed file has no length, and soundfile would ask for memory without end: the memory is ours.
        block = np.full((min(left, BLOCK_SECONDS * file.samplerate), file.channels), np.nan, np.float32)
        try:
            decoded = len(file.read(out=block))
        except soundfile.SoundFileError:
            # It failed at the end of a stream, or at damage, after it had decoded so much of the block.
            decoded = np.append(np.isnan(block[:, 0]), True).argmax()
            if left == frames and not decoded:
                raise
            left = 0
        if not decoded:
            return
        yield block[:decoded]
        left -= decoded


def _mono(channels: Float32[np.ndarray, "frames channels"]) -> Float32[np.ndarray, "frames"]:
    channels = channels / max(1, np.abs(channels).max(initial=0))  # a square must not leave the range of numbers
    mean = channels.mean(axis=1)
    power = channels.var(axis=0)
    return mean if mean.var() >= AGREEMENT * power.max() else channels[:, power.argmax()]


def _resample(wave: Float32[np.ndarray, "samples"], rate: int, path: Path) -> Float32[np.ndarray, "at_16k"]:
    if rate == SAMPLE_RATE:
        return wave
    shared = math.gcd(rate, SAMPLE_RATE)
    if (rate // shared) * (SAMPLE_RATE // shared) > LARGEST_FILTER:
        raise UserError(f"{path} has the unusual rate of {rate} Hz: convert it to {SAMPLE_RATE} Hz first.")
    from torchaudio.functional import resample  # slow to import, and most files are at 16 kHz already

    # A long Kaiser-windowed sinc is flat up to 7 kHz, where torchaudio's default attenuates consonants by 2 dB.
    filtered = resample(
        torch.from_numpy(wave),
        rate,
        SAMPLE_RATE,
        lowpass_filter_width=64,
        rolloff=0.9476,
        resampling_method="sinc_interp_kaiser",
        beta=14.77,
    )
    return filtered.numpy()


def to_int16(wave: Float[np.ndarray, "samples"]) -> Int16[np.ndarray, "samples"]:
    """Convert samples in [-1, 1] to 16-bit integers, rounded and clipped; exact inverse of `read` for a 16-bit file."""
    return np.clip(np.rint(wave * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def fit_length(wave: Shaped[np.ndarray, "samples"], samples: int) -> Shaped[np.ndarray, "fitted"]:
    """Truncate `wave` to `samples`, or repeat it until it is that long.

    Raises:
        UserError: If `wave` is empty.
    """
    if len(wave) == 0:
        raise UserError("A wave without samples cannot be repeated: drop the empty clip.")
    return wave[:samples] if len(wave) >= samples else np.resize(wave, samples)


def n_frames(samples: int) -> int:
    """Number of spectrogram frames of a wave of `samples` at 16 kHz, without padding: 598 for 6 s."""
    return 1 + (samples - WINDOW) // HOP


def spectrogram(
    wave: Float[Tensor, "*batch samples"] | Int16[Tensor, "*batch samples"],
) -> Float32[Tensor, "*batch 2 frames 257"]:
    """Real and imaginary parts of the STFT, each compressed as sign(x)|x|^0.3 (section 3).

    Args:
        wave: Samples at 16 kHz, in [-1, 1] or 16-bit integers, which are scaled to [-1, 1).

    Returns:
        Parts x frames x frequency bins, 2 x 598 x 257 for 6 s. No gradient flows back to the wave.

    Raises:
        UserError: If the wave is shorter than one window (25 ms).
    """
    samples = wave.shape[-1]
    if samples < WINDOW:
        raise UserError(f"A wave of {samples} samples is shorter than the {WINDOW} samples of one window.")
    with torch.no_grad():
        waves = wave.reshape(-1, samples)
        # As in TensorFlow: a periodic Hann window of 400 samples, followed by zeros up to the FFT length. With
        # win_length=400, torch would centre the window in the 512 samples, which changes the phases.
        window = pad(torch.hann_window(WINDOW, periodic=True, device=wave.device), (0, N_FFT - WINDOW))
        if wave.is_cuda:
            planes = _compressed_stft(waves, window).contiguous()
        else:
            # Processing one clip at a time keeps temporaries in cache: 3 times faster than one batched call.
            planes = torch.empty(len(waves), 2, n_frames(samples), N_BINS)
            for clip, plane in zip(waves, planes, strict=True):
                plane.copy_(_compressed_stft(clip, window))
        return planes.reshape(*wave.shape[:-1], *planes.shape[1:])


def _compressed_stft(
    wave: Shaped[Tensor, "*batch samples"], window: Float32[Tensor, "512"]
) -> Float32[Tensor, "*batch 2 frames 257"]:
    scaled = wave.float() / FULL_SCALE if wave.dtype == torch.int16 else wave.float()
    # Pad the end, as torch would otherwise drop the last 400-sample windows that do not fill 512 samples.
    padded = pad(scaled, (0, N_FFT - WINDOW))
    stft = torch.stft(padded, N_FFT, HOP, N_FFT, window, center=False, return_complex=True)
    parts = torch.view_as_real(stft)  # (*batch, bins, frames, 2)
    # 2^(0.3 log2|x|) takes a quarter less time than pow; zero maps to -inf and back to zero.
    magnitude = parts.abs().log2_().mul_(POWER).exp2_()
    return torch.copysign(magnitude, parts).movedim(-1, -3).transpose(-1, -2)

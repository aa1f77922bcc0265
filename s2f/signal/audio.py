"""Audio input of the voice encoder: mono 16 kHz waveforms and the compressed spectrogram of section 3, in NumPy.

`s2f.signal.spectrograms` makes the spectrograms of whole batches, on a GPU too.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float, Float32, Int16, Shaped

from s2f.signal import media
from s2f.study.paths import UserError

SAMPLE_RATE = 16_000
WINDOW = 400  # 25 ms; the paper prints "25 mm"
HOP = 160  # 10 ms
N_FFT = 512
N_BINS = N_FFT // 2 + 1
POWER = 0.3
FULL_SCALE = 32_768  # a 16-bit sample is divided by this, as in libsndfile

# The filter that resamples: a Kaiser-windowed sinc of so many zero crossings a side, flat up to 7 kHz. The usual one of
# six attenuates consonants by 2 dB.
ZERO_CROSSINGS = 64
ROLLOFF = 0.9476  # its edge, as a share of the lower of the two Nyquist frequencies
KAISER_BETA = 14.77
LARGEST_FILTER = 20_000_000  # limit on the size of the resampling filter; common rates need less than 1/50 of it
FILTERED_AT_A_TIME = 4_000_000  # samples under the filter
BLOCK_SECONDS = 10  # decoded at a time, so that what comes before a damaged place is kept
MARGIN = 0.1  # s that are decoded beyond what is wanted, so that the resampling filter does not see the cut
AGREEMENT = 0.7  # channels agree if their mean keeps so much of the power of the loudest


def read(path: str | Path, seconds: int | float | None = None) -> Float32[np.ndarray, "samples"]:
    """Read an audio file as mono 16 kHz float32 in [-1, 1].

    Channels are averaged; where they disagree (one is silent, the phase is opposite, two people speak), the loudest is
    taken. Of a damaged file, what comes before the damage is read. Samples beyond 1 are scaled down.

    Args:
        path: file in any format that libsndfile reads, of any common sample rate; with PyAV (the extra `corpora`) also
            AAC, and the sound of a video. Its content counts, not its name.
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
            media.refuse_flood(path, file.channels, rate)
            parts = list(_blocks(file, math.inf if seconds is None else math.ceil((seconds + MARGIN) * rate)))
    # soundfile raises TypeError for headerless .raw files, whose sample rate is unknown.
    except (soundfile.SoundFileError, TypeError):
        return media.sound(path, math.inf if seconds is None else seconds + MARGIN)
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
    before, after = rate // shared, SAMPLE_RATE // shared
    kernels, width = _resampling_kernels(before, after)
    padded = np.pad(wave, (width, width + before))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernels.shape[1])[::before]
    # In blocks: a product copies its windows, which overlap.
    step = max(1, FILTERED_AT_A_TIME // kernels.shape[1])
    parts = [windows[start : start + step] @ kernels.T for start in range(0, len(windows), step)]
    return np.concatenate(parts).reshape(-1)[: math.ceil(after * len(wave) / before)]


def _resampling_kernels(before: int, after: int) -> tuple[Float32[np.ndarray, "after taps"], int]:
    """The filter for each of `after` output samples to `before` input samples, and how far it reaches to a side.

    As in torchaudio's `resample` (Smith, "Digital Audio Resampling").
    """
    edge = ROLLOFF * min(before, after)
    width = math.ceil(ZERO_CROSSINGS * before / edge)
    places = np.arange(-width, width + before) / before - np.arange(after)[:, None] / after
    crossings = np.clip(places * edge, -ZERO_CROSSINGS, ZERO_CROSSINGS)
    window = np.i0(KAISER_BETA * np.sqrt(1 - (crossings / ZERO_CROSSINGS) ** 2)) / np.i0(KAISER_BETA)
    return (np.sinc(crossings) * window * edge / before).astype(np.float32), width


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
    wave: Float[np.ndarray, "samples"] | Int16[np.ndarray, "samples"],
) -> Float32[np.ndarray, "2 frames 257"]:
    """Real and imaginary parts of the STFT of a recording, each compressed as sign(x)|x|^0.3 (section 3).

    Args:
        wave: samples at 16 kHz, in [-1, 1] or 16-bit integers, which are scaled to [-1, 1).

    Returns:
        Parts x frames x frequency bins, 2 x 598 x 257 for 6 s.

    Raises:
        UserError: if the wave is shorter than one window (25 ms).
    """
    scaled = wave.astype(np.float32) / (FULL_SCALE if wave.dtype == np.int16 else 1)
    stft = np.fft.rfft(framed(scaled, WINDOW, HOP) * hann(WINDOW), N_FFT).astype(np.complex64)
    parts = np.stack([stft.real, stft.imag])
    return np.copysign(np.abs(parts) ** np.float32(POWER), parts)


def framed(wave: Float32[np.ndarray, "samples"], window: int, hop: int) -> Float32[np.ndarray, "frames {window}"]:
    """The frames of a wave, without padding; UserError if it is shorter than one."""
    if len(wave) < window:
        raise UserError(f"A wave of {len(wave)} samples is shorter than the {window} samples of one window.")
    return np.lib.stride_tricks.sliding_window_view(wave, window)[::hop]


def hann(window: int) -> Float32[np.ndarray, "{window}"]:
    """The periodic Hann window."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float32)

"""The one way from a sound to what the voice models take: the speech in it, without offset, at one level.

Recordings of users, of corpora, of the published samples and of the synthetic world pass through `isolate`, so that
training and use get sound of the same kind.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int16

from s2f.signal import audio, voice_activity
from s2f.signal.audio import FULL_SCALE, SAMPLE_RATE, to_int16
from s2f.study.paths import UserError

LEVEL_DB = -23.0  # RMS of speech relative to full scale
HIGH_PASS = 50.0  # Hz; offset and rumble lie below it, the lowest voices above
FRAME = SAMPLE_RATE // 50  # 20 ms, for levels
QUIET_DB = -80.0  # a recording whose level is below this, relative to full scale, is silent: a few 16-bit steps
GATE_DB = -10.0  # as in ITU-R BS.1770: frames so far below the mean do not count in the level
PAUSE_DB = -30.0  # frames so far below the level of the speech are pauses
BANG_WINDOW = 40  # frames; a bang lasts at most half of that
BANG_DB = 15.0  # and stands so far above the loudest median of a window; of speech, one frame in a hundred recordings
FLOOR_DB = -35.0  # level of the noise that is added, relative to the speech
SHORTEST = 0.5  # seconds of speech


def isolate(
    wave: Float32[np.ndarray, "samples"], name: str | Path = "the recording"
) -> Int16[np.ndarray, "speech_samples"]:
    """The speech in a recording: offset, rumble and pauses removed, at -23 dB relative to full scale, in 16 bits.

    Speech is what the voice-activity detector Silero finds; what it takes for speech does not depend on the level of
    the recording, which is set before. A slammed door or a knock on the microphone does not set it, and is cut out.

    Args:
        wave: samples at 16 kHz, in [-1, 1].
        name: of the recording, for errors.

    Returns:
        The speech in one piece, with steady noise 35 dB below it.

    Raises:
        UserError: if the recording is silent, or holds less than 0.5 s of speech.
    """
    if len(wave) < FRAME or _level(_centred(wave)) < QUIET_DB:
        raise UserError(f"No speech was found in {name}, which is silent: give a recording of one person speaking.")
    quiet, bangs = _without_bangs(_high_passed(wave))
    even = levelled(quiet)
    pieces = [even[start:end][~bangs[start:end]] for start, end in voice_activity.stretches(even)]
    speech = _without_pauses(np.concatenate(pieces)) if pieces else even[:0]
    if len(speech) < SHORTEST * SAMPLE_RATE:
        found = f"Only {len(speech) / SAMPLE_RATE:.1f} s of speech was" if len(speech) else "No speech was"
        raise UserError(f"{found} found in {name}: give a recording of one person speaking, best for 6 s or more.")
    return normalised(speech)


def normalised(speech: Float32[np.ndarray, "samples"]) -> Int16[np.ndarray, "samples"]:
    """Speech at -23 dB relative to full scale, with noise 35 dB below it, always the same, in 16 bits.

    No room is as silent as a noise gate, or as the band above that of a telephone; where one is, the power law of the
    spectrogram would make much of nothing.
    """
    noise = _noise(1 << (len(speech) - 1).bit_length())[: len(speech)]
    return to_int16(levelled(speech + noise * np.float32(10 ** ((_level(speech) + FLOOR_DB) / 20))))


@lru_cache(maxsize=2)
def _noise(samples: int) -> Float32[np.ndarray, "samples"]:
    """White noise, the same each time; a longer one begins with a shorter one."""
    return np.random.default_rng(0).standard_normal(samples, dtype=np.float32)


def read(path: str | Path, seconds: int | float) -> Int16[np.ndarray, "speech_samples"]:
    """The first seconds of speech in a sound file (`isolate`); fewer where it holds fewer.

    Of a file, twenty times as much is searched at most, and first twice as much: an hour of sound is never decoded.

    Raises:
        UserError: if the file is no sound, or no speech is found in it.
    """
    wanted = round(seconds * SAMPLE_RATE)
    for searched in (2 * seconds, 20 * seconds):
        wave = audio.read(path, searched)
        whole = len(wave) < round(searched * SAMPLE_RATE)
        try:
            speech = isolate(wave, path)
        except UserError:
            if whole or searched > 2 * seconds:
                raise
            continue
        if whole or len(speech) >= wanted:
            break
    return speech[:wanted]


def _centred(wave: Float32[np.ndarray, "samples"]) -> Float32[np.ndarray, "samples"]:
    return wave - wave.mean(dtype=np.float64).astype(np.float32)


def _high_passed(wave: Float32[np.ndarray, "samples"]) -> Float32[np.ndarray, "samples"]:
    """The wave without what lies below `HIGH_PASS`: 24 dB an octave, without a change of phase."""
    # The filter rings round the ends; and a power of two makes the fastest FFT.
    padded = 1 << (len(wave) + SAMPLE_RATE // 4 - 1).bit_length()
    return np.fft.irfft(np.fft.rfft(_centred(wave), padded) * _high_pass(padded), padded)[: len(wave)]


@lru_cache(maxsize=2)
def _high_pass(samples: int) -> Float32[np.ndarray, "bins"]:
    """The gain of the high pass at each frequency of the FFT of so many samples."""
    power = (np.fft.rfftfreq(samples, 1 / SAMPLE_RATE) / HIGH_PASS) ** 4
    return (power / (1 + power)).astype(np.float32)


def _frame_levels(wave: Float32[np.ndarray, "samples"]) -> np.ndarray:
    """RMS of each frame, dB relative to full scale; the samples after the last whole frame do not count."""
    frames = wave[: len(wave) // FRAME * FRAME].reshape(-1, FRAME)
    return 10 * np.log10(np.einsum("ij,ij->i", frames, frames) / np.float64(FRAME) + 1e-12)


def _level(wave: Float32[np.ndarray, "samples"]) -> float:
    """RMS of the frames that are not pauses, dB relative to full scale."""
    power = 10 ** (_frame_levels(wave) / 10)
    loud = power[power >= power.mean() * 10 ** (GATE_DB / 10)]
    return float(10 * np.log10(loud.mean()))


def _without_bangs(
    wave: Float32[np.ndarray, "samples"],
) -> tuple[Float32[np.ndarray, "samples"], Bool[np.ndarray, "samples"]]:
    """The wave with what is far louder than its loudest 0.8 s, at most half of them long, turned down; and where."""
    levels = _frame_levels(wave)
    windows = np.lib.stride_tricks.sliding_window_view(levels, min(BANG_WINDOW, len(levels)))
    most = np.median(windows, axis=1).max() + BANG_DB
    gain = np.ones(len(wave), np.float32)
    gain[: len(levels) * FRAME] = np.repeat(10 ** (np.minimum(most - levels, 0) / 20), FRAME)
    return wave * gain, gain < 1


def levelled(wave: Float32[np.ndarray, "samples"]) -> Float32[np.ndarray, "samples"]:
    """The wave with the frames that are not pauses at `LEVEL_DB`; single peaks beyond full scale are clipped."""
    return np.clip(wave * np.float32(10 ** ((LEVEL_DB - _level(wave)) / 20)), -1, 1)


def _without_pauses(wave: Float32[np.ndarray, "samples"]) -> Float32[np.ndarray, "kept"]:
    """Speech without bangs, and without the frames in which nothing sounds, such as the zeros of a noise gate."""
    wave, bangs = _without_bangs(wave)  # once more: a long one may have hidden others
    wave = wave[~bangs]
    sounding = _frame_levels(wave) >= _level(wave) + PAUSE_DB
    rest = len(wave) % FRAME
    return wave[np.concatenate([np.repeat(sounding, FRAME), np.ones(rest, bool)])]


def quality(speech: Int16[np.ndarray, "samples"]) -> dict[str, float]:
    """Signs of how a recording came about, from its speech alone (`isolate`).

    Returns:
        `dynamics`, by how much (dB) the quietest tenth of the frames lies below the whole: small in noise and
        reverberation; `treble`, the power above 4 kHz relative to all (dB): small after a telephone or a codec;
        `crest`, by how much the peaks stand out (dB): small after clipping.
    """
    wave = speech.astype(np.float32) / FULL_SCALE
    power = np.square(np.abs(np.fft.rfft(wave)))
    treble = power[len(power) // 2 :].sum() / power.sum()
    peak = np.quantile(np.abs(wave), 0.999)
    return {
        "dynamics": float(_level(wave) - np.quantile(_frame_levels(wave), 0.1)),
        "treble": float(10 * np.log10(treble + 1e-9)),
        "crest": float(20 * np.log10(peak / np.sqrt(np.mean(wave**2)))),
    }

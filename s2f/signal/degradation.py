"""What microphones, rooms, telephones and codecs do to a recording: for training, and to measure what it does to faces.

Each kind takes a wave at 16 kHz and a severity in its own unit; `KINDS` lists severities from mild to severe.
"""

import io
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import soundfile
from jaxtyping import Float32, Int16
from scipy import fft
from scipy.signal import oaconvolve
from scipy.special import expit

from s2f.signal import speech
from s2f.signal.audio import FULL_SCALE, SAMPLE_RATE, to_int16
from s2f.study.paths import UserError

Wave = Float32[np.ndarray, "samples"]
MP3_KBITS = (160.0, 8.0)  # what libsndfile's compression levels 0 and 1 mean at 16 kHz


def level(wave: Wave, db: float, draw: np.random.Generator) -> Wave:
    """The wave louder or quieter, rounded to 16 bits and clipped as a recorder does."""
    return to_int16(wave * 10 ** (db / 20)).astype(np.float32) / FULL_SCALE


def noise(wave: Wave, snr_db: float, draw: np.random.Generator) -> Wave:
    """The wave with steady noise below it, whose power falls with frequency by 0 (white) to 6 dB an octave (drawn)."""
    spectrum = fft.rfft(draw.standard_normal(len(wave), dtype=np.float32))
    slope = draw.uniform(0, 1)
    spectrum *= np.exp(np.float32(-slope) * _log_hertz(len(wave)))
    spectrum[0] = 0
    sound = fft.irfft(spectrum, len(wave))
    return wave + sound * np.float32(np.sqrt(np.mean(wave**2) / np.mean(sound**2)) * 10 ** (-snr_db / 20))


def reverberation(wave: Wave, seconds: float, draw: np.random.Generator) -> Wave:
    """The wave in a room whose sound decays by 60 dB in `seconds`, as loud as the direct sound in 50 ms of decay."""
    time = np.arange(round(seconds * SAMPLE_RATE), dtype=np.float32) / SAMPLE_RATE
    tail = draw.standard_normal(len(time), dtype=np.float32) * 10 ** (-3 * time / np.float32(seconds))
    early = np.square(tail[: SAMPLE_RATE // 20]).sum()
    response = tail / np.float32(np.sqrt(early))
    response[0] = 1
    return oaconvolve(wave, response)[: len(wave)].astype(np.float32)


def clipping(wave: Wave, db: float, draw: np.random.Generator) -> Wave:
    """The wave cut off `db` below its highest peak."""
    peak = np.abs(wave).max() * np.float32(10 ** (-db / 20))
    return np.clip(wave, -peak, peak)


def telephone(wave: Wave, khz: float, draw: np.random.Generator) -> Wave:
    """The wave through a telephone: 300 Hz to `khz` (3.4 in the fixed net), 8 bits by the mu law (ITU-T G.711)."""
    log_hertz = _log_hertz(len(wave))
    low_pass = expit(64 * (np.float32(np.log(1000 * khz)) - log_hertz))  # 1 / (1 + (f / limit) ^ 64)
    high_pass = expit(8 * (log_hertz - np.float32(np.log(300))))
    band = fft.irfft(fft.rfft(wave) * (low_pass * high_pass), len(wave))
    loudest = np.abs(band).max() or np.float32(1)
    coded = _mu_law()[to_int16(band / loudest)] * loudest
    # The telephone samples at twice the band, so that not even its coding noise sounds above.
    return fft.irfft(fft.rfft(coded) * low_pass, len(wave))


@lru_cache(maxsize=4)
def _log_hertz(samples: int) -> Float32[np.ndarray, "bins"]:
    """Logarithm of the frequency (Hz) of each bin of a spectrum of so many samples; the lowest counts as 1 Hz."""
    return np.log(np.maximum(fft.rfftfreq(samples, 1 / SAMPLE_RATE), 1)).astype(np.float32)


@lru_cache(maxsize=1)
def _mu_law() -> Float32[np.ndarray, "65536"]:
    """What each 16-bit sample is after coding in 8 bits by the mu law; negative samples count from the end."""
    samples = np.arange(2 * FULL_SCALE).astype(np.uint16).view(np.int16) / FULL_SCALE
    steps = np.round(127 * np.log1p(255 * np.abs(samples)) / np.log(256)) / 127
    return (np.sign(samples) * np.expm1(steps * np.log(256)) / 255).astype(np.float32)


def codec(wave: Wave, kbits: float, draw: np.random.Generator) -> Wave:
    """The wave coded as MP3 at a constant rate, and decoded."""
    highest, lowest = MP3_KBITS
    file = io.BytesIO()
    with soundfile.SoundFile(
        file,
        "w",
        SAMPLE_RATE,
        1,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="CONSTANT",
        compression_level=(highest - kbits) / (highest - lowest),
    ) as coder:
        coder.write(wave)
    file.seek(0)
    return soundfile.read(file, frames=len(wave), dtype="float32", fill_value=0.0)[0]


class Kind(NamedTuple):
    """One kind of degradation: what makes it, and how severe it is, from mild to severe."""

    make: Callable[[Wave, float, np.random.Generator], Wave]
    severities: tuple[float, ...]
    unit: str
    chance: float  # of a degraded training crop to have it; 0: the level is set again anyway


# In the order in which a recording meets them.
KINDS = {
    "reverberation": Kind(reverberation, (0.3, 0.6, 1.2), "s", 0.3),
    "noise": Kind(noise, (40.0, 30.0, 20.0, 10.0, 5.0), "dB", 0.5),
    "level": Kind(level, (-20.0, -40.0), "dB", 0.0),
    "clipping": Kind(clipping, (6.0, 12.0, 20.0), "dB", 0.2),
    "telephone": Kind(telephone, (7.0, 3.6, 3.4), "kHz", 0.5),
    "codec": Kind(codec, (64.0, 32.0, 16.0), "kbit/s", 0.04),  # coding takes longer than a step of the training
}


def degrade(wave: Wave, kind: str, severity: float, draw: np.random.Generator) -> Wave:
    """A recording as it would have come by a worse way.

    Args:
        wave: samples at 16 kHz, in [-1, 1].
        kind: one of `KINDS`.
        severity: in the unit of the kind.
        draw: of the noise and the room.

    Raises:
        UserError: for an unknown kind.
    """
    if kind not in KINDS:
        raise UserError(f"There is no degradation {kind!r}: take one of {', '.join(KINDS)}.")
    return np.clip(KINDS[kind].make(wave, severity, draw), -1, 1)


def vary(
    waves: Int16[np.ndarray, "clips samples"], share: float, draw: np.random.Generator
) -> Int16[np.ndarray, "clips samples"]:
    """Crops of training recordings, of which a share is degraded, by each kind at its chance and a random severity.

    Level and noise floor are set again, as `speech.isolate` sets those of a recording.

    Args:
        waves: crops at 16 kHz.
        share: of the crops that are degraded.
        draw: of which, how and how much.
    """
    varied = waves.copy()
    for row in np.flatnonzero(draw.random(len(waves)) < share):
        wave = waves[row].astype(np.float32) / FULL_SCALE
        for name, kind in KINDS.items():
            if draw.random() < kind.chance:
                steps = kind.severities
                severity = np.interp(draw.uniform(0, len(steps) - 1), range(len(steps)), steps)
                wave = degrade(wave, name, float(severity), draw)
        varied[row] = speech.normalised(wave)
    return varied

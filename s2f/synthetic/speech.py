"""Synthetic speakers: speech synthesised with known pitch, vocal-tract length, breathiness and rate.

eSpeak NG, from the `espeakng-loader` wheel, is called through ctypes (Linux and macOS). A voice variant file sets
pitch, formants, breath, flutter and roughness. Vocal-tract length is set by *resampling*: eSpeak's formants imply a
tract of 17.3 cm, so speech is synthesised at 1/a of the pitch and rate and played a times as fast. Formant settings
alone would not change the prerecorded consonants.
"""

import _ctypes
import ctypes
import math
import shutil
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int16
from scipy.signal import resample_poly

from s2f.signal.audio import FULL_SCALE, SAMPLE_RATE, fit_length
from s2f.signal.speech import LEVEL_DB, isolate, normalised
from s2f.study.paths import UserError
from s2f.synthetic.sentences import SENTENCES

ESPEAK_RATE = 22_050
ESPEAK_TRACT_CM = 17.3  # the tract length that eSpeak's own formant spacing implies
LEVEL = 10 ** (LEVEL_DB / 20)  # RMS of a recording relative to full scale
PEAK = 0.97  # a louder peak is scaled down to this
Number = float | int
PAUSES = 1.25  # so much longer is what is read than the speech in it, at least
LEAD = 0.25  # seconds; eSpeak begins with less silence, which is trimmed
BUFFER = 100  # ms that eSpeak makes at a time
SHORTEST_SENTENCE = 1.5  # seconds; a lower bound, for the shortest sentence at the fastest rate


class Language(NamedTuple):
    """eSpeak's name of a language, and how F0 depends on the two pitch settings p1 and p2 (Hz).

    Measured over sentences: mean F0 = p1 - 9 + mean_slope (p2 - p1), SD of F0 = sd_slope (p2 - p1).
    """

    file: str
    mean_slope: float
    sd_slope: float


LANGUAGES = {
    "en-us": Language("en-us", 0.827, 0.22),
    "de": Language("de", 0.8, 0.225),
    "fr": Language("fr", 0.786, 0.205),
    "es": Language("es", 0.831, 0.22),
    "cmn": Language("cmn-latn-pinyin", 0.466, 0.2),
    "hi": Language("hi", 0.818, 0.235),
}

# Ranges in which measured pitch and formants were found to follow the settings.
RANGES = {
    "f0_hz": (60.0, 400.0),
    "f0_sd_st": (0.0, 4.0),
    "vtl_cm": (11.5, 21.6),
    "wpm": (80.0, 260.0),
    "breath": (0.0, 25.0),
    "flutter": (0.0, 12.0),
    "roughness": (0, 5),
    "snr_db": (0.0, 90.0),
}


@dataclass(frozen=True)
class Voice:
    """Settings of a voice.

    Raises:
        UserError: If a number is outside `RANGES`, or the language is not in `LANGUAGES`.
    """

    language: str
    f0_hz: Number  # mean pitch, Hz
    vtl_cm: Number  # vocal-tract length, cm
    wpm: Number  # words per minute
    breath: Number  # aspiration noise
    flutter: Number  # slow drift of the pitch, Hz at 110 Hz
    roughness: int  # dips of every second glottal cycle
    f0_sd_st: Number = 2.2  # standard deviation of the pitch, semitones
    tone: tuple[int, ...] = (600, 170, 1200, 135, 2000, 110)  # source tilt: pairs of Hz and gain
    formant: tuple[float, ...] = (0.0,) * 9  # relative deviation of each formant: individual timbre
    snr_db: Number = 35.0  # signal-to-noise ratio of the recording, dB

    def __post_init__(self):
        if self.language not in LANGUAGES:
            raise UserError(f"Language {self.language!r} has no voice; use one of {', '.join(LANGUAGES)}.")
        for name, (low, high) in RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise UserError(f"The voice's {name} is {getattr(self, name)}; use {low} to {high}.")


def voice_of(row: pd.Series | Mapping) -> Voice:
    """Voice of a row of the people table; timbre and pitch variability are drawn with a seed from `speaker_id`."""
    rng = np.random.default_rng(np.random.SeedSequence(zlib.crc32(row["speaker_id"].encode())))
    return Voice(
        language=row["language"],
        f0_hz=float(row["f0_hz"]),
        vtl_cm=float(row["vtl_cm"]),
        wpm=float(row["wpm"]),
        breath=float(row["breath"]),
        flutter=float(row["flutter"]),
        roughness=round(row["roughness"]),
        f0_sd_st=float(rng.uniform(1.6, 2.8)),
        formant=tuple(rng.normal(0, 0.02, 9).tolist()),
    )


def session(voice: Voice, rng: np.random.Generator, spread: Number) -> Voice:
    """Vary a voice as between recording sessions: nuisance variation that is independent of the speaker.

    Args:
        voice: Voice of the speaker.
        rng: Random generator.
        spread: Scale of the variation. At 1, standard deviations are 0.7 semitones of pitch, 6 % of rate, 0.6 % of
            tract length and 1.5 of breath, and the noise is 20-40 dB below the speech; at 0, the voice is unchanged.
    """
    pitch, rate, tract, breath = spread * rng.standard_normal(4)
    changed = {
        "f0_hz": voice.f0_hz * 2 ** (0.7 * pitch / 12),
        "wpm": voice.wpm * math.exp(0.06 * rate),
        "vtl_cm": voice.vtl_cm * math.exp(0.006 * tract),
        "breath": voice.breath + 1.5 * breath,
        "snr_db": voice.snr_db + spread * (rng.uniform(20, 40) - voice.snr_db),
    }
    return replace(voice, **{name: float(np.clip(value, *RANGES[name])) for name, value in changed.items()})


class Espeak:
    """An independent eSpeak NG instance, to be used in a `with` block and in one thread; there may be several.

    The library keeps state (flutter phase, gain control, random numbers) between utterances. It is therefore reloaded
    for each, so that samples depend only on voice, text and seed.

    Raises:
        UserError: If the wheel is missing or does not work on this platform.
    """

    def __init__(self):
        library, data = _wheel()
        self._folder = tempfile.TemporaryDirectory(prefix="espeak-")
        root = Path(self._folder.name)
        if len(str(root)) > 140:  # the library keeps its data path in 160 bytes
            self._folder.cleanup()
            raise UserError(f"The temporary folder {root} is too long for eSpeak; set TMPDIR to another.")
        voices = root / "espeak-ng-data" / "voices"
        (voices / "!v").mkdir(parents=True)
        for path in data.iterdir():
            if path.name != "voices":
                (voices.parent / path.name).symlink_to(path)
        spoken = {language.file for language in LANGUAGES.values()}
        for path in data.glob("lang/**/*"):  # lets eSpeak find a voice by name without reading them all
            if path.name.lower() in spoken and path.is_file():
                (voices / path.name.lower()).symlink_to(path)
        self._variant = voices / "!v" / "speaker"
        # The loader counts handles by inode: if another were open on this file (by another Espeak, or inherited
        # through fork), closing ours would not reset the state of the library.
        self._library_file = shutil.copy(library, root / library.name)
        self._library = None
        self._chunks, self._missing = [], 0
        self._callback = CALLBACK(self._receive)  # keep a reference, as ctypes does not
        try:
            self._load()
        except UserError:
            self._folder.cleanup()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._unload()
        self._folder.cleanup()

    def say(self, voice: Voice, text: str, seed: int) -> Int16[np.ndarray, "samples"]:
        """Speak a text once. Returns 16 kHz samples at the common level, with noise at `voice.snr_db`."""
        rng = np.random.default_rng(seed)
        return _recorded(self._speak(voice, text, rng, None), voice, rng)

    def _speak(self, voice, text, rng, samples) -> Float32[np.ndarray, "samples"]:
        """Clean speech, trimmed of silence; at least its first `samples`, or all of it if None."""
        rate = Fraction(SAMPLE_RATE * voice.vtl_cm / (ESPEAK_RATE * ESPEAK_TRACT_CM)).limit_denominator(400)
        faster = SAMPLE_RATE / ESPEAK_RATE / float(rate)
        wanted = math.inf if samples is None else math.ceil((samples + LEAD * SAMPLE_RATE) / rate)
        raw = self._synthesise(
            text, LANGUAGES[voice.language].file, variant(voice, faster), voice.wpm / faster, rng, wanted
        )
        wave = resample_poly(raw.astype(np.float32) / 32768, rate.numerator, rate.denominator)
        (loud,) = np.nonzero(np.abs(wave) > 0.01)
        if not len(loud):
            raise UserError(f"The text {text[:40]!r} makes no sound in language {voice.language}.")
        return wave[max(0, loud[0] - SAMPLE_RATE // 20) : loud[-1] + SAMPLE_RATE // 10]

    def _synthesise(self, text, file, variant, wpm, rng, wanted) -> Int16[np.ndarray, "samples"]:
        self._unload()
        self._load()
        self._variant.write_text("language variant\nname speaker\n" + variant, encoding="utf-8")
        if self._library.espeak_SetVoiceByName(f"{file}+speaker".encode()) != 0:
            raise UserError(f"eSpeak NG has no voice {file!r}; {REINSTALL}.")
        self._library.espeak_SetParameter(RATE, round(wpm), 0)
        self._library.espeak_ng_SetRandSeed(int(rng.integers(1, 2**31)))
        self._chunks, self._missing = [], wanted
        encoded = text.encode()
        self._library.espeak_Synth(encoded, len(encoded) + 1, 0, BY_CHARACTER, 0, UTF8, None, None)
        return np.frombuffer(b"".join(self._chunks), np.int16)

    def _receive(self, wave, samples, _events):
        """Callback of eSpeak for each buffer; returns 1 to stop the synthesis."""
        if wave and samples > 0:
            self._chunks.append(ctypes.string_at(wave, samples * ctypes.sizeof(ctypes.c_short)))
            self._missing -= samples
        return int(self._missing <= 0)

    def _load(self):
        try:
            self._library = ctypes.CDLL(self._library_file)
            self._library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]  # absent before eSpeak NG 1.52
        except (OSError, AttributeError) as error:
            raise UserError(f"eSpeak NG cannot be loaded ({error}); {REINSTALL}.") from error
        self._library.espeak_Synth.argtypes = SYNTH_ARGUMENTS
        rate = self._library.espeak_Initialize(SYNCHRONOUS, BUFFER, self._folder.name.encode(), DO_NOT_EXIT)
        if rate != ESPEAK_RATE:
            raise UserError(f"eSpeak NG started with sample rate {rate}, not {ESPEAK_RATE}; {REINSTALL}.")
        self._library.espeak_SetSynthCallback(self._callback)

    def _unload(self):
        if self._library is not None:
            self._library.espeak_Terminate()
            handle, self._library = self._library._handle, None
            _ctypes.dlclose(handle)


def recording(espeak: Espeak, voice: Voice, seconds: Number, seed: int) -> Int16[np.ndarray, "samples"]:
    """Record a voice reading sentences in random order, none repeated before all have been read.

    The recording passes through `signal.speech.isolate`, as any other does.

    Args:
        espeak: Synthesiser.
        voice: Voice of the speaker.
        seconds: Exact duration without pauses; the last sentence may be cut off.
        seed: Seed of the order of the sentences, the synthesis and the noise.

    Returns:
        16 kHz samples at the common level, with noise `voice.snr_db` below the speech.
    """
    rng = np.random.default_rng(seed)
    with_pauses = round(PAUSES * seconds * SAMPLE_RATE)
    sentences = SENTENCES[voice.language]
    rounds = math.ceil(PAUSES * seconds / SHORTEST_SENTENCE / len(sentences))
    order = np.concatenate([rng.permutation(len(sentences)) for _ in range(rounds)])
    wave = espeak._speak(voice, " ".join(sentences[i] for i in order), rng, with_pauses)
    recorded = _recorded(wave[:with_pauses], voice, rng).astype(np.float32) / FULL_SCALE
    try:
        spoken = isolate(recorded)
    except UserError:
        spoken = normalised(recorded)  # a voice so extreme that the detector does not take it for one
    return fit_length(spoken, round(seconds * SAMPLE_RATE))


def variant(voice: Voice, faster: Number) -> str:
    """Text of an eSpeak voice file for a voice that will be played `faster` times as fast."""
    language, f0 = LANGUAGES[voice.language], voice.f0_hz / faster
    pitch_range = f0 * (2 ** (voice.f0_sd_st / 12) - 1) / language.sd_slope
    lowest = max(f0 + 9 - language.mean_slope * pitch_range, 30)
    breath = round(voice.breath)
    lines = [
        f"pitch {lowest:.0f} {lowest + pitch_range:.0f}",
        f"flutter {voice.flutter * f0 / 110:.0f}",
        f"roughness {voice.roughness}",
        "tone " + " ".join(map(str, voice.tone)),
        *(f"formant {i} {100 * (1 + x):.0f} 100 100" for i, x in enumerate(voice.formant)),
    ]
    if breath > 0:
        lines += [f"breath {breath} {breath} {breath} {breath} {breath // 2} {breath // 2}"]
        lines += ["breathw 150 150 200 200 400 400"]
    return "\n".join(lines) + "\n"


def _recorded(wave, voice, rng) -> Int16[np.ndarray, "samples"]:
    """Scale speech to the common level and add noise (white, smoothed over 6 samples) at `voice.snr_db`."""
    wave = wave * (LEVEL / np.sqrt(np.mean(wave**2)))
    noise = np.convolve(rng.standard_normal(len(wave), dtype=np.float32), np.ones(6, np.float32), "same")
    wave = wave + noise * (LEVEL * 10 ** (-voice.snr_db / 20) / np.sqrt(np.mean(noise**2)))
    return np.round(wave * (32767 * min(1.0, PEAK / np.abs(wave).max()))).astype(np.int16)


def _wheel() -> tuple[Path, Path]:
    """Paths of the library and of the data folder of the installed wheel."""
    try:
        import espeakng_loader  # imported here, as only speech needs it
    except ImportError as error:
        raise UserError(f"eSpeak NG is missing; {REINSTALL}.") from error
    return Path(espeakng_loader.get_library_path()), Path(espeakng_loader.get_data_path())


REINSTALL = "install the wheel of this machine with `pip install --force-reinstall 'espeakng-loader>=0.2.4'`"

# From eSpeak NG's speak_lib.h.
SYNCHRONOUS, DO_NOT_EXIT, RATE, BY_CHARACTER, UTF8 = 2, 0x8000, 1, 1, 1
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
SYNTH_ARGUMENTS = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, *2 * [ctypes.c_uint]]
SYNTH_ARGUMENTS += 2 * [ctypes.c_void_p]

"""A real recording with another pitch or other formants: analysed and put together again by Praat.

Formants are moved by resampling, which makes a voice as of a shorter or longer vocal tract; pitch and duration are then
set by overlap and add of its periods (PSOLA; Moulines & Charpentier 1990), which leaves the formants where they are.
"""

import numpy as np
from jaxtyping import Float32

from s2f.signal.audio import SAMPLE_RATE
from s2f.signal.voice_statistics import PITCH_HZ, STEP
from s2f.study.paths import UserError

# Beyond, periods are repeated or left out so often that the voice is hoarse.
MOST_SEMITONES, MOST_PERCENT = 12.0, 25.0
SEED = 1


def shifted(
    wave: Float32[np.ndarray, "samples"], semitones: float = 0.0, percent: float = 0.0
) -> Float32[np.ndarray, "samples"]:
    """The same words in another voice.

    Args:
        wave: one voice at 16 kHz, in [-1, 1].
        semitones: by which all pitch is higher.
        percent: by which all formants are higher. Both 0: analysed and put together again, the control.

    Raises:
        UserError: if a shift is beyond 12 semitones or 25 %, or no pitch is found.
    """
    import parselmouth  # in the optional dependencies `published`
    from parselmouth.praat import call, run

    if abs(semitones) > MOST_SEMITONES or abs(percent) > MOST_PERCENT:
        raise UserError(
            f"A shift of {semitones:g} semitones and {percent:g} % leaves no natural voice: "
            f"ask for at most {MOST_SEMITONES:g} semitones and {MOST_PERCENT:g} %."
        )
    sound = parselmouth.Sound(wave.astype(float), SAMPLE_RATE)
    pitch = sound.to_pitch(STEP, *PITCH_HZ)
    median = call(pitch, "Get quantile", 0, 0, 0.5, "Hertz")
    if np.isnan(median):
        raise UserError("No pitch was found in a recording, so it cannot be shifted: give one of a voice.")
    # Where there is no voice, Praat places periods by lot.
    run(f"random_initializeWithSeedUnsafelyButPredictably ({SEED})")
    formant_ratio, pitch_range, duration = 1 + percent / 100, 1.0, 1.0
    changed = call(
        [sound, pitch], "Change gender", formant_ratio, median * 2 ** (semitones / 12), pitch_range, duration
    )
    samples = changed.values[0].astype(np.float32)
    samples = np.pad(samples, (0, max(0, len(wave) - len(samples))))[: len(wave)]  # Praat rounds the duration
    return samples / max(1, np.abs(samples).max(initial=0))

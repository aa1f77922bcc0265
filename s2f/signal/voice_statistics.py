"""Long-term phonetic statistics of a voice: pitch, formants, noise and spectrum."""

import numpy as np
import torch
from jaxtyping import Float32, Float64

from s2f.signal.audio import SAMPLE_RATE

CEPSTRA = 20
FORMANTS = range(1, 5)
PITCH_HZ = 60.0, 450.0
HIGHEST_FORMANT_HZ = 5250.0  # between the usual 5000 for men and 5500 for women, as the sex is unknown
STEP = 0.01  # seconds
NAMES = (
    [f"pitch_{name}" for name in ("mean", "spread", "low", "median", "high", "voiced")]
    + [f"formant_{number}_{name}" for number in FORMANTS for name in ("median", "spread")]
    + ["tract_length", "harmonicity", "jitter", "shimmer"]
    + [f"cepstrum_{number}_{name}" for name in ("mean", "spread", "change") for number in range(CEPSTRA)]
)


def statistics(wave: Float32[np.ndarray, "samples"]) -> Float64[np.ndarray, "statistics"]:
    """Compute the statistics in `NAMES` for a 16 kHz wave.

    Pitch is in semitones relative to 100 Hz; formants (Hz) and tract length are logarithms. Pitch, formants,
    harmonicity, jitter and shimmer are measured with Praat.

    Returns:
        One value per name; all but the cepstral ones are NaN if no pitch is found.
    """
    import parselmouth  # in the optional dependencies `published`
    from parselmouth.praat import call

    sound = parselmouth.Sound(wave.astype(float), SAMPLE_RATE)
    pitch = sound.to_pitch(STEP, *PITCH_HZ)
    hertz = pitch.selected_array["frequency"]
    voiced = hertz > 0
    times = pitch.xs()[voiced]
    if len(times) < 2:
        return np.concatenate([np.full(len(NAMES) - 3 * CEPSTRA, np.nan), _cepstra(wave)])
    semitones = 12 * np.log2(hertz[voiced] / 100)
    low, median, high = np.quantile(semitones, [0.05, 0.5, 0.95])
    track = sound.to_formant_burg(STEP, 5, HIGHEST_FORMANT_HZ)
    formants = np.log([[track.get_value_at_time(number, time) for time in times] for number in FORMANTS])
    middles = np.nanmedian(formants, axis=1)
    spreads = np.nanstd(formants, axis=1)
    pulses = call(sound, "To PointProcess (periodic, cc)", *PITCH_HZ)
    periods = (0.0, 0.0, 1e-4, 0.02, 1.3)
    harmonicity = sound.to_harmonicity().values
    return np.concatenate(
        [
            [semitones.mean(), semitones.std(), low, median, high, voiced.mean()],
            np.stack([middles, spreads], axis=1).ravel(),
            # Formant n of a tube closed at one end is (2n - 1) c / 4L.
            [-np.mean(middles - np.log([2 * number - 1 for number in FORMANTS]))],
            [harmonicity[harmonicity > -200].mean()],
            [call(pulses, "Get jitter (local)", *periods), call([sound, pulses], "Get shimmer (local)", *periods, 1.6)],
            _cepstra(wave),
        ]
    )


def _cepstra(wave: Float32[np.ndarray, "samples"]) -> Float64[np.ndarray, "_"]:
    """Mean and standard deviation of each mel cepstral coefficient, and standard deviation of its frame difference."""
    from torchaudio.compliance import kaldi  # slow to import

    frames = kaldi.mfcc(
        torch.from_numpy(wave)[None], num_ceps=CEPSTRA, num_mel_bins=40, sample_frequency=float(SAMPLE_RATE), dither=0.0
    ).numpy()
    loud = frames[:, 0] > np.quantile(frames[:, 0], 0.2)  # exclude pauses, which reflect the room rather than the voice
    changes = np.diff(frames, axis=0)
    return np.concatenate([frames[loud].mean(0), frames[loud].std(0), changes.std(0)]).astype(float)

"""What turns speech into numbers before anything is learned from pairs: one network from the spectrogram to the face
feature, or the embeddings of two pretrained speaker networks. NumPy and onnxruntime, no torch.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int16

from s2f.models.exported import Network
from s2f.signal import audio
from s2f.signal.audio import FULL_SCALE

VOICE, CAMPPLUS, GE2E = "voice.onnx", "campplus.onnx", "ge2e.onnx"  # files of a folder of models

PREEMPHASIS = 0.97  # of Kaldi's filter banks, as CAM++ was trained on
POVEY = 0.85  # power of their window, between Hann's (1) and a rectangle
# A window of the GE2E network: 160 frames of 10 ms; it moves on by half a window.
GE2E_FRAMES, GE2E_STEP = 160, 80
GE2E_LEVEL = 10 ** (-30 / 20)  # quieter voices are raised to this root mean square


class SpectrogramNetwork:
    """The voice encoder of the paper: the embedding is the face feature itself."""

    def __init__(self, models: str | Path) -> None:
        self._network = Network(Path(models) / VOICE)

    def __call__(self, spoken: Int16[np.ndarray, "samples"]) -> Float32[np.ndarray, "feature_dim"]:
        (features,) = self._network(audio.spectrogram(spoken)[None])
        return features[0]


class SpeakerNetworks:
    """CAM++ and GE2E (`s2f.models.pretrained`): 192, 1,024 and 256 numbers, one block after another."""

    BLOCKS = ("campplus", "campplus_pooled", "ge2e")
    WIDTHS = (192, 1024, 256)

    def __init__(self, models: str | Path) -> None:
        self._campplus, self._ge2e = (Network(Path(models) / name) for name in (CAMPPLUS, GE2E))

    def __call__(self, spoken: Int16[np.ndarray, "samples"]) -> Float32[np.ndarray, "1472"]:
        wave = spoken.astype(np.float32) / FULL_SCALE
        embedding, pooled = self._campplus(kaldi_power(wave)[None])
        (each,) = self._ge2e(ge2e_windows(wave))
        return np.concatenate([embedding[0], pooled[0], _unit(_unit(each).mean(axis=0))])


FrontEnd = SpectrogramNetwork | SpeakerNetworks


def kaldi_power(wave: Float32[np.ndarray, "samples"]) -> Float32[np.ndarray, "frames 257"]:
    """Power spectra of the frames of Kaldi's filter banks: without mean, pre-emphasised, in Povey's window."""
    frames = audio.framed(wave, audio.WINDOW, audio.HOP)
    frames = frames - frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    # The window is symmetric: its last sample is its first.
    symmetric = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(audio.WINDOW) / (audio.WINDOW - 1))
    window = (symmetric**POVEY).astype(np.float32)
    return _power((frames - np.float32(PREEMPHASIS) * before) * window, audio.N_FFT)


def ge2e_windows(wave: Float32[np.ndarray, "samples"]) -> Float32[np.ndarray, "windows 160 201"]:
    """Power spectra in the overlapping windows of the GE2E network; less than 1.6 s is filled up with silence."""
    loud = max(1.0, GE2E_LEVEL / float(np.sqrt(np.mean(wave**2))))
    half = audio.WINDOW // 2
    padded = np.pad(wave * np.float32(loud), half)
    power = _power(audio.framed(padded, audio.WINDOW, audio.HOP) * audio.hann(audio.WINDOW), audio.WINDOW)
    power = np.pad(power, ((0, max(0, GE2E_FRAMES - len(power))), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(power, GE2E_FRAMES, axis=0)[::GE2E_STEP]
    return np.ascontiguousarray(windows.transpose(0, 2, 1))


def _power(frames: Float32[np.ndarray, "frames window"], fft: int) -> Float32[np.ndarray, "frames _"]:
    spectrum = np.fft.rfft(frames, fft)
    return (spectrum.real**2 + spectrum.imag**2).astype(np.float32)


def _unit(vectors: Float32[np.ndarray, "*any dim"]) -> Float32[np.ndarray, "*any dim"]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32(1e-12))

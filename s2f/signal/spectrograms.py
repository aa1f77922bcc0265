"""Compressed spectrograms of batches (section 3), in torch: on the GPU where the waves are there."""

import torch
from jaxtyping import Float, Float32, Int16, Shaped
from torch import Tensor
from torch.nn.functional import pad

from s2f.signal import audio
from s2f.study.paths import UserError

BANDS = 40  # of the mel spectrum
QUIETEST = 1e-6  # power to which silence is raised


def mel_statistics(waves: Int16[Tensor, "clips samples"]) -> Float32[Tensor, "clips statistics"]:
    """Mean, standard deviation and mean change from frame to frame of the logarithm of power in each of 40 mel bands.

    Args:
        waves: speech at 16 kHz.
    """
    from torchaudio.transforms import MelScale, Spectrogram  # slow to import

    transform = Spectrogram(audio.N_FFT, audio.WINDOW, audio.HOP, power=None)
    bands = MelScale(BANDS, audio.SAMPLE_RATE, n_stft=audio.N_BINS).fb.T
    rows = []
    for wave in waves:  # one at a time keeps temporaries in cache
        spectrum = transform(wave.float() / audio.FULL_SCALE)
        # Not of `abs`, which takes a root only for it to be squared again.
        power = (bands @ (spectrum.real.square() + spectrum.imag.square()) + QUIETEST).log()
        rows.append(torch.cat([power.mean(dim=1), power.std(dim=1), power.diff(dim=1).abs().mean(dim=1)]))
    return torch.stack(rows)


def spectrograms(
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
    if samples < audio.WINDOW:
        raise UserError(f"A wave of {samples} samples is shorter than the {audio.WINDOW} samples of one window.")
    with torch.no_grad():
        waves = wave.reshape(-1, samples)
        # As in TensorFlow: a periodic Hann window of 400 samples, followed by zeros up to the FFT length. With
        # win_length=400, torch would centre the window in the 512 samples, which changes the phases.
        hann = torch.hann_window(audio.WINDOW, periodic=True, device=wave.device)
        window = pad(hann, (0, audio.N_FFT - audio.WINDOW))
        if wave.is_cuda:
            planes = _compressed_stft(waves, window).contiguous()
        else:
            # Processing one clip at a time keeps temporaries in cache: 3 times faster than one batched call.
            planes = torch.empty(len(waves), 2, audio.n_frames(samples), audio.N_BINS)
            for clip, plane in zip(waves, planes, strict=True):
                plane.copy_(_compressed_stft(clip, window))
        return planes.reshape(*wave.shape[:-1], *planes.shape[1:])


def _compressed_stft(
    wave: Shaped[Tensor, "*batch samples"], window: Float32[Tensor, "512"]
) -> Float32[Tensor, "*batch 2 frames 257"]:
    scaled = wave.float() / audio.FULL_SCALE if wave.dtype == torch.int16 else wave.float()
    # Pad the end, as torch would otherwise drop the last 400-sample windows that do not fill 512 samples.
    padded = pad(scaled, (0, audio.N_FFT - audio.WINDOW))
    stft = torch.stft(padded, audio.N_FFT, audio.HOP, audio.N_FFT, window, center=False, return_complex=True)
    parts = torch.view_as_real(stft)  # (*batch, bins, frames, 2)
    # 2^(0.3 log2|x|) takes a quarter less time than pow; zero maps to -inf and back to zero.
    magnitude = parts.abs().log2_().mul_(audio.POWER).exp2_()
    return torch.copysign(magnitude, parts).movedim(-1, -3).transpose(-1, -2)

"""The fused training pass is the plain network in training, and its kernels compute what torch does."""

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from s2f.models import fused
from s2f.models.voice_encoder import Conv, VoiceEncoder, VoiceEncoderConfig

LIKE_THE_PAPER = VoiceEncoderConfig(
    input="complex",
    convs=(
        Conv(channels=4),
        Conv(channels=8, pool=True),
        Conv(channels=8, pool=True),
        Conv(channels=8, stride=2),
        Conv(channels=8),
    ),
    hidden_dim=16,
    feature_dim=12,
)
LIKE_THE_SMALL = LIKE_THE_PAPER.model_copy(
    update={"input": "magnitude", "convs": (Conv(channels=4, stride=2), Conv(channels=8, stride=2), Conv(channels=8))}
)


@pytest.mark.parametrize("config", [LIKE_THE_PAPER, LIKE_THE_SMALL], ids=["paper", "small"])
@pytest.mark.parametrize("frames", [80, 83])  # even and odd at the first pooling
def test_it_is_the_plain_network_in_training(config, frames):
    """Outputs, gradients and running statistics, with scales of both signs: pooling keeps the larger normalised number.

    float32 against float64: some hundred products are summed for each number, so 1e-5 of the largest is ample.
    """
    torch.manual_seed(frames)
    plain = VoiceEncoder(config)
    with torch.no_grad():
        for norm in plain.norms:
            norm.weight.normal_()
            norm.bias.normal_()
    ours = VoiceEncoder(config)
    ours.load_state_dict(plain.state_dict())
    spectrogram, direction = torch.randn(3, 2, frames, 257), torch.randn(3, config.feature_dim)
    plain.double()(spectrogram.double()).backward(direction)
    found = fused.forward(ours, spectrogram, torch.float32)
    found.backward(direction)
    for buffer, expected in zip(ours.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(buffer.double(), expected.double(), rtol=1e-5, atol=1e-6)
    plain.load_state_dict(ours.state_dict())
    for (name, weight), expected in zip(ours.named_parameters(), plain.parameters(), strict=True):
        size = expected.grad.abs().max() + 1e-3
        assert (weight.grad - expected.grad).abs().max() < 1e-4 * size, name


def test_low_precision_stays_close():
    torch.manual_seed(0)
    model, spectrogram = VoiceEncoder(LIKE_THE_PAPER), torch.randn(4, 2, 90, 257)
    exact, low = (fused.forward(model, spectrogram, dtype) for dtype in (torch.float32, torch.bfloat16))
    assert low.dtype == torch.float32
    assert torch.nn.functional.cosine_similarity(exact, low).min() > 0.999


KERNELS = """
import torch
from s2f.models import fused

torch.manual_seed(0)
for pool in (False, True):
    for frames in (6, 7):
        y = torch.randn(2, 8, frames, 5).to(memory_format=torch.channels_last)
        bias, sign, d_total, d_squares = torch.randn(4, 8)
        given = y, bias, sign, pool
        out = fused._forward(*given)
        d_out = torch.randn_like(out[0])
        for kernel, plain in (
            (fused._forward_on_gpu(*given), out),
            (fused._backward_on_gpu(*given, d_out, d_total, d_squares),
             fused._backward(*given, d_out, d_total, d_squares)),
        ):
            for a, b in zip(kernel, plain, strict=True):
                torch.testing.assert_close(a, b)
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_the_kernels_compute_what_torch_does():
    """In Triton's interpreter, which needs no GPU and must be chosen before the kernels are defined."""
    environment = {"TRITON_INTERPRET": "1", "PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "1", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", KERNELS], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_batch_of_one_clip_is_normalised_by_its_own_frames():
    model = VoiceEncoder(LIKE_THE_PAPER)
    assert np.isfinite(fused.forward(model, torch.randn(1, 2, 80, 257), torch.float32).detach().numpy()).all()

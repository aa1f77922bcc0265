"""`python benchmarks/training_throughput.py DEVICE` (cpu, cuda): speed of training the paper's voice encoder on noise.

Counts all that a step runs on the device: spectrogram, forward, backward and Adam, with L1 as the loss. FLOPs are those
of convolutions and matrix products, as torch's FlopCounterMode sees them.
"""

import sys
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from s2f.models.losses import feature_l1
from s2f.models.voice_encoder import PAPER, VoiceEncoder
from s2f.signal.audio import SAMPLE_RATE
from s2f.training.voice import features_of_waves

BATCH, SECONDS, STEPS = 64, 6, 20

device = torch.device(sys.argv[1])
model = VoiceEncoder(PAPER).to(device, memory_format=torch.channels_last)
adam = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
waves = torch.randint(-3000, 3000, (BATCH, SECONDS * SAMPLE_RATE), dtype=torch.int16, device=device)
v_f = torch.randn(BATCH, model.config.feature_dim, device=device)


def train_step() -> torch.Tensor:
    adam.zero_grad()
    loss = feature_l1(features_of_waves(model, waves, "auto"), v_f)
    loss.backward()
    adam.step()
    return loss


with FlopCounterMode(display=False) as counter:
    train_step().item()  # also warms up; reading the number waits for the device
start = time.perf_counter()
for _ in range(STEPS):
    loss = train_step()
loss.item()
seconds = (time.perf_counter() - start) / STEPS
print(f"{BATCH / seconds:.1f} clips/s, {counter.get_total_flops() / seconds / 1e12:.2f} TFLOP/s")

"""The voice encoder: maps a spectrogram of any length to a face feature (section 3, Table 1).

Every block is CONV-ReLU-BN with a 4 x 4 kernel and no padding, and may halve time by max pooling. The output of the
last convolution is averaged over time, so that inputs may have any duration, before ReLU and BN. Two dense layers on
channels x frequency follow. Frequency is never pooled, to preserve the vocal characteristics of the speaker.
"""

import copy
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float, Float32
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from s2f.signal.audio import HOP, N_BINS, SAMPLE_RATE, WINDOW
from s2f.study.paths import UserError

KERNEL = 4


class Conv(BaseModel):
    """One convolution: output channels, stride (time and frequency), and whether max pooling halves time after it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: PositiveInt
    stride: PositiveInt = 1
    pool: bool = False


class VoiceEncoderConfig(BaseModel):
    """Architecture of a voice encoder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Literal["complex", "magnitude"]  # real and imaginary parts, or only their modulus
    convs: Annotated[tuple[Conv, ...], Field(min_length=1)]
    batch_norm: bool = True  # without it, the paper's model predicted an average face for everyone (Fig. 9)
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0  # before each dense layer; the paper mentions none
    hidden_dim: PositiveInt
    feature_dim: PositiveInt

    @model_validator(mode="after")
    def _fits_the_spectrogram(self) -> "VoiceEncoderConfig":
        if self.bins < 1:
            raise ValueError(f"the convolutions leave nothing of the {N_BINS} frequency bins")
        if self.convs[-1].pool:
            raise ValueError("the last convolution is averaged over time and takes no pool")
        return self

    @property
    def bins(self) -> int:
        """Number of frequency bins at the input of the dense layers."""
        bins = N_BINS
        for conv in self.convs:
            bins = (bins - KERNEL) // conv.stride + 1
        return bins

    @property
    def min_frames(self) -> int:
        """Minimum number of input frames: those that leave one frame after the last convolution."""
        frames = 1
        for conv in reversed(self.convs):
            frames = 2 * frames if conv.pool else frames
            frames = (frames - 1) * conv.stride + KERNEL
        return frames


PAPER = VoiceEncoderConfig(
    input="complex",
    convs=(
        Conv(channels=64),
        Conv(channels=64),
        Conv(channels=128, pool=True),
        Conv(channels=128, pool=True),
        Conv(channels=128, pool=True),
        Conv(channels=256, pool=True),
        Conv(channels=512),
        Conv(channels=512, stride=2),
        Conv(channels=512, stride=2),
    ),
    hidden_dim=4096,
    feature_dim=4096,
)

# For training on a CPU. The modulus discards the random phase of each frame, which only a deep network could learn to
# ignore.
SMALL = VoiceEncoderConfig(
    input="magnitude",
    convs=(
        Conv(channels=8, stride=2),
        Conv(channels=16, stride=2),
        Conv(channels=32, stride=2),
        Conv(channels=64, stride=2),
        Conv(channels=128),
    ),
    dropout=0.3,  # a few thousand speakers are soon overfitted
    hidden_dim=512,
    feature_dim=128,
)


class VoiceEncoder(nn.Module):
    """Spectrogram (`audio.spectrogram`) to face feature, computed in the dtype of the weights or of autocast."""

    Config: ClassVar = VoiceEncoderConfig

    def __init__(self, config: VoiceEncoderConfig):
        super().__init__()
        self.config = config
        inputs = 2 if config.input == "complex" else 1
        outputs = [conv.channels for conv in config.convs]
        self.convs = nn.ModuleList(
            nn.Conv2d(before, conv.channels, KERNEL, conv.stride)
            for before, conv in zip([inputs, *outputs], config.convs, strict=False)
        )
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(channels) if config.batch_norm else nn.Identity() for channels in outputs
        )
        self.fc1 = nn.Linear(outputs[-1] * config.bins, config.hidden_dim)
        self.fc2 = nn.Linear(config.hidden_dim, config.feature_dim)

    def forward(self, spectrogram: Float[Tensor, "batch 2 frames 257"]) -> Float32[Tensor, "batch feature_dim"]:
        """Predict face features, in float32 regardless of the dtype of the weights.

        Raises:
            UserError: If the spectrogram has fewer frames than `config.min_frames`.
        """
        self._check_length(int(spectrogram.shape[2]))  # where a graph is traced, sizes are tensors
        x = spectrogram
        if self.config.input == "magnitude":
            x = torch.hypot(x[:, :1], x[:, 1:])
        x = x.to(self.fc1.weight.dtype)
        *blocks, (_, last_conv, last_norm) = zip(self.config.convs, self.convs, self.norms, strict=True)
        for settings, conv, norm in blocks:
            x = norm(F.relu(conv(x), inplace=True))
            if settings.pool:
                x = F.max_pool2d(x, (2, 1))
        x = last_norm(F.relu(last_conv(x).mean(dim=2, keepdim=True)))
        x = F.dropout(x.flatten(1), self.config.dropout, self.training)
        x = F.dropout(F.relu(self.fc1(x)), self.config.dropout, self.training)
        return self.fc2(x).float()

    def _check_length(self, frames: int) -> None:
        least = self.config.min_frames
        if frames < least:
            raise UserError(
                f"A clip of {_seconds(frames):.2f} s is too short for this voice encoder: give it "
                f"{_seconds(least):.3f} s or more, for instance by repeating the clip (audio.fit_length)."
            )


def for_inference(encoder: VoiceEncoder, dtype: torch.dtype) -> VoiceEncoder:
    """A copy of an encoder in evaluation mode, with weights of the given dtype in channels-last layout.

    On CPUs with avx512_bf16, bfloat16 takes a third of the time of float32; the cosine similarity of the features
    remains above 0.9999.
    """
    return copy.deepcopy(encoder).eval().to(dtype=dtype, memory_format=torch.channels_last)


def _seconds(frames: int) -> float:
    """Duration (seconds) of the audio that gives this many frames."""
    return ((frames - 1) * HOP + WINDOW) / SAMPLE_RATE

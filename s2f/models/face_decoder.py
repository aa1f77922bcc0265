"""The face decoder: maps a face feature to a frontal, neutral, evenly lit face (Cole et al., 2017).

The first dense layer is f_dec of the loss (section 3). From its output, one small network predicts 68 landmarks and
another a texture, the face with every landmark at its mean position. A smooth warp then moves the landmarks of the
texture to the predicted positions. Coordinates are pixels, x right and y down; the centre of the first pixel is at
(0.5, 0.5).
"""

import math
from typing import Annotated, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from s2f.signal.warping import landmark_spline, warp
from s2f.study.paths import UserError

FIRST_DIM = 1000
LANDMARKS = 68  # number of iBUG landmarks


class FaceDecoderConfig(BaseModel):
    """Architecture of a face decoder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    feature_dim: PositiveInt
    base: PositiveInt  # side of the first feature map, px
    channels: Annotated[tuple[PositiveInt, ...], Field(min_length=2)]  # of the first map and after each upsampling
    landmark_hidden: PositiveInt

    @property
    def size(self) -> int:
        """Side of the decoded image, px."""
        return self.base * 2 ** (len(self.channels) - 1)


PAPER = FaceDecoderConfig(feature_dim=4096, base=14, channels=(256, 128, 64, 32, 32), landmark_hidden=256)
SMALL = FaceDecoderConfig(feature_dim=128, base=4, channels=(128, 64, 32, 16, 16), landmark_hidden=128)


class Drawn(NamedTuple):
    """A decoded face, with its landmarks and texture."""

    image: Float[Tensor, "batch 3 size size"]  # RGB in [0, 1]
    landmarks: Float[Tensor, "batch 68 2"]  # px, in the image
    texture: Float[Tensor, "batch 3 size size"]  # RGB in [0, 1], landmarks at their mean positions


class FaceDecoder(nn.Module):
    """Network from a feature to a face. Call `set_mean` before first use; the mean is saved with the weights."""

    Config: ClassVar = FaceDecoderConfig

    def __init__(self, config: FaceDecoderConfig):
        super().__init__()
        self.config = config
        self.register_buffer("mean_landmarks", torch.full((LANDMARKS, 2), math.nan))
        self.register_buffer("spline", torch.full((config.size**2, LANDMARKS), math.nan))
        self.f_dec = nn.Linear(config.feature_dim, FIRST_DIM)
        self.landmarks = nn.Sequential(
            nn.Linear(FIRST_DIM, config.landmark_hidden),
            nn.ReLU(),
            nn.Linear(config.landmark_hidden, 2 * LANDMARKS),
        )
        # Start from the mean landmarks, that is, without warping.
        nn.init.zeros_(self.landmarks[-1].weight)
        nn.init.zeros_(self.landmarks[-1].bias)
        self.to_map = nn.Linear(FIRST_DIM, config.channels[0] * config.base**2)
        doublings = []
        for before, after in zip(config.channels, config.channels[1:], strict=False):
            doublings += [
                nn.ConvTranspose2d(before, after, 5, stride=2, padding=2, output_padding=1),
                nn.ReLU(),
            ]
        self.to_texture = nn.Sequential(*doublings, nn.Conv2d(config.channels[-1], 3, 1))
        # The mean of all textures (logits), so that the network learns only the differences.
        self.mean_texture = nn.Parameter(torch.zeros(3, config.size, config.size))

    def set_mean(self, landmarks: Float[Tensor, "68 2"], image: Float[Tensor, "3 size size"] | None = None) -> None:
        """Set the mean landmarks (px) of the training faces, and start the texture from their mean image."""
        self.mean_landmarks.copy_(landmarks)
        self.spline.copy_(landmark_spline(landmarks.double().cpu(), self.config.size))
        if image is not None:
            self.mean_texture.data.copy_(image.clamp(0.01, 0.99).logit())

    def first(self, feature: Float[Tensor, "batch feature_dim"]) -> Float[Tensor, "batch 1000"]:
        """Output of f_dec, used in the loss (section 3); before its ReLU, so that every unit has a gradient."""
        return self.f_dec(feature)

    def forward(self, feature: Float[Tensor, "batch feature_dim"]) -> Drawn:
        """Decode faces.

        Raises:
            UserError: If the mean landmarks are not set.
        """
        if self.mean_landmarks.isnan().any():
            raise UserError(
                "The face decoder does not know the mean landmarks: call set_mean, or load trained weights."
            )
        hidden = F.relu(self.first(feature))
        size = self.config.size
        # Outputs of order 1 correspond to a tenth of the image, about the variation between faces.
        displacement = 0.1 * size * self.landmarks(hidden).unflatten(1, (LANDMARKS, 2))
        first_map = self.to_map(hidden).unflatten(1, (-1, self.config.base, self.config.base))
        texture = (self.to_texture(first_map) + self.mean_texture).sigmoid()
        flow = (self.spline @ displacement).transpose(1, 2).unflatten(2, (size, size))
        return Drawn(warp(texture, flow), self.mean_landmarks + displacement, texture)

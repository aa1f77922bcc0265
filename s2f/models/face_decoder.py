"""The face decoder: a face feature to its frontal, neutral, evenly lit face (Cole et al., 2017).

One dense layer reads the feature (f_dec of the loss, section 3). From it a small network places 68 landmarks
and another paints the face with every landmark at its mean place; a smooth warp then carries the painted
landmarks to the predicted ones. Coordinates are pixels, x right and y down, and the first pixel's centre is
at (0.5, 0.5).
"""

import math
from typing import Annotated, ClassVar, NamedTuple

import torch
from jaxtyping import Float, Float64
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from s2f.study.paths import UserError

FIRST_DIM = 1000
LANDMARKS = 68
BORDER_INTERVALS = 4  # fixed points on each side of the image: its corners and three between
# Landmarks that touch in the mean face (the inner lips) may still be sent apart. An exact spline would tear
# the image there; this much slack, in half image sizes, is far below what moves a lone landmark.
SMOOTHING = 1e-3
INVERSIONS = 4  # rounds that turn "where it goes" into "where it came from", see `warp`


class FaceDecoderConfig(BaseModel):
    """The sizes of a face decoder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    feature_dim: PositiveInt
    base: PositiveInt  # side of the first map, px
    channels: Annotated[tuple[PositiveInt, ...], Field(min_length=2)]  # of the first map and of each doubling
    landmark_hidden: PositiveInt

    @property
    def size(self) -> int:
        """Side of the drawn face, px."""
        return self.base * 2 ** (len(self.channels) - 1)


PAPER = FaceDecoderConfig(feature_dim=4096, base=14, channels=(256, 128, 64, 32, 32), landmark_hidden=256)
SMALL = FaceDecoderConfig(feature_dim=128, base=4, channels=(128, 64, 32, 16, 16), landmark_hidden=128)


class Drawn(NamedTuple):
    """A drawn face and what it was made of."""

    image: Float[Tensor, "batch 3 size size"]  # RGB in [0, 1]
    landmarks: Float[Tensor, "batch 68 2"]  # px, in the image
    texture: Float[Tensor, "batch 3 size size"]  # RGB in [0, 1], landmarks at their mean places


class FaceDecoder(nn.Module):
    """Feature to face; `set_mean` must come before the first drawing, and is saved with the weights."""

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
        # The first faces drawn have mean landmarks: warping starts only once there is reason to.
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
        # What all textures have in common, pixel by pixel, so that the network has only the differences to learn.
        self.mean_texture = nn.Parameter(torch.zeros(3, config.size, config.size))

    def set_mean(self, landmarks: Float[Tensor, "68 2"], image: Float[Tensor, "3 size size"] | None = None) -> None:
        """Fix the mean landmarks (px) of the faces that the decoder is to draw, and start from their mean image."""
        self.mean_landmarks.copy_(landmarks)
        self.spline.copy_(spline_of(landmarks.double().cpu(), self.config.size))
        if image is not None:
            self.mean_texture.data.copy_(image.clamp(0.01, 0.99).logit())

    def first(self, feature: Float[Tensor, "batch feature_dim"]) -> Float[Tensor, "batch 1000"]:
        """f_dec, the layer that the loss compares: before its ReLU, so that no unit is without gradient."""
        return self.f_dec(feature)

    def forward(self, feature: Float[Tensor, "batch feature_dim"]) -> Drawn:
        """Draw; UserError if the mean landmarks are not set."""
        if self.mean_landmarks.isnan().any():
            raise UserError(
                "The face decoder does not know the mean landmarks: call set_mean, or load trained weights."
            )
        hidden = F.relu(self.first(feature))
        size = self.config.size
        # An output of order 1 then means a tenth of the image, which is about what faces differ by.
        displacement = 0.1 * size * self.landmarks(hidden).unflatten(1, (LANDMARKS, 2))
        first_map = self.to_map(hidden).unflatten(1, (-1, self.config.base, self.config.base))
        texture = (self.to_texture(first_map) + self.mean_texture).sigmoid()
        flow = (self.spline @ displacement).mT.unflatten(2, (size, size))
        return Drawn(warp(texture, flow), self.mean_landmarks + displacement, texture)


def warp(image: Float[Tensor, "batch channels size size"], flow: Float[Tensor, "batch 2 size size"]) -> Tensor:
    """The image with what is at p moved to p + flow(p); flow in px (x, y). Differentiable in both.

    Sampling asks the opposite, where what is at q came from: q - v(q) with v(q) = flow(q - v(q)). Iterating
    that shrinks the error by the slope of the flow in each round, so slopes must stay below 1 px a px.
    """
    size = image.shape[-1]
    places = _pixel_centres(size).to(flow).unflatten(0, (size, size))

    def sample(values: Tensor, moved: Tensor) -> Tensor:
        grid = (places - moved.permute(0, 2, 3, 1)) * (2 / size) - 1
        return F.grid_sample(values, grid, padding_mode="border", align_corners=False)

    back = flow
    for _ in range(INVERSIONS):
        back = sample(flow, back)
    return sample(image, back)


def spline_of(landmarks: Float64[Tensor, "68 2"], size: int) -> Float64[Tensor, "pixels 68"]:
    """Matrix from displacements of the landmarks to those of every pixel, rows of pixels from the top.

    Points all around the border stay where they are. The system depends on the mean landmarks alone, so it is
    solved once, in float64, and a face costs one product.
    """
    steps = torch.linspace(0, size, BORDER_INTERVALS + 1, dtype=torch.float64)
    square = torch.cartesian_prod(steps, steps)
    border = square[((square == 0) | (square == size)).any(dim=1)]
    control = torch.cat([landmarks, border])
    # In half image sizes from the middle, the linear part and the distances are of one scale.
    control, pixels = (2 * points / size - 1 for points in (control, _pixel_centres(size).double()))
    return polyharmonic_matrix(control, pixels, SMOOTHING)[:, :LANDMARKS]


def polyharmonic_matrix(
    control: Float64[Tensor, "controls 2"], query: Float64[Tensor, "queries 2"], smoothing: float
) -> Float64[Tensor, "queries controls"]:
    """Matrix from values at control points to those of their order-1 polyharmonic spline at query points.

    The spline is a sum of cones -|x - control| and a linear function, which it reproduces exactly. Smoothing
    is added to the diagonal of the cones' matrix, as in SciPy's RBFInterpolator.
    """
    count = len(control)
    system = control.new_zeros(count + 3, count + 3)
    system[:count, :count] = smoothing * torch.eye(count) - _distances(control, control)
    system[:count, count:] = _linear(control)
    system[count:, :count] = _linear(control).T
    basis = torch.cat([-_distances(query, control), _linear(query)], dim=1)
    # basis @ inverse(system), whose last three columns would multiply zeros
    return torch.linalg.solve(system, basis, left=False)[:, :count]


def _distances(a: Tensor, b: Tensor) -> Tensor:
    # By default cdist expands the square, which costs half of the digits where points are close.
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def _linear(points: Tensor) -> Tensor:
    return torch.cat([torch.ones_like(points[:, :1]), points], dim=1)


def _pixel_centres(size: int) -> Float[Tensor, "pixels 2"]:
    y, x = torch.meshgrid(*2 * [torch.arange(size) + 0.5], indexing="ij")
    return torch.stack([x, y], dim=2).flatten(0, 1)

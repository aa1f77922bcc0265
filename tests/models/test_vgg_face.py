"""The published files of VGG-Face, small and with random weights: one encoder from each, none from a wrong one."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.io import savemat

from s2f.models import face_encoder, vgg_face
from s2f.models.face_encoder import RGB_MEAN, VGG_FACE, FaceEncoder, load_vgg_face
from s2f.study import rules
from s2f.study.config import FaceModel
from s2f.study.paths import UserError

SMALL = VGG_FACE.model_copy(update={"size": 32, "blocks": ((2, 2), (3,)), "feature_dim": 5, "classes": 4})


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(face_encoder, "VGG_FACE", SMALL)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return FaceEncoder(SMALL).eval()


def layers(encoder):
    modules = {name: module for name, module in encoder.named_modules() if hasattr(module, "bias")}
    return {name.removeprefix("convs."): (module.weight.data, module.bias.data) for name, module in modules.items()}


def matconvnet(path, encoder, mean=RGB_MEAN, wrapped=True):
    """As in the authors' archive: filters (rows, columns, in, out), fc6 over the last map, layers without weights."""
    found = []
    for name, (weight, bias) in layers(encoder).items():
        filters = weight.numpy()
        if name == "fc6":
            filters = filters.reshape(5, 3, 8, 8)
        elif filters.ndim == 2:
            filters = filters[:, :, None, None]
        cell = np.empty((1, 2), object)
        cell[0, 0], cell[0, 1] = filters.transpose(2, 3, 1, 0), bias.numpy()[None]
        found += [{"name": name, "type": "conv", "weights": cell}, {"name": f"relu_{name}", "type": "relu"}]
    cells = np.empty((1, len(found)), object)
    cells[0] = found
    net = {"layers": cells, "meta": {"normalization": {"averageImage": np.reshape(mean, (1, 1, 3))}}}
    savemat(path, {"net": net} if wrapped else net)


def port(path, encoder, bgr=False):
    state = {}
    for name, (weight, bias) in layers(encoder).items():
        weight = weight.flip(1) if bgr and name == "conv1_1" else weight
        name = name.replace("conv", "conv_") if bgr else name
        state |= {f"{name}.weight": weight.contiguous(), f"{name}.bias": bias}
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)


FILES = {
    "vgg_face.mat": matconvnet,
    "vgg-face.mat": lambda path, encoder: matconvnet(path, encoder, wrapped=False),
    "vgg_face_dag.pth": port,
    "vgg_face_dag.safetensors": port,
    "VGG_FACE.pth": lambda path, encoder: port(path, encoder, bgr=True),
}


@pytest.mark.parametrize("name", FILES)
def test_each_published_file_gives_the_same_fc7_and_fc8(name, tmp_path, encoder, rng, capsys):
    source, target = tmp_path / name, tmp_path / "out" / "vgg.safetensors"
    FILES[name](source, encoder)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert vgg_face.main([str(source), str(target), "--sha256", digest.upper()]) == 0
    assert digest in capsys.readouterr().out
    images = torch.from_numpy(rng.random((3, 3, 32, 32), dtype="float32"))
    read = load_vgg_face(target)
    feature = read(images)
    torch.testing.assert_close(feature, encoder(images))
    torch.testing.assert_close(read.logits(feature), encoder.logits(encoder(images)))
    assert (
        target.with_name("vgg.safetensors.sha256").read_text().split()[0]
        == hashlib.sha256(target.read_bytes()).hexdigest()
    )


def test_the_self_test_sees_a_wrong_order_of_channels_mean_and_axes(tmp_path, encoder):
    port(tmp_path / "right.pth", encoder)
    published = vgg_face.read(tmp_path / "right.pth")
    state = {
        f"{name}.{part}": value
        for name, pair in published.layers.items()
        for part, value in zip(("weight", "bias"), pair, strict=True)
    }
    assert vgg_face.self_test(published, state) < 1e-6
    wrong = {
        "channels": published._replace(bgr=True),
        "mean": published._replace(mean=RGB_MEAN[::-1]),
        "axes": published._replace(
            layers=published.layers | {"conv1_2": (published.layers["conv1_2"][0].mT, published.layers["conv1_2"][1])}
        ),
    }
    for each in wrong.values():
        assert vgg_face.self_test(each, state) > 100 * vgg_face.AGREEMENT


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda path, encoder: None, "There is no file"),
        (lambda path, encoder: path.write_bytes(b"MATLAB 5.0"), "is not VGG-Face as MatConvNet stores it"),
        (lambda path, encoder: savemat(path, {"net": {"layers": [1.0]}}), "is not VGG-Face as MatConvNet stores it"),
        (lambda path, encoder: matconvnet(path, encoder, mean=RGB_MEAN[::-1]), "has the mean 93.5940, 104.7624"),
    ],
)
def test_another_file_is_refused_in_a_sentence(spoil, words, tmp_path, encoder, capsys):
    spoil(tmp_path / "x.mat", encoder)
    assert vgg_face.main([str(tmp_path / "x.mat"), str(tmp_path / "y.safetensors")]) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "y.safetensors").exists()


def test_another_digest_and_another_network_are_refused(tmp_path, encoder):
    port(tmp_path / "x.pth", encoder)
    with pytest.raises(UserError, match="The SHA-256 of .*x.pth is [0-9a-f]{64}, not abc: fetch it again"):
        vgg_face.convert(tmp_path / "x.pth", tmp_path / "y.safetensors", "abc")
    torch.save({"conv1_1.weight": torch.zeros(2)}, tmp_path / "z.pth")
    with pytest.raises(UserError, match="does not hold VGG-Face .its conv1_1 is missing or of another size"):
        vgg_face.convert(tmp_path / "z.pth", tmp_path / "y.safetensors")


def test_weights_that_changed_since_are_refused_before_anything_starts(tmp_path, encoder):
    port(tmp_path / "x.pth", encoder)
    vgg_face.convert(tmp_path / "x.pth", tmp_path / "y.safetensors")
    settings = {name: 1 for name in FaceModel.model_fields} | {"feature": "vgg_face", "weights": "y.safetensors"}
    sections = {"face_model": settings | {"precision": "float32"}}
    rules.check(sections, tmp_path / "params.yaml")
    content = bytearray((tmp_path / "y.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "y.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="its bytes are not those of the .sha256 beside it"):
        rules.check(sections, tmp_path / "params.yaml")
    rules.check({"face_model": sections["face_model"] | {"feature": "small", "weights": None}}, Path("params.yaml"))

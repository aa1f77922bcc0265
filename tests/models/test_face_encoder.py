"""The face encoder: VGG-16 as published, and the small network of the same plan."""

import pickle

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from s2f.models import face_encoder
from s2f.models.face_encoder import VGG_FACE, FaceEncoder, FaceEncoderConfig, load_vgg_face, small
from s2f.study.paths import UserError

TINY_VGG = VGG_FACE.model_copy(update={"size": 32, "blocks": ((2, 2), (3,)), "feature_dim": 5, "classes": 4})


def published(encoder):
    """A state dict with the names of vgg_face_dag."""
    state = encoder.state_dict()
    del state["mean"]
    return {name.removeprefix("convs."): value for name, value in state.items()}


def test_vgg_face_has_the_layers_and_parameters_of_parkhi_2015():
    with torch.device("meta"):
        encoder = FaceEncoder(VGG_FACE)
        feature = encoder(torch.zeros(1, 3, 224, 224))
        assert feature.shape == (1, 4096) and encoder.logits(feature).shape == (1, 2622)
    convs = {name.split(".")[0] for name in published(encoder) if name.startswith("conv")}
    assert convs == {f"conv{block}_{i}" for block, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1)}
    # VGG-16 has 138,357,544 with 1000 classes.
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 138_357_544 + 1622 * 4097


def test_vgg_face_sees_0_to_255_less_the_rgb_mean():
    encoder = FaceEncoder(TINY_VGG)
    seen = []
    encoder.convs.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    encoder(torch.tensor([1.0, 0.5, 0.0]).reshape(1, 3, 1, 1).expand(1, 3, 32, 32))
    expected = torch.tensor([255 - 129.1863, 127.5 - 104.7624, -93.5940])
    torch.testing.assert_close(seen[0][0, :, 7, 9], expected)


def test_the_feature_is_after_relu_where_the_settings_say_so(rng):
    images = torch.from_numpy(rng.random((8, 3, 32, 32), dtype="float32"))
    encoder = FaceEncoder(TINY_VGG)
    after = encoder(images)
    encoder.config = TINY_VGG.model_copy(update={"feature_relu": False})
    before = encoder(images)
    assert before.min() < 0
    assert torch.equal(after, before.relu())


def test_weights_of_vgg_face_dag_are_read_from_a_pickle_of_tensors(tmp_path):
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in published(FaceEncoder(VGG_FACE)).items()}
    # Views of one number, so that the file of 580 MB takes a few kB.
    torch.save({name: torch.tensor([0.01]).expand(shape) for name, shape in shapes.items()}, tmp_path / "vgg.pth")
    encoder = load_vgg_face(tmp_path / "vgg.pth")
    assert not encoder.training
    assert encoder.fc8.weight.shape == (2622, 4096)
    assert encoder.convs.conv5_3.bias.unique().item() == pytest.approx(0.01)


def test_weights_of_vgg_face_dag_are_read_from_safetensors(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(face_encoder, "VGG_FACE", TINY_VGG)
    encoder = FaceEncoder(TINY_VGG)
    save_file(published(encoder), tmp_path / "vgg.safetensors")
    images = torch.from_numpy(rng.random((2, 3, 32, 32), dtype="float32"))
    assert torch.equal(load_vgg_face(tmp_path / "vgg.safetensors")(images), encoder(images))


class Evil:
    def __reduce__(self):
        return print, ("this must never be printed",)


@pytest.mark.parametrize("content", [pickle.dumps({"conv1_1.weight": Evil()}), b"hello", b""])
def test_a_file_that_is_no_plain_state_dict_is_refused_and_runs_nothing(tmp_path, capsys, content):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(UserError, match="not a state dict of tensors"):
        load_vgg_face(tmp_path / "x.pth")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_missing_file_is_named(tmp_path, suffix):
    with pytest.raises(UserError, match=f"absent{suffix}"):
        load_vgg_face(tmp_path / f"absent{suffix}")


def test_a_pickle_of_something_else_is_refused(tmp_path):
    torch.save([torch.zeros(2)], tmp_path / "x.pth")
    with pytest.raises(UserError, match="not a state dict of tensors"):
        load_vgg_face(tmp_path / "x.pth")


@pytest.mark.parametrize("content", [{"conv1_1.weight": torch.zeros(2)}, {}])
def test_weights_of_another_network_are_refused(tmp_path, monkeypatch, content):
    monkeypatch.setattr(face_encoder, "VGG_FACE", TINY_VGG)
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(UserError, match="does not hold the layers of VGG-Face"):
        load_vgg_face(tmp_path / "x.pth")


def test_the_small_network_has_a_feature_of_128():
    encoder = FaceEncoder(small(classes=7)).eval()
    feature = encoder(torch.zeros(2, 3, 64, 64))
    assert feature.shape == (2, 128) and encoder.logits(feature).shape == (2, 7)
    assert feature.min() < 0


def test_the_large_network_has_the_layers_of_vgg_face():
    with torch.device("meta"):
        ours, theirs = FaceEncoder(face_encoder.large(20)), FaceEncoder(VGG_FACE)
    shapes = [
        [layer.weight.shape for layer in network.modules() if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)]
        for network in (ours, theirs)
    ]
    assert shapes[0][:-1] == shapes[1][:-1] and len(shapes[0]) == 16  # the last tells identities apart
    assert ours.config.feature_dim == 4096


def test_a_network_of_its_plan_learns_to_tell_four_faces_apart(rng):
    torch.manual_seed(0)
    config = small(classes=4).model_copy(update={"size": 16, "blocks": ((8,), (16,)), "feature_dim": 32})
    encoder = FaceEncoder(config)
    images, identities = torch.from_numpy(rng.random((4, 3, 16, 16), dtype="float32")), torch.arange(4)
    optimiser = torch.optim.Adam(encoder.parameters(), 1e-2)
    for _ in range(20):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(encoder.logits(encoder(images)), identities).backward()
        optimiser.step()
    assert encoder.logits(encoder(images)).argmax(dim=1).equal(identities)


def test_images_of_another_size_are_resized():
    encoder = FaceEncoder(small(classes=2)).eval()
    grey = torch.full((1, 3, 32, 32), 0.4)
    torch.testing.assert_close(encoder(grey), encoder(torch.full((1, 3, 64, 64), 0.4)))


@pytest.mark.parametrize("change", [{"size": 50}, {"blocks": ()}, {"dropout": 0.5}])
def test_impossible_settings_are_refused(change):
    with pytest.raises(ValidationError):
        FaceEncoderConfig.model_validate(small(classes=2).model_dump() | change)

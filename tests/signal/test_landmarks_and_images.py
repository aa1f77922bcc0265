import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from s2f.signal.images import read_image, save_png
from s2f.signal.landmark_detector import LandmarkDetector
from s2f.signal.landmarks import MEASURES, measures, nearest
from s2f.study.paths import UserError

INDICES = [name.endswith(("_idx", "_index")) for name in MEASURES]
AREAS = [name.endswith("_area") for name in MEASURES]

# Where each point goes when a face is mirrored.
MIRROR = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31]
    + [45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40]
    + [54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65]
)


def face():
    """A symmetric face, drawn so that each measure is a round number; points no measure uses lie at 0."""
    points = np.zeros((68, 2))
    named = {
        27: (0, 0), 31: (-15, 45), 33: (0, 50), 35: (15, 45),
        39: (-16, 0), 42: (16, 0), 36: (-40, 0), 45: (40, 0),
        1: (-62.5, 20), 15: (62.5, 20), 4: (-45, 90), 12: (45, 90), 8: (0, 118),
        48: (-25, 73), 54: (25, 73), 49: (-15, 67), 53: (15, 67), 50: (-6, 65), 52: (6, 65), 51: (0, 66),
        57: (0, 83), 62: (0, 72), 66: (0, 74),
    }  # fmt: skip
    for index, point in named.items():
        points[index] = point
    return points


def test_a_drawn_face_has_the_measures_it_was_drawn_with():
    expected = {
        "upper_lip_height": 23,
        "philtrum_width": 12,
        "lateral_upper_lip_heights": 22,
        "jaw_width": 90,
        "nose_height": 50,
        "nose_width": 30,
        "labio_oral_region": 50,
        "mandibular_idx": 0.5,
        "intercanthal_idx": 0.4,
        "nasal_index": 0.6,
        "vermilion_height_idx": 0.7,
        "mouth_face_width_idx": 0.4,
        "nose_area": 750,
    }
    assert tuple(expected) == MEASURES
    np.testing.assert_allclose(measures(face()), list(expected.values()), rtol=1e-14)


seeds = st.integers(0, 2**32 - 1)
# Sixteen digits, less what a few dozen operations and coordinates up to 1e3 cost.
CLOSE = {"rtol": 1e-9, "atol": 0}


def any_face(seed):
    """The drawn face with every point moved a little, so that no length vanishes and no symmetry is left."""
    return face() + np.random.default_rng(seed).uniform(-1, 1, (68, 2))


@given(seeds, st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_moving_a_face_changes_nothing(seed, right, down):
    points = any_face(seed)
    np.testing.assert_allclose(measures(points + [right, down]), measures(points), **CLOSE)


@given(seeds, st.floats(-np.pi, np.pi))
def test_turning_a_face_changes_nothing(seed, angle):
    points = any_face(seed)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    np.testing.assert_allclose(measures(points @ turn), measures(points), **CLOSE)


@given(seeds, st.floats(0.01, 100))
def test_indices_have_no_scale_lengths_one_areas_two(seed, scale):
    points = any_face(seed)
    power = np.select([INDICES, AREAS], [0, 2], default=1)
    np.testing.assert_allclose(measures(scale * points), measures(points) * scale**power, **CLOSE)


@given(seeds)
def test_a_mirrored_face_measures_the_same(seed):
    points = any_face(seed)
    np.testing.assert_allclose(measures(points[MIRROR] * [-1, 1]), measures(points), **CLOSE)


def test_a_batch_is_its_faces():
    batch = np.stack([any_face(seed) for seed in range(6)]).reshape(2, 3, 68, 2)
    measured = measures(batch)
    assert measured.shape == (2, 3, 13)
    for index in np.ndindex(2, 3):
        np.testing.assert_allclose(measured[index], measures(batch[index]), rtol=1e-15)


def test_float32_landmarks_are_measured_in_float64():
    points = any_face(0).astype(np.float32)
    measured = measures(points)
    assert measured.dtype == np.float64
    assert np.array_equal(measured, measures(points.astype(np.float64)))


def blobs(rng, count, size=24):
    """Pictures of a bright spot on grey, and 68 landmarks at fixed steps from its middle."""
    middle = rng.uniform(9, 15, (count, 1, 2))
    across = np.square(np.mgrid[:size, :size].transpose(1, 2, 0)[None, :, :, ::-1] - middle[:, None]).sum(axis=-1)
    images = np.repeat((60 + 180 * np.exp(-across / 20))[..., None], 3, axis=-1).astype(np.uint8)
    return images, middle + np.random.default_rng(0).normal(size=(1, 68, 2))


def test_the_detector_finds_landmarks_that_move_with_the_picture(rng):
    detector = LandmarkDetector.fit(*blobs(rng, 300))
    images, landmarks = blobs(rng, 50)
    errors = detector.errors(images, landmarks)
    found = detector(images)
    assert found.shape == (50, 68, 2)
    assert errors["error_px"] == pytest.approx(np.linalg.norm(found - landmarks, axis=-1).mean())
    assert errors["error_px"] < 0.2 < 2 < errors["mean_face_px"]


def test_the_detector_needs_faces_to_learn_from(rng):
    with pytest.raises(UserError, match="from 2 faces"):
        LandmarkDetector.fit(*blobs(rng, 2))


@pytest.fixture
def image(rng):
    return rng.integers(0, 256, (12, 9, 3), dtype=np.uint8)


def test_png_keeps_every_pixel_and_every_byte(image, tmp_path):
    for name in ("one.png", "two.png"):
        save_png(image, tmp_path / name)
    assert np.array_equal(read_image(tmp_path / "one.png"), image)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_png_carries_its_texts(image, tmp_path):
    for name in ("one.png", "two.png"):
        save_png(image, tmp_path / name, Description="Nobody's face – ever.", Software="s2f")
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.text == {"Description": "Nobody's face – ever.", "Software": "s2f"}
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_grey_and_transparent_pictures_become_rgb(image, tmp_path):
    Image.fromarray(image[..., 0]).save(tmp_path / "grey.png")
    Image.fromarray(image).convert("RGBA").save(tmp_path / "alpha.png")
    assert np.array_equal(read_image(tmp_path / "grey.png"), np.repeat(image[..., :1], 3, axis=-1))
    assert np.array_equal(read_image(tmp_path / "alpha.png"), image)


def test_a_photograph_taken_sideways_is_turned_upright(image, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn a quarter clockwise to view
    Image.fromarray(image).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), np.rot90(image, -1))


def test_a_missing_picture_is_named(tmp_path):
    with pytest.raises(UserError, match="no picture .*a.png"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_named(content, tmp_path):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UserError, match="a.png is not a picture"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(("place", "damage"), [(8, b"\0\0\0\5"), (37, b"\0\xff\0\xff"), (60, b"\xff" * 40)])
def test_a_damaged_picture_is_refused_whatever_its_decoder_says(place, damage, rng, tmp_path):
    """In the length of its header, in the name of a chunk, in the pixels: ValueError, SyntaxError, OSError."""
    save_png(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[place : place + len(damage)] = damage
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(UserError, match="not a picture"):
        read_image(tmp_path / "a.png")


def test_half_a_picture_is_refused(rng, tmp_path):
    save_png(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="not a picture"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    "x, y, expected", [(10, 10, 0), (30, 12, 1), (24, 10, 1), (16, 10, 0), (20, 40, None), (-6, 10, None)]
)
def test_the_face_at_a_point_is_the_nearest_that_has_it_in_or_beside_it(x, y, expected):
    square = np.array([(x, y) for x in np.linspace(0, 20, 34) for y in (0, 20)])  # 68 points, 20 px wide and high
    faces = np.stack([square, square + (20, 0), np.full((68, 2), np.nan)])
    point = (float(x), float(y))
    found = nearest(faces, point)
    assert (found is None) if expected is None else np.array_equal(found, faces[expected])
    assert nearest(faces[2:], point) is None

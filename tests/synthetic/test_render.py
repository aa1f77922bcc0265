"""The renderer: landmarks are the parameters, a picture depends on its own face, bad input is refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from s2f.study.paths import UserError
from s2f.synthetic.head import PARAMETERS
from s2f.synthetic.render import NUISANCE, SIDE, canonical_landmarks, render, sample_nuisance

# Positions are sums of a few float32 numbers below 150 mm: rounding stays well below 1e-4 mm.
MM = 1e-3


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The renderer makes many small steps: waiting for a second thread costs more than it saves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


# parameter: its two landmarks and the axis along which it lies (0 across, 1 down)
DISTANCES = {
    "nose_w": (31, 35, 0),
    "mouth_w": (48, 54, 0),
    "icd": (39, 42, 0),
    "eye_w": (36, 39, 0),
    "face_h": (27, 8, 1),
    "nose_h": (27, 33, 1),
    "ulip_h": (33, 62, 1),
    "verm_u": (51, 62, 1),
    "verm_l": (66, 57, 1),
}


def average(n=1, **changes):
    """`n` copies of the face between the average woman and the average man, with some parameters set."""
    face = {name: torch.full((n,), (p.female + p.male) / 2) for name, p in PARAMETERS.items()}
    return face | {name: torch.as_tensor(values).float().expand(n) for name, values in changes.items()}


def crowd(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    face = {}
    for name, p in PARAMETERS.items():
        mean = p.female + (p.male - p.female) * torch.rand(n, generator=generator)
        face[name] = (mean + p.sd * torch.randn(n, generator=generator)).clamp(p.low, p.high)
    return face


def rows(values, index):
    return {name: value[index] for name, value in values.items()}


def millimetres(landmarks, first, second, axis, size=16, side=SIDE):
    return (landmarks[:, second, axis] - landmarks[:, first, axis]) * side / size


def test_landmarks_are_as_far_apart_as_the_parameters_say():
    faces = crowd(64)
    landmarks = render(faces, size=16).landmarks
    for name, points in DISTANCES.items():
        torch.testing.assert_close(millimetres(landmarks, *points), faces[name], atol=MM, rtol=0, msg=name)


def test_outline_follows_the_widths_of_face_and_jaw():
    # Close, not exact: the sections are smoothed over 5 mm of height, and fat and age fill the jaw.
    faces = crowd(256)
    landmarks = render(faces, size=16).landmarks
    for name, points, mm in (("face_w", (1, 15, 0), 2.5), ("jaw_w", (4, 12, 0), 10.0)):
        measured = millimetres(landmarks, *points)
        assert torch.corrcoef(torch.stack([measured, faces[name]]))[0, 1] > 0.95
        assert (measured - faces[name]).abs().max() < mm


def test_landmarks_have_the_order_of_ibug_and_lie_in_the_picture():
    faces = crowd(64)
    x, y = render(faces, size=16).landmarks.unbind(2)
    assert ((x > 0) & (x < 16) & (y > 0) & (y < 16)).all()
    for run in ([*range(17)], [*range(17, 27)], [*range(31, 36)], [36, 37, 38, 39, 42, 43, 44, 45]):
        assert (x[:, run].diff() > 0).all()  # from the image's left to its right
    for run in ([*range(48, 55)], [54, 55, 56, 57, 58, 59, 48][::-1], [60, 61, 62, 63, 64], [67, 66, 65]):
        assert (x[:, run].diff() > 0).all()
    assert (y[:, 27:31].diff() > 0).all()
    above, below = [19, 37, 38, 43, 44, 27, 33, 62, 57], [37, 41, 40, 47, 46, 33, 51, 57, 8]
    assert (y[:, above] < y[:, below]).all()


def test_chin_stays_in_the_picture_over_the_whole_range():
    p = PARAMETERS["face_h"]
    landmarks = render(average(2, face_h=[p.low, p.high]), size=64).landmarks
    assert landmarks[:, 8, 1].max() < 63.5


def test_a_wider_nose_moves_only_the_points_of_the_nose():
    landmarks = render(average(5, nose_w=[26.0, 30.0, 34.0, 40.0, 46.0]), size=16).landmarks
    moved = (landmarks - landmarks[:1]).abs().amax((0, 2)) > 1e-4
    assert moved.nonzero().flatten().tolist() == [31, 32, 34, 35]
    assert (millimetres(landmarks, 31, 35, 0).diff() > 0).all()


@pytest.mark.parametrize("name", ["nose_w", "face_w", "jaw_w", "mouth_w", "eye_h", "brow_t", "age", "beard"])
def test_a_picture_moves_away_as_a_parameter_does(name):
    p = PARAMETERS[name]
    images = render(average(4, **{name: torch.linspace(p.low, p.high, 4)}), size=48).image
    change = (images - images[:1]).square().mean((1, 2, 3))
    assert (change.diff() > 0).all()


def test_canonical_face_is_frontal_and_symmetric():
    # Texture and parting are one-sided; the catch-lights of the eyes are, by design, a pixel each.
    image, landmarks = render(average(4, part=0.0, fringe=0.0, age=20.0, freckle=0.0), size=64)
    assert (image - image.flip(3)).abs().mean() < 0.01
    pairs = [[0, 16], [4, 12], [17, 26], [31, 35], [36, 45], [39, 42], [48, 54]]
    for left, right in pairs:
        torch.testing.assert_close(landmarks[:, left, 0], 64 - landmarks[:, right, 0], atol=1e-3, rtol=0)
        torch.testing.assert_close(landmarks[:, left, 1], landmarks[:, right, 1], atol=1e-3, rtol=0)


def test_skin_has_the_tone_that_was_asked_for():
    asked = torch.linspace(-50, 60, 23)
    image, landmarks = render(average(23, ita=asked, freckle=0.0, age=25.0, beard=0.0), size=64)
    measured = []
    for face, points in zip(image, landmarks, strict=True):
        x, y = points[[36, 48]].mean(0).round().int().tolist()  # the cheek, between eye and mouth
        measured.append(typology_angle(face[:, y - 1 : y + 2, x - 1 : x + 2].mean((1, 2))))
    assert torch.corrcoef(torch.stack([asked, torch.stack(measured)]))[0, 1] > 0.99


def typology_angle(srgb):
    """sRGB -> CIELAB (D65) -> individual typology angle in degrees."""
    linear = torch.where(srgb > 0.04045, ((srgb + 0.055) / 1.055) ** 2.4, srgb / 12.92)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = torch.tensor(to_xyz) @ linear / torch.tensor([0.9505, 1.0, 1.089])
    f = torch.where(xyz > 0.008856, xyz ** (1 / 3), 7.787 * xyz + 16 / 116)
    return torch.rad2deg(torch.atan2(116 * f[1] - 66, 200 * (f[1] - f[2])))


# More faces than a vector register holds numbers (16), so that full and partly filled ones occur.
@settings(max_examples=8, deadline=None)
@given(chunk=st.integers(1, 20), size=st.sampled_from([16, 32, 48]), seed=st.integers(0, 2**16))
def test_a_picture_does_not_depend_on_its_batch(chunk, size, seed):
    faces, snaps = crowd(18, seed), sample_nuisance(18, seed)
    together, split = render(faces, snaps, size, chunk=18), render(faces, snaps, size, chunk=chunk)
    assert torch.equal(together.image, split.image)
    assert torch.equal(together.landmarks, split.landmarks)
    alone = render(rows(faces, [4]), rows(snaps, [4]), size)
    assert torch.equal(alone.image[0], together.image[4])


def test_rays_that_rest_leave_the_picture_as_it_is(monkeypatch):
    """Beside a plain loop in which every ray takes every step: a grey level at most, but for four pixels a picture."""
    faces, snaps = crowd(6), sample_nuisance(6, 1)
    drawn = render(faces, snaps, 64).image
    monkeypatch.setattr("s2f.synthetic.render.REVIEW", 100)  # more than there are steps
    levels = (drawn - render(faces, snaps, 64).image).abs().amax(1) * 255
    assert 0 < levels.max() and (levels > 1).float().mean() < 4 / 64**2


def test_a_larger_face_is_drawn_larger():
    landmarks = render(average(2, face_h=[100.0, 130.0]), size=64).landmarks
    height = landmarks[:, 8, 1] - landmarks[:, 27, 1]
    assert height[1] / height[0] == pytest.approx(1.3, abs=1e-4)


def test_texture_belongs_to_the_person_and_noise_to_the_picture():
    person = average(2, age=70.0, texture=[2.0, 2.0])
    assert torch.equal(*render(person, {"seed": torch.tensor([1.0, 2.0])}, 32).image)
    images = render(person, {"seed": torch.tensor([1.0, 2.0]), "noise": torch.full((2,), 0.02)}, 32).image
    # The difference of two noises of 0.02, up to what is clipped at black and white.
    assert (images[0] - images[1]).std() == pytest.approx(0.02 * 2**0.5, rel=0.05)
    assert not torch.equal(*render(average(2, age=70.0, texture=[2.0, 5.0]), size=32).image)


def test_pictures_are_finite_at_the_ends_of_every_range():
    ends = [(name, end) for name, p in PARAMETERS.items() for end in (p.low, p.high)]
    faces = average(len(ends))
    for row, (name, end) in enumerate(ends):
        faces[name] = faces[name].clone()
        faces[name][row] = end
    image, landmarks = render(faces, size=16)
    assert image.isfinite().all() and landmarks.isfinite().all()
    assert image.min() >= 0 and image.max() <= 1


def test_nuisances_are_drawn_by_seed_and_spread():
    none = sample_nuisance(5, 3, spread=0)
    assert list(none) == list(NUISANCE)
    for name, value in NUISANCE.items():
        torch.testing.assert_close(none[name], torch.full((5,), value))
    faces = crowd(5)
    assert torch.equal(render(faces, none, 16).image, render(faces, size=16).image)
    drawn, again = sample_nuisance(400, 3), sample_nuisance(400, torch.Generator().manual_seed(3))
    half, wide = sample_nuisance(400, 3, spread=0.5), sample_nuisance(400, 3, spread=3.0)
    for name in NUISANCE:
        assert torch.equal(drawn[name], again[name])
    assert half["dx"].std().item() == pytest.approx(drawn["dx"].std().item() / 2, rel=1e-4)
    assert set(half["glasses"].tolist()) == {0.0, 1.0}
    assert wide["yaw"].abs().max() <= 0.7 and wide["persp"].max() <= 0.0015
    assert render(crowd(4), rows(wide, slice(4)), 32).image.isfinite().all()


def test_turning_the_head_moves_the_nose_with_it():
    tip = render(average(3), {"yaw": torch.tensor([-0.4, 0.0, 0.4])}, 64).landmarks[:, 30, 0]
    assert (tip.diff() > 3).all()  # more than 10 mm, as the tip lies 90 mm before the pivot


def test_bad_input_is_refused():
    face = average(2)
    without = {name: values for name, values in face.items() if name != "nose_w"}
    for identity, nuisance, options, word in (
        (without, None, {}, "nose_w"),
        (face | {"nose_w": torch.full((2,), 90.0)}, None, {}, "nose_w.*between 24 and 50"),
        (face | {"age": torch.tensor([30.0, float("nan")])}, None, {}, "finite"),
        (face | {"icd": torch.ones(3)}, None, {}, "icd.*shape"),
        (face | {"horns": torch.ones(2)}, None, {}, "horns"),
        (average(0), None, {}, "one value a face"),
        (face, {"yaww": torch.zeros(2)}, {}, "yaww"),
        (face, {"yaw": torch.zeros(3)}, {}, "yaw.*shape"),
        (face, None, {"size": 40}, "multiple of 16"),
        (face, None, {"chunk": 0}, "chunk"),
    ):
        with pytest.raises(UserError, match=word):
            render(identity, nuisance, **options)
    with pytest.raises(UserError, match="spread"):
        sample_nuisance(2, 0, spread=-1.0)


def test_landmarks_come_without_the_picture_too():
    people = crowd(3)
    assert torch.equal(canonical_landmarks(people, 64), render(people, size=64).landmarks)

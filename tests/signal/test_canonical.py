"""Faces cut out of photographs, how they are held, and canonical faces."""

import numpy as np
import pytest
import torch
from own_data import TINY
from PIL import Image

from s2f.signal import canonical
from s2f.study import config
from s2f.study.paths import UserError
from s2f.synthetic import people, render

SIZE = 64


def photographs(count, size=SIZE, **changes):
    """Faces of as many people, and their landmarks; `changes` say how the photographs were taken."""
    identity = people.identity(people.everybody(config.load(config.World, TINY)).iloc[:count])
    plain = render.sample_nuisance(count, torch.Generator().manual_seed(1), 0.0)
    drawn = render.render(
        identity, plain | {name: torch.as_tensor(value).expand(count) for name, value in changes.items()}, size=size
    )
    return (drawn.image * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy(), drawn.landmarks.numpy()


def test_pose_is_read_off_the_landmarks():
    degrees = torch.linspace(-25, 25, 12)
    _, landmarks = photographs(12, yaw=degrees.deg2rad(), open=torch.linspace(0, 1, 12))
    held = canonical.pose(landmarks)
    assert held.yaw == pytest.approx(degrees.numpy(), abs=5)
    assert np.abs(held.roll).max() < 2
    assert held.opening[0] < 0.02 and held.opening[-1] > canonical.LARGEST_OPENING
    assert not held.frontal_and_neutral[[0, -1]].any()
    _, landmarks = photographs(4)
    assert canonical.pose(landmarks).frontal_and_neutral.all()


def test_faces_are_cut_out_alike_however_they_lie_in_the_photograph():
    (image,), (landmarks,) = photographs(1, size=128)
    upright, places = canonical.align(image, landmarks, SIZE)
    turned = np.ascontiguousarray(np.rot90(image))
    moved = np.stack([landmarks[:, 1], 128 - landmarks[:, 0]], axis=-1)
    larger = np.array(Image.fromarray(turned).resize((256, 256), Image.Resampling.BICUBIC))
    again, places_again = canonical.align(larger, 2 * moved, SIZE)
    assert places == pytest.approx(places_again, abs=0.01)
    assert np.abs(upright.astype(float) - again).mean() < 4
    eyes = [places[canonical.LEFT_EYE].mean(0), places[canonical.RIGHT_EYE].mean(0)]
    assert np.array(eyes) == pytest.approx(canonical.ANCHORS[:2] * SIZE, abs=2)


@pytest.mark.parametrize("points", [np.full((68, 2), np.nan), np.full((68, 2), 9.0)])
def test_landmarks_that_are_no_face_are_refused(points):
    with pytest.raises(UserError, match="not those of a face"):
        canonical.align(np.zeros((64, 64, 3), np.uint8), points, SIZE)


def test_light_from_one_side_is_taken_out_and_the_tone_of_the_skin_is_not():
    images, landmarks = photographs(8)
    mean_light = np.log(images.mean(axis=-1) + 8).mean(axis=0)
    ramp = np.exp(np.linspace(-0.4, 0.4, SIZE))[None, :, None]
    face = slice(24, 44)
    for image, points in zip(images, landmarks, strict=True):
        plain, lit = (
            canonical.even_light(each.clip(0, 255).astype(np.uint8), points, mean_light)[face, face]
            for each in (image, image * ramp)
        )
        assert np.abs(lit - plain).mean() < 4 < np.abs(image * (ramp - 1))[face, face].mean()
        assert plain.mean() == pytest.approx(image[face, face].mean(), rel=0.1)


def test_a_canonical_face_is_made_of_the_frontal_photographs_or_of_the_most_frontal_one():
    frontal, turned, far = (photographs(3, yaw=yaw) for yaw in (0.0, 0.6, 0.9))
    images, landmarks = (np.concatenate(parts) for parts in zip(frontal, turned, far, frontal, strict=True))
    owners = np.tile(np.arange(3), 4)
    faces, points = canonical.canonical_faces(images, landmarks, canonical.pose(landmarks), owners)
    assert points == pytest.approx(frontal[1], abs=1e-3)
    assert np.abs(faces.astype(float) - frontal[0]).mean() < 6
    again, _ = canonical.canonical_faces(images, landmarks, canonical.pose(landmarks), owners)
    assert np.array_equal(faces, again)
    side = slice(3, 9)
    _, points = canonical.canonical_faces(images[side], landmarks[side], canonical.pose(landmarks[side]), owners[side])
    assert points == pytest.approx(turned[1], abs=1e-3)

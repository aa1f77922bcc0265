"""Photographs of faces cut to one size, and the canonical face of a person made from them (Cole et al., 2017).

Landmarks are 68 iBUG points (`s2f.signal.landmarks`), px, x right and y down, the first pixel's centre at (0.5, 0.5).
A canonical face is the average of a person's frontal, neutral photographs, each warped to their mean landmarks.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int, UInt8
from PIL import Image, ImageDraw
from torch.nn import functional as F

from s2f.signal.warping import landmark_spline, warp
from s2f.study.paths import UserError

# Where `align` puts the middles of the eyes and of the mouth, in sides of the image: the face from the hair line to the
# chin is inside, with the jaw well away from the border that `warp` holds fast.
EYE_DISTANCE = 0.26
ANCHORS = np.array([[0.5 - EYE_DISTANCE / 2, 0.45], [0.5 + EYE_DISTANCE / 2, 0.45], [0.5, 0.73]])
LEFT_EYE, RIGHT_EYE, MOUTH = slice(36, 42), slice(42, 48), [48, 54]

# A photograph is frontal and neutral within these. A head turned by 15 degrees hides no landmark; the lips of somebody
# who speaks or laughs are open by more than a tenth of the mouth's width.
LARGEST_YAW, LARGEST_ROLL = (
    15.0,
    30.0,
)  # degrees; `align` undoes roll, but a head held so low or aslant is rarely frontal
LARGEST_OPENING = 0.12
# How far the tip of the nose lies before the outer corners of the eyes, over the distance of these.
NOSE_DEPTH = 0.47
STEEPEST_LIGHT = 0.7  # in logarithms: light is not evened out by more than a factor of two from the middle to a border


class Pose(NamedTuple):
    """How faces are held, as far as 68 landmarks show it."""

    yaw: Float64[np.ndarray, "faces"]  # degrees to either side; 0 is frontal
    roll: Float64[np.ndarray, "faces"]  # degrees
    opening: Float64[np.ndarray, "faces"]  # of the lips, over the width of the mouth

    @property
    def frontal_and_neutral(self) -> Bool[np.ndarray, "faces"]:
        """Whether a canonical face may be made of it."""
        turned = (np.abs(self.yaw) > LARGEST_YAW) | (np.abs(self.roll) > LARGEST_ROLL)
        return ~turned & (self.opening <= LARGEST_OPENING)


def pose(landmarks: Float[np.ndarray, "faces 68 2"]) -> Pose:
    """Estimate how faces are held.

    The nose stands out before the plane of the eyes, so turning the head moves its tip aside.
    """
    points = landmarks.astype(np.float64)
    across = points[:, 45] - points[:, 36]
    width = np.linalg.norm(across, axis=-1)
    unit = across / width[:, None]
    aside = ((points[:, 30] - (points[:, 36] + points[:, 45]) / 2) * unit).sum(axis=-1)
    opening = np.linalg.norm(points[:, 66] - points[:, 62], axis=-1)
    mouth = np.linalg.norm(points[:, 54] - points[:, 48], axis=-1)
    return Pose(
        np.degrees(np.arctan(aside / width / NOSE_DEPTH)),
        np.degrees(np.arctan2(across[:, 1], across[:, 0])),
        opening / mouth,
    )


def align(
    image: UInt8[np.ndarray, "height width 3"], landmarks: Float[np.ndarray, "68 2"], size: int
) -> tuple[UInt8[np.ndarray, "size size 3"], Float32[np.ndarray, "68 2"]]:
    """Cut a face out of a photograph: turned, scaled and moved so that eyes and mouth come to fixed places.

    Args:
        image: the photograph.
        landmarks: those of the face (px in the photograph).
        size: side of the cut-out (px).

    Returns:
        The cut-out and the landmarks in it (px). Beyond the photograph its outermost pixels are repeated.

    Raises:
        UserError: if the landmarks are not those of a face (not finite, or the eyes in one place).
    """
    points = landmarks.astype(np.float64)
    middles = np.stack([points[LEFT_EYE].mean(0), points[RIGHT_EYE].mean(0), points[MOUTH].mean(0)])
    if not np.isfinite(points).all() or np.linalg.norm(middles[1] - middles[0]) < 1:
        raise UserError("The landmarks are not those of a face: find them again, or leave the photograph out.")
    turn, shift = _similarity(middles, ANCHORS * size)
    # Sampled finely where the photograph is larger than the cut-out, then averaged: no aliasing.
    fine = max(1, int(np.ceil(1 / np.sqrt(np.linalg.det(turn)))))
    steps = (np.arange(size * fine) + 0.5) / fine
    places = np.stack(np.meshgrid(steps, steps), axis=-1)
    sources = (places - shift) @ np.linalg.inv(turn).T
    grid = torch.from_numpy(sources / [image.shape[1], image.shape[0]] * 2 - 1).float()[None]
    pixels = torch.from_numpy(image).permute(2, 0, 1).float()[None]
    sampled = F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    cut = F.avg_pool2d(sampled, fine).round().clamp(0, 255).byte()[0].permute(1, 2, 0)
    return cut.contiguous().numpy(), (points @ turn.T + shift).astype(np.float32)


def canonical_faces(
    images: UInt8[np.ndarray, "photographs size size 3"],
    landmarks: Float[np.ndarray, "photographs 68 2"],
    poses: Pose,
    owners: Int[np.ndarray, "photographs"],
    mean_light: Float[np.ndarray, "size size"] | None = None,
) -> tuple[UInt8[np.ndarray, "people size size 3"], Float32[np.ndarray, "people 68 2"]]:
    """The canonical face of each person, after Cole et al. (2017).

    Of a person's photographs those count that are frontal and neutral, or the most frontal one if none is. Light that
    comes from one side is taken out, each photograph is warped to the mean of their landmarks, and the mean is taken.

    Args:
        images: photographs as `align` cuts them out.
        landmarks: theirs (px in the cut-out).
        poses: as they were held.
        owners: number of the person in each photograph; all of 0 to people - 1 occur.
        mean_light: that all are compared with (default: the `average_light` of these people).

    Returns:
        The canonical faces and their landmarks (px), in the order of the numbers.
    """
    size = images.shape[1]
    mean_light = average_light(images, poses, owners) if mean_light is None else mean_light
    faces, places = [], []
    for rows in _chosen(poses, owners):
        mean = landmarks[rows].astype(np.float64).mean(axis=0)
        even = [even_light(images[row], landmarks[row], mean_light) for row in rows]
        if len(rows) > 1:
            even = [_warped(image, landmarks[row], mean) for image, row in zip(even, rows, strict=True)]
        faces.append(np.mean(even, axis=0).round().clip(0, 255).astype(np.uint8))
        places.append(mean)
    return np.stack(faces).reshape(-1, size, size, 3), np.stack(places).astype(np.float32)


def average_light(
    images: UInt8[np.ndarray, "photographs size size 3"], poses: Pose, owners: Int[np.ndarray, "photographs"]
) -> Float[np.ndarray, "size size"]:
    """What light people's faces are in, on average: logarithms of brightness, of one photograph a person."""
    return np.mean([_log_light(images[rows[0]]) for rows in _chosen(poses, owners)], axis=0)


def even_light(
    image: UInt8[np.ndarray, "size size 3"],
    landmarks: Float[np.ndarray, "68 2"],
    mean_light: Float[np.ndarray, "size size"],
) -> Float[np.ndarray, "size size 3"]:
    """The image without light from one side.

    The logarithm of the brightness inside the face is compared with that of the mean face; of the plane that fits the
    difference the slopes are taken out. Its level stays, as it is also the tone of the skin.
    """
    size = image.shape[0]
    inside = _inside(landmarks, size)
    y, x = (np.mgrid[:size, :size] + 0.5) / size * 2 - 1
    plane = np.stack([np.ones_like(x), x, y], axis=-1)
    (_, *slopes), *_ = np.linalg.lstsq(plane[inside], (_log_light(image) - mean_light)[inside], rcond=None)
    correction = (plane[..., 1:] @ slopes).clip(-STEEPEST_LIGHT, STEEPEST_LIGHT)
    return image * np.exp(-correction)[..., None]


def _chosen(poses: Pose, owners: Int[np.ndarray, "photographs"]) -> Iterator[Int[np.ndarray, "_"]]:
    """The photographs that each person's canonical face is made of."""
    good = poses.frontal_and_neutral
    order = np.argsort(owners, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(owners[order])) + 1):
        yield rows[good[rows]] if good[rows].any() else rows[[np.abs(poses.yaw[rows]).argmin()]]


def _warped(image: np.ndarray, start: np.ndarray, goal: np.ndarray) -> Float[np.ndarray, "size size 3"]:
    """The image with the landmarks `start` carried to `goal`."""
    size = image.shape[0]
    start, goal = (torch.from_numpy(np.asarray(points, np.float64)) for points in (start, goal))
    flow = (landmark_spline(start, size) @ (goal - start)).T.reshape(1, 2, size, size)
    return warp(torch.from_numpy(image).permute(2, 0, 1)[None], flow)[0].permute(1, 2, 0).numpy()


def _similarity(points: Float64[np.ndarray, "n 2"], goal: Float64[np.ndarray, "n 2"]) -> tuple[np.ndarray, np.ndarray]:
    """Turn and scale (2, 2) and shift (2,) that bring `points` nearest to `goal`, by least squares."""
    start, end = points.mean(axis=0), goal.mean(axis=0)
    a, b = (points - start).T, (goal - end).T
    cosine, sine = (a * b).sum(), (a[0] * b[1] - a[1] * b[0]).sum()
    turn = np.array([[cosine, -sine], [sine, cosine]]) / (a**2).sum()
    return turn, end - turn @ start


def _log_light(image: UInt8[np.ndarray, "size size 3"]) -> Float[np.ndarray, "size size"]:
    return np.log(image.mean(axis=-1, dtype=np.float64) + 8)  # 8 of 255: black pixels do not decide


def _inside(landmarks: Float[np.ndarray, "68 2"], size: int) -> Bool[np.ndarray, "size size"]:
    """The pixels between jaw and brows."""
    outline = np.concatenate([landmarks[:17], landmarks[26:16:-1]])
    mask = Image.new("1", (size, size))
    ImageDraw.Draw(mask).polygon([tuple(map(float, point)) for point in outline], fill=1)
    return np.array(mask)

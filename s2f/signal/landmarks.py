"""The 68 facial landmarks, and the craniofacial measures of Fig. 5(c).

Landmarks are (x right, y down) pixels in iBUG order: 0-16 jaw from image left to right, 17-26 brows, 27-35
nose, 36-47 eyes, 48-67 mouth. These are Farkas's anthropometric landmarks and the nearest iBUG points:

    n    27      root of the nose             zy   1, 15   widest points of the cheeks
    al   31, 35  sides of the nose            go   4, 12   corners of the jaw
    sn   33      base of the nose             gn   8       lowest point of the chin
    en   39, 42  inner corners of the eyes    ch   48, 54  corners of the mouth
    ex   36, 45  outer corners of the eyes    cph  50, 52  peaks of the upper lip
    ls   51      middle of the upper edge     li   57      middle of the lower edge of the lips
    sto  62, 66  where the lips meet: the midpoint of their inner edges, also if the mouth is open
"""

import numpy as np
from jaxtyping import Float, Float64

MEASURES = (
    "upper_lip_height",
    "philtrum_width",
    "lateral_upper_lip_heights",
    "jaw_width",
    "nose_height",
    "nose_width",
    "labio_oral_region",
    "mandibular_idx",
    "intercanthal_idx",
    "nasal_index",
    "vermilion_height_idx",
    "mouth_face_width_idx",
    "nose_area",
)
NEAR = 0.75  # of the width and height of a face from its middle; half of them is its edge
NOBODY_THERE = "no face lies where its speaker's should"


def nearest(faces: Float[np.ndarray, "faces 68 2"], point: tuple[float, float]) -> Float[np.ndarray, "68 2"] | None:
    """The face at a point (px): the nearest, if the point lies in it or not far beside it.

    Args:
        faces: landmarks of all faces of a picture; NaN where there are none.
        point: x and y.

    Returns:
        Its landmarks; None if there is no such face.
    """
    faces = faces[np.isfinite(faces).all(axis=(1, 2))]
    lowest, highest = faces.min(axis=1, initial=np.inf), faces.max(axis=1, initial=-np.inf)
    away = np.abs((lowest + highest) / 2 - point)
    there = (away <= NEAR * (highest - lowest)).all(axis=1)
    return faces[there][np.hypot(*away[there].T).argmin()] if there.any() else None


def measures(landmarks: Float[np.ndarray, "*faces 68 2"]) -> Float64[np.ndarray, "*faces 13"]:
    """The 13 craniofacial measures of Fig. 5(c), in the order of `MEASURES`: lengths (px), ratios and an area (px^2).

    The paper names them and cites Merler et al., "Diversity in Faces" (2019), but does not define the landmarks; where
    the definition is ambiguous, it is marked "our choice" below. Indices are Farkas's, without his factor of 100.
    """
    points = np.moveaxis(landmarks.astype(np.float64), -2, 0)

    def distance(a, b):
        return np.linalg.norm(points[a] - points[b], axis=-1)

    stomion = (points[62] + points[66]) / 2
    upper_vermilion = np.linalg.norm(points[51] - stomion, axis=-1)
    lower_vermilion = np.linalg.norm(points[57] - stomion, axis=-1)
    jaw_width = distance(4, 12)
    nose_height = distance(27, 33)
    nose_width = distance(31, 35)
    mouth_width = distance(48, 54)
    columns = {
        # sn-sto: base of the nose to where the lips meet.
        "upper_lip_height": np.linalg.norm(points[33] - stomion, axis=-1),
        # cph-cph: between the two ridges under the nose, at the lip.
        "philtrum_width": distance(50, 52),
        # sbal-ls': side of the nose down to the lip's upper edge, mean of both sides (49 and 53: our choice).
        "lateral_upper_lip_heights": (distance(31, 49) + distance(35, 53)) / 2,
        # go-go: between the corners of the jaw; 4 and 12 of the outline (our choice).
        "jaw_width": jaw_width,
        # n-sn: root to base of the nose.
        "nose_height": nose_height,
        # al-al: between the sides of the nose.
        "nose_width": nose_width,
        # ch-ch: width of the mouth, Farkas's main measure of the region of that name (our choice).
        "labio_oral_region": mouth_width,
        # sto-gn / go-go: height of the lower jaw over its width.
        "mandibular_idx": np.linalg.norm(points[8] - stomion, axis=-1) / jaw_width,
        # en-en / ex-ex: inner over outer distance of the eyes.
        "intercanthal_idx": distance(39, 42) / distance(36, 45),
        # al-al / n-sn: width over height of the nose.
        "nasal_index": nose_width / nose_height,
        # ls-sto / sto-li: upper over lower lip, the red part only.
        "vermilion_height_idx": upper_vermilion / lower_vermilion,
        # ch-ch / zy-zy: mouth over cheeks; 1 and 15 of the outline (our choice).
        "mouth_face_width_idx": mouth_width / distance(1, 15),
        # The polygon n, al, sn, al (our choice).
        "nose_area": _polygon_area(points[[27, 31, 33, 35]]),
    }
    return np.stack([columns[name] for name in MEASURES], axis=-1)


def _polygon_area(corners: Float64[np.ndarray, "corners *faces 2"]):
    """Shoelace formula, for corners in order around the polygon."""
    corners = corners - corners[:1]  # coordinates far from the origin would lose precision
    x, y = corners[..., 0], corners[..., 1]
    following = np.roll(corners, -1, axis=0)
    return np.abs((x * following[..., 1] - y * following[..., 0]).sum(axis=0)) / 2

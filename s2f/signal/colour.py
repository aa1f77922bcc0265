"""Skin tone of evenly lit faces as two angles (degrees): ITA (light to dark) and hue (red to yellow).

A single scale from light to dark ignores the second dimension of skin tone (Thong, Joniak & Xiang, ICCV 2023). Lighting
affects both angles more than skin does: measure canonical faces, not photographs.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw

ANGLES = ("ita", "hue")
# iBUG points of the triangle on each cheek: the outline below the eye, the lower lid, the side of the nose.
CHEEKS = ((2, 41, 31), (14, 46, 35))
# Linear sRGB to XYZ, and the D65 white point (IEC 61966-2-1).
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = XYZ.sum(axis=1)


def angles(
    images: Sequence[UInt8[np.ndarray, "_ _ 3"]], landmarks: Float[np.ndarray, "faces 68 2"]
) -> Float[np.ndarray, "faces 2"]:
    """ITA and hue (degrees) of the median colour of both cheeks, given sRGB images and landmarks (px).

    Both are NaN for a face whose landmarks are not all finite.
    """
    tones = np.full((len(images), 2), np.nan)
    for tone, image, points in zip(tones, images, landmarks, strict=True):
        if np.isfinite(points).all():
            colour = np.median(lab(image[_cheeks(image, points)]), axis=0)
            tone[:] = typology_angle(colour), np.degrees(np.arctan2(colour[2], colour[1]))
    return tones


def typology_angle(colours: Float[np.ndarray, "*any 3"]) -> Float[np.ndarray, "*any"] | float:
    """Individual typology angle (ITA) of CIE L*a*b* colours, degrees: atan((L* - 50) / b*)."""
    return np.degrees(np.arctan2(colours[..., 0] - 50, colours[..., 2]))


def lab(colours: UInt8[np.ndarray, "*any 3"]) -> Float[np.ndarray, "*any 3"]:
    """Convert 8-bit sRGB colours to CIE L*a*b* (D65)."""
    gamma = colours / 255
    linear = np.where(gamma <= 0.04045, gamma / 12.92, ((gamma + 0.055) / 1.055) ** 2.4)
    xyz = linear @ XYZ.T / WHITE
    x, y, z = np.moveaxis(np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def _cheeks(
    image: UInt8[np.ndarray, "height width 3"], points: Float[np.ndarray, "68 2"]
) -> Bool[np.ndarray, "height width"]:
    mask = Image.new("1", image.shape[1::-1])
    for corners in CHEEKS:
        ImageDraw.Draw(mask).polygon([tuple(points[corner]) for corner in corners], fill=1)
    return np.array(mask)

"""Reading and writing image files."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from s2f.study.paths import UserError, replacing


def save_png(image: UInt8[np.ndarray, "height width 3"], path: str | Path) -> None:
    """Write an RGB image as PNG; equal pixels give equal files."""
    with replacing(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG")


def read_image(path: str | Path) -> UInt8[np.ndarray, "height width 3"]:
    """Read any image that Pillow supports as RGB, rotated according to its EXIF orientation.

    Raises:
        UserError: If the file is missing or not an image.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no picture {path}: check the name.")
    try:
        with Image.open(path) as image:
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, Image.DecompressionBombError):  # unidentified and truncated images raise OSError
        raise UserError(f"{path} is not a picture that Pillow can read: convert it to PNG first.") from None

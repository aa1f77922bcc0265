"""Pictures on disk."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from s2f.study.paths import UserError, replacing


def save_png(image: UInt8[np.ndarray, "height width 3"], path: str | Path) -> None:
    """Write RGB as PNG; the same pixels give the same file."""
    with replacing(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG")


def read_image(path: str | Path) -> UInt8[np.ndarray, "height width 3"]:
    """Any picture Pillow reads, as upright RGB; UserError if it is missing or no picture."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no picture {path}: check the name.")
    try:
        with Image.open(path) as image:
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, Image.DecompressionBombError):  # Pillow's "unidentified" and "truncated" are OSErrors
        raise UserError(f"{path} is not a picture that Pillow can read: convert it to PNG first.") from None

"""Reading and writing image files."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from s2f.signal import media
from s2f.study.paths import UserError, replacing

# Formats that Pillow decodes by itself: for others, such as EPS, it starts programs.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
GAP = 8  # px between the pictures of a sheet
FRAME = 64  # grey of the frame around the first


def save_png(image: UInt8[np.ndarray, "height width 3"], path: str | Path, **texts: str) -> None:
    """Write an RGB image as PNG; equal pixels and texts give equal files.

    Args:
        image: the pixels.
        path: of the file.
        texts: its metadata, by keywords of the PNG standard such as `Description` or `Software`.
    """
    metadata = PngInfo()
    for keyword, text in texts.items():
        metadata.add_text(keyword, text)
    with replacing(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG", pnginfo=metadata)


def read_image(path: str | Path) -> UInt8[np.ndarray, "height width 3"]:
    """Read a picture as RGB, rotated according to its EXIF orientation; of a video its first frame.

    Raises:
        UserError: if the file is missing, is neither (its content counts, not its name), or is larger than
            `media.MOST_PIXELS`.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no picture {path}: check the name.")
    try:
        with Image.open(path, formats=FORMATS) as image:
            media.refuse_bomb(path, *image.size)
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except UserError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):  # Pillow's limits are beyond ours
        raise UserError(f"{path} has more than {media.MOST_PIXELS} pixels: make it smaller.") from None
    except UnidentifiedImageError:
        return media.frame(path)
    except Exception:  # of a damaged file Pillow's decoders raise OSError, and SyntaxError, ValueError, TypeError, ...
        raise UserError(f"{path} is not a picture that Pillow can read: convert it to PNG first.") from None


def sheet(pictures: Sequence[UInt8[np.ndarray, "size size 3"]]) -> UInt8[np.ndarray, "height width 3"]:
    """Pictures of one size in rows on white, as nearly square as can be; the first has a dark frame."""
    columns = math.ceil(math.sqrt(len(pictures)))
    step = len(pictures[0]) + GAP
    canvas = np.full((math.ceil(len(pictures) / columns) * step + GAP, columns * step + GAP, 3), 255, np.uint8)
    for place, picture in enumerate(pictures):
        top, left = (GAP + step * index for index in divmod(place, columns))
        if place == 0:
            canvas[: top + step - GAP // 2, : left + step - GAP // 2] = FRAME
        canvas[top : top + len(picture), left : left + len(picture)] = picture
    return canvas

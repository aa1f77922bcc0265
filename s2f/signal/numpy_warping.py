"""The warp of `s2f.signal.warping` in NumPy: for pictures that are drawn where torch takes too long to import."""

import numpy as np
from jaxtyping import Float, Float32

INVERSIONS = 4  # as many as in `s2f.signal.warping`


def warp(
    image: Float32[np.ndarray, "height width channels"], flow: Float32[np.ndarray, "height width 2"]
) -> Float32[np.ndarray, "height width channels"]:
    """The image with the content of each pixel p moved to p + flow(p), as `s2f.signal.warping.warp` does it.

    Args:
        image: values of any scale; beyond its border the outermost pixels are repeated.
        flow: displacement (x, y) of each pixel, px; its slope must stay below 1 px per px.
    """
    y, x = np.indices(image.shape[:2], dtype=np.float32)
    back = flow
    for _ in range(INVERSIONS):
        back = sample(flow, x - back[..., 0], y - back[..., 1])
    return sample(image, x - back[..., 0], y - back[..., 1])


def sample(
    image: Float32[np.ndarray, "height width channels"],
    x: Float[np.ndarray, "*places"],
    y: Float[np.ndarray, "*places"],
) -> Float32[np.ndarray, "*places channels"]:
    """Bilinear values of the image at places (px; the first pixel's centre is at (0, 0)); the border is repeated."""
    height, width, channels = image.shape
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    # The last pixel is the right neighbour of a place on it, with weight one.
    left, top = np.minimum(x.astype(np.intp), width - 2), np.minimum(y.astype(np.intp), height - 2)
    right_part, lower_part = (x - left).astype(np.float32), (y - top).astype(np.float32)
    first, sampled = top * width + left, np.empty((*x.shape, channels), dtype=np.float32)
    for channel in range(channels):  # `take` of one channel after another costs a quarter of indexing them together
        pixels = image[..., channel].ravel()
        upper, lower = pixels.take(first), pixels.take(first + width)
        upper += right_part * (pixels.take(first + 1) - upper)
        lower += right_part * (pixels.take(first + width + 1) - lower)
        sampled[..., channel] = upper + lower_part * (lower - upper)
    return sampled

"""Smooth warps of images: every pixel follows the landmarks, while the border of the image stays.

Coordinates are pixels, x right and y down, and the first pixel's centre is at (0.5, 0.5).
"""

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn import functional as F

BORDER_INTERVALS = 4  # fixed points on each side of the image: its corners and three between
# Landmarks that touch in the mean face (the inner lips) may still be sent apart. An exact spline would tear
# the image there; this much slack, in half image sizes, is far below what moves a lone landmark.
SMOOTHING = 1e-3
INVERSIONS = 4  # rounds that turn "where it goes" into "where it came from", see `warp`


def warp(
    image: Float[Tensor, "batch channels size size"], flow: Float[Tensor, "batch 2 size size"]
) -> Float[Tensor, "batch channels size size"]:
    """The image with the content of each pixel p moved to p + flow(p); differentiable in both arguments.

    image: values of any scale; beyond its border the outermost pixels are repeated.
    flow: displacement (x, y) of each pixel, px. Its slope must stay below 1 px per px: sampling needs the inverse
        displacement v(q) = flow(q - v(q)), found by an iteration whose error shrinks by the slope in each round.
    """
    size = int(image.shape[-1])  # where a graph is traced, sizes are tensors
    places = _pixel_centres(size).to(flow).unflatten(0, (size, size))

    def sample(values: Tensor, moved: Tensor) -> Tensor:
        grid = (places - moved.permute(0, 2, 3, 1)) * (2 / size) - 1
        return F.grid_sample(values, grid, padding_mode="border", align_corners=False)

    back = flow
    for _ in range(INVERSIONS):
        back = sample(flow, back)
    return sample(image, back)


def landmark_spline(landmarks: Float64[Tensor, "landmarks 2"], size: int) -> Float64[Tensor, "pixels landmarks"]:
    """The matrix that turns displacements of landmarks into the displacement of every pixel (for `warp`).

    landmarks: where they are before they move, px.
    size: side of the image, px; its size**2 pixels come row by row from the top.

    Points along the border of the image stay in place. The matrix depends on where the landmarks start, not on where
    they go, so it is solved once, in float64; each face then costs one product.
    """
    steps = torch.linspace(0, size, BORDER_INTERVALS + 1, dtype=torch.float64)
    square = torch.cartesian_prod(steps, steps)
    border = square[((square == 0) | (square == size)).any(dim=1)]
    control = torch.cat([landmarks, border])
    # In half image sizes from the middle, the linear part and the distances are of one scale.
    control, pixels = (2 * points / size - 1 for points in (control, _pixel_centres(size).double()))
    return polyharmonic_matrix(control, pixels, SMOOTHING)[:, : len(landmarks)]


def polyharmonic_matrix(
    control: Float64[Tensor, "controls 2"], query: Float64[Tensor, "queries 2"], smoothing: float
) -> Float64[Tensor, "queries controls"]:
    """The matrix that turns values at control points into those of their order-1 polyharmonic spline at query points.

    The spline is a sum of cones -|x - control| and a linear function, which it reproduces exactly; `smoothing` is added
    to the diagonal of the system. SciPy's RBFInterpolator (kernel "linear") solves the same, but rounds one in twenty
    entries of the float32 matrix that is saved with a face decoder differently.
    """
    count = len(control)
    system = control.new_zeros(count + 3, count + 3)
    system[:count, :count] = smoothing * torch.eye(count) - _distances(control, control)
    system[:count, count:] = _linear(control)
    system[count:, :count] = _linear(control).T
    basis = torch.cat([-_distances(query, control), _linear(query)], dim=1)
    # basis @ inverse(system), whose last three columns would multiply zeros
    return torch.linalg.solve(system, basis, left=False)[:, :count]


def _distances(a: Tensor, b: Tensor) -> Tensor:
    # By default cdist expands the square, which costs half of the digits where points are close.
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def _linear(points: Tensor) -> Tensor:
    return torch.cat([torch.ones_like(points[:, :1]), points], dim=1)


def _pixel_centres(size: int) -> Float[Tensor, "pixels 2"]:
    y, x = torch.meshgrid(*2 * [torch.arange(size) + 0.5], indexing="ij")
    return torch.stack([x, y], dim=2).flatten(0, 1)

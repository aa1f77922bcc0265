"""Smooth warps: the spline against SciPy's, the warp against known motions."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mean_face import mean_face
from scipy.interpolate import RBFInterpolator
from torch.autograd import gradcheck
from torch.nn.functional import grid_sample

from s2f.signal.warping import landmark_spline, polyharmonic_matrix, warp

SIZE = 64


def pixel_grid(size):
    """An image whose two channels are the x and y of each pixel's centre."""
    y, x = torch.meshgrid(*2 * [torch.arange(size) + 0.5], indexing="ij")
    return torch.stack([x, y])[None]


def look(image, points):
    """Values of an image at points in pixels."""
    grid = (2 * points / image.shape[-1] - 1)[None, :, None]
    return grid_sample(image, grid, padding_mode="border", align_corners=False)[0, :, :, 0].T


def dense(displacement, size=SIZE):
    """The flow of a whole image whose mean landmarks move by `displacement`."""
    return (landmark_spline(mean_face(size).double(), size).float() @ displacement).T.reshape(1, 2, size, size)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(5, 40), st.sampled_from([0.0, 1e-3, 0.1]))
def test_the_spline_is_scipy_s(seed, controls, smoothing):
    rng = np.random.default_rng(seed)
    control, query = rng.uniform(-1, 1, (controls, 2)), rng.uniform(-1, 1, (50, 2))
    values = rng.standard_normal((controls, 2))
    expected = RBFInterpolator(control, values, kernel="linear", degree=1, smoothing=smoothing)(query)
    found = polyharmonic_matrix(torch.from_numpy(control), torch.from_numpy(query), smoothing).numpy() @ values
    # float64, and systems of condition up to 1e5
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_the_spline_reproduces_linear_functions(rng):
    control, query = (torch.from_numpy(rng.uniform(-1, 1, (n, 2))) for n in (20, 30))
    slope, offset = torch.from_numpy(rng.standard_normal((2, 2))), torch.tensor([0.3, -2.0])
    found = polyharmonic_matrix(control, query, 0.1) @ (control @ slope + offset)
    torch.testing.assert_close(found, query @ slope + offset)


def test_no_displacement_leaves_the_image_alone(rng):
    image = torch.from_numpy(rng.random((2, 3, SIZE, SIZE), dtype="float32"))
    # Places are divided by the size and multiplied again: an error of float32 of 64 px, against neighbours up
    # to 1 apart.
    torch.testing.assert_close(warp(image, torch.zeros(2, 2, SIZE, SIZE)), image, rtol=0, atol=2e-5)


def test_a_uniform_flow_shifts_the_image(rng):
    image = torch.from_numpy(rng.random((1, 3, SIZE, SIZE), dtype="float32"))
    flow = torch.tensor([3.0, -2.0]).reshape(1, 2, 1, 1).expand(1, 2, SIZE, SIZE)
    moved = warp(image, flow)
    torch.testing.assert_close(moved[:, :, :-2, 3:], image[:, :, 2:, :-3], rtol=0, atol=2e-5)


def test_the_border_of_the_image_stays_while_the_face_moves():
    flow = dense(torch.tensor([4.0, 2.0]).expand(68, 2))
    border = torch.cat([flow[..., 0, :], flow[..., -1, :], flow[..., 0], flow[..., -1]], dim=-1)
    # Between the fixed points, and half a pixel inside, the border gives way a little.
    assert border.abs().max() < 0.25 * 4.0
    inside = look(flow, mean_face(SIZE)[31:36])
    torch.testing.assert_close(inside, torch.tensor([4.0, 2.0]).expand(5, 2), rtol=0, atol=0.1)


def test_an_affine_motion_of_the_landmarks_is_that_of_the_face():
    matrix, shift = torch.tensor([[1.10, -0.03], [0.03, 1.12]]), torch.tensor([1.5, -2.0])
    mean, middle = mean_face(SIZE), SIZE / 2
    moved = (mean - middle) @ matrix.T + middle + shift
    came_from = warp(pixel_grid(SIZE), dense(moved - mean))
    # The inner face: between brows, jaw and chin, away from the outline where the fixed border pulls.
    inner = mean[17:].mean(dim=0) + 0.7 * (mean[17:] - mean[17:].mean(dim=0))
    found = look(came_from, (inner - middle) @ matrix.T + middle + shift)
    # The motion is up to 5 px. The spline is smooth but not affine between the landmarks: a few hundredths of
    # a pixel.
    torch.testing.assert_close(found, inner, rtol=0, atol=0.1)


def test_painted_landmarks_arrive_at_the_predicted_ones():
    mean = mean_face(SIZE)
    # A longer, narrower, slightly turned face with a raised brow.
    target = SIZE / 2 + (mean - SIZE / 2) @ torch.tensor([[0.92, 0.05], [-0.04, 1.08]])
    target[17:22, 1] -= 1
    came_from = look(warp(pixel_grid(SIZE), dense(target - mean)), target)
    moved, error = (target - mean).norm(dim=1), (came_from - mean).norm(dim=1)
    assert moved.mean() > 1
    # Bilinear sampling of a flow with a cone at each landmark, and four rounds of inversion.
    assert error.mean() < 0.1 and error.max() < 0.4


def test_landmarks_that_touch_do_not_upset_the_spline(rng):
    mean = mean_face(SIZE)
    mean[61:64] = mean[65:68].flip(0)  # inner lips closed exactly
    matrix = landmark_spline(mean.double(), SIZE)
    # Each landmark's own influence is at most a little above 1: nothing is amplified in float32.
    assert matrix.abs().max() < 1.5


def test_the_gradient_of_the_warp_is_that_of_finite_differences(rng):
    image = torch.from_numpy(rng.random((1, 2, 4, 4))).requires_grad_()
    # Random flows meet the kinks of bilinear sampling with probability 0.
    flow = torch.from_numpy(rng.uniform(-0.4, 0.4, (1, 2, 4, 4))).requires_grad_()
    assert gradcheck(warp, (image, flow), eps=1e-7, atol=1e-4)

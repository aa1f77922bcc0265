"""The warp without torch is the warp with it."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.nn.functional import grid_sample

from s2f.signal import numpy_warping, warping

SIZE = 24


def channels_first(image):
    return torch.from_numpy(image).permute(2, 0, 1)[None]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 3))
def test_the_warp_is_that_of_torch(seed, size):
    rng = np.random.default_rng(seed)
    image = rng.random((SIZE, SIZE, 3), dtype=np.float32)
    y, x = np.indices((SIZE, SIZE), dtype=np.float32) / SIZE
    # Smooth, with a slope below 1 px per px: up to 3 px, and less than half a wave in the picture.
    waves = [np.sin(3 * x + phase) * np.cos(3 * y) for phase in rng.uniform(0, 6, 2)]
    flow = (size * np.stack(waves, axis=2)).astype(np.float32)
    expected = warping.warp(channels_first(image), channels_first(flow))[0].permute(1, 2, 0).numpy()
    # Places of up to 24 px in float32, against neighbours up to 1 apart.
    np.testing.assert_allclose(numpy_warping.warp(image, flow), expected, rtol=0, atol=1e-4)


places = arrays(np.float32, 5, elements=st.floats(-4, SIZE + 4, width=32))


@settings(max_examples=50, deadline=None)
@given(places, places)
def test_samples_are_those_of_torch(x, y):
    image = np.random.default_rng(1).random((SIZE, SIZE, 2), dtype=np.float32)
    grid = (2 * torch.from_numpy(np.stack([x, y], axis=1)) + 1) / SIZE - 1
    expected = grid_sample(channels_first(image), grid[None, :, None], padding_mode="border", align_corners=False)
    np.testing.assert_allclose(numpy_warping.sample(image, x, y), expected[0, :, :, 0].T, rtol=0, atol=1e-4)

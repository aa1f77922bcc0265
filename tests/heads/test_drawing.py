"""Linear face decoders draw faces that they have not seen, and no decoder draws its own people."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from out_of_fold import out_of_fold

from s2f.heads import drawing, ridge
from s2f.models import linear_decoder
from s2f.models.linear_decoder import LinearDecoder
from s2f.signal.warping import landmark_spline, warp
from s2f.study.paths import UserError

SIZE = 32


@pytest.fixture
def painted(rng):
    """Faces that are linear in three numbers: one paints them, two move landmarks; and features of their pictures."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    features = rng.normal(size=(80, 3))
    mean = rng.uniform(0.2, 0.8, (68, 2)) * SIZE
    moves = 0.5 * np.stack([np.ones((68, 2)), (mean - SIZE / 2) / SIZE * 4])
    landmarks = mean + np.tensordot(features[:, 1:], moves, 1)
    textures = 0.5 + 0.3 * np.sin(6 * x + 4 * y) + 0.08 * features[:, 0, None, None] * np.cos(9 * y)
    flow = landmark_spline(torch.from_numpy(mean), SIZE) @ torch.from_numpy(landmarks - mean)
    flow = flow.mT.unflatten(2, (SIZE, SIZE)).float()
    images = warp(torch.from_numpy(textures).float()[:, None].expand(-1, 3, -1, -1), flow)
    images = (255 * images).round().byte().permute(0, 2, 3, 1).numpy()
    return features, images, landmarks, features + 1


def apart(drawn, images):
    return np.abs(drawn.astype(float) - images).mean()


def test_a_linear_decoder_draws_faces_that_it_has_not_seen(painted):
    features, images, landmarks, _ = painted
    decoder = LinearDecoder.fit(*(part[:60] for part in painted), components=5, penalty=0.01, moves=5)
    drawn = decoder.draw(features[60:])
    assert drawn.shape == images[60:].shape
    # Two warps and two roundings lie between: some steps of 255, while these faces differ from their mean by many.
    assert apart(drawn, images[60:]) < 2.5 < apart(images[:60].mean(axis=0), images[60:]) / 3
    # A twelfth of a pixel by which the mean face of these is not that of the others
    np.testing.assert_allclose(decoder.landmarks(decoder.coefficients(features[60:])), landmarks[60:], atol=0.1)


def test_faces_are_exaggerated_from_the_mean_and_stay_between_black_and_white(painted):
    decoder = LinearDecoder.fit(*painted, components=5, penalty=0.01, moves=5)
    mean, one = painted[0].mean(axis=0), painted[0][:1]
    assert np.array_equal(decoder.draw(one, 1.5), decoder.draw(one + 1.5 * (one - mean)))
    far = decoder.draw(one, 400.0)
    assert far.min() == 0 and far.max() == 255


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 10))
def test_analysis_by_synthesis_is_the_minimum(seed, penalty):
    rng = np.random.default_rng(seed)
    regression, reader, feature = rng.normal(size=(4, 6)), rng.normal(size=(6, 4)), rng.normal(size=4)

    def cost(c):
        return np.square(c @ reader - feature).sum() + penalty * np.square(c - feature @ regression).sum()

    found = feature @ linear_decoder.analysis_by_synthesis(regression, reader, penalty)
    # A quadratic in six numbers: any step away costs at least the penalty times its square.
    step = rng.normal(size=6)
    assert cost(found + step) - cost(found) >= penalty * np.square(step).sum() * (1 - 1e-6)


def test_a_decoder_is_its_arrays(painted):
    decoder = LinearDecoder.fit(*painted, components=5, penalty=0.01, moves=5)
    again = LinearDecoder.of(decoder.arrays() | {"another": np.zeros(1)})
    assert np.array_equal(again.draw(painted[0]), decoder.draw(painted[0]))


def test_drawing_needs_neither_torch_nor_scipy_nor_scikit_learn():
    left_out = ("torch", "scipy", "sklearn", "pandas")
    code = f"import sys; import s2f.models.linear_decoder; print([m for m in {left_out} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_drawn_faces_are_of_other_peoples_decoders(painted):
    features, images, landmarks, read = painted
    fold = ridge.folds(np.arange(80), 4, seed=0)

    def draw(faces):
        kinds = {"as they are": features, "alike": np.zeros_like(features)}
        return drawing.draw(kinds, faces, images, landmarks, read, fold, components=5, penalty=0.01)

    drawn = draw(features)
    out_of_fold(lambda faces: draw(faces)["as they are"].reshape(80, -1), features, fold)
    assert apart(drawn["as they are"], images) < 2.5 < apart(images.mean(axis=0), images) / 3
    one, *more = drawn["alike"][fold == 0]
    assert all(np.array_equal(one, other) for other in more)


def test_too_few_faces_is_one_sentence(painted):
    with pytest.raises(UserError, match="30 faces are too few for 40 components"):
        LinearDecoder.fit(*(part[:30] for part in painted), components=20, penalty=0.01)

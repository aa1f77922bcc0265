"""Linear face decoders draw faces that they have not seen, and no decoder draws its own people."""

import numpy as np
import pytest
import torch
from out_of_fold import out_of_fold

from s2f.heads import drawing, ridge
from s2f.models.linear_decoder import LinearDecoder
from s2f.signal.warping import landmark_spline, warp
from s2f.study.paths import UserError

SIZE = 32


@pytest.fixture
def painted(rng):
    """Faces that are linear in three numbers: one paints them, two move landmarks."""
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
    return features, images, landmarks


def apart(drawn, images):
    return np.abs(drawn.astype(float) - images).mean()


def test_a_linear_decoder_draws_faces_that_it_has_not_seen(painted):
    features, images, landmarks = painted
    decoder = LinearDecoder.fit(features[:60], images[:60], landmarks[:60], components=5)
    drawn = decoder.draw(features[60:])
    assert drawn.shape == images[60:].shape
    # Two warps and two roundings lie between: some steps of 255, while these faces differ from their mean by many.
    assert apart(drawn, images[60:]) < 2.5 < apart(images[:60].mean(axis=0), images[60:]) / 3


def test_drawn_faces_are_of_other_peoples_decoders(painted):
    features, images, landmarks = painted
    fold = ridge.folds(np.arange(80), 4, seed=0)

    def draw(faces):
        kinds = {"as they are": features, "alike": np.zeros_like(features)}
        return drawing.draw(kinds, faces, images, landmarks, fold, components=5)

    drawn = draw(features)
    out_of_fold(lambda faces: draw(faces)["as they are"].reshape(80, -1), features, fold)
    assert apart(drawn["as they are"], images) < 2.5
    one, *more = drawn["alike"][fold == 0]
    assert all(np.array_equal(one, other) for other in more)


def test_too_few_faces_is_one_sentence(painted):
    features, images, landmarks = painted
    with pytest.raises(UserError, match="10 faces are too few for 10 components"):
        LinearDecoder.fit(features[:10], images[:10], landmarks[:10], components=10)

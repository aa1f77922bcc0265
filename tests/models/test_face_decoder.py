"""The face decoder: what is drawn, and with which settings."""

import pytest
import torch
from mean_face import mean_face
from pydantic import ValidationError

from s2f.models.face_decoder import PAPER, SMALL, FaceDecoder, FaceDecoderConfig
from s2f.study.paths import UserError

SIZE = SMALL.size
TINY = FaceDecoderConfig(feature_dim=4, base=4, channels=(3, 2), landmark_hidden=5)


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    decoder = FaceDecoder(SMALL)
    decoder.set_mean(mean_face(SIZE))
    return decoder


@pytest.mark.parametrize(("config", "size"), [(PAPER, 224), (SMALL, 64)])
def test_what_is_drawn_has_the_size_of_the_face(config, size):
    assert config.size == size
    decoder = FaceDecoder(config)
    decoder.set_mean(mean_face(size))
    with torch.inference_mode():
        drawn = decoder(torch.zeros(1, config.feature_dim))
        assert decoder.first(torch.zeros(1, config.feature_dim)).shape == (1, 1000)
    assert drawn.image.shape == drawn.texture.shape == (1, 3, size, size)
    assert 0 <= drawn.image.min() and drawn.image.max() <= 1


def test_an_untrained_decoder_draws_mean_landmarks_and_does_not_warp(decoder):
    drawn = decoder(torch.randn(2, SMALL.feature_dim))
    assert torch.equal(drawn.landmarks, mean_face(SIZE).expand(2, 68, 2))
    torch.testing.assert_close(drawn.image, drawn.texture, rtol=0, atol=2e-5)


def test_the_landmarks_learn_from_the_image(decoder):
    drawn = decoder(torch.randn(2, SMALL.feature_dim))
    drawn.image.square().mean().backward()
    assert decoder.landmarks[-1].weight.grad.abs().sum() > 0


def test_the_first_layer_is_linear_in_the_feature(decoder):
    a, b = torch.randn(2, 3, SMALL.feature_dim)
    torch.testing.assert_close(decoder.first(a + b) - decoder.first(a), decoder.first(b) - decoder.first(0 * b))


def test_a_decoder_without_mean_landmarks_says_so():
    with pytest.raises(UserError, match="set_mean"):
        FaceDecoder(TINY)(torch.zeros(1, 4))


def test_the_mean_landmarks_travel_with_the_weights():
    decoder, copy = FaceDecoder(TINY), FaceDecoder(TINY)
    decoder.set_mean(mean_face(TINY.size))
    copy.load_state_dict(decoder.state_dict())
    feature = torch.randn(1, 4)
    assert torch.equal(copy(feature).image, decoder(feature).image)


@pytest.mark.parametrize("change", [{"channels": (4,)}, {"base": 0}, {"size": 64}])
def test_impossible_settings_are_refused(change):
    with pytest.raises(ValidationError):
        FaceDecoderConfig.model_validate(SMALL.model_dump() | change)

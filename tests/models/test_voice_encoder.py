"""The voice encoder: Table 1 of the paper layer by layer, and any duration from the shortest on."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn
from torch.nn.functional import cosine_similarity
from torch.utils.flop_counter import FlopCounterMode

from s2f.models.voice_encoder import PAPER, SMALL, Conv, VoiceEncoder, VoiceEncoderConfig, for_inference
from s2f.study.paths import UserError

FRAMES = {3: 298, 6: 598}  # of a clip of so many seconds

# Table 1 with no padding: channels, frames x bins of a 6-s and of a 3-s clip, after each convolution.
TABLE_1 = [
    (64, (595, 254), (295, 254)),
    (64, (592, 251), (292, 251)),
    (128, (589, 248), (289, 248)),
    (128, (291, 245), (141, 245)),
    (128, (142, 242), (67, 242)),
    (256, (68, 239), (30, 239)),
    (512, (31, 236), (12, 236)),
    (512, (14, 117), (5, 117)),
    (512, (6, 57), (1, 57)),
]
# What enters convolutions 4 to 7: after the pooling.
POOLED = [((294, 248), (144, 248)), ((145, 245), (70, 245)), ((71, 242), (33, 242)), ((34, 239), (15, 239))]


@pytest.fixture
def paper():
    """The paper's encoder on the device without memory: shapes and counts only."""
    with torch.device("meta"):
        return VoiceEncoder(PAPER)


def shapes(encoder, frames):
    """Shapes of what enters and what leaves each convolution."""
    seen = []
    hooks = [
        conv.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0].shape[1:], output.shape[1:])))
        for conv in encoder.convs
    ]
    encoder(torch.zeros(1, 2, frames, 257, device=encoder.fc1.weight.device))
    for hook in hooks:
        hook.remove()
    return [tuple(inputs) for inputs, _ in seen], [tuple(outputs) for _, outputs in seen]


@pytest.mark.parametrize(("seconds", "column"), [(6, 0), (3, 1)])
def test_every_layer_has_the_shape_of_table_1(paper, seconds, column):
    inputs, outputs = shapes(paper, FRAMES[seconds])
    assert outputs == [(channels, *sizes[column]) for channels, *sizes in TABLE_1]
    assert [size[1:] for size in inputs[3:7]] == [sizes[column] for sizes in POOLED]
    assert paper.fc1.in_features == 512 * 57


def test_the_paper_s_parameters_are_counted_exactly(paper):
    trainable = sum(parameter.numel() for parameter in paper.parameters())
    running = sum(buffer.numel() for buffer in paper.buffers() if buffer.is_floating_point())
    assert trainable == 148_062_976
    assert trainable + running == 148_067_584


def test_the_paper_s_arithmetic_is_178_gflop_a_clip(paper):
    with FlopCounterMode(display=False) as counter:
        paper(torch.zeros(1, 2, FRAMES[6], 257, device="meta"))
    assert counter.get_total_flops() / 1e9 == pytest.approx(178.4, abs=0.05)


def test_the_paper_needs_259_frames(paper):
    assert PAPER.min_frames == 259
    paper(torch.zeros(1, 2, 259, 257, device="meta"))
    # 258 hops of 10 ms and a window of 25 ms make 2.605 s.
    with pytest.raises(UserError, match=r"2\.60 s is too short .* 2\.605 s or more"):
        paper(torch.zeros(1, 2, 258, 257, device="meta"))


LAYERS = st.builds(Conv, channels=st.just(2), stride=st.integers(1, 2), pool=st.booleans())


@settings(max_examples=25, deadline=None)
@given(st.lists(LAYERS, max_size=4), st.integers(1, 2))
def test_min_frames_is_the_fewest_that_leave_one(layers, stride):
    convs = (*layers, Conv(channels=2, stride=stride))
    config = VoiceEncoderConfig(input="complex", convs=convs, hidden_dim=2, feature_dim=2)
    with torch.device("meta"):
        encoder = VoiceEncoder(config)
        assert shapes(encoder, config.min_frames)[1][-1] == (2, 1, config.bins)
    with pytest.raises(UserError):
        encoder(torch.zeros(1, 2, config.min_frames - 1, 257, device="meta"))


def test_the_blocks_are_conv_relu_bn_and_the_last_is_averaged_first(rng):
    config = VoiceEncoderConfig(
        input="complex", convs=(Conv(channels=3, pool=True), Conv(channels=4)), hidden_dim=5, feature_dim=6
    )
    encoder = VoiceEncoder(config)
    (conv1, conv2), (norm1, norm2) = encoder.convs, encoder.norms
    reference = nn.Sequential(
        conv1, nn.ReLU(), norm1, nn.MaxPool2d((2, 1)),
        conv2, nn.AdaptiveAvgPool2d((1, None)), nn.ReLU(), norm2,
        nn.Flatten(), encoder.fc1, nn.ReLU(), encoder.fc2,
    )  # fmt: skip
    spectrogram = torch.from_numpy(rng.standard_normal((2, 2, 30, 257), dtype="float32"))
    # The two averages add in different orders: float32 rounding of numbers of order 1.
    torch.testing.assert_close(encoder(spectrogram), reference(spectrogram), rtol=0, atol=1e-5)


def test_without_batch_norm_there_is_none():
    config = SMALL.model_copy(update={"batch_norm": False})
    encoder = VoiceEncoder(config)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in encoder.modules())
    assert encoder(torch.ones(1, 2, SMALL.min_frames, 257)).shape == (1, 128)


def test_the_magnitude_input_does_not_hear_phase(rng):
    encoder = VoiceEncoder(SMALL).eval()
    re, im = torch.from_numpy(rng.standard_normal((2, 1, 120, 257), dtype="float32"))
    turned = torch.stack([-im, re], dim=1)  # by a quarter
    torch.testing.assert_close(encoder(turned), encoder(torch.stack([re, im], dim=1)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("frames", [94, 298, 301, 598])
def test_any_duration_gives_one_feature(frames):
    assert SMALL.min_frames == 94  # 0.955 s
    assert VoiceEncoder(SMALL).eval()(torch.ones(2, 2, frames, 257)).shape == (2, 128)


def test_digital_silence_gives_finite_features_and_gradients():
    encoder = VoiceEncoder(SMALL)
    encoder(torch.zeros(2, 2, 120, 257)).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in encoder.parameters())


@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_keeps_the_direction_of_the_feature(rng, autocast):
    torch.manual_seed(0)
    encoder = VoiceEncoder(SMALL).eval()
    spectrogram = torch.from_numpy(rng.standard_normal((2, 2, 298, 257), dtype="float32"))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        half = encoder if autocast else for_inference(encoder, torch.bfloat16)
        found = half(spectrogram)
    assert found.dtype == torch.float32
    # 8 bits of mantissa: a relative error of 2^-9 a layer, and 1 - cos is half its square, about 1e-5.
    assert cosine_similarity(found, encoder(spectrogram)).min() > 0.9999
    assert encoder.fc1.weight.dtype == torch.float32


def test_channels_last_computes_the_same(rng):
    encoder = VoiceEncoder(SMALL)
    spectrogram = torch.from_numpy(rng.standard_normal((2, 2, 120, 257), dtype="float32"))
    fast = for_inference(encoder, torch.float32)
    assert fast.convs[1].weight.is_contiguous(memory_format=torch.channels_last)
    # Sums in another order.
    torch.testing.assert_close(fast(spectrogram), encoder.eval()(spectrogram), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"convs": [{"channels": 4, "stride": 4}] * 5}, "leave nothing of the 257 frequency bins"),
        ({"convs": [{"channels": 4, "pool": True}]}, "takes no pool"),
        ({"convs": []}, "convs"),
        ({"drop": 0.5}, "drop"),
    ],
)
def test_impossible_settings_are_refused(change, message):
    with pytest.raises(ValidationError, match=message):
        VoiceEncoderConfig.model_validate(SMALL.model_dump() | change)

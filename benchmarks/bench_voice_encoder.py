"""CPU time of the voice encoder on a clip of 6 s: the paper's in two arithmetics, and the small one."""

import time

import pytest
import torch
from torch.nn.functional import cosine_similarity

from s2f.models.voice_encoder import PAPER, SMALL, VoiceEncoder, for_inference

FRAMES = 598  # of a 6-s clip


@pytest.fixture(scope="module")
def clip():
    return torch.randn(1, 2, FRAMES, 257, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def paper():
    """The paper's encoder with random weights, which cost what trained ones do."""
    torch.manual_seed(0)
    return VoiceEncoder(PAPER).eval()


@pytest.mark.benchmark(group="paper's encoder", timer=time.process_time)
def test_paper_encoder_plain(benchmark, paper, clip):
    with torch.inference_mode():
        benchmark.pedantic(paper, (clip,), rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group="paper's encoder", timer=time.process_time)
def test_paper_encoder(benchmark, paper, clip):
    encoder = for_inference(paper, torch.bfloat16)
    with torch.inference_mode():
        feature = benchmark.pedantic(encoder, (clip,), rounds=3, warmup_rounds=1)
        cosine = cosine_similarity(feature, paper(clip)).item()
    benchmark.extra_info["cosine"] = cosine
    assert cosine > 0.9999


@pytest.mark.benchmark(group="small encoder", timer=time.process_time)
def test_small_encoder(benchmark, clip):
    encoder = for_inference(VoiceEncoder(SMALL), torch.float32)
    with torch.inference_mode():
        benchmark.pedantic(encoder, (clip,), rounds=20, iterations=5, warmup_rounds=2)

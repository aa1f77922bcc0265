"""CPU time of the voice encoder: the paper's in two arithmetics, and the small one."""

import time

import pytest
import torch
from torch.nn.functional import cosine_similarity

from s2f.voice_encoder import PAPER, SMALL, VoiceEncoder, for_inference

FRAMES = 598  # of a 6-s clip


@pytest.fixture(autouse=True)
def one_thread():
    """A thread that waits for another burns CPU time too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def clip():
    return torch.randn(1, 2, FRAMES, 257, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def paper():
    """The paper's encoder with random weights, which cost what trained ones do."""
    torch.manual_seed(0)
    return VoiceEncoder(PAPER).eval()


@pytest.fixture(scope="module")
def exact(paper, clip):
    with torch.inference_mode():
        return paper(clip)


@pytest.mark.benchmark(group="paper encoder forward (6 s clip)", timer=time.process_time)
@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16], ids=["float32 eager", "bfloat16 channels last"]
)
def test_paper_encoder(benchmark, paper, exact, clip, dtype):
    encoder = paper if dtype == torch.float32 else for_inference(paper, dtype)
    with torch.inference_mode():
        feature = benchmark.pedantic(encoder, (clip,), rounds=2, iterations=2, warmup_rounds=1)
    cosine = cosine_similarity(feature, exact).item()
    benchmark.extra_info["cosine with float32"] = cosine
    assert cosine > 0.9999


@pytest.mark.benchmark(group="small encoder forward (6 s clip)", timer=time.process_time)
def test_small_encoder(benchmark, clip):
    encoder = for_inference(VoiceEncoder(SMALL), torch.float32)
    with torch.inference_mode():
        benchmark.pedantic(encoder, (clip,), rounds=20, iterations=5, warmup_rounds=2)

"""Where in a recording somebody speaks: the detector Silero (MIT; its package ships the weights), run by onnxruntime.

The package itself would import torch. A test compares the stretches with those of its own
`get_speech_timestamps_sequence`.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import Float32

CHUNK = 512  # samples at 16 kHz for which the network gives one probability of speech ...
CONTEXT = 64  # ... and those before them that it sees as well
CHUNKS = 512  # at a time
STATE = (1, 1, 128)
THRESHOLD = 0.5  # from which on a chunk is speech ...
SILENT = THRESHOLD - 0.15  # ... and below which speech may end
SHORTEST_SPEECH = 4_000  # samples; a shorter stretch is none
SHORTEST_SILENCE = 1_600  # samples; a shorter silence ends no stretch
PADDING = 480  # samples that are added to a stretch on each side


def stretches(wave: Float32[np.ndarray, "samples"]) -> list[tuple[int, int]]:
    """First and last sample (exclusive) of each stretch of speech at 16 kHz."""
    found, start, end = [], None, None
    for place, probability in zip(range(0, len(wave), CHUNK), probabilities(wave), strict=True):
        if probability >= THRESHOLD:
            start, end = place if start is None else start, None
        elif start is not None and probability < SILENT:
            end = place if end is None else end
            if place - end >= SHORTEST_SILENCE:
                found.append((start, end))
                start, end = None, None
    if start is not None:
        found.append((start, len(wave)))
    return _padded([stretch for stretch in found if stretch[1] - stretch[0] > SHORTEST_SPEECH], len(wave))


def _padded(found: list[tuple[int, int]], samples: int) -> list[tuple[int, int]]:
    """Stretches with what lies around them; a gap too short for both paddings is shared out."""
    edges = np.array(found, int).reshape(-1, 2)
    gaps = edges[1:, 0] - edges[:-1, 1]
    # The package moves the start by half of an odd gap, rounded down, and so leaves one sample out.
    room = np.where(gaps < 2 * PADDING, gaps // 2, PADDING)
    edges[1:, 0] -= room
    edges[:-1, 1] += room
    if len(edges):
        edges[0, 0] = max(0, edges[0, 0] - PADDING)
        edges[-1, 1] = min(samples, edges[-1, 1] + PADDING)
    return [(start, end) for start, end in edges.tolist()]


def probabilities(wave: Float32[np.ndarray, "samples"]) -> Float32[np.ndarray, "chunks"]:
    """The probability of speech in each chunk; the last one is filled up with zeros."""
    chunks = np.pad(wave, (0, -len(wave) % CHUNK)).reshape(-1, CHUNK)
    before = np.zeros((len(chunks), CONTEXT), np.float32)
    before[1:] = chunks[:-1, -CONTEXT:]
    network, hidden, cell = _network(), np.zeros(STATE, np.float32), np.zeros(STATE, np.float32)
    found = []
    for first in range(0, len(chunks), CHUNKS):
        part = np.hstack([before[first : first + CHUNKS], chunks[first : first + CHUNKS]])
        speech, hidden, cell = network.run(["speech_probs", "hn", "cn"], {"input": part, "h": hidden, "c": cell})
        found.append(speech.reshape(-1))
    return np.concatenate(found) if found else np.empty(0, np.float32)


@cache
def _network():
    import onnxruntime  # slow to import

    options = onnxruntime.SessionOptions()
    options.inter_op_num_threads = options.intra_op_num_threads = 1
    (package,) = find_spec("silero_vad").submodule_search_locations  # not imported
    weights = Path(package) / "data" / "silero_vad_16k_sequence.onnx"
    return onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])

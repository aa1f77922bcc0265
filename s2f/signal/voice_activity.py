"""Where in a recording somebody speaks: the detector Silero (MIT; its package ships the weights), computed in NumPy.

The package itself would import torch. Its network is a spectrum and four convolutions of each chunk, which is short,
and an LSTM over the chunks: as large matrix products they take half the time that onnxruntime takes. A test compares
the stretches with those of the package's own `get_speech_timestamps_sequence`.
"""

from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import Float32

CHUNK = 512  # samples at 16 kHz for which the network gives one probability of speech ...
CONTEXT = 64  # ... and those before them that it sees as well
CHUNKS = 512  # at a time
WINDOW, HOP = 256, 128  # samples of a short spectrum
STRIDES = (1, 2, 2, 1)  # of the convolutions
UNITS = 128  # of the LSTM
THRESHOLD = 0.5  # from which on a chunk is speech ...
SILENT = THRESHOLD - 0.15  # ... and below which speech may end
SHORTEST_SPEECH = 4_000  # samples; a shorter stretch is none
SHORTEST_SILENCE = 1_600  # samples; a shorter silence ends no stretch
PADDING = 480  # samples that are added to a stretch on each side

Weights = dict[str, Float32[np.ndarray, "..."]]


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
    weights, found = _weights(), np.empty(len(chunks), np.float32)
    hidden, cell = np.zeros((2, UNITS), np.float32)
    for first in range(0, len(chunks), CHUNKS):
        part = slice(first, first + CHUNKS)
        gates = _encoded(np.hstack([before[part], chunks[part]]), weights) @ weights["into"] + weights["gates"]
        states = np.empty((len(gates), UNITS), np.float32)
        for step, entering in enumerate(gates):
            # The logistic function is (1 + tanh(x / 2)) / 2; the weights hold the half of x.
            bent = np.tanh(hidden @ weights["within"] + entering)
            let_in, let_out, forget = (0.5 + 0.5 * bent[: 3 * UNITS]).reshape(3, UNITS)
            cell = forget * cell + let_in * bent[3 * UNITS :]
            hidden = states[step] = let_out * np.tanh(cell)
        score = np.maximum(states, 0) @ weights["output"] + weights["output.bias"]
        found[part] = 0.5 + 0.5 * np.tanh(0.5 * score)
    return found


def _encoded(chunks: Float32[np.ndarray, "chunks seen"], weights: Weights) -> Float32[np.ndarray, "chunks units"]:
    """Magnitudes of four short spectra of each chunk, and four convolutions over them, which leave one vector."""
    padded = np.pad(chunks, ((0, 0), (0, CONTEXT)), "reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=1)[:, ::HOP]
    parts = (frames.reshape(-1, WINDOW) @ weights["basis"]).reshape(len(chunks), -1, 2, WINDOW // 2 + 1)
    seen = np.sqrt(parts[:, :, 0] ** 2 + parts[:, :, 1] ** 2)
    for layer, stride in enumerate(STRIDES):
        padded = np.pad(seen, ((0, 0), (1, 1), (0, 0)))
        times = seen.shape[1]
        taps = np.concatenate([padded[:, tap : tap + times : stride] for tap in range(3)], axis=2)
        # As one matrix: for a stack of small ones NumPy calls the linear algebra one by one.
        flat = taps.reshape(-1, taps.shape[2]) @ weights[f"encoder.{layer}"] + weights[f"encoder.{layer}.bias"]
        seen = np.maximum(flat, 0).reshape(*taps.shape[:2], -1)
    return seen[:, 0]


@cache
def _weights() -> Weights:
    (package,) = find_spec("silero_vad").submodule_search_locations  # not imported
    theirs = _tensors((Path(package) / "data" / "silero_vad_16k_sequence.onnx").read_bytes())
    ours = {"basis": theirs["stft.forward_basis_buffer"][:, 0].T}
    for layer in range(len(STRIDES)):
        kernel = theirs[f"encoder.{layer}.weight"]  # out x in x taps
        ours[f"encoder.{layer}"] = kernel.transpose(2, 1, 0).reshape(-1, len(kernel))
        ours[f"encoder.{layer}.bias"] = theirs[f"encoder.{layer}.bias"]
    into, within, bias = (theirs[f"onnx::LSTM_{number}"][0] for number in (209, 210, 211))
    halved = np.repeat(np.array([0.5, 0.5, 0.5, 1], np.float32), UNITS)  # ONNX has the candidate last
    ours["into"] = np.ascontiguousarray(into.T * halved)
    ours["within"] = np.ascontiguousarray(within.T * halved)
    ours["gates"] = bias.reshape(2, -1).sum(axis=0) * halved
    ours["output"] = theirs["output.weight"].reshape(-1)
    ours["output.bias"] = theirs["output.bias"]
    return ours


def _tensors(model: bytes) -> Weights:
    """The float32 tensors of an ONNX file: importing the package `onnx` takes longer than a minute of sound here."""
    graph = dict(_fields(model))[7]
    found = {}
    for tensor in (value for field, value in _fields(graph) if field == 5):
        fields = list(_fields(tensor))
        values = dict(fields)
        if values[2] == 1:  # float32
            shape = [size for field, size in fields if field == 1]
            found[values[8].decode()] = np.frombuffer(values[9], "<f4").reshape(shape)
    return found


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of the fields of a protocol buffer."""
    place = 0

    def number() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = message[place]
            place += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while place < len(message):
        field, kind = divmod(number(), 8)
        if kind == 0:
            yield field, number()
            continue
        size = {1: 8, 5: 4}.get(kind) or number()
        yield field, message[place : place + size]
        place += size

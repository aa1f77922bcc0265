"""CPU time of exact search among a million faces beside faiss; then, alone in a process, time and memory on two cores.

`ROWS=20000 python -m pytest benchmarks/bench_search.py -o addopts=` tries it in seconds.
"""

import os
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import faiss
import numpy as np
import pytest
import torch
from numpy.lib.format import open_memmap

from s2f.metrics import search

ROWS, DIM, QUERIES, K = int(os.environ.get("ROWS", 1_000_000)), 512, 1000, 10
BLOCK = 10_000  # rows made at once
CORES = 2


def ours(queries, gallery):
    return search.top(queries, gallery, K).rows


def plain(queries, gallery):
    """Flat search without a copy of the gallery; on rows of length one the inner product is the cosine."""
    return faiss.knn(queries, gallery, K, metric=faiss.METRIC_INNER_PRODUCT)[1]


def unit(rng, rows):
    made = rng.standard_normal((rows, DIM), np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A gallery without any structure: the hardest to search, because nothing stands out."""
    path = tmp_path_factory.mktemp("gallery") / "gallery.npy"
    gallery, rng = open_memmap(path, "w+", np.float32, (ROWS, DIM)), np.random.default_rng(0)
    for start in range(0, ROWS, BLOCK):
        rows = gallery[start : start + BLOCK]
        rows[:] = unit(rng, len(rows))
    gallery.flush()
    return path


@pytest.fixture(scope="module")
def queries():
    return unit(np.random.default_rng(1), QUERIES)


def alone(way, file, queries):
    """Seconds on the clock and the largest memory in GiB, the mapped gallery with it, of one search on all cores."""
    torch.set_num_threads(CORES)
    faiss.omp_set_num_threads(CORES)
    gallery = np.load(file, mmap_mode="r")
    start = time.perf_counter()
    way(queries, gallery)
    seconds = time.perf_counter() - start
    return {"cores": CORES, "seconds": seconds, "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


@pytest.fixture(scope="module")
def answers():
    """What each way found, to be compared."""
    return {}


def measure(benchmark, way, file, queries):
    faiss.omp_set_num_threads(1)
    found = benchmark.pedantic(way, (queries, np.load(file, mmap_mode="r")), rounds=3, warmup_rounds=1)
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        benchmark.extra_info |= process.submit(alone, way, file, queries).result()
    return found


@pytest.mark.benchmark(group="search", timer=time.process_time)
def test_search(benchmark, file, queries, answers):
    answers["ours"] = measure(benchmark, ours, file, queries)


@pytest.mark.benchmark(group="search", timer=time.process_time)
def test_search_plain(benchmark, file, queries, answers):
    found = measure(benchmark, plain, file, queries)
    benchmark.extra_info["same"] = float((found == answers["ours"]).mean())
    assert benchmark.extra_info["same"] > 0.999  # faiss orders by float32

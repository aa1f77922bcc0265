"""Work in blocks: several processes make them, finished ones stay on disk, and an interrupted run goes on.

The standard library's forkserver imports torch once for all workers. Those of joblib import it each, which takes as
long as the voices of some fifty synthetic people.
"""

import multiprocessing
import os
import signal
import tempfile
import zipfile
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Shaped
from tqdm import tqdm

from s2f.study.paths import replacing

Arrays = dict[str, Shaped[np.ndarray, "..."]]


def keep(jobs: Mapping[Path, partial[Arrays]], workers: int) -> None:
    """Write the arrays that each job makes to its .npz file, where there is none yet.

    Args:
        jobs: calls of module-level functions, by a path that changes with all that the block depends on.
        workers: number of processes. A script needs the guard `if __name__ == "__main__"`, as they are started afresh.

    Any exception (Ctrl-C is one) stops the workers at once; a later call goes on with what is missing.
    """
    for path in jobs:
        for torn in path.parent.glob(f".{path.stem}-*"):  # its worker was stopped while it wrote
            torn.unlink()
    # False for a missing and for a truncated file.
    missing = {path: job for path, job in jobs.items() if not zipfile.is_zipfile(path)}
    writing = [partial(_write, path, job) for path, job in missing.items()]
    modules = {job.func.__module__ for job in missing.values()}
    compute(writing, workers, modules=modules, finished=len(jobs) - len(missing))


def _write(path: Path, job: partial[Arrays]) -> None:
    with replacing(path) as temporary:
        np.savez(temporary, **job())


def load(path: Path, *names: str) -> Arrays:
    """The arrays of a finished block, or only those of these names."""
    with np.load(path) as arrays:
        return {name: arrays[name] for name in names or arrays}


def compute(jobs: Sequence[partial], workers: int, *, modules: Collection[str] = (), finished: int = 0) -> list:
    """The results of the jobs, in their order; none is kept on disk (see `keep`, also for the arguments).

    `modules` are imported once for all workers (default: that of the first job); the bar starts at `finished`.
    """
    others = multiprocessing.active_children()
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(list(modules) or [job.func.__module__ for job in jobs[:1]])
    with (
        # In memory where there is such a place: eSpeak's small files cost an eighth of the time on a disk.
        tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as temporary,
        ProcessPoolExecutor(workers, processes, _start_worker, (temporary,)) as pool,
        tqdm(total=finished + len(jobs), initial=finished, unit="block", mininterval=1) as bar,
    ):
        try:
            futures = [pool.submit(job) for job in jobs]
            for done in as_completed(futures):
                done.result()
                bar.update()
            return [future.result() for future in futures]
        except BaseException:
            for process in set(multiprocessing.active_children()) - set(others):
                process.terminate()
            pool.shutdown(cancel_futures=True)
            raise


def _start_worker(temporary: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which stops the workers
    tempfile.tempdir = temporary  # the parent removes it, also when this process was stopped
    torch.set_num_threads(1)

"""Work in blocks: several processes make them, finished ones stay on disk, and an interrupted run goes on.

The small blocks of the synthetic world are made by the standard library's forkserver (`keep`), which imports torch once
for all workers. Those of joblib (`spread`) import it each, which takes as long as the voices of some fifty synthetic
people; for the many items of a corpus on disk that is nothing, and joblib reaches a cluster as well.
"""

import fcntl
import multiprocessing
import os
import signal
import tempfile
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import torch
from jaxtyping import Shaped
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from s2f.study.paths import UserError, enough_room, replacing

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


def spread(jobs: Mapping[Path, partial[Arrays]], workers: int, scheduler: str | None = None, about: str = "") -> None:
    """Write the arrays that each job makes to its .npz file, where there is none yet, by processes or by a cluster.

    A block is made on one thread, so that its bytes do not depend on who makes it. Hold `alone` for the folder.

    Args:
        jobs: calls of module-level functions, by a path that changes with all that the block depends on.
        workers: number of processes on this machine; 1 is this process.
        scheduler: address of a Dask scheduler, such as tcp://10.0.0.1:8786, in place of processes. Its workers read and
            write the same files under the same names (a disk that all machines share), on one thread each.
        about: what the bar says.

    Raises:
        UserError: if the disk is full, a process was killed, or the cluster does not answer or sees other files.
            Finished blocks are kept: a later call goes on with what is missing.
    """
    for torn in {torn for folder in {path.parent for path in jobs} for torn in folder.glob(".*.npz")}:
        torn.unlink(missing_ok=True)  # its worker was stopped while it wrote
    missing = {path: job for path, job in jobs.items() if not zipfile.is_zipfile(path)}
    writing = (joblib.delayed(_write_on_one_thread)(path, job) for path, job in missing.items())
    done = len(jobs) - len(missing)
    bar = tqdm(total=len(jobs), initial=done, unit="block", desc=about, mininterval=1)
    with bar, enough_room(), _survivors(workers):
        with _cluster(scheduler) if scheduler and missing else joblib.parallel_config("loky", n_jobs=workers):
            for _ in joblib.Parallel(return_as="generator_unordered")(writing):
                bar.update()
    if lost := [path for path in missing if not path.is_file()]:
        raise UserError(f"{lost[0]} was written on another machine: the workers of {scheduler} must share this folder.")


def _write_on_one_thread(path: Path, job: partial[Arrays]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            _write(path, job)
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _survivors(workers: int) -> Iterator[None]:
    """One sentence where a process was killed."""
    try:
        yield
    except BrokenProcessPool:
        raise UserError(
            f"A process of {workers} was killed, most often for want of memory: run it again with fewer workers; "
            "finished blocks are kept."
        ) from None


@contextmanager
def _cluster(scheduler: str) -> Iterator[None]:
    """joblib on a Dask cluster."""
    try:
        from distributed import Client, KilledWorker
    except ImportError:
        raise UserError(
            "`scheduler` asks for a Dask cluster, which is not installed: pip install 's2f[cluster]'."
        ) from None
    try:
        client = Client(scheduler, timeout=10, set_as_default=False)
    except (OSError, ValueError):
        raise UserError(f"No Dask scheduler answers at {scheduler}: start one, or mend `scheduler`.") from None
    with client:
        if not client.ncores():
            raise UserError(f"The Dask scheduler at {scheduler} has no workers: start some, then run it again.")
        try:
            with joblib.parallel_config("dask", client=client):
                yield
        except KilledWorker:
            raise UserError(
                f"A block ended one worker of {scheduler} after another, most often for want of memory: give them more "
                "and run it again; finished blocks are kept."
            ) from None


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder of unfinished work, which dies with its holder; wait while another process has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Another process does this work; waiting for it to leave {folder}.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


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

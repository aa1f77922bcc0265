"""Work for several processes, with a bar; an interruption stops them all at once."""

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

import torch
from tqdm import tqdm


def run(work: Callable[[Any], Any], jobs: Sequence, workers: int, *, unit: str, finished: int = 0) -> list:
    """What `work` makes of each job, in the order of the jobs; the bar starts at `finished`.

    A script that calls this needs the guard `if __name__ == "__main__"`: `multiprocessing` starts fresh
    interpreters. Any exception (Ctrl-C is one) stops the workers at once.
    """
    others = multiprocessing.active_children()
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([work.__module__])  # import torch once, not once a worker
    with (
        # In memory where there is such a place: eSpeak's small files cost an eighth of the time on a disk.
        tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as temporary,
        ProcessPoolExecutor(workers, processes, _start_worker, (temporary,)) as pool,
        tqdm(total=finished + len(jobs), initial=finished, unit=unit, mininterval=1) as bar,
    ):
        try:
            futures = [pool.submit(work, job) for job in jobs]
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

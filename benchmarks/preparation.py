"""`python benchmarks/preparation.py [ITEMS] [--page docs/performance.md]`: how fast a corpus of files is prepared.

By two processes and by a local Dask cluster of two workers, and in how much memory.

Items are files: half of them short recordings, half pictures of 64 px with their landmarks in a table, ten of each a
speaker. A few synthetic ones stand for all, under many names; each is read and decoded anew.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import soundfile
from PIL import Image

from s2f.data import checksums
from s2f.data.sources import folder, synthetic
from s2f.signal.audio import SAMPLE_RATE
from s2f.study import config
from s2f.study.paths import replacing
from s2f.synthetic import people

ROOT = Path(__file__).parents[1]
EACH = 10  # recordings, and photographs, of a speaker
MODELS = 20  # people who stand for all
SECONDS, SIZE = 1.5, 64
BEGIN, END = "<!-- preparation: begin -->", "<!-- preparation: end -->"
HEADER = """| by | items | s | items/s | CPU ms an item | parent | a worker | scratch, at most | files | size |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|"""


def make(place: Path, items: int) -> None:
    """A table of recordings, a table of landmarks, and the files they name."""
    world = config.load(config.World, ROOT / "tests" / "tiny" / "params.yaml")
    some = people.everybody(world).iloc[:MODELS].reset_index(drop=True)
    waves = synthetic.speech_block(some, clips=1, seconds=SECONDS, spread=0.3, seed=1)["audio"]
    faces = synthetic.face_block(some, photos=1, size=SIZE, spread=0.0, seed=1)
    for name in ("models", "sounds", "photographs"):
        (place / name).mkdir(parents=True)
    for number in range(MODELS):
        soundfile.write(place / f"models/{number}.wav", np.asarray(waves[number]), SAMPLE_RATE)
        Image.fromarray(faces["canonical"][number]).save(place / f"models/{number}.png")
    count = items // 2
    names = [f"s{number // EACH:06d}-{number % EACH}" for number in range(count)]
    for number, name in enumerate(names):
        os.link(place / f"models/{number % MODELS}.wav", place / f"sounds/{name}.wav")
        os.link(place / f"models/{number % MODELS}.png", place / f"photographs/{name}.png")
    table = {"sound": [f"sounds/{name}.wav" for name in names], "speaker": [name.split("-")[0] for name in names]}
    table |= {"photographs": [f"photographs/{name}.png" for name in names]}
    pd.DataFrame(table).to_parquet(place / "recordings.parquet")
    points = faces["landmarks"].reshape(MODELS, -1)[np.arange(count) % MODELS]
    marked = pd.DataFrame(points, columns=folder.COORDINATES).assign(photograph=table["photographs"])
    marked.to_parquet(place / "landmarks.parquet")


def prepare(place: Path, target: Path, scheduler: str | None) -> None:
    aside = folder.SetAside()
    recordings = folder.read_table(place / "recordings.parquet", aside)
    settings = {"size": SIZE, "seconds": SECONDS, "seed": 1, "shares": (0.1, 0.1), "source": "bench"}
    detect = folder.landmarks_from(place / "landmarks.parquet")
    folder.build(recordings, target, detect, aside=aside, workers=2, scheduler=scheduler, **settings)


class Watch(threading.Thread):
    """The largest memory of a process, and of any of its workers, their CPU time, and the fullest that a folder was."""

    def __init__(self, process: psutil.Process, cluster: list[psutil.Process], scratch: Path):
        super().__init__(daemon=True)
        self.process, self.cluster, self.scratch = process, cluster, scratch
        self.parent = self.worker = self.fullest = 0
        self.times: dict[int, float] = {}
        self.before = sum(cpu_of(worker) for worker in cluster)

    def run(self) -> None:
        while self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE:
            try:
                self.parent = max(self.parent, self.process.memory_info().rss)
                self.times[self.process.pid] = cpu_of(self.process)
                for worker in [*self.process.children(recursive=True), *self.cluster]:
                    self.worker = max(self.worker, worker.memory_info().rss)
                    self.times[worker.pid] = cpu_of(worker)
            except psutil.Error:
                pass
            self.fullest = max(self.fullest, sum(size_of(path) for path in self.scratch.glob("*")))
            time.sleep(1)

    @property
    def cpu(self) -> float:
        """Seconds on the processor."""
        return sum(self.times.values()) - self.before


def cpu_of(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # it is gone meanwhile
        return 0


def measured(place: Path, items: int, by: str, scheduler: str | None, cluster: list[psutil.Process]) -> dict:
    """A preparation in a process of its own."""
    with tempfile.TemporaryDirectory(dir=place) as folder_of_all:
        target = Path(folder_of_all) / "data"
        start = time.monotonic()
        arguments = [sys.executable, __file__, "--prepare", str(place), str(target), scheduler or ""]
        process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
        watch = Watch(psutil.Process(process.pid), cluster, target.parent / "scratch" / "preparation")
        watch.start()
        if process.wait():
            raise RuntimeError(f"the preparation by {by} failed")
        seconds = time.monotonic() - start
        watch.join()
        files = [path for path in target.rglob("*") if path.is_file()]
        return {
            "by": by, "items": items, "seconds": seconds, "cpu": watch.cpu, "parent": watch.parent,
            "worker": watch.worker, "scratch": watch.fullest, "files": len(files), "bytes": sum(map(size_of, files)),
            "digest": checksums.digest(target / checksums.SUMS),
        }  # fmt: skip


def row(found: dict) -> str:
    cells = [found["by"], f"{found['items']:,}", f"{found['seconds']:.0f}", f"{found['items'] / found['seconds']:.0f}"]
    cells += [f"{1000 * found['cpu'] / found['items']:.1f}"]
    cells += [f"{found[name] / 1e6:,.0f} MB" for name in ("parent", "worker", "scratch")]
    cells += [str(found["files"]), f"{found['bytes'] / 1e6:,.0f} MB"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python benchmarks/preparation.py", description=__doc__.splitlines()[0])
    parser.add_argument("items", type=int, nargs="?", default=100_000)
    parser.add_argument("--page", type=Path, help="write the table between the marks in this page")
    parser.add_argument("--prepare", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.prepare:
        place, target, scheduler = options.prepare
        prepare(Path(place), Path(target), scheduler or None)
        return
    from distributed import LocalCluster

    rows = []
    with tempfile.TemporaryDirectory() as folder_of_all:
        for items in (options.items // 10, options.items):
            place = Path(folder_of_all) / str(items)
            make(place, items)
            rows.append(measured(place, items, "2 processes", None, []))
            print(row(rows[-1]), flush=True)
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
            workers = [psutil.Process(each.process.pid) for each in cluster.workers.values()]
            rows.append(measured(place, items, "Dask, 2 workers", cluster.scheduler_address, workers))
            print(row(rows[-1]), flush=True)
    same = "the same" if rows[1]["digest"] == rows[2]["digest"] else "other"
    last, (load, *_) = rows[1], os.getloadavg()
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} cores, load {load:.1f} at the end.",
        "", HEADER, *map(row, rows), "",
        f"Cluster and processes made {same} bytes. Per million items: {last['bytes'] / last['items'] / 1e3:.1f} GB, in "
        f"{json.dumps(last['files'])} files here, and one more for each 128 MiB of sound.",
    ]  # fmt: skip
    print("\n".join(lines))
    if options.page:
        before, rest = options.page.read_text(encoding="utf-8").split(BEGIN)
        with replacing(options.page) as temporary:
            text = "\n".join([f"{before}{BEGIN}", *lines, f"{END}{rest.split(END)[1]}"])
            temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

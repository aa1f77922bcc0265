"""The fault drill: a small study is killed, starved of disk and damaged, and must end as an undisturbed run does.

`make faults` (`python tests/faults.py`) makes all drills, prints a table, and exits with 1 if one fails; the tests make
a few of them. A drill holds if the stage, run again, ends with the bytes of an undisturbed run, if nothing runs on that
nobody waits for, and if what stopped it was named in one sentence. Moments are drawn by `--seed`, as shares of the time
that the undisturbed stage took.
"""

import argparse
import hashlib
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from own_data import make
from ruamel.yaml import YAML

from s2f.data import checksums
from s2f.data.sources import folder
from s2f.study.paths import UserError

ROOT = Path(__file__).parents[1]
MARK = "S2F_FAULT_DRILL"  # environment of all processes of a drill
FULL = r"[Nn]o space (is )?left|disk is full|File too large"
COPIES = 6  # of each speaker, so that there are several blocks to be killed in
STAGES = {
    "data": ("data", "results/data.json"),
    "train": ("models/voice.safetensors", "models/facts.json"),
    "predict": ("features/voices.npz", "features/drawn.npz", "results/predict.json"),
}
SETTINGS = {
    "data": {"landmarks": "landmarks.csv", "seconds": 4.0, "size": 64, "workers": 2},
    "face_model": {
        "feature": "small", "encoder_steps": 4, "encoder_batch": 8, "decoder_steps": 4, "decoder_batch": 8,
        "precision": "float32", "threads": 1,
    },
    "train": {
        "loss": "paper", "seconds": 1.0, "steps": 24, "batch": 8, "rebalance_step": 2, "validate_every": 8,
        "checkpoint_minutes": 0.001, "precision": "float32", "threads": 1,
    },
    "predict": {"durations": [1.0, 3.0], "headline_seconds": 3.0, "threads": 1},
}  # fmt: skip


# ---- a study, and what it leaves


def copies_of(place: Path, copies: int) -> None:
    """More speakers: each of those in `place` several times, under other names."""
    tables = {name: pd.read_csv(place / f"{name}.csv", dtype=str) for name in ("recordings", "landmarks")}
    more = {name: [table] for name, table in tables.items()}
    for number in range(1, copies):
        for files in ("sounds", "photographs"):
            for path in sorted((place / files).glob("[!x]*")):
                os.link(path, path.with_name(f"x{number}{path.name}"))
        renamed = partial(re.sub, r"(sounds/|photographs/|^)(?=\w+\d{5})", rf"\1x{number}")
        recordings = tables["recordings"].copy()
        for column in ("sound", "speaker"):
            recordings[column] = recordings[column].map(renamed)
        recordings["photographs"] = [";".join(map(renamed, names.split(";"))) for names in recordings["photographs"]]
        more["recordings"].append(recordings)
        more["landmarks"].append(tables["landmarks"].assign(photograph=tables["landmarks"]["photograph"].map(renamed)))
    for name, parts in more.items():
        pd.concat(parts).to_csv(place / f"{name}.csv", index=False)


def digest(study: Path, stage: str) -> str:
    """Of the files that a stage leaves, and of their names."""
    found = hashlib.sha256()
    for out in STAGES[stage]:
        place = study / out
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file():
                found.update(f"{path.relative_to(study)} {path.stat().st_size}\n".encode() + path.read_bytes())
    return found.hexdigest()


@dataclass
class Study:
    """A study of a few copied people, and how an undisturbed run of it ended."""

    root: Path
    seconds: dict[str, float] = field(default_factory=dict)  # that a stage took
    digests: dict[str, str] = field(default_factory=dict)

    @classmethod
    def made(cls, checkout: Path) -> "Study":
        """Run the chain as far as `predict`."""
        study = cls(checkout / "studies" / "drill")
        ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "build", "scratch")
        for name in ("s2f", "notebooks", ".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore"):
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, checkout / name, ignore=ignored)
            else:
                shutil.copy(ROOT / name, checkout / name)
        shutil.copytree(ROOT / "studies" / "template", study.root, ignore=ignored)
        make(study.root, train=12, val=3, test=10)
        copies_of(study.root, COPIES)
        yaml = YAML()
        settings = yaml.load((study.root / "params.yaml").read_text())
        for section, values in SETTINGS.items():
            settings[section].update(values)
        yaml.dump(settings, study.root / "params.yaml")
        subprocess.run(["git", "init", "--quiet", checkout], check=True)
        for stage in ("source", "data", "face_model", "train", "predict"):
            start = time.monotonic()
            study.finish("dvc", "repro", "--single-item", stage)
            study.seconds[stage] = time.monotonic() - start
        study.digests = {stage: digest(study.root, stage) for stage in STAGES}
        return study

    def start(self, *command: str, **options) -> subprocess.Popen:
        """A command in the study, with a process group of its own."""
        checkout = self.root.parents[1]
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONDONTWRITEBYTECODE": "",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(checkout),
            "DVC_GLOBAL_CONFIG_DIR": str(checkout / "dvc"),
            "DVC_SITE_CACHE_DIR": str(checkout / "dvc"),
            MARK: str(checkout),
        }
        output = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(command, cwd=self.root, env=environment, start_new_session=True, **output, **options)

    def run(self, *command: str, **options) -> tuple[int, str]:
        """Exit code and output of a command in the study."""
        process = self.start(*command, **options)
        output, _ = process.communicate()
        return process.returncode, output

    def finish(self, *command: str) -> str:
        """The output of a command that must succeed."""
        code, output = self.run(*command)
        if code:
            raise RuntimeError(f"{' '.join(command)} failed:\n{output[-3000:]}")
        return output

    def processes(self) -> list[psutil.Process]:
        """All that still run for this study."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == str(self.root.parents[1]) and process.pid != os.getpid():
                    found.append(process)
            except psutil.Error:
                pass
        return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]

    def left(self, seconds: float = 20) -> int:
        """How many of them are still there after a while."""
        end = time.monotonic() + seconds
        while (found := self.processes()) and time.monotonic() < end:
            time.sleep(0.2)
        return len(found)

    def forget(self) -> None:
        """Remove checkpoints and blocks, with which a stage would have little to do."""
        shutil.rmtree(self.root / "scratch", ignore_errors=True)

    def verdict(self, stage: str) -> str:
        """What is wrong after a stage was run again, or nothing."""
        try:
            self.finish("dvc", "repro", "--no-run-cache", "--single-item", stage)  # DVC's cache would hand all back
        except RuntimeError as error:
            return str(error)
        if left := self.left():
            return f"{left} processes run on"
        if digest(self.root, stage) != self.digests[stage]:
            return "other bytes"
        return ""


def sentence(output: str) -> str:
    """The line in which a program says why it stopped: ours before DVC's; without the names of folders."""
    lines = [line.strip() for line in output.splitlines()]
    ours = [
        line for line in lines if re.match(r"[\w ]+[^:]*: .*\.$|[A-Z].* .*\.$", line) and not line.startswith("ERROR")
    ]
    dvcs = [line for line in lines if line.startswith("ERROR")]
    full = [line for line in lines if re.search(FULL, line)]
    return re.sub(r"/\S*/", "", next(iter([*full[-1:], *dvcs[-1:], *ours[-1:]]), ""))


# ---- the drills: each gives what was done, the message, and what is wrong


Row = dict[str, str]


def row(drill: str, stage: str, done: str, message: str, wrong: str) -> Row:
    return {"drill": drill, "stage": stage, "what": done, "message": message, "wrong": wrong}


def kill(study: Study, stage: str, rng: np.random.Generator) -> Row:
    """Kill all processes of a stage, or one of them, at a random moment; then run it again."""
    moment = float(rng.random()) * study.seconds[stage]
    victim = ("all", "kernel", "worker")[rng.choice(3, p=[0.5, 0.25, 0.25])]
    study.forget()
    process = study.start("dvc", "repro", "--force", "--single-item", stage)
    time.sleep(moment)
    victims = [each for each in study.processes() if victim == "all" or _is(victim, each)]
    if not victims:
        victim, victims = "all", study.processes()
    for each in victims:
        try:
            each.kill()
        except psutil.NoSuchProcess:
            pass
    output, _ = process.communicate()
    message = sentence(output) if process.returncode > 0 else ""
    wrong = f"{left} processes run on" if (left := study.left()) else study.verdict(stage)
    return row("kill -9", stage, f"{victim} after {moment:.1f} of {study.seconds[stage]:.1f} s", message, wrong)


def _is(kind: str, process: psutil.Process) -> bool:
    try:
        words = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return ("ipykernel_launcher" if kind == "kernel" else "popen_loky_posix") in words


@contextmanager
def little_room(study: Study, stage: str, room: int) -> Iterator[tuple[Study, Callable[[], None], dict]]:
    """A copy of the study where only so many bytes more find room; what gives it more, and options to run it with.

    A small tmpfs where we may mount one; otherwise no file may be larger, which fails at the same calls.
    """
    place = Path(tempfile.mkdtemp())
    size = partial(os.path.join, place)
    mounted = (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4g", "tmpfs", place], capture_output=True).returncode == 0
    )
    try:
        shutil.copytree(study.root.parents[1], size("checkout"), symlinks=True)
        copy = Study(Path(size("checkout")) / "studies" / "drill", study.seconds, study.digests)
        copy.forget()
        shutil.rmtree(copy.root.parents[1] / ".dvc" / "cache", ignore_errors=True)
        for out in STAGES[stage]:
            path = copy.root / out
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if mounted:
            used = shutil.disk_usage(place).used
            remount = ["mount", "-o", f"remount,size={used + room}", place]
            subprocess.run(remount, check=True)
            yield copy, partial(subprocess.run, ["mount", "-o", "remount,size=4g", place], check=True), {}
        else:
            limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (room, room))
            yield copy, lambda: None, {"preexec_fn": limit}
    finally:
        for process in study.processes():
            process.wait(timeout=60)
        if mounted:
            subprocess.run(["umount", "--lazy", place], check=True)
        shutil.rmtree(place, ignore_errors=True)


def full_disk(study: Study, stage: str, rng: np.random.Generator) -> Row:
    """Let the disk be full before a stage has written all; then make room and run it again."""
    needed = sum(path.stat().st_size for out in STAGES[stage] for path in _files(study.root / out))
    room = int(needed * rng.uniform(0.1, 0.8))
    with little_room(study, stage, room) as (copy, make_room, options):
        code, output = copy.run("dvc", "repro", "--force", "--single-item", stage, **options)
        message = sentence(output)
        make_room()
        wrong = copy.verdict(stage)
        if not code:
            wrong = wrong or "it was not noticed"
        elif not re.search(FULL, message):
            wrong = wrong or f"the reason was not named: {output[-500:]}"
    return row("full disk", stage, f"room for {room / 1e3:.0f} of {needed / 1e3:.0f} kB", message, wrong)


def _files(place: Path) -> list[Path]:
    return [path for path in place.rglob("*") if path.is_file()] if place.is_dir() else [place]


def flipped(study: Study, rng: np.random.Generator) -> Row:
    """Flip a bit of a shard, without a trace in its time; then let DVC look."""
    shards = sorted((study.root / "data" / "audio").glob("*.i16"))
    shard = shards[rng.integers(len(shards))]
    place, before = int(rng.integers(shard.stat().st_size)), shard.stat()
    content = bytearray(shard.read_bytes())
    content[place] ^= 1 << int(rng.integers(8))
    shard.chmod(0o644)
    shard.write_bytes(content)
    os.utime(shard, ns=(before.st_atime_ns, before.st_mtime_ns))
    try:
        checksums.verify(study.root / "data")
        message, wrong = "", "it was not noticed"
    except UserError as error:
        message = re.sub(r"/\S*/", "", str(error))
        wrong = "" if shard.name in message else "another file was named"
    shard.unlink()  # as the sentence says: prepare the data again
    return row("flipped bit", "data", f"byte {place} of {shard.name}", message, wrong or study.verdict("data"))


def at_once(study: Study, stage: str, rng: np.random.Generator) -> Row:
    """Run a stage twice at the same time, once past DVC, which would refuse the second."""
    notebook = re.search(r"run \w+ --params \w+", (study.root / "dvc.yaml").read_text().partition(f"\n  {stage}:\n")[2])
    command = [sys.executable, "-m", "s2f.study.notebook", *notebook[0].split()]
    first = study.start(*command)
    time.sleep(float(rng.random()) * 2)
    second = study.start(*command)
    outputs = [process.communicate()[0] for process in (first, second)]
    wrong = "" if first.returncode == second.returncode == 0 else f"one failed: {outputs[0][-400:]}{outputs[1][-400:]}"
    if not wrong and digest(study.root, stage) != study.digests[stage]:
        wrong = "other bytes"
    message = next((line for line in "\n".join(outputs).splitlines() if line.startswith("Another process")), "")
    return row("two at once", stage, "past DVC", re.sub(r"/\S*/", "", message), wrong or study.verdict(stage))


def at_once_in_dvc(study: Study, rng: np.random.Generator) -> Row:
    """Start `dvc repro` while another one runs."""
    first = study.start("dvc", "repro", "--force", "--single-item", "train")
    time.sleep(study.seconds["train"] * float(rng.uniform(0.4, 0.6)))
    code, output = study.run("dvc", "repro", "--force", "--single-item", "train")
    first.communicate()
    wrong = "" if first.returncode == 0 else "the first failed"
    return row(
        "two at once", "train", "dvc repro", "" if code == 0 else sentence(output), wrong or study.verdict("train")
    )


def prepare(place: Path, target: Path, scheduler: str | None = None, workers: int = 1) -> str:
    """Prepare the corpus of the drill without a notebook; the digests of its files."""
    aside = folder.SetAside()
    recordings = folder.read_table(place / "recordings.csv", aside)
    settings = {"size": 64, "seconds": 4.0, "seed": 1, "shares": (0.1, 0.2), "source": "folder"}
    detect = folder.landmarks_from(place / "landmarks.csv")
    options = {"workers": workers, "scheduler": scheduler}
    folder.build(recordings, target / "data", detect, aside=aside, **settings, **options)
    return (target / "data" / checksums.SUMS).read_text()


def preparing(place: Path, target: Path, scheduler: str | None, workers: int) -> subprocess.Popen:
    """`prepare` in a process of its own."""
    arguments = f"pathlib.Path({str(place)!r}), pathlib.Path({str(target)!r}), {scheduler!r}, {workers}"
    code = f"import sys, pathlib; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    code += f"import faults; faults.prepare({arguments})"
    return subprocess.Popen([sys.executable, "-c", code], text=True, stderr=subprocess.PIPE, start_new_session=True)


def wait_for_blocks(process: subprocess.Popen, target: Path, count: int) -> None:
    """Return once so many blocks are there, or the process has ended."""
    while process.poll() is None and len(list((target / "scratch" / "preparation").glob("[!.]*.npz"))) < count:
        time.sleep(0.005)


def killed_preparation(place: Path, expected: str, rng: np.random.Generator) -> Row:
    """Kill a preparation and its processes after some blocks; then make the rest here."""
    with tempfile.TemporaryDirectory() as folder_of_all:
        target, after = Path(folder_of_all), int(rng.integers(1, 8))
        process = preparing(place, target, None, workers=2)
        wait_for_blocks(process, target, after)
        for each in [*psutil.Process(process.pid).children(recursive=True), process]:
            each.kill()
        process.communicate()
        wrong = "" if prepare(place, target) == expected else "other bytes"
    return row("kill -9", "data", f"past notebooks, after block {after}", "", wrong)


def killed_worker(place: Path, expected: str, rng: np.random.Generator) -> Row:
    """Kill a worker of a Dask cluster while it prepares a corpus."""
    from distributed import LocalCluster

    with (
        tempfile.TemporaryDirectory() as folder_of_all,
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
    ):
        target, after = Path(folder_of_all), int(rng.integers(1, 4))
        victim = next(iter(cluster.workers.values())).process.pid
        process = preparing(place, target, cluster.scheduler_address, workers=1)
        wait_for_blocks(process, target, after)
        os.kill(victim, signal.SIGKILL)
        _, output = process.communicate()
        wrong = "" if process.returncode == 0 else sentence(output) or output[-400:]
        if not wrong and (target / "data" / checksums.SUMS).read_text() != expected:
            wrong = "other bytes"
    return row("Dask worker killed", "data", f"after block {after}", "", wrong)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python tests/faults.py", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--kills", type=int, default=20, help="in all, of data, train and predict in turn (default: 20)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of moments and places (default: 1)")
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(options.seed)
    rows = []
    with tempfile.TemporaryDirectory() as folder_of_all:
        study = Study.made(Path(folder_of_all) / "checkout")
        drills = [partial(kill, study, list(STAGES)[number % len(STAGES)]) for number in range(options.kills)]
        drills += [partial(full_disk, study, stage) for stage in STAGES]
        drills += [partial(flipped, study)]
        drills += [partial(at_once, study, "data"), partial(at_once, study, "train"), partial(at_once_in_dvc, study)]
        expected = prepare(study.root, Path(folder_of_all) / "prepared")
        drills += [partial(killed_preparation, study.root, expected), partial(killed_worker, study.root, expected)]
        try:
            for drill in drills:
                rows.append(drill(rng))
                print(*rows[-1].values(), sep=" | ", flush=True)
        finally:  # Ctrl-C does not reach them, as each has a session of its own
            for process in study.processes():
                process.kill()
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, max_colwidth=70))
    failed = table["wrong"] != ""
    print(f"{len(table)} drills, {failed.sum()} failed.")
    return 1 if failed.any() else 0


if __name__ == "__main__":
    sys.exit(main())

"""The stages of a study side by side: `python -m s2f.study.scheduler`, for `dvc repro` in less time.

`dvc repro` runs one stage after another, and most stages keep one core busy. Here a stage starts as soon as those that
it depends on are finished and a core is free. Each is a `dvc repro --single-item` of its own, so that DVC decides as
ever what has to run, and records it. Numbers do not depend on what runs beside a stage: its threads are fixed.
"""

import os
import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from s2f.study import config
from s2f.study.paths import UserError, study

POLL_SECONDS = 0.1
LAST_LINES = 12  # of the log of a stage that failed


class Stage(NamedTuple):
    """A stage, by its name in DVC."""

    after: frozenset[str]  # the stages that must be finished before
    cores: int  # that it keeps busy


class StageError(Exception):
    """A stage failed: what it printed last."""


def stages(root: Path) -> dict[str, Stage]:
    """The stages of the study in `root`, in the order of dvc.yaml.

    A stage keeps as many cores busy as its section of params.yaml has `threads` or `workers`.

    Raises:
        UserError: if DVC cannot read them.
    """
    from dvc.exceptions import DvcException  # slow to import
    from dvc.repo import Repo

    settings = config.read(root / "params.yaml")
    try:
        with warnings.catch_warnings(), Repo(str(root)) as repo:
            warnings.simplefilter("ignore", DeprecationWarning)  # DVC's own
            found = {}
            for stage in repo.index.stages:
                section = re.search(r"--params (\w+)", stage.cmd or "")
                values = settings.get(section[1], {}) if section else {}
                after = frozenset(before.addressing for before in repo.index.graph.successors(stage))
                found[stage.addressing] = Stage(after, max(values.get(name, 1) for name in ("threads", "workers")))
            return found
    except DvcException as error:
        raise UserError(f"DVC cannot read the stages of {root}: {error}") from None


def run(root: Path, chain: dict[str, Stage], cores: int) -> None:
    """Run stages, as many at a time as there are cores for; what each prints goes to scratch/logs/STAGE.txt.

    Args:
        root: the folder of the study.
        chain: its stages by name; of two that could start, the first one does.
        cores: of the machine; a stage that wants more of them runs alone.

    Raises:
        StageError: when a stage has failed and those beside it have ended. Nothing is started after it.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, when the stages at work have saved what they can.
    """
    logs = root / "scratch" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    waiting = dict(chain)
    running: dict[str, subprocess.Popen] = {}
    started: dict[str, float] = {}
    finished: set[str] = set()
    failed: list[str] = []
    with _interrupts_passed_on(running) as interrupted, tqdm(total=len(chain), unit="stage", mininterval=1) as bar:
        while running or (waiting and not failed and not interrupted):
            for name in [name for name, process in running.items() if process.poll() is not None]:
                if running.pop(name).returncode:
                    failed.append(name)
                else:
                    finished.add(name)
                    bar.update()
                    bar.write(f"{name}: {_what_happened(logs / f'{name}.txt', time.monotonic() - started[name])}")
            for name, stage in list(waiting.items()):
                free = cores - sum(chain[other].cores for other in running)
                if failed or interrupted or not stage.after <= finished or (running and stage.cores > free):
                    continue
                del waiting[name]
                started[name] = time.monotonic()
                running[name] = _start(name, root, logs / f"{name}.txt")
            bar.set_postfix_str(", ".join(running), refresh=False)
            time.sleep(POLL_SECONDS)
    if interrupted:
        raise KeyboardInterrupt
    if failed:
        log = logs / f"{failed[0]}.txt"
        last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        raise StageError("\n".join([*last, f"The stage {failed[0]} failed; all that it printed is in {log}."]))


def _start(name: str, root: Path, log: Path) -> subprocess.Popen:
    with log.open("w", encoding="utf-8") as file:
        return subprocess.Popen(
            # In a session of its own: a terminal's Ctrl-C reaches it through us alone.
            [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", name],
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _what_happened(log: Path, seconds: float) -> str:
    text = log.read_text(encoding="utf-8", errors="replace")
    return "unchanged" if "didn't change, skipping" in text else f"{seconds / 60:.1f} min"


@contextmanager
def _interrupts_passed_on(running: dict[str, subprocess.Popen]) -> Iterator[list[int]]:
    """Pass Ctrl-C and SIGTERM on to the stages at work, as an interrupt; what came is in the list."""
    came = []

    def interrupt(number, _frame):
        came.append(number)
        for process in running.values():
            os.killpg(process.pid, signal.SIGINT)  # DVC itself waits for its stage

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main() -> int:
    """Exit code 0; 1 if a stage failed; 2 for bad input; 130 after an interruption."""
    try:
        root = study().root
        run(root, stages(root), os.cpu_count() or 1)
    except (UserError, StageError) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    except KeyboardInterrupt:
        print("Interrupted: finished stages are kept, and it goes on from there when it is run again.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Stages side by side: in order, beside each other where they may be, and kept when something goes wrong."""

import os
import signal
import subprocess
import sys
import time

import pytest

from s2f.study import scheduler
from s2f.study.paths import UserError

# What a stage does: it notes when it ran, and how it was stopped.
WORK = """
import pathlib, sys, time
name, seconds = sys.argv[1], float(sys.argv[2])
start = time.time()
try:
    if name == "broken":
        sys.exit("no such luck")
    time.sleep(seconds)
except KeyboardInterrupt:
    pathlib.Path(name + ".saved").touch()
    sys.exit(1)
pathlib.Path(name).write_text(f"{start} {time.time()}")
"""
STAGE = "  {0}: {{cmd: python work.py {0} {1} --params {0}, deps: [work.py{2}], outs: [{0}]}}\n"


@pytest.fixture
def study(tmp_path, monkeypatch):
    """`study(first=(1, ""), ...)`: a folder with stages by seconds and what each depends on."""
    monkeypatch.setenv("PATH", f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work.py").write_text(WORK)

    def make(parameters="{}", **stages):
        (tmp_path / "params.yaml").write_text(parameters)
        made = "".join(STAGE.format(name, *values) for name, values in stages.items())
        (tmp_path / "dvc.yaml").write_text(f"stages:\n{made}")
        subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], check=True)
        return tmp_path

    return make


def times(root, name):
    return tuple(map(float, (root / name).read_text().split()))


def test_stages_run_beside_each_other_once_what_they_depend_on_is_there(study, capfd):
    root = study(first=(0, ""), left=(3, ", first"), right=(3, ", first"), last=(0, ", left, right"))
    scheduler.run(root, scheduler.stages(root), cores=2)
    left, right = times(root, "left"), times(root, "right")
    assert times(root, "first")[1] <= min(left[0], right[0])
    assert max(left[0], right[0]) < min(left[1], right[1]), "one after the other"
    assert times(root, "last")[0] >= max(left[1], right[1])
    assert main(root) == 0
    assert capfd.readouterr().out.count(": unchanged") == 4


def main(root):
    """The exit code of the command in a process of its own."""
    return subprocess.run([sys.executable, "-m", "s2f.study.scheduler"], cwd=root).returncode


def test_a_stage_that_wants_all_cores_has_them(study):
    root = study("wide: {workers: 8}\n", narrow=(1, ""), wide=(0, ""))
    chain = scheduler.stages(root)
    assert chain["wide"].cores == 8 and chain["narrow"].cores == 1
    scheduler.run(root, chain, cores=2)
    assert times(root, "wide")[0] >= times(root, "narrow")[1]


def test_after_a_failure_nothing_is_started_and_what_ran_beside_it_is_kept(study):
    root = study(broken=(0, ""), beside=(4, ""), later=(0, ", beside"))
    with pytest.raises(scheduler.StageError, match=r"(?s)no such luck.*stage broken failed.*broken\.txt"):
        scheduler.run(root, scheduler.stages(root), cores=2)
    assert (root / "beside").exists() and not (root / "later").exists()


def test_an_interrupted_stage_may_save_what_it_has(study):
    root = study(long=(60, ""))
    process = subprocess.Popen([sys.executable, "-m", "s2f.study.scheduler"], cwd=root)
    deadline = time.monotonic() + 60
    while "python work.py" not in _log(root) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)  # DVC prints the command before it starts it
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 130
    assert (root / "long.saved").exists() and not (root / "long").exists()


def _log(root):
    log = root / "scratch" / "logs" / "long.txt"
    return log.read_text() if log.exists() else ""


def test_a_dvc_yaml_that_cannot_be_read_is_one_sentence(study):
    root = study(first=(0, ""))
    (root / "dvc.yaml").write_text("stages: [first]\n")
    with pytest.raises(UserError, match=r"DVC cannot read the stages of .*dvc\.yaml"):
        scheduler.stages(root)

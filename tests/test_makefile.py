"""What `make` does with a checkout and its environment: new, moved, copied, foreign, with blanks in their paths."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from repository import ROOT

# Installs nothing: makes an environment without packages, of which the metadata say that s2f is installed from here.
# `dvc` and `python -m s2f` in it say which checkout's they are.
UV = f"""#!{sys.executable}
import json, os, subprocess, sys
from pathlib import Path
with open(os.environ["LOG"], "a") as log:
    print(*sys.argv[1:], file=log)
if sys.argv[1] == "venv":
    subprocess.run([sys.argv[3], "-m", "venv", "--without-pip", sys.argv[4]], check=True)
elif "-e" in sys.argv:
    venv = Path(sys.argv[4]).parents[1]
    info = next(venv.glob("lib/python3*/site-packages")) / "s2f-0.1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: s2f\\nVersion: 0.1.0\\n")
    (info / "direct_url.json").write_text(json.dumps({{"url": Path.cwd().as_uri(), "dir_info": {{"editable": True}}}}))
    for name in ("dvc", "jupyter", "s2f"):
        program = venv / "bin" / name
        program.write_text('#!/bin/sh\\necho "{{}} $PWD $@ [$S2F_PUBLISHED]" >> "$LOG"\\n'.format(name))
        program.chmod(0o755)
sys.exit(os.environ.get("BROKEN"))
"""

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="there is no make here")


@pytest.fixture
def checkout(tmp_path):
    """`checkout("a name")`: a folder with what make needs of this one."""

    def copy(name):
        folder = tmp_path / name
        (folder / "studies" / "published").mkdir(parents=True)
        (folder / "s2f" / "study").mkdir(parents=True)
        for file in ("Makefile", "requirements.lock", "pyproject.toml", "studies/published/requirements.txt"):
            shutil.copy(ROOT / file, folder / file)
        shutil.copytree(ROOT / ".ci", folder / ".ci")
        (folder / "dvc.yaml").touch()
        for file in ("__init__.py", "study/__init__.py", "study/config.py", "study/notebook.py"):
            (folder / "s2f" / file).touch()
        (folder / "s2f" / "study" / "scheduler.py").write_text('import subprocess\nsubprocess.run(["dvc", "repro"])\n')
        return folder

    return copy


@pytest.fixture
def make(tmp_path, monkeypatch):
    """`make(folder, "env", ...)`: exit code, output, and what uv, dvc and jupyter were called with."""
    uv, log = tmp_path / "uv", tmp_path / "log"
    uv.write_text(UV)
    uv.chmod(0o755)
    for name in ("MAKEFLAGS", "MAKELEVEL", "VENV", "S2F_PUBLISHED"):  # of the make that runs the tests
        monkeypatch.delenv(name, raising=False)

    def run(folder, *arguments, **environment):
        log.write_text("")
        done = subprocess.run(
            ["make", "-C", str(folder), *arguments, f"UV={uv}", f"PYTHON={sys.executable}"],
            env={**os.environ, "LOG": str(log), **environment},
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout + done.stderr, log.read_text().splitlines()

    return run


def owner(venv):
    """The checkout from which an environment has its s2f."""
    (file,) = venv.glob("lib/python3*/site-packages/s2f-*.dist-info/direct_url.json")
    return json.loads(file.read_text())["url"]


@pytest.mark.parametrize("names", [("checkout", ".venv"), ("my  check'out", "my 'env")])
def test_an_environment_is_made_once(checkout, make, names):
    folder = checkout(names[0])
    code, output, calls = make(folder, "env", f"VENV={names[1]}")
    assert code == 0, output
    assert [call.split()[0] for call in calls] == ["venv", "pip", "pip"]
    assert owner(folder / names[1]) == folder.as_uri()
    assert make(folder, "env", f"VENV={names[1]}")[::2] == (0, [])
    (folder / "requirements.lock").write_text("torch==3\n")
    assert make(folder, "env", f"VENV={names[1]}")[2], "another list of packages is installed"


def test_an_interrupted_installation_is_taken_up_again(checkout, make):
    folder = checkout("checkout")
    assert make(folder, "env", BROKEN="the network is gone")[0] != 0
    code, output, calls = make(folder, "env")
    assert code == 0, output
    assert calls


@pytest.mark.parametrize("way", [shutil.move, shutil.copytree])
def test_a_checkout_that_was_moved_or_copied_runs_its_own_code(checkout, make, way, tmp_path):
    old, new = checkout("old"), tmp_path / "new"
    assert make(old, "env")[0] == 0
    arguments = {"symlinks": True} if way is shutil.copytree else {}
    way(old, new, **arguments)
    code, output, calls = make(new, "env")
    assert code == 0, output
    assert "made anew" in output and calls[0].startswith("venv")
    assert owner(new / ".venv") == new.as_uri()
    assert make(new, "env")[2] == []
    if old.exists():
        assert make(old, "env")[2] == []


def test_an_environment_outside_follows_its_checkout(checkout, make, tmp_path):
    old = checkout("old")
    assert make(old, "env", f"VENV={tmp_path}/env")[0] == 0
    new = shutil.move(old, tmp_path / "new")
    code, output, calls = make(new, "env", f"VENV={tmp_path}/env")
    assert code == 0, output
    assert owner(tmp_path / "env") == new.as_uri()


def test_the_environment_of_another_checkout_is_refused_and_stays_as_it_was(checkout, make):
    ours, theirs = checkout("ours"), checkout("theirs")
    assert make(theirs, "env")[0] == 0
    for venv in (f"{theirs}/.venv", "../theirs/.venv"):
        code, output, calls = make(ours, "env", f"VENV={venv}")
        assert code != 0 and calls == []
        assert f"is the environment of another checkout, {theirs}: " in output
    assert owner(theirs / ".venv") == theirs.as_uri()
    assert make(theirs, "env")[2] == []


def test_a_folder_that_cannot_stand_in_the_search_path_is_refused(checkout, make):
    code, output, calls = make(checkout("a:b"), "env")
    assert code != 0 and calls == []
    assert "has a colon" in output


def test_without_the_samples_nothing_is_installed(checkout, make, tmp_path):
    folder = checkout("checkout")
    for environment in ({}, {"S2F_PUBLISHED": f"{tmp_path}/no  where"}):
        code, output, calls = make(folder, "repro-published", **environment)
        assert code != 0 and calls == []
        assert "does not hold the published samples: set S2F_PUBLISHED" in output
    assert "no  where does not" in output
    assert not (folder / ".venv").exists()


def test_the_place_of_the_samples_may_have_blanks(checkout, make, tmp_path):
    folder = checkout("check out")
    (folder / "the  samples" / "figures" / "avspeech_res").mkdir(parents=True)
    code, output, calls = make(folder, "repro-published", S2F_PUBLISHED="the  samples")
    assert code == 0, output
    assert calls[-1].endswith(f" repro [{folder}/the  samples]")
    assert "studies/published/requirements.txt" in calls[3]


@pytest.mark.parametrize("ignored", [".*", "inner/"])
def test_dvc_works_without_git_where_git_does_not_track_the_study(checkout, make, tmp_path, ignored):
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / ".gitignore").write_text(f"{ignored}\n")
    code, output, calls = make(checkout("inner"), "repro")
    assert code == 0, output
    assert [call.split()[2:] for call in calls if call.startswith("dvc")] == [
        ["config", "--local", "core.no_scm", "true", "[]"],
        ["repro", "[]"],
    ]
    subprocess.run([*git, "add", "-f", "inner/dvc.yaml"], check=True)
    assert not [call for call in make(tmp_path / "inner", "repro")[2] if "no_scm" in call]


def test_a_run_ends_with_the_comparison_which_does_not_fail_it(checkout, make):
    folder = checkout("checkout")
    assert make(folder, "env")[0] == 0
    compare = folder / ".venv" / "bin" / "s2f"
    compare.write_text(f"{compare.read_text()}echo Not reproduced\nexit 1\n")
    code, output, calls = make(folder, "repro")
    assert code == 0, output
    assert calls[-1] == f"s2f {folder} compare []" and "Not reproduced\n" in output


def test_nothing_is_pulled_without_a_remote(checkout, make):
    folder = checkout("checkout")
    code, output, calls = make(folder, "pull")
    assert code != 0 and "there is no remote to pull from: name one with dvc remote add -d shared PLACE" in output
    assert calls[-1] == f"dvc {folder} remote list []"

    dvc = folder / ".venv" / "bin" / "dvc"
    dvc.write_text(f'{dvc.read_text()}[ "$1" = pull ] || echo "shared ../store"\n')
    code, output, calls = make(folder, "pull")
    assert code == 0, output
    assert calls[-1] == f"dvc {folder} pull []"


def test_jupyterlab_gets_the_options_that_make_was_given(checkout, make):
    code, output, calls = make(checkout("checkout"), "lab", "ARGS=--no-browser --port 8890")
    assert code == 0, output
    assert calls[-1].endswith("lab --no-browser --port 8890 []")

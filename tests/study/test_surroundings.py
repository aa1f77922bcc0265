"""A stage gives the same in any shell: each surrounding is set, and a notebook with one cell runs as a stage."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from repository import ROOT

from s2f.study.code import Library
from s2f.study.notebook import code_only, read

# What a stage depends on, as the kernel sees it: a figure, text with an umlaut, sockets, switches.
CELL = """
import json, multiprocessing.connection, socket, sys
from pathlib import Path
from s2f.plots import style

style.use()
fig, axes = style.axes(2, 2)
axes[0, 0].set_title("\\u00e4")
style.save(fig, "figure.png")
Path("text").write_text("\\u00e4")
with socket.socket(socket.AF_UNIX) as server:  # as worker processes do
    server.bind(multiprocessing.connection.arbitrary_address("AF_UNIX"))
facts = {
    "interpreter": sys.prefix,
    "order of a set": list({"a", "b", "c", "d"}),
    "asserts": __debug__,
    "startup file": "startup" in globals(),
}
Path("facts.json").write_text(json.dumps(facts))
fig
"""
MADE = ("figure.png", "text", "facts.json")
NUMERICAL = """
import getpass, json
from pathlib import Path
import numpy, torch
from threadpoolctl import threadpool_info

torch.optim.Adam([torch.zeros(1)]), getpass.getuser(), Path.home()
threads = {library["internal_api"]: library["num_threads"] for library in threadpool_info()}
Path("facts.json").write_text(json.dumps(threads))
"""
THREADS = 3


NAMELESS = ("unshare", "--user", "--map-user=4321")


def write(folder, cell=CELL):
    """A study whose stage has one cell, and a user's home with settings for every program that a stage uses."""
    study, home = folder / "study", folder / "home"
    settings = "text.usetex: True\naxes.facecolor: red\nfigure.dpi: 40\nsavefig.facecolor: red\n"
    kernel = {"argv": [shutil.which("false"), "{connection_file}"], "display_name": "Foreign", "language": "python"}
    cells = [("threads = 1", ["parameters"]), (cell.strip(), [])]
    notebook = {"cells": [{"cell_type": "code", "metadata": {"tags": t}, "source": s} for s, t in cells]}
    files = {
        study / "dvc.yaml": "",
        study / "params.yaml": f"train: {{threads: {THREADS}}}\n",
        study / "build/src/30_train.ipynb": json.dumps(code_only(notebook, Library())),
        home / ".config/matplotlib/matplotlibrc": settings,
        home / ".ipython/profile_default/startup/startup.py": "startup = True",
        home / ".ipython/profile_default/ipython_config.py": "c.InteractiveShellApp.exec_lines = ['startup = True']",
        home / ".local/share/jupyter/kernels/python3/kernel.json": json.dumps(kernel),
        home / "startup.py": "startup = True",
        folder / ("x" * 104) / "empty": "",
    }
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return study


def run(study, prefix=(), **variables):
    """What the stage made and showed, started in a shell with `variables`; None takes one out of it."""
    shell = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    done = subprocess.run(
        [*prefix, sys.executable, "-m", "s2f.study.notebook", "run", "30_train", "--params", "train"],
        cwd=study,
        env={name: value for name, value in shell.items() if value is not None},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    outputs = read(study / "build" / "run" / "30_train.ipynb")["cells"][-1]["outputs"]
    shown = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    return {"shown": shown} | {name: (study / name).read_bytes() for name in MADE if (study / name).exists()}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """What the stage makes in the shell that runs the tests."""
    return run(write(tmp_path_factory.mktemp("plain")))


def test_a_stage_has_its_own_interpreter_switches_and_encoding(plain):
    facts = json.loads(plain["facts.json"])
    assert facts["interpreter"] == sys.prefix and facts["asserts"] and not facts["startup file"]
    assert plain["text"] == "\u00e4".encode()
    assert len(plain["shown"]) == 1


@pytest.mark.parametrize(
    "variables",
    [
        {"MPLBACKEND": "TkAgg"},
        {"MPLBACKEND": "Agg"},
        {"MATPLOTLIBRC": "../home/.config/matplotlib"},
        {"JUPYTER_PATH": "../home/.local/share/jupyter"},
        {"HOME": "../home", "IPYTHONDIR": None, "XDG_CONFIG_HOME": None},
        {"PYTHONSTARTUP": "../home/startup.py"},
        {"PYTHONHASHSEED": "7", "PYTHONOPTIMIZE": "1", "PYTHONWARNINGS": "error::UserWarning"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"TMPDIR": "../" + "x" * 104},
        {"TMPDIR": "../no such folder"},
        {"HOME": "/dev/null/home", "XDG_CACHE_HOME": "/dev/null/home", "XDG_RUNTIME_DIR": "/dev/null/home"},
    ],
    ids=lambda variables: " ".join(variables),
)
def test_a_stage_gives_the_same_in_any_shell(plain, tmp_path, variables):
    study = write(tmp_path)
    places = {name: str(study / value) for name, value in variables.items() if value and value.startswith("../")}
    assert run(study, **variables | places) == plain


def test_figures_have_the_style_of_the_project_beside_a_matplotlibrc(plain, tmp_path):
    study = write(tmp_path)
    shutil.copy(tmp_path / "home/.config/matplotlib/matplotlibrc", study)
    assert run(study) == plain


@pytest.mark.parametrize("threads", ["1", "4"])
def test_the_number_of_threads_is_that_of_the_settings(tmp_path, threads):
    shell = dict.fromkeys(("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    made = run(write(tmp_path, NUMERICAL), **shell)
    assert json.loads(made["facts.json"]) == {"openblas": 1, "openmp": THREADS}


def may_be_nameless():
    return shutil.which("unshare") and subprocess.run([*NAMELESS, "true"], stderr=subprocess.DEVNULL).returncode == 0


@pytest.mark.skipif(not may_be_nameless(), reason="no user id without a name is to be had here")
def test_a_user_id_may_have_neither_name_nor_home(tmp_path):
    assert run(write(tmp_path, NUMERICAL), NAMELESS, HOME=None, USER=None, LOGNAME=None)["facts.json"]

"""What a stage depends on, what it refuses, and what it leaves when a cell fails or the run is killed."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest

from s2f.study.code import Library
from s2f.study.notebook import (
    check_parameters,
    code_only,
    declared_parameters,
    explore,
    extract,
    load_section,
    main,
    weave,
)
from s2f.study.paths import UserError


def code(source, tags=()):
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": uuid4().hex[:8],
        "metadata": {"tags": list(tags)} if tags else {},
        "outputs": [],
        "source": source,
    }


def prose(source):
    return {"cell_type": "markdown", "id": uuid4().hex[:8], "metadata": {}, "source": source}


def notebook(*cells):
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study whose one notebook prints its parameters, under prose."""
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "params.yaml").write_text("train:\n  rate: 1e-4\n  steps: 3\nruns:\n  short: {steps: 1}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))  # for kernels, should s2f not be installed
    write(
        tmp_path,
        "30_train",
        prose("# The claim\n\nEnergy is $mc^2$."),
        code("rate = 1.0\nsteps = 1", tags=["parameters"]),
        prose("Why this cell."),
        code("from pathlib import Path\nprint('steps', steps, 'rate', rate, Path.cwd().name)"),
    )
    return tmp_path


def write(study, name, *cells):
    """A notebook in `notebooks/`, and its copy."""
    path = study / "notebooks" / f"{name}.ipynb"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(notebook(*cells)))
    extract([study / "notebooks"], study / "build" / "src")


def copies(study):
    return {path.name: path.read_bytes() for path in (study / "build" / "src").iterdir()}


# ---- extract


def test_a_save_in_jupyterlab_leaves_the_copy_as_it_was_and_a_code_edit_does_not(study):
    from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager

    jupyterlab = AsyncLargeFileManager(root_dir=str(study))
    path = "notebooks/30_train.ipynb"
    before = copies(study)

    async def save(edit):
        model = await jupyterlab.get(path)
        edit(model["content"])
        await jupyterlab.save({key: model[key] for key in ("type", "format", "content")}, path)

    def looked_at(content):
        content["metadata"]["kernelspec"] = {"name": "private", "display_name": "My kernel"}
        content["metadata"]["language_info"] = {"name": "python", "version": "3.12.1"}
        content["cells"][0]["source"] = "# Another claim"
        content["cells"][3] |= {"execution_count": 7, "metadata": {"collapsed": True}}
        content["cells"][3]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "steps"}]
        content["cells"].append(code("", tags=["empty"]))  # JupyterLab adds one below the last cell that ran

    def changed(content):
        content["cells"][3]["source"] += "  # now with a comment"

    asyncio.run(save(looked_at))
    saved = json.loads((study / path).read_text())
    assert saved["cells"][3]["outputs"] and saved["metadata"]["kernelspec"]["name"] == "private"
    extract([study / "notebooks"], study / "build" / "src")
    assert copies(study) == before

    asyncio.run(save(changed))
    extract([study / "notebooks"], study / "build" / "src")
    assert copies(study) != before


def test_the_copy_is_code_with_steady_ids_the_parameters_tag_and_the_common_kernel():
    cells = prose("x"), code("a = 1", ["parameters", "hide"]), code(" \n"), code(["b\n", "c"])
    copy = code_only(notebook(*cells), Library())
    assert [(cell["id"], cell["metadata"], cell["source"]) for cell in copy["cells"]] == [
        ("c0", {"tags": ["parameters"]}, ["a = 1"]),
        ("c1", {}, ["b\n", "c"]),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    assert copy["metadata"] == {"kernelspec": kernel, "library": {}}


def test_extract_touches_only_what_changed(study):
    write(study, "10_data", code("1"))
    (study / "build" / "src" / "99_gone.ipynb").touch()
    times = {name: (study / "build" / "src" / name).stat().st_mtime_ns for name in copies(study)}
    write(study, "10_data", code("2"))
    assert set(copies(study)) == {"10_data.ipynb", "30_train.ipynb"}
    changed = {name for name in copies(study) if (study / "build/src" / name).stat().st_mtime_ns != times[name]}
    assert changed == {"10_data.ipynb"}


def test_extract_says_what_is_touched_and_by_what(study):
    target = study / "build" / "src"
    write(study, "10_data", code("from s2f.study import paths\npaths.md5"))
    path = target / "10_data.ipynb"
    copy = json.loads(path.read_text())
    assert list(copy["metadata"]["library"]) == ["s2f/study/paths.py"]
    assert extract([study / "notebooks"], target) == {}

    copy["metadata"]["library"]["s2f/study/paths.py"] = "as it was before"
    path.write_text(json.dumps(copy))
    assert extract([study / "notebooks"], target) == {"10_data": ["s2f/study/paths.py"]}

    (study / "notebooks" / "30_train.ipynb").unlink()
    (study / "notebooks" / "20_new.ipynb").write_text(json.dumps(notebook(code("1"))))
    (study / "notebooks" / "10_data.ipynb").write_text(json.dumps(notebook(code("2"))))
    assert extract([study / "notebooks"], target) == {
        "10_data": ["s2f/study/paths.py", "its own code"],
        "20_new": ["new"],
        "30_train": ["gone"],
    }


def test_a_study_replaces_and_adds_to_the_common_notebooks(study):
    own = study / "own"
    own.mkdir()
    write(study, "10_data", code("1"))
    (own / "10_data.ipynb").write_text(json.dumps(notebook(code("2"))))
    (own / "11_more.ipynb").write_text(json.dumps(notebook(code("3"))))
    extract([study / "notebooks", own], study / "build" / "src")
    assert set(copies(study)) == {"10_data.ipynb", "11_more.ipynb", "30_train.ipynb"}
    assert json.loads(copies(study)["10_data.ipynb"])["cells"][0]["source"] == ["2"]


@pytest.mark.parametrize("text", ["{'cells': []}", "[]", '{"nbformat": 3, "worksheets": []}'])
def test_extract_names_what_is_not_a_notebook(study, text):
    (study / "notebooks" / "20_broken.ipynb").write_text(text)
    with pytest.raises(UserError, match=r"20_broken\.ipynb is not"):
        extract([study / "notebooks"], study / "build" / "src")


def test_extract_begins_with_a_check_of_the_parameters(study, capsys):
    assert main(["extract", "notebooks", "build/new"]) == 2
    assert "params.yaml" in capsys.readouterr().err
    assert not (study / "build" / "new").exists()


# ---- parameters


def test_sections_are_yaml_1_2_and_may_be_nested(study):
    assert load_section(study / "params.yaml", "train") == {"rate": 1e-4, "steps": 3}
    assert load_section(study / "params.yaml", "runs.short") == {"steps": 1}
    for section in ("missing", "runs.long", "train.steps"):
        with pytest.raises(UserError, match=section):
            load_section(study / "params.yaml", section)


def test_a_parameter_is_one_plain_assignment_a_line():
    cell = code("# the rate\na = 1  # per step\nb = [1, 2]", ["parameters"])
    assert declared_parameters(notebook(cell), "x") == {"a", "b"}
    for bad in ("a = 1; b = 2", "a = [\n1]", "a, b = 1, 2", "import os"):
        with pytest.raises(UserError, match="x: line 1 of the parameters cell"):
            declared_parameters(notebook(code(bad, ["parameters"])), "x")


def test_unknown_and_missing_parameters_are_named():
    check_parameters({"a", "b"}, {"a", "b"}, "30_train", "train")
    with pytest.raises(UserError, match="sets c in 'train'.*it has a, b"):
        check_parameters({"a", "b"}, {"a", "b", "c"}, "30_train", "train")
    with pytest.raises(UserError, match="lacks b in 'train'"):
        check_parameters({"a", "b"}, {"a"}, "30_train", "train")


def test_run_refuses_a_wrong_section_before_anything_heavy_is_imported(study):
    """In a process of its own, as the imports count."""
    (study / "params.yaml").write_text("train: {rate: 1.0, step: 3}\n")
    probe = (
        "import sys; from s2f.study.notebook import main; status = main(['run', '30_train', '--params', 'train'])\n"
        "print(status, sorted({'torch', 'papermill', 'jupyter_client', 'nbconvert'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout == "2 []\n"
    assert done.stderr.count("\n") == 1 and "sets step in 'train'" in done.stderr
    assert not (study / "build" / "run").exists()


# ---- run


def test_a_run_leaves_the_executed_notebook_and_a_page_with_prose_that_needs_no_network(study):
    assert main(["run", "30_train", "--params", "train"]) == 0
    executed = json.loads((study / "build/run/30_train.ipynb").read_text())
    assert f"steps 3 rate 0.0001 {study.name}" in json.dumps(executed["cells"][-1]["outputs"])
    page = (study / "build/run/30_train.html").read_text()
    assert page.index("The claim") < page.index("Why this cell") < page.index("steps 3 rate 0.0001")
    assert not re.search(r"<script[^>]+src=|<link[^>]+href=|@import|import\(", page)
    assert "cdn" not in page.lower()


def test_a_figure_at_the_end_of_a_cell_is_shown(study):
    drawing = "from s2f.plots import style\nstyle.use()\nstyle.axes(2, 2)[0]"
    write(study, "40_evaluate", code(drawing))
    assert main(["run", "40_evaluate"]) == 0
    assert "data:image/png;base64" in (study / "build/run/40_evaluate.html").read_text()


def test_a_failing_cell_still_leaves_both_files_and_a_sentence(study, capsys):
    write(
        study,
        "40_evaluate",
        prose("Prose."),
        code("print('before')"),
        code("x = 1\n1 / 0"),
        code("print('after')"),
    )
    assert main(["run", "40_evaluate"]) == 1
    sentence = capsys.readouterr().err.splitlines()[-1]
    assert sentence.startswith("40_evaluate: the cell that begins `x = 1` failed with ZeroDivisionError: division")
    page = (study / "build/run/40_evaluate.html").read_text()
    assert all(text in page for text in ("Prose.", "before", "ZeroDivisionError"))
    assert (study / "build/run/40_evaluate.ipynb").exists()


@pytest.mark.parametrize("why", ["SIGINT: voice stopped after step 3; run it again", ""])
def test_an_interruption_is_no_failure(why, study, capsys):
    write(study, "30_train", code(f"raise KeyboardInterrupt({why!r})"))
    assert main(["run", "30_train"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == f"30_train: {why or 'interrupted; run it again'}"


def test_a_user_error_in_a_cell_is_one_sentence_and_exit_code_2(study, capsys):
    raising = "from s2f.study.paths import UserError\nraise UserError('row 7 of a.csv is empty; fill it.')"
    write(study, "10_data", code(raising))
    assert main(["run", "10_data"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "row 7 of a.csv is empty; fill it."


# ---- exploring: beside the study, never in it

SAVES = code(
    "from s2f.study import paths\nstudy = paths.study()\noutput = study.output()\n"
    "paths.write_json({'steps': steps}, output.results / 'x.json')\nassert (output.results / 'x.json').exists()"
)
STEPS = code("steps = 1", tags=["parameters"])


def test_a_stage_writes_the_files_of_the_study(study):
    write(study, "40_saves", STEPS, SAVES)
    assert main(["run", "40_saves", "--params", "runs.short"]) == 0
    assert json.loads((study / "results" / "x.json").read_text()) == {"steps": 1}
    assert not (study / "scratch" / "explore").exists()


def test_exploring_writes_beside_the_study_and_says_where(study):
    write(study, "40_saves", STEPS, SAVES)
    before = {path for path in study.rglob("*") if path.is_file()}
    executed = explore("40_saves", {"steps": 5}, study)
    assert executed.with_suffix(".html").is_file()
    made = {path for path in study.rglob("*") if path.is_file()} - before
    assert {path.parts[len(study.parts)] for path in made} == {"scratch"}
    assert json.loads((study / "scratch" / "explore" / "results" / "x.json").read_text()) == {"steps": 5}
    assert "Exploring" in executed.read_text()


def test_plain_papermill_writes_beside_the_study_too(study):
    write(study, "40_saves", STEPS, SAVES)
    papermill = [sys.executable, "-m", "papermill", "notebooks/40_saves.ipynb", "out.ipynb", "-p", "steps", "4"]
    papermill += ["-k", "python3", "-l", "python"]
    subprocess.run(papermill, cwd=study, check=True, capture_output=True)
    assert not (study / "results").exists()
    assert json.loads((study / "scratch" / "explore" / "results" / "x.json").read_text()) == {"steps": 4}


def test_a_notebook_that_forgets_where_to_write_is_refused_unless_it_is_a_stage(study):
    forgets = code("from s2f.study import paths\npaths.write_json({}, paths.study().results / 'x.json')")
    write(study, "40_forgets", STEPS, forgets)
    with pytest.raises(UserError, match="x.json.*output"):
        explore("40_forgets", {}, study)
    assert not (study / "results" / "x.json").exists()
    assert main(["run", "40_forgets", "--params", "runs.short"]) == 0


def test_exploring_refuses_an_unknown_notebook_and_parameter_by_name(study):
    with pytest.raises(UserError, match="no notebook '60_x'.*30_train"):
        explore("60_x", {}, study)
    with pytest.raises(UserError, match="no parameter 'step'.*rate, steps"):
        explore("30_train", {"step": 3}, study)


def test_weave_puts_the_given_parameters_below_the_cell_that_declares_them():
    full = notebook(prose("top"), code("a = 1", ["parameters"]), prose("why"), code(""), code("a"))
    executed = code_only(full, Library())
    given = code("a = 2", ["injected-parameters"])
    executed["cells"].insert(1, given)
    executed["cells"][2] |= {"outputs": ["2"], "execution_count": 3}
    woven = weave(full, executed)["cells"]
    assert [cell["source"] for cell in woven] == ["top", "a = 1", "a = 2", "why", "a"]
    assert woven[-1]["outputs"] == ["2"] and woven[-1]["execution_count"] == 3


# ---- no orphan keeps training

TRAINING = """import os, time
from pathlib import Path
Path("kernel.pid").write_text(str(os.getpid()))
try:
    time.sleep(120)
except KeyboardInterrupt:
    Path("checkpoint").touch()
    raise"""


def eventually(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def alive(pid):
    """Whether the process runs; one that ended, but that nobody has waited for yet, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
@pytest.mark.parametrize("killed", ["parent", "runner"])
def test_the_kernel_ends_with_the_process_that_started_it(study, killed):
    write(study, "30_train", code(TRAINING))
    start = (
        "import subprocess, sys\n"
        "run = subprocess.Popen([sys.executable, '-m', 's2f.study.notebook', 'run', '30_train'])\n"
        "print(run.pid, flush=True)\n"
        "run.wait()"
    )
    command = [sys.executable, "-c", start]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    with parent:
        runner = int(parent.stdout.readline())
        eventually(lambda: (study / "kernel.pid").exists() and (study / "kernel.pid").read_text())
        kernel = int((study / "kernel.pid").read_text())
        os.kill(parent.pid if killed == "parent" else runner, signal.SIGKILL)
        eventually(lambda: not alive(kernel) and not alive(runner))
        if killed == "parent":  # then the runner had the time to end in good order
            assert (study / "checkpoint").exists()
            assert "KeyboardInterrupt" in (study / "build/run/30_train.html").read_text()

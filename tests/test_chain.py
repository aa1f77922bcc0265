"""The chain on a tiny corpus: every notebook runs, and after that only what has to.

One `dvc repro` of a study made for the purpose serves all tests (about two minutes); those that change something work
on a copy. DVC hashes the library as files of the study, so a study has a copy of it too, which is what runs there.
"""

import asyncio
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from repository import ROOT
from ruamel.yaml import YAML

from s2f.study import config

TINY = ROOT / "tests" / "tiny" / "params.yaml"
RUNS = list(config.load(config.Ablations, TINY).root)


def stages() -> dict[str, str]:
    """The stages of the tiny study, each with its command; one with `foreach` stands for many."""
    found = {}
    for name, stage in YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"].items():
        if "foreach" in stage:
            command = stage["do"]["cmd"]
            found |= {f"{name}@{run}": command.replace("${key}", run) for run in RUNS}
        else:
            found[name] = stage["cmd"]
    return found


STAGES = stages()
# The executed copies: of a stage with many runs, one each.
PAGES = {
    "-".join([name, *run.split(".")[1:]])
    for command in STAGES.values()
    for name, run in re.findall(r"s2f\.study\.notebook run (\w+) --params (\S+)", command)
}
STUDY = (".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore", "dvc.yaml", "notebooks", "s2f")
SECONDS = 5  # of a chain that has nothing to do, or that is refused


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A tiny study, all of whose stages have run. Not to be changed."""
    root = tmp_path_factory.mktemp("chain") / "study"
    for name in STUDY:
        source, target = ROOT / name, root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
        else:
            shutil.copy(source, target)
    shutil.copy(TINY, root)
    subprocess.run(["git", "init", "--quiet", root], check=True, env=environment(root))
    start = time.monotonic()
    done, seconds = timed(root, "repro")
    print(f"the tiny chain: {time.monotonic() - start:.0f} s, {seconds:.0f} s of them on the processor")
    assert done.returncode == 0, done.stdout
    assert sorted(ran(done)) == sorted(STAGES)
    return root


@pytest.fixture
def study(finished, tmp_path):
    """A copy of the finished study, without checkpoints, for one test."""
    root = tmp_path / "study"
    shutil.copytree(finished, root, ignore=lambda folder, names: {"scratch"} & set(names))
    yield root
    shutil.rmtree(root)  # pytest would keep all of them


def environment(root):
    """`python`, `dvc` and `papermill` of this environment, with nothing of the user's settings of Git and DVC."""
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "DVC_GLOBAL_CONFIG_DIR": str(root.parent / "dvc"),
        "DVC_SITE_CACHE_DIR": str(root.parent / "dvc"),
        # Containers often set it; a venv without bytecode then compiles torch and its like for each of ten kernels.
        "PYTHONDONTWRITEBYTECODE": "",
    }


def start(root, *command):
    """A started command in the study; its messages come with its output."""
    return subprocess.Popen(
        command, cwd=root, env=environment(root), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def timed(root, *arguments):
    """The finished `dvc`, and its seconds on the processor, which a busy machine does not stretch much."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = start(root, "dvc", *arguments)
    output, _ = process.communicate()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return subprocess.CompletedProcess(process.args, process.returncode, output), seconds


def dvc(root, *arguments):
    """A finished `dvc` command that succeeded."""
    done, _ = timed(root, *arguments)
    assert done.returncode == 0, done.stdout
    return done


def papermill(root, name, *options):
    """Run a notebook as people wrote it, not as a stage."""
    process = start(root, "papermill", f"notebooks/{name}.ipynb", "executed.ipynb", *options)
    output, _ = process.communicate()
    assert process.returncode == 0, output


def ran(done):
    """The stages that `dvc repro` ran, or with `--dry` would run."""
    return re.findall(r"^Running stage '([\w@]+)'", done.stdout, re.M)


def edit(study, name, change):
    """Open a notebook as JupyterLab does, change its content, and save it."""
    jupyterlab = AsyncLargeFileManager(root_dir=str(study))
    path = f"notebooks/{name}.ipynb"

    async def save():
        model = await jupyterlab.get(path)
        change(model["content"])
        await jupyterlab.save({key: model[key] for key in ("type", "format", "content")}, path)

    asyncio.run(save())


def code_cells(content):
    return [cell for cell in content["cells"] if cell["cell_type"] == "code"]


# ---- what the chain leaves


def test_each_notebook_leaves_its_executed_copy_and_a_page(finished):
    for name in PAGES:
        executed = json.loads((finished / "build" / "run" / f"{name}.ipynb").read_text())
        assert all(cell["execution_count"] for cell in code_cells(executed)), name
        assert "<h1" in (finished / "build" / "run" / f"{name}.html").read_text(), name


def test_pages_load_nothing_from_the_network(finished):
    loads = re.compile(
        r"<(?:script|img|iframe|source)\b[^>]*\ssrc\s*=\s*[\"']?(?:https?:)?//"
        r"|<link\b[^>]*\shref\s*=\s*[\"']?(?:https?:)?//|url\(\s*[\"']?(?:https?:)?//|@import|\bimport\("
    )
    pages = [*(finished / "build" / "run").glob("*.html"), finished / "results" / "report.html"]
    assert len(pages) == len(PAGES) + 2  # the index, and the report
    for page in pages:
        assert not loads.search(page.read_text()), page.name


def test_results_are_strict_json_and_answer_the_ledger(finished):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    results = {path.stem: path.read_text() for path in (finished / "results").glob("*.json")}
    contents = {name: json.loads(text, parse_constant=refuse) for name, text in results.items()}
    answered = {row["metric"].split(".")[0] for row in contents["report"]["rows"] if row["ours"] is not None}
    # The tiny study has few runs and durations (`complete: false`), but each stage answers some of the paper's numbers.
    assert answered >= {"train", "evaluate", "same_speaker", "voice_probes", "feature_space", "retrieval", "ablations"}
    assert "robustness" in answered


def test_the_run_is_recorded_and_compared(finished):
    """The tiny study is in no Git, so there is nothing to compare it with but itself."""
    made = json.loads((finished / "results" / "run.json").read_text())
    assert set(made) == {"code", "commit", "machine", "minutes", "parameters", "threads", "versions"}
    assert made["parameters"] == config.read(TINY) and set(made["minutes"]) == PAGES - {"90_report"}
    process = start(finished, "s2f", "compare", "results")
    output, _ = process.communicate()
    assert process.returncode == 0 and output.startswith("Reproduced: "), output
    assert f"Machine: {made['machine']}\n" in output
    process = start(finished, "s2f", "compare")
    output, _ = process.communicate()
    assert process.returncode == 2 and "neither a folder nor a commit" in output


# ---- DVC as its users use it: the commands of the README


@pytest.fixture
def committed(study):
    """The finished study with everything in Git that belongs there."""
    git(study, "add", ".")
    git(study, "commit", "--quiet", "--message", "results")
    return study


def git(root, *arguments):
    name = ("-c", "user.name=s2f", "-c", "user.email=s2f@example.org")
    return subprocess.run(
        ["git", *name, *arguments], cwd=root, env=environment(root), check=True, capture_output=True, text=True
    ).stdout


def test_metrics_are_the_headlines_alone(finished):
    headlines = json.loads((finished / "results" / "metrics.json").read_text())
    lines = dvc(finished, "metrics", "show").stdout.splitlines()
    assert 1 <= len(lines) <= 3 and max(map(len, lines)) < 2000
    shown = json.loads(dvc(finished, "metrics", "show", "--json").stdout)
    assert shown[""]["data"] == {"results/metrics.json": {"data": headlines}}


def test_plots_are_shown(study):
    dvc(study, "plots", "show", "--json")
    page = dvc(study, "plots", "show").stdout.strip()
    text = Path(page.removeprefix("file://")).read_text()
    assert all(title in text for title in ("The true face among the first k", "True age band", "validation (degrees)"))


def test_an_experiment_changes_one_setting_and_shows_what_came_of_it(committed):
    git(committed, "config", "user.name", "s2f")
    git(committed, "config", "user.email", "s2f@example.org")
    done = dvc(committed, "exp", "run", "-S", "train.loss=cosine_only", "train")
    assert ran(done) == ["source", "train"]
    assert git(committed, "diff", "--numstat", "params.yaml").split()[:2] == ["1", "1"]
    settings = json.loads(dvc(committed, "params", "diff", "--json").stdout)
    assert settings == {"params.yaml": {"train.loss": {"old": "paper", "new": "cosine_only"}}}
    header, *rows = dvc(committed, "exp", "show", "--only-changed", "--csv").stdout.splitlines()
    assert "train.loss" in header and len(header.split(",")) < 100
    assert any("cosine_only" in row for row in rows)


def test_a_second_person_gets_everything_and_computes_nothing(committed, tmp_path):
    clone = tmp_path / "clone"
    dvc(committed, "remote", "add", "-d", "shared", str(tmp_path / "store"))
    git(committed, "commit", "--quiet", "-m", "A remote", ".dvc/config")
    dvc(committed, "push")
    git(committed, "clone", "--quiet", ".", str(clone))
    dvc(clone, "pull")
    assert "up to date" in dvc(clone, "status").stdout
    assert ran(dvc(clone, "repro")) == []
    assert (clone / "results" / "report.html").read_bytes() == (committed / "results" / "report.html").read_bytes()


# ---- what runs again


def test_a_finished_chain_has_nothing_to_do(study):
    dvc(study, "repro")  # the copy is new to DVC, which hashes it once
    done, seconds = timed(study, "repro")
    print(f"nothing to do: {seconds:.1f} s on the processor")
    assert ran(done) == []
    assert "Data and pipelines are up to date." in done.stdout
    assert seconds < SECONDS


def test_a_save_in_jupyterlab_runs_no_notebook(study):
    def looked_at(content):
        content["metadata"]["kernelspec"] = {"name": "private", "display_name": "My kernel"}
        content["cells"][0]["source"] = "# Another claim"
        for number, cell in enumerate(code_cells(content), 1):
            cell |= {"execution_count": number, "metadata": cell["metadata"] | {"collapsed": True}}
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "seen"}]

    edit(study, "30_train", looked_at)
    assert "notebooks" in dvc(study, "status").stdout
    assert ran(dvc(study, "repro")) == ["source"]


def test_a_code_edit_runs_the_notebook_and_what_follows(study):
    def changed(content):
        code_cells(content)[-1]["source"] += "\nassert True"

    edit(study, "30_train", changed)
    assert ran(dvc(study, "repro", "source")) == ["source"]
    assert ran(dvc(study, "repro", "--dry")) == ["train", "trainings"]
    # DVC knows only afterwards whether the weights changed; what follows if they did:
    apart = {"source", "data", "face_model", "languages", "null_world", *(f"ablations@{run}" for run in RUNS)}
    assert set(ran(dvc(study, "repro", "--dry", "--force-downstream"))) == set(STAGES) - apart


LIBRARY_FILE = "s2f/metrics/bootstrap.py"


def test_an_edit_of_the_library_that_changes_no_code_runs_no_notebook(study):
    path = study / LIBRARY_FILE
    docstring, rest = path.read_text().split('"""', 2)[1:]
    unused = "def nobody_calls_this():\n    return 1\n"
    path.write_text(f'"""{docstring} More about it."""  # a comment{rest}\n\n{unused}')
    assert ran(dvc(study, "repro", "--dry")) == ["source"]
    done = dvc(study, "repro")
    assert ran(done) == ["source"] and "No notebook is touched." in done.stdout

    path.write_text(path.read_text().replace("nobody_calls_this", "nor_this"))
    assert ran(dvc(study, "repro")) == ["source"]


def test_a_line_of_the_statistics_runs_what_uses_it_and_no_training(study):
    path = study / LIBRARY_FILE
    before, function, after = path.read_text().partition("\ndef interval(")
    path.write_text(before + function + after.replace("\n    return ", "\n    assert True\n    return ", 1))
    done = dvc(study, "repro", "source")
    assert f"40_evaluate: {LIBRARY_FILE}\n" in done.stdout
    again = set(ran(dvc(study, "repro", "--dry")))
    assert again >= {"evaluate", "audit", "retrieval", "matching"}
    assert not again & {"data", "face_model", "train", "predict", *(f"ablations@{run}" for run in RUNS)}


def test_a_wrong_parameter_is_refused_at_once_and_by_name(study):
    params = study / "params.yaml"
    params.write_text(params.read_text().replace("\ntrain:\n", "\ntrain:\n  learning_rate: 0.1\n"))
    done, seconds = timed(study, "repro")
    print(f"refused: {seconds:.1f} s on the processor")
    assert done.returncode != 0
    assert ran(done) == ["source"]
    assert "unknown key 'learning_rate'" in done.stdout
    assert seconds < SECONDS


# ---- the same results, whoever runs it and however often


def test_a_stage_run_again_writes_the_same_bytes(study):
    results = [study / "results" / f"{name}.json" for name in ("evaluate", "retrieval")]
    before = [path.read_bytes() for path in results]
    assert ran(dvc(study, "repro", "--force", "--single-item", "evaluate", "retrieval")) == ["evaluate", "retrieval"]
    assert [path.read_bytes() for path in results] == before


def test_plain_papermill_gives_what_the_stage_gave_and_leaves_it_as_it_was(study):
    """It follows the params.yaml of the study, although its parameters cell holds the values of the default study."""
    made = ("results/predict.json", "features/voices.npz", "features/drawn.npz")
    papermill(study, "35_predict")
    for name in made:
        assert (study / "scratch" / "explore" / name).read_bytes() == (study / name).read_bytes()
    assert "up to date" in dvc(study, "status").stdout


def test_exploring_with_another_value_leaves_the_study_as_it_was(study):
    papermill(study, "60_retrieval", "-p", "gallery", "10")
    explored = json.loads((study / "scratch" / "explore" / "results" / "retrieval.json").read_text())
    assert explored["gallery"]["size"] == 10 and "recall_at_10_of_10" in explored
    assert json.loads((study / "results" / "retrieval.json").read_text())["gallery"]["size"] == 20
    assert "up to date" in dvc(study, "status").stdout


def test_the_notebook_that_is_no_stage_runs(study):
    """It is there to be played with in JupyterLab."""
    papermill(study, "00_explore")


def test_a_killed_training_goes_on_to_the_same_weights(study):
    """The settings of the tiny study save a checkpoint at each step."""
    weights, checkpoints = study / "models" / "voice.safetensors", study / "scratch" / "voice_encoder"
    before = weights.read_bytes()
    train = "dvc", "repro", "--force", "--single-item", "train"
    with start(study, *train) as killed:
        deadline = time.monotonic() + 60
        while not (saved := list(checkpoints.glob("*/state.pt"))):
            assert killed.poll() is None and time.monotonic() < deadline, "no checkpoint"
            time.sleep(0.05)
        (kernel,) = (
            process
            for process in psutil.Process(killed.pid).children(recursive=True)
            if "ipykernel_launcher" in process.cmdline()
        )
        kernel.send_signal(signal.SIGKILL)
        output, _ = killed.communicate()
    assert killed.returncode != 0 and "the kernel died" in output
    assert not weights.exists()
    step = torch.load(saved[0], weights_only=True)["progress"]["step"]
    steps = config.read(study / "params.yaml")["train"]["steps"]
    assert 0 < step < steps

    resumed = dvc(study, *train[1:])
    assert f"| {step}/{steps} [" in resumed.stdout  # it went on, and did not begin again
    assert weights.read_bytes() == before

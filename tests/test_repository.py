"""What holds for the whole repository: its library, notebooks, stages, files and the commands it names."""

import ast
import re
import shlex
import subprocess
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path

import pytest
import typer
from dvc.cli import parse_args as parse_dvc
from importlinter.cli import lint_imports
from repository import NOTEBOOKS, ROOT, code
from ruamel.yaml import YAML

from s2f import cli
from s2f.report import estimates
from s2f.study import config, notebook

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def tracked() -> list[Path]:
    """The files that are, or on the next `git add` would be, in Git."""
    # The checkout may belong to another user than the one who tests it.
    git = ["git", "-C", str(ROOT), "-c", f"safe.directory={ROOT}"]
    listing = subprocess.check_output([*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
    return [ROOT / name for name in listing.decode().split("\0") if (ROOT / name).is_file()]


# Library


PACKAGES = sorted(file.parent for file in (ROOT / "s2f").rglob("__init__.py"))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_a_package_says_what_may_live_there_and_names_its_modules(package):
    """A sentence, then a line for each module or package in it, such as `audio  reading sound`; and no code."""
    docstring, *rest = ast.parse((package / "__init__.py").read_text()).body
    assert [ast.unparse(line).split(" = ")[0] for line in rest] in ([], ["__version__"])
    sentence, _, table = ast.literal_eval(docstring.value).partition("\n\n")
    modules = {file.stem for file in package.glob("*.py")} | {
        file.parent.name for file in package.glob("*/__init__.py")
    }
    named = re.findall(r"^    (\w+)  +\w", table, re.M)
    assert sorted(named) == sorted(modules - {"__init__"})
    assert sentence.endswith(".")


def test_layers_hold(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert lint_imports(no_cache=True) == 0


# Notebooks


def test_there_are_notebooks():
    assert NOTEBOOKS


@each_notebook
def test_notebook_is_stripped(path):
    for cell in notebook.code_cells(notebook.read(path)):
        assert (cell["outputs"], cell["execution_count"]) == ([], None)


@each_notebook
def test_notebook_runs_on_the_kernel_everybody_has(path):
    assert notebook.read(path)["metadata"]["kernelspec"]["name"] == "python3"


@each_notebook
def test_notebook_defines_no_class(path):
    assert not any(isinstance(node, ast.ClassDef) for node in ast.walk(ast.parse(code(path))))


@each_notebook
def test_only_the_notebook_that_prepares_the_data_knows_where_it_comes_from(path):
    if not path.stem.startswith("10_"):
        assert not re.search(r"s2f\.synthetic|s2f\.data\.sources|data import sources", code(path))


@each_notebook
def test_notebook_says_first_what_it_is(path):
    assert notebook.read(path)["cells"][0]["cell_type"] == "markdown"


def parameters(path: Path) -> dict:
    """The assignments of the one cell tagged `parameters`, each a plain value."""
    (cell,) = filter(notebook.is_parameters, notebook.code_cells(notebook.read(path)))
    assignments = ast.parse(notebook.source(cell)).body
    return {line.targets[0].id: ast.literal_eval(line.value) for line in assignments}


@each_notebook
def test_notebook_has_parameters(path):
    assert parameters(path)


# Chain


def stages() -> dict[str, dict]:
    """The stages of dvc.yaml that run a notebook: its file, its section of params.yaml, what it depends on."""
    found = {}
    chain = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())
    for name, stage in chain["stages"].items():
        stage = stage.get("do", stage)  # one with `foreach` stands for many: a section of params.yaml each
        words = shlex.split(stage["cmd"])
        if words[:4] != ["python", "-m", "s2f.study.notebook", "run"]:
            continue
        outs = [*stage["outs"], *stage.get("metrics", [])]
        found[name] = {
            "notebook": ROOT / "notebooks" / f"{words[4]}.ipynb",
            "section": words[words.index("--params") + 1],
            "deps": stage["deps"],
            "outs": [re.sub(r"\$\{.*", "", out if isinstance(out, str) else next(iter(out))) for out in outs],
            "params": stage["params"],
        }
    return found


STAGES = stages()
each_stage = pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES.keys())


def test_there_are_stages():
    assert STAGES


@each_stage
def test_a_stage_names_the_sections_that_its_notebook_reads(stage):
    assert set(stage["params"]) == sections(stage)


def sections(stage: dict) -> set[str]:
    """The sections that a stage reads, with those of the notebooks that it runs again."""
    read = re.findall(r"config\.load\(config\.(\w+)", code(stage["notebook"]))
    found = {stage["section"], *(getattr(config, name).section for name in read)}
    again = parameters(stage["notebook"]).get("notebooks", [])
    return found.union(*(sections(other) for other in STAGES.values() if other["notebook"].stem in again))


def test_notebooks_that_run_again_are_in_the_order_of_the_chain():
    again = config.load(config.Trainings, ROOT / "params.yaml").notebooks
    chain = [stage["notebook"].stem for stage in STAGES.values()]
    assert set(again) <= set(chain) and again == sorted(again)
    assert {f"build/src/{name}.ipynb" for name in again} <= set(STAGES["trainings"]["deps"])


@each_stage
def test_parameters_of_the_notebook_are_those_of_the_study(stage):
    section = config.read(ROOT / "params.yaml")
    for key in stage["section"].replace("${key}", "full").split("."):
        section = section[key]
    assert parameters(stage["notebook"]) == section


@each_stage
def test_a_stage_depends_on_its_notebook_and_on_data_only(stage):
    """The copy of the notebook has the digests of the code that it reaches; `source` alone looks at the library."""
    assert f"build/src/{stage['notebook'].name}" in stage["deps"]
    assert not [dep for dep in stage["deps"] if dep.startswith("s2f")]


def places(path: Path, study: str) -> set[str]:
    """The places of a study that a notebook names, such as `features/photos.npy`, as far as they are plain words."""
    found = set()
    for node in ast.walk(ast.parse(code(path))):
        parts = []
        while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            parts.insert(0, node.right)
            node = node.left
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=place) if name == study and parts:
                words = [part.value for part in takewhile(lambda part: isinstance(part, ast.Constant), parts)]
                found.add("/".join([place, *words]))
    return {place for place in found if place.split("/")[0] not in ("params", "scratch", "root")}


def within(place: str, listed: list[str]) -> bool:
    """Whether one of the listed files or folders is the place, holds it, or lies in it."""
    return any(f"{place}/".startswith(f"{path}/") or path.startswith(f"{place}/") for path in listed)


@each_stage
def test_a_notebook_reads_what_its_stage_depends_on_and_writes_what_comes_out_of_it(stage):
    """`study` is what it reads, `output` where it writes: beside the study, unless it runs as a stage."""
    read, written = places(stage["notebook"], "study"), places(stage["notebook"], "output")
    assert [place for place in sorted(read) if not within(place, stage["deps"])] == []
    assert written and [place for place in sorted(written) if not within(place, stage["outs"])] == []


# Files


def opens_text_without_an_encoding(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(attr="read_text" | "write_text"), keywords=keywords):
            return not any(keyword.arg == "encoding" for keyword in keywords)
        case ast.Call(func=ast.Name(id="open") | ast.Attribute(attr="open"), args=arguments, keywords=keywords):
            modes = [part.value for part in arguments if isinstance(part, ast.Constant)]
            text = [mode for mode in modes if isinstance(mode, str) and set(mode) <= set("rwaxt+")]
            return bool(text) and not any(keyword.arg == "encoding" for keyword in keywords)
    return False


@pytest.mark.parametrize("path", sorted((ROOT / "s2f").rglob("*.py")), ids=lambda path: path.stem)
def test_text_is_utf_8_whatever_the_locale(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert [node.lineno for node in ast.walk(tree) if opens_text_without_an_encoding(node)] == []


MACHINE_PATH = re.compile(r"(?<![\w./~-])/(root|home|work|tmp|opt|mnt|Users)/\w")
REGISTRY = re.compile(r"index[-]url|find[-]links|//[\w.]*(py[p]i|python[h]osted|anacon[d]a|pyto[r]ch)\.(org|com)")
SOUND_AND_PHOTOGRAPHS = {".wav", ".flac", ".mp3", ".ogg", ".m4a", ".mp4", ".jpg", ".jpeg", ".i16", ".npy"}


in_git = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="an unpacked archive tracks no files")


@in_git
def test_no_path_of_a_machine_and_no_registry():
    for file in tracked():
        if file.suffix == ".png":
            continue
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            assert not (MACHINE_PATH.search(line) or REGISTRY.search(line)), f"{file.name}:{number}: {line}"


@in_git
def test_no_sound_and_no_photograph_is_tracked():
    assert [file for file in tracked() if file.suffix.lower() in SOUND_AND_PHOTOGRAPHS] == []


# Commands of README.md


def commands() -> list[str]:
    """The commands in the shell blocks of README.md; in a `console` block those after a `$`."""
    found = []
    blocks = re.findall(r"^```(console|bash|sh)\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    for language, block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            if language == "console" and not line.startswith("$ "):
                continue
            command = shlex.join(shlex.split(line.removeprefix("$ "), comments=True))
            found += [part.strip() for part in command.replace("'&&'", "&&").split("&&") if part.strip()]
    return found


def test_readme_names_commands():
    assert commands()


@pytest.mark.parametrize("command", commands())
def test_command_of_readme_is_known(command):
    program, *arguments = shlex.split(command)
    match program.removeprefix(".venv/bin/"):
        case "make":
            targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M)
            assert set(word for word in arguments if "=" not in word) <= set(targets)
        case "s2f":
            parser = typer.main.get_command(cli.app).commands[arguments[0]]
            parser.make_context(arguments[0], arguments[1:])
        case "dvc":
            parse_dvc(arguments)
        case "papermill":
            assert (ROOT / arguments[0]).is_file()
        case "python":
            assert arguments[0] == "-m"
            assert find_spec(arguments[1])
        case "jupyter":
            assert arguments[0] == "lab"
        case known:
            assert known in {"cd", "conda", "cp", "git", "source"}


TABLE_ROW = r"\|[^|]+\| `\w+\."


def test_numbers_in_the_readme_are_those_of_the_results():
    """Rows of the form: what | `file.path.to.row` | value [low, high] | chance | ceiling | share of ceiling."""
    lines = (ROOT / "README.md").read_text().splitlines()
    rows = [line.strip("|").split("|") for line in lines if re.match(TABLE_ROW, line)]
    assert rows, "the README shows no results"
    results = estimates.load(ROOT / "results")
    for _, key, *cells in rows:
        name, *path = key.strip(" `").split(".")
        row = results[name]
        for part in path:
            row = row[part]
        shown = [float(number) for number in re.findall(r"-?\d+\.\d+", " ".join(cells))]
        value = "value" if "value" in row else "r"
        expected = [row[name] for name in (value, "low", "high")] + [
            row[name] for name in ("chance", "ceiling", "share_of_ceiling") if name in row
        ]
        # Another machine trains other weights from the same seed; the README shows one run of them.
        assert shown == pytest.approx(expected, abs=0.08), key

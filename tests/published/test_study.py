"""The study of the published samples: its notebooks and stages, and that nothing private is in Git.

The samples themselves are read only where S2F_PUBLISHED names them; without them the tests that need them are skipped.
"""

import json
import os
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from published_samples import CELEBRITIES, avspeech, clone, voxceleb
from repository import ROOT, code
from ruamel.yaml import YAML
from test_repository import parameters, tracked

from s2f.data.sources import published
from s2f.models import extraction
from s2f.published import settings
from s2f.study import config, notebook

STUDY = ROOT / "studies" / "published"
NOTEBOOKS = sorted((STUDY / "notebooks").glob("*.ipynb"))

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def stages():
    return YAML(typ="safe", pure=True).load((STUDY / "dvc.yaml").read_text())["stages"]


def test_every_section_of_the_study_is_sound():
    sections = config.read(STUDY / "params.yaml")
    assert set(sections) == set(settings.SECTIONS)
    for name, model in settings.SECTIONS.items():
        config.parse(model, sections[name], name)


@each_notebook
def test_notebooks_of_the_study_keep_the_rules(path):
    for cell in notebook.code_cells(notebook.read(path)):
        assert (cell["outputs"], cell["execution_count"]) == ([], None)
    assert "\nclass " not in code(path)
    assert notebook.read(path)["cells"][0]["cell_type"] == "markdown"


@each_notebook
def test_a_stage_has_the_parameters_of_its_notebook(path):
    (name,) = [name for name, stage in stages().items() if path.stem in stage["cmd"]]
    assert parameters(path) == config.read(STUDY / "params.yaml")[name]
    assert f"build/src/{path.name}" in stages()[name]["deps"]


IMPORTS = sorted((STUDY / "samples" / "figures").glob("*.dvc"))


def test_imports_are_pinned_and_never_pushed():
    assert [path.stem for path in IMPORTS] == sorted(set(published.SETS.values()))
    for path in IMPORTS:
        pin = YAML(typ="safe", pure=True).load(path.read_text())
        (source,), (out,) = pin["deps"], pin["outs"]
        assert source["path"] == f"figures/{path.stem}" and source["repo"]["url"] == published.REPOSITORY
        assert (
            re.fullmatch(r"[0-9a-f]{40}", source["repo"]["rev"]) and source["repo"]["rev"] == source["repo"]["rev_lock"]
        )
        assert out == {"path": path.stem, "push": False} and pin["frozen"]


def test_dvc_pull_fetches_the_samples_where_the_study_looks_for_them(tmp_path, monkeypatch):
    """The command of the study's README, with a repository of empty files in the place of the authors'."""
    git = ["git", "-c", "user.name=s2f", "-c", "user.email=s2f@example.org"]
    theirs = avspeech(tmp_path / "theirs")
    clone(theirs, ["1134Somebody_J._Else_abcdefghijk_0000001"], folder="voxceleb")
    outer = tmp_path / "outer"
    shutil.copytree(
        STUDY / "samples", outer / "samples", ignore=shutil.ignore_patterns("cache", "tmp", *published.SETS.values())
    )
    for place in (theirs, outer):
        subprocess.run([*git, "init", "--quiet"], cwd=place, check=True)
    subprocess.run([*git, "add", "."], cwd=theirs, check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "samples"], cwd=theirs, check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], cwd=theirs, check=True, capture_output=True, text=True).stdout
    for path in (outer / "samples" / "figures").glob("*.dvc"):
        text = re.sub(r"(rev|rev_lock): \w{40}", rf"\1: {head.strip()}", path.read_text())
        path.write_text(text.replace(published.REPOSITORY, str(theirs)))
    subprocess.run(["dvc", "pull", "--quiet"], cwd=outer / "samples", check=True)
    monkeypatch.delenv(published.VARIABLE, raising=False)
    there = published.place(outer / "samples")
    assert (
        published.sets(there) == ["avspeech", "voxceleb", "assistants"] and len(published.clips(there, "avspeech")) == 4
    )


def test_nothing_that_the_study_makes_goes_into_the_cache():
    for name, stage in stages().items():
        for out in [*stage["outs"], *stage.get("metrics", [])]:
            (settings,) = out.values()
            assert settings["cache"] is False, name


def test_what_does_not_fit_is_named_on_this_machine_and_counted_in_the_results(tmp_path, monkeypatch):
    """The notebook itself, on a clone of empty files; networks that find no face in one and no speech in another."""
    root = voxceleb(avspeech(tmp_path / "clone"))
    wav = root / "figures" / "avspeech_res" / "Wav"
    (wav / "odd name.wav").touch()
    whole = sorted(published.clips(root, "avspeech")["voice"])
    silent, faceless = (path.name[: -len(path.suffix)] for path in whole[:2])

    def features(paths, fault, **dims):
        reasons = np.array([f"{fault} in {path}" if fault and fault in path.read_text() else "" for path in paths])
        return {name: np.ones((len(paths), *dim)) for name, dim in dims.items()} | {"reason": reasons}

    def see(paths, *_):
        return features(paths, "no face", feature=(8,), landmarks=(68, 2), skin=(2,), age=(), female=())

    (wav / f"{silent}.wav").write_text("no speech")
    (wav.parent / "Face_exg0" / f"{faceless}.jpg").write_text("no face")
    monkeypatch.setattr(extraction, "see", see)
    monkeypatch.setattr(extraction, "hear", lambda paths, *_: features(paths, "no speech", ge2e=(3,), seconds=()))
    monkeypatch.setattr(extraction, "measure", lambda paths, *_: features(paths, "no speech", statistics=(3,)))
    monkeypatch.setattr(extraction, "face_on", lambda paths, *_: {"frontal": np.ones(len(paths), bool)})
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(STUDY / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(published.VARIABLE, str(root))
    names = {}
    exec(code(STUDY / "notebooks" / "10_features.ipynb"), names)

    output = names["output"]
    rejected = pd.read_parquet(output.features / "avspeech_rejected.parquet").set_index("kind")
    assert set(rejected.index) == {"name", "no speech", "no face"} and len(rejected) == 3
    assert rejected.at["name", "item"] == "odd name"
    assert silent in rejected.at["no speech", "item"] and faceless in rejected.at["no face", "item"]
    text = (output.results / "features.json").read_text()
    counted = {name: part["set_aside"] for name, part in json.loads(text).items()}
    assert counted == {
        "avspeech": {"name": 1, "no speech": 1, "no face": 1}, "voxceleb": {}, "assistants": {},
    }  # fmt: skip
    assert not any(stem in text for stem in ("odd name", silent, faceless, *CELEBRITIES))


# Nothing private in Git

PRIVATE = {".npz", ".parquet", ".csv", ".pt", ".pkl", ".png", ".svg"}
RESULTS = sorted((STUDY / "results").glob("*.json"))


def test_the_study_tracks_text_only():
    inside = [file for file in tracked() if STUDY in file.parents]
    assert [file.name for file in inside if file.suffix in PRIVATE] == []


def rows(value):
    """All dicts in a JSON value."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from rows(item)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_results_are_aggregates(path):
    """A list of numbers could be a feature, and a number of very few people says too much about each of them."""
    assert not re.search(r"\[\s*-?\d", path.read_text())
    for row in rows(json.loads(path.read_text())):
        few = row.get("n_speakers") is not None and row["n_speakers"] < 10
        assert not few or (row.get("value") is None and row.get("estimate") is None), row


TABLE_ROW = re.compile(r"\|[^|]+\| `(\w+)\.([^`]+)` \|(.*)\|")


def test_numbers_in_the_readme_are_those_of_the_results():
    """Rows of the form: what | `file: key: key ...` | value [low, high] | difference from the original [low, high]."""
    found = [TABLE_ROW.match(line) for line in (STUDY / "README.md").read_text().splitlines()]
    assert any(found)
    for match in filter(None, found):
        row = json.loads((STUDY / "results" / f"{match[1]}.json").read_text())
        for key in match[2].split(" / "):
            row = row[key]
        shown = [float(number) for number in re.findall(r"-?\d+\.\d+", match[3])]
        value = next(name for name in ("value", "r", "slope", "ratio") if name in row)
        keys = [value, "low", "high", "difference", "difference_low", "difference_high"]
        assert shown == pytest.approx([row[key] for key in keys[: len(shown)]], abs=0.006), match[2]


@pytest.mark.skipif(not os.environ.get(published.VARIABLE), reason="S2F_PUBLISHED does not name the published samples")
def test_nobody_of_the_samples_is_named_in_git():
    root = published.place(os.environ[published.VARIABLE])
    marks = set()
    for name in ("avspeech", "voxceleb"):  # assistants are products
        pattern = published.AVSPEECH if name == "avspeech" else published.VOXCELEB
        for path in published.clips(root, name)["voice"]:
            parts = pattern.fullmatch(path.name[: -len(path.suffix)]).groupdict()
            marks |= {parts[part] for part in ("video", "name") if part in parts}
    words = re.compile("|".join(map(re.escape, sorted(marks))))
    for file in tracked():
        if file.suffix not in (".png", ".parquet"):
            assert not words.search(file.read_text(encoding="utf-8")), file

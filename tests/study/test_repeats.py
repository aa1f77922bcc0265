"""The notebooks of a study once more from another seed: side by side, resumed, and never in the way of the study."""

import builtins
import json

import numpy as np
import pytest
import yaml

from s2f.study import repeats
from s2f.study.notebook import CellError
from s2f.study.paths import Study, UserError

TRAIN = """
import json, pathlib, yaml
from s2f.study import paths
study = paths.study()
seed = yaml.safe_load(study.params.read_text())["train"]["seed"]
output = study.output()
output.models.mkdir(exist_ok=True)
(output.models / "voice.safetensors").write_text(str(seed))
with open({counter!r}, "a") as file:
    file.write(f"{{seed}} ")
paths.write_json({{"weight": 10 * seed, "people": len((study.data / "manifest.parquet").read_text())}},
                 output.results / "train.json")
"""
MEASURE = """
import yaml
from s2f.study import paths
study = paths.study()
settings = yaml.safe_load(study.params.read_text())["evaluate"]
weight = int((study.models / "voice.safetensors").read_text())
assert weight != 99, "weights of ninety-nine"
paths.write_json({"value": weight + 0.5, "replicates": settings["replicates"]}, study.output().results / "measure.json")
"""


@pytest.fixture
def study(tmp_path):
    root = tmp_path / "study"
    for folder in ("data", "models", "features", "results", "build/src"):
        (root / folder).mkdir(parents=True)
    (root / "data" / "manifest.parquet").write_text("12345")
    (root / "models" / "face.safetensors").write_text("face")
    np.save(root / "features" / "photos.npy", np.zeros(3))
    (root / "params.yaml").write_text(
        yaml.safe_dump({"train": {"seed": 3, "threads": 2}, "evaluate": {"replicates": 5000}})
    )
    (root / "dvc.yaml").write_text("stages: {}\n")
    counter = tmp_path / "trained"
    counter.touch()
    for name, text in (("30_train", TRAIN.format(counter=str(counter))), ("40_measure", MEASURE)):
        cells = [
            {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "raise SystemExit('not run')"},
            {"cell_type": "code", "metadata": {}, "source": text},
        ]
        (root / "build" / "src" / f"{name}.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4}))
    return Study(root)


def test_each_seed_has_a_training_and_measures_of_its_own(study):
    again = repeats.repeat(study, [31, 32], ["30_train", "40_measure"], replicates=100)
    found = {
        seed: {name: json.loads((other.results / f"{name}.json").read_text()) for name in ("train", "measure")}
        for seed, other in again.items()
    }
    assert {seed: results["train"]["weight"] for seed, results in found.items()} == {31: 310, 32: 320}
    assert found[32]["measure"] == {"value": 32.5, "replicates": 100}
    assert found[31]["train"]["people"] == 5  # the data are those of the study


def test_no_figure_is_written(study):
    text = "from s2f.plots import style\nstyle.save(style.axes(2, 2)[0], 'results/figures/empty.png')\nprint('drawn')"
    cells = [{"cell_type": "code", "metadata": {}, "source": text}]
    (study.build / "src" / "50_draw.ipynb").write_text(json.dumps({"cells": cells, "nbformat": 4}))
    again = repeats.repeat(study, [31], ["30_train", "50_draw"], replicates=100)[31]
    assert "drawn" in (again.root / "log.txt").read_text() and not (again.results / "figures").exists()


def test_the_study_stays_as_it_is(study):
    before = {path: path.read_bytes() for path in study.root.rglob("*") if path.is_file()}
    repeats.repeat(study, [31], ["30_train", "40_measure"], replicates=100)
    after = {path for path in study.root.rglob("*") if path.is_file() and study.scratch not in path.parents}
    assert after == set(before) and all(path.read_bytes() == content for path, content in before.items())


def test_what_is_finished_is_not_run_again(study, tmp_path, monkeypatch):
    """Also in a notebook, which may write to no other study."""
    monkeypatch.setattr(builtins, "__IPYTHON__", True, raising=False)
    repeats.repeat(study, [31], ["30_train"], replicates=100)
    repeats.repeat(study, [31], ["30_train"], replicates=100)
    assert (tmp_path / "trained").read_text() == "31 "
    # Of what another notebook is, only what comes after it is run again.
    repeats.repeat(study, [31], ["30_train", "40_measure"], replicates=100)
    assert (tmp_path / "trained").read_text() == "31 "
    study.data.joinpath("manifest.parquet").write_text("other people")
    repeats.repeat(study, [31], ["30_train"], replicates=100)
    assert (tmp_path / "trained").read_text() == "31 31 "


def test_a_training_that_fails_is_named_and_the_rest_is_kept(study, tmp_path):
    with pytest.raises(CellError, match=r"weights of ninety-nine; see .*99-.*log\.txt"):
        repeats.repeat(study, [31, 99], ["30_train", "40_measure"], replicates=100)
    assert sorted((tmp_path / "trained").read_text().split()) == ["31", "99"]
    repeats.repeat(study, [31], ["30_train", "40_measure"], replicates=100)
    assert sorted((tmp_path / "trained").read_text().split()) == ["31", "99"]


def test_a_notebook_that_is_not_there_is_named(study):
    with pytest.raises(UserError, match="no notebook 50_other in .*: mend trainings.notebooks"):
        repeats.repeat(study, [31], ["50_other"], replicates=100)

"""The commands: what they write and say, and how they refuse."""

import json
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from typer.testing import CliRunner

from s2f import cli
from s2f.models import avatar, speech2face
from s2f.models.readers import Readers
from s2f.models.speech2face import Card
from s2f.signal import images

RECALL = {"value": 0.31, "low": 0.27, "high": 0.35, "chance": 0.1}


def run(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture
def models(tiny):
    return tiny.folders["network"]


@pytest.fixture
def recording(tmp_path, spoken):
    soundfile.write(tmp_path / "rec.wav", spoken(4), 16_000)
    return tmp_path / "rec.wav"


@pytest.mark.parametrize(("kind", "size"), [("network", 64), ("regression", 32)])
def test_face_writes_the_picture_and_says_what_it_is_not(kind, size, tiny, recording, tmp_path):
    out, models = tmp_path / "face.png", tiny.folders[kind]
    result = run("face", recording, "-o", out, "--models", models)
    assert result.exit_code == 0
    caveat = Card.load(models).caveat
    assert "It is not this person" in caveat and caveat in result.stdout
    assert ("synthetic world" in caveat) == (kind == "network") and ("real people" in caveat) == (kind == "regression")
    assert images.read_image(out).shape == (size, size, 3)
    with Image.open(out) as picture:
        assert picture.text == {"Description": caveat, "Software": f"s2f {metadata.version('s2f')}"}
    measured = {
        "network": "not measured here",
        "regression": "first 10 of 100 in 43% of cases (95 % interval 40%",
    }
    assert measured[kind] in result.stdout
    assert "80 in 100" in result.stdout and "probability" in result.stdout and "halves" in result.stdout
    assert result.stderr == ""


def test_samples_are_one_sheet_that_begins_with_the_average_face(models, recording, tmp_path):
    run("face", recording, "-o", tmp_path / "face.png", "--models", models)
    result = run("face", recording, "-o", tmp_path / "sheet.png", "--models", models, "--samples", "8")
    assert result.exit_code == 0 and "First the average face, then 8 faces" in result.stdout
    face, sheet = (images.read_image(tmp_path / name) for name in ("face.png", "sheet.png"))
    side = 64 + images.GAP
    assert sheet.shape == (3 * side + images.GAP, 3 * side + images.GAP, 3)
    assert (sheet[images.GAP : side, images.GAP : side] == face).all()
    refused_in_one_sentence(
        run("face", recording, "-o", tmp_path / "a.png", "--models", models, "--samples", "-1"), "-1"
    )


def test_models_are_those_of_the_study_that_is_named(models, recording, tmp_path):
    study = tmp_path / "study"
    a_study(study)
    shutil.copytree(models, study / "models")
    assert run("face", recording, "-o", tmp_path / "face.png", "--study", study).exit_code == 0
    both = run("face", recording, "-o", tmp_path / "face.png", "--study", study, "--models", models)
    refused_in_one_sentence(both, "--models")


@pytest.mark.parametrize(("size", "chance"), [(100, 0.1), (50, 0.2)])
def test_it_says_how_often_such_a_face_is_right_and_among_how_many(size, chance, models, tmp_path):
    measured = {f"recall_at_10_of_{size}": RECALL | {"chance": chance}, "gallery": {"faces": 400, "size": size}}
    (tmp_path / "retrieval.json").write_text(json.dumps(measured))
    sentence = cli.reliability(Card.load(models), tmp_path)
    assert f"first 10 of {size} in 31% of cases (95 % interval 27% to 35%; by chance {chance:.0%})" in sentence


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1]", "{}", '{"recall_at_10_of_100": {}}', '{"gallery": 100}', "\u0000", '{"gallery": {"size": 100}}']
    + [json.dumps({"recall_at_10_of_100": RECALL | {"low": None}, "gallery": {"size": 100}})],
)
def test_a_result_that_is_none_is_one_sentence(text, models, tmp_path):
    (tmp_path / "retrieval.json").write_text(text)
    sentence = cli.reliability(Card.load(models), tmp_path)
    assert "not known" in sentence and "retrieval.json" in sentence


@pytest.mark.parametrize("out", ["face.jpg", "nowhere/face.png"])
def test_face_refuses_a_place_where_no_picture_can_go(out, models, recording, tmp_path):
    result = run("face", recording, "-o", tmp_path / out, "--models", models)
    refused_in_one_sentence(result, out.split("/")[0])
    assert not (tmp_path / out).exists()


@pytest.mark.parametrize("exaggeration", ["nan", "-1", "11"])
def test_face_refuses_an_exaggeration_without_meaning(exaggeration, models, recording, tmp_path):
    out = tmp_path / "face.png"
    result = run("face", recording, "-o", out, "--models", models, "--exaggeration", exaggeration)
    refused_in_one_sentence(result, "between 0 and 10")


def test_face_refuses_a_recording_that_is_none(models, tmp_path):
    (tmp_path / "notes.wav").write_text("not audio")
    result = run("face", tmp_path / "notes.wav", "-o", tmp_path / "face.png", "--models", models)
    refused_in_one_sentence(result, "notes.wav")
    assert not (tmp_path / "face.png").exists()


def test_face_refuses_a_folder_without_models(recording, tmp_path):
    result = run("face", recording, "-o", tmp_path / "face.png", "--models", tmp_path)
    refused_in_one_sentence(result, tmp_path.name)


def test_face_outside_a_study_asks_for_models(recording, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused_in_one_sentence(run("face", recording, "-o", tmp_path / "face.png"), "params.yaml")


def test_a_defect_keeps_its_traceback(models, recording, tmp_path, monkeypatch):
    monkeypatch.setattr(speech2face.Speech2Face, "load", lambda folder: 1 / 0)
    result = run("face", recording, "-o", tmp_path / "face.png", "--models", models)
    assert isinstance(result.exception, ZeroDivisionError)


def refused_in_one_sentence(result, name):
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("s2f: ") and result.stderr.count("\n") == 1
    assert name in result.stderr


def a_study(root):
    root.mkdir(exist_ok=True)
    (root / "params.yaml").touch()
    (root / "dvc.yaml").touch()
    return cli.Study(root)


def git(root, *arguments):
    own = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", root, *own, *arguments], check=True, capture_output=True)


def test_check_says_what_to_do_next(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "packages", lambda: "all")
    assert "params.yaml" in run("check").stdout

    study = a_study(tmp_path)
    result = run("check")
    assert result.exit_code == 0
    assert "missing   data/manifest.parquet" in result.stdout
    assert result.stdout.endswith("next      dvc repro\n")
    (tmp_path / "Makefile").touch()
    assert run("check").stdout.endswith("next      make repro\n")

    for file in (*cli.milestones(study), study.build / "run" / "90_report.ipynb"):
        file.parent.mkdir(exist_ok=True, parents=True)
        file.touch()
    assert run("check").stdout.endswith("next      s2f face REC.wav -o face.png\n")


@pytest.mark.parametrize("repository", [True, False])
def test_check_tells_what_came_with_the_checkout_from_what_was_made_here(repository, tmp_path, monkeypatch):
    """In a clone, and in an unpacked archive."""
    monkeypatch.chdir(tmp_path)
    study = a_study(tmp_path)
    report = study.results / "report.json"
    report.parent.mkdir()
    report.write_text("{}")
    if repository:
        git(tmp_path, "init", "--quiet")
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "--quiet", "-m", "Results")
    assert "checkout  results/report.json" in run("check").stdout
    if repository:
        report.write_text('{"changed": 1}')
        assert "made here results/report.json" in run("check").stdout
        report.write_text("{}")
    executed = study.build / "run" / "90_report.ipynb"
    executed.parent.mkdir(parents=True)
    executed.touch()
    assert "made here results/report.json" in run("check").stdout


def test_check_says_where_the_code_is_and_warns_of_another_than_that_of_the_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    package = Path(cli.__file__).parent
    assert f"code      {package}\n" in run("check").stdout
    a_study(tmp_path)
    assert f"code      {package}\n" in run("check").stdout

    own = tmp_path / "s2f" / "__init__.py"
    own.parent.mkdir()
    own.touch()
    output = run("check").stdout
    assert f"code      {package}, not that of this checkout, {own.parent}" in output
    assert output.endswith("next      make env\n")


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_check_names_the_precision_that_training_uses(dtype, monkeypatch):
    monkeypatch.setattr("s2f.study.precision.fast_dtype", lambda device: getattr(torch, dtype))
    assert f"`precision: auto` is in {dtype}\n" in run("check").stdout


def test_check_names_the_models_and_which_face_takes(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    a_study(tmp_path)
    assert "models    none yet" in run("check").stdout
    shutil.copytree(tiny.folders["network"], tmp_path / "models")
    shutil.copytree(tiny.folders["regression"], tmp_path / "studies" / "published" / "models")
    output = run("check").stdout
    assert (
        "models    models: learned from the voices and faces of 60 people of a synthetic world (s2f face takes"
        in output
    )
    assert (
        "published/models: learned from the voices and faces of 60 real people (s2f face --study studies/pub" in output
    )
    (tmp_path / "models" / "model.json").write_text("{")
    assert "models    " in run("check").stdout and "model.json is damaged" in run("check").stdout


# ---- avatar


def test_an_avatar_says_what_it_rests_on_and_carries_its_caveat_and_licence(tiny, recording, tmp_path):
    models = tiny.folders["regression"]
    caveat = Card.load(models).caveat.replace("an average face", "an avatar")
    result = run("avatar", recording, "-o", tmp_path / "a.svg", "--models", models)
    assert result.exit_code == 0, result.output
    drawn = (tmp_path / "a.svg").read_text()
    assert f"<desc>{caveat}</desc>" in drawn and "CC BY 4.0" in drawn
    assert caveat in result.stdout and "apparent age (as grey hair)" in result.stdout and "CC BY 4.0" in result.stdout
    assert run("avatar", recording, "-o", tmp_path / "a.png", "--models", models).exit_code == 0
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (384, 384) and picture.text["Description"] == caveat


def test_an_avatar_of_a_synthetic_world_needs_its_readers(models, recording, tmp_path, rng):
    refused_in_one_sentence(
        run("avatar", recording, "-o", tmp_path / "a.svg", "--models", models), "avatar.safetensors"
    )
    folder = tmp_path / "models"
    shutil.copytree(models, folder)
    features = rng.standard_normal((60, 128))
    levels = {"face_ita": -40.0, "face_grey": 1.0, "face_hair_len": 0.9, "face_beard": 0.35}
    traits = {name: level + 1e-3 * rng.standard_normal(60) for name, level in levels.items()}
    Readers.fit(features, traits, np.arange(60)).save(folder / avatar.READERS)
    result = run("avatar", recording, "-o", tmp_path / "a.svg", "--models", folder)
    assert result.exit_code == 0, result.output
    assert "skin #5c3829, hair colour grey, hair length long, beard full" in result.stdout


@pytest.mark.parametrize("out", ["a.jpg", "nowhere/a.svg"])
def test_an_avatar_goes_where_a_picture_can(out, models, recording, tmp_path):
    refused_in_one_sentence(run("avatar", recording, "-o", tmp_path / out, "--models", models), out.split("/")[0])


def test_version():
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"s2f {metadata.version('s2f')}\n")


def test_check_names_a_package_outside_its_range(monkeypatch):
    asked = ["numpy<1", "no-such-package", "pytest<1; extra == 'test'"]
    monkeypatch.setattr(cli.metadata, "requires", lambda name: asked)
    problems = cli.packages()
    assert "is not <1" in problems
    assert "no-such-package is missing" in problems
    assert "pytest" not in problems


# ---- run


@pytest.fixture
def small_study(tmp_path, monkeypatch):
    """A study with one notebook of two cells."""
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "params.yaml").write_text("{}")
    (tmp_path / "notebooks").mkdir()
    cells = [
        {"cell_type": "code", "id": name, "metadata": {"tags": tags}, "source": source}
        | {"outputs": [], "execution_count": None}
        for name, tags, source in (("a", ["parameters"], "steps = [1]"), ("b", [], "print(steps)"))
    ]
    content = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "notebooks" / "40_prints.ipynb").write_text(json.dumps(content))
    monkeypatch.setenv("PYTHONPATH", str(Path(cli.__file__).parents[1]))
    return tmp_path


def test_run_says_where_the_executed_notebook_and_its_page_are(small_study):
    result = run("run", "40_prints", "--study", small_study, "-p", "steps=[2, 3.5]")
    assert result.exit_code == 0, result.output
    executed, page, place = result.stdout.splitlines()[-3:]
    assert "[2, 3.5]" in Path(executed).read_text() and Path(page).is_file()
    assert str(small_study / "scratch") in place


@pytest.mark.parametrize("given", ["steps", "=3", "steps=[1", "stps=3"])
def test_run_refuses_what_is_no_parameter(given, small_study):
    refused_in_one_sentence(run("run", "40_prints", "--study", small_study, "-p", given), given.partition("=")[0])


# ---- compare


def test_compare_gives_its_verdict_first_and_as_exit_code(small_study, tmp_path):
    def results(folder, value):
        folder.mkdir(parents=True)
        row = {"value": value, "low": value - 0.1, "high": value + 0.1, "chance": 0.1}
        (folder / "retrieval.json").write_text(json.dumps({"shares": {"recall_at_10": row}}))
        return folder

    results(small_study / "results", 0.5)
    same, other = results(tmp_path / "same", 0.5), results(tmp_path / "other", 0.9)
    result = run("compare", same, "--study", small_study)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == (
        "Reproduced: 1 of 1 numbers within their intervals, all 1 conclusions the same."
    )
    result = run("compare", other, "--study", small_study)
    assert result.exit_code == 1 and result.stdout.startswith("Not reproduced: 0 of 1 numbers")
    assert "recall_at_10 is 0.5 for 0.9 [0.8, 1]" in result.stdout
    refused_in_one_sentence(run("compare", "nowhere", "--study", small_study), "nowhere")

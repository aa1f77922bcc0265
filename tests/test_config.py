"""params.yaml: every key is checked by name, before anything runs."""

import os
import shutil
import subprocess
import sys
import time

import pytest
from dvc.utils.hydra import apply_overrides
from hypothesis import given
from hypothesis import strategies as st
from repository import ROOT
from ruamel.yaml import YAML

from s2f.study import config
from s2f.study.paths import UserError

PARAMS = ROOT / "params.yaml"


def write(tmp_path, change):
    sections = config.read(PARAMS)
    change(sections)
    path = tmp_path / "params.yaml"
    with path.open("w") as file:
        YAML(typ="safe", pure=True).dump(sections, file)
    return path


def test_the_default_study_is_valid():
    config.check(PARAMS)


@pytest.mark.parametrize(
    ("path", "change"),
    [
        (PARAMS, "train.loss=cosine_only"),
        (PARAMS, "ablations.full.seconds=6.0"),
        (ROOT / "tests" / "tiny" / "params.yaml", "train.loss=cosine_only"),
        (ROOT / "studies" / "template" / "params.yaml", "face_model.feature=small"),
        (ROOT / "studies" / "published_corpus" / "params.yaml", "train.steps=7"),
        (ROOT / "studies" / "published" / "params.yaml", "ours.folds=7"),
    ],
)
def test_a_setting_of_an_experiment_changes_one_line(path, change, tmp_path):
    """`dvc exp run -S` writes the whole file anew, so it must be in the form in which DVC writes."""
    before = path.read_text()
    shutil.copy(path, tmp_path / "params.yaml")
    apply_overrides(str(tmp_path / "params.yaml"), [change])
    lines = zip(before.splitlines(), (tmp_path / "params.yaml").read_text().splitlines(), strict=True)
    ((old, new),) = [(old, new) for old, new in lines if old != new]
    assert new.split("#")[0].split(": ")[1].strip() == change.partition("=")[2]


def test_the_runs_of_the_ablations_are_checked(tmp_path):
    path = write(tmp_path, lambda sections: sections["ablations"]["full"].update(sped=1))
    with pytest.raises(UserError, match="unknown key 'full.sped'"):
        config.check(path)
    path = write(tmp_path, lambda sections: sections["ablations"]["six_seconds"].update(run="full"))
    with pytest.raises(UserError, match="'six_seconds' calls itself 'full'"):
        config.check(path)
    path = write(tmp_path, lambda sections: sections["ablations"].pop("full"))
    with pytest.raises(UserError, match="'full' is missing"):
        config.check(path)


@pytest.mark.parametrize("section", sorted(set(config.SECTIONS) - {"ablations"}))
def test_an_unknown_and_a_missing_key_are_named(tmp_path, section):
    path = write(tmp_path, lambda sections: sections[section].update(sped=1))
    with pytest.raises(UserError, match="unknown key 'sped'"):
        config.check(path)
    key = next(iter(config.SECTIONS[section].model_fields))
    path = write(tmp_path, lambda sections: sections[section].pop(key))
    with pytest.raises(UserError, match=f"'{section}'.*missing key '{key}'"):
        config.check(path)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("train", "steps", "many"),
        ("train", "steps", 0),
        ("train", "rate", -1.0),
        ("train", "batch_norm", "false"),
        ("train", "loss", "l3"),
        ("data", "confound", 1.5),
        ("data", "size", 16),
        ("predict", "durations", []),
    ],
)
def test_a_bad_value_is_named_with_its_key(tmp_path, section, key, value):
    path = write(tmp_path, lambda sections: sections[section].update({key: value}))
    with pytest.raises(UserError, match=f"'{key}' is"):
        config.load(config.SECTIONS[section], path)


def test_shares_must_sum_to_one(tmp_path):
    path = write(tmp_path, lambda sections: sections["data"]["group_shares"].update(G1=0.9))
    with pytest.raises(UserError, match="group_shares must sum to 1"):
        config.check(path)


def test_every_section_with_a_problem_is_reported(tmp_path):
    def spoil(sections):
        sections["data"].pop("seed")
        sections["audit"].pop("seed")

    with pytest.raises(UserError, match="'data'.*'audit'"):
        config.check(write(tmp_path, spoil))


@pytest.mark.parametrize("text", ["data: [", "- 1\n- 2\n", "sections: {}\n"])
def test_a_file_that_is_no_params_file_is_one_sentence(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match="params.yaml"):
        config.check(path)
    with pytest.raises(UserError, match="does not exist"):
        config.check(tmp_path / "none.yaml")


def test_numbers_read_as_dvc_reads_them(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text("train: {rate: 1e-4}\n")  # YAML 1.1 would give the string "1e-4"
    assert config.read(path)["train"]["rate"] == 1e-4


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_the_file_is_utf_8_whatever_the_locale(tmp_path, encoding):
    path = tmp_path / "params.yaml"
    path.write_text("report: {title: Zürich}\n", encoding=encoding)
    program = (
        "import sys; from s2f.study import config; assert config.read(sys.argv[1])['report']['title'] == 'Z\\xfcrich'"
    )
    ascii_only = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", program, path], check=True, env=ascii_only)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_another_encoding_is_one_sentence(tmp_path, encoding):
    path = tmp_path / "params.yaml"
    path.write_text("report: {title: Zürich}\n", encoding=encoding)
    with pytest.raises(UserError, match="params.yaml is not UTF-8"):
        config.read(path)


@given(st.dictionaries(st.text(max_size=8), st.one_of(st.none(), st.integers(), st.text(max_size=5)), max_size=4))
def test_any_garbage_is_a_sentence_never_a_traceback(values):
    with pytest.raises(UserError, match="key"):
        config.parse(config.Report, {**values, "definitely not a key": 1}, "test")


# ---- the parameters of a notebook and the study around it


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study in the working folder that is the default one, but for a gallery of 50."""
    (tmp_path / "dvc.yaml").touch()
    write(tmp_path, lambda sections: sections["retrieval"].update(gallery=50))
    monkeypatch.chdir(tmp_path)
    return tmp_path


CELL = {"seed": 7, "replicates": 5000, "gallery": 100, "score_dims": 16, "unrelated": 3}


def given_by_papermill(**values):
    """What a kernel holds in which papermill has run the parameters cell and then its own."""
    lines = [f"{name} = {value!r}\n" for name, value in values.items()]
    return CELL | values | {"In": ["", "gallery = 100", "".join(["# Parameters\n", *lines])]}


def test_a_notebook_follows_the_study_around_it_and_says_so(study, capsys):
    assert config.Retrieval.of(CELL).gallery == 50
    assert "gallery = 50" in capsys.readouterr().out
    assert config.Retrieval.of(CELL | {"gallery": 50}).gallery == 50
    assert capsys.readouterr().out == ""


def test_a_value_that_was_given_wins_without_a_word(study, capsys):
    assert config.Retrieval.of(given_by_papermill(gallery=30)).gallery == 30
    assert config.Retrieval.of(CELL | {"gallery": 50}, gallery=30).gallery == 30
    assert capsys.readouterr().out == ""


def test_a_name_that_no_cell_knows_is_refused(study):
    with pytest.raises(UserError, match="'galery'.*gallery"):
        config.Retrieval.of(given_by_papermill(galery=30))
    with pytest.raises(UserError, match="'galery'.*gallery"):
        config.Retrieval.of(CELL, galery=30)


def test_a_given_value_is_checked_also_beside_other_sections(study):
    with pytest.raises(UserError, match="'gallery' is 'many'"):
        config.Retrieval.of(given_by_papermill(gallery="many"))
    with pytest.raises(UserError, match="retrieval.gallery is 1000 and data.test_speakers is 400"):
        config.Retrieval.of(given_by_papermill(gallery=1000))


def test_what_the_study_lacks_is_not_made_up_by_the_cell(study):
    write(study, lambda sections: sections["retrieval"].pop("gallery"))
    with pytest.raises(UserError, match="missing key 'gallery'"):
        config.Retrieval.of(CELL)


def test_a_study_without_the_section_leaves_the_cell_as_it_is(study):
    write(study, lambda sections: sections.pop("retrieval"))
    assert config.Retrieval.of(CELL).gallery == 100


def test_a_run_of_the_ablations_is_the_one_that_is_named(study):
    cell = {"run": "full", "loss": "paper", "batch_norm": True, "seconds": 3.0}
    assert config.Ablation.of(cell).loss == "paper"
    assert config.Ablation.of(cell, run="cosine_only").loss == "cosine_only"
    with pytest.raises(UserError, match="no run 'cosine'"):
        config.Ablation.of(cell, run="cosine")


def test_the_command_refuses_in_under_five_seconds(tmp_path):
    path = write(tmp_path, lambda sections: sections["train"].update(bach=3))
    start = time.monotonic()
    run = subprocess.run([sys.executable, "-m", "s2f.study.config", path], capture_output=True, text=True)
    assert time.monotonic() - start < 5
    assert run.returncode == 2
    assert "unknown key 'bach'" in run.stderr and "Traceback" not in run.stderr

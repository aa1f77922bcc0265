"""params.yaml: every key is checked by name, before anything runs."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from s2f.study import config
from s2f.study.paths import UserError

PARAMS = Path(__file__).parents[1] / "params.yaml"


def write(tmp_path, change):
    sections = config.read(PARAMS)
    change(sections)
    path = tmp_path / "params.yaml"
    with path.open("w") as file:
        YAML(typ="safe", pure=True).dump(sections, file)
    return path


def test_the_default_study_is_valid():
    config.check(PARAMS)


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


@given(st.dictionaries(st.text(max_size=8), st.one_of(st.none(), st.integers(), st.text(max_size=5)), max_size=4))
def test_any_garbage_is_a_sentence_never_a_traceback(values):
    with pytest.raises(UserError, match="key"):
        config.parse(config.Report, {**values, "definitely not a key": 1}, "test")


def test_a_section_can_be_taken_from_a_notebook():
    values = config.read(PARAMS)["predict"] | {"unrelated": 3, "__name__": "__main__"}
    assert config.Predict.of(values).batch == values["batch"]


def test_the_command_refuses_in_under_five_seconds(tmp_path):
    path = write(tmp_path, lambda sections: sections["train"].update(bach=3))
    start = time.monotonic()
    run = subprocess.run([sys.executable, "-m", "s2f.study.config", path], capture_output=True, text=True)
    assert time.monotonic() - start < 5
    assert run.returncode == 2
    assert "unknown key 'bach'" in run.stderr and "Traceback" not in run.stderr

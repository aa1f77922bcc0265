import hashlib
import json

import numpy as np
import pandas as pd
import pytest

from s2f.study import paths
from s2f.study.paths import Study, UserError, replacing, study, write_json


@pytest.fixture
def root(tmp_path):
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).touch()
    return tmp_path


def test_a_study_is_found_from_a_folder_inside_it(root):
    inside = root / "notebooks" / "deep"
    inside.mkdir(parents=True)
    assert study(inside) == study(root) == Study(root)


def test_the_nearest_study_wins(root):
    inner = root / "studies" / "published"
    inner.mkdir(parents=True)
    for name in ("params.yaml", "dvc.yaml"):
        (inner / name).touch()
    assert study(inner).root == inner


def test_the_working_folder_is_the_default(root, monkeypatch):
    monkeypatch.chdir(root)
    assert study() == Study(root)


def test_params_alone_make_no_study(tmp_path):
    (tmp_path / "params.yaml").touch()
    with pytest.raises(UserError, match="params.yaml and dvc.yaml"):
        study(tmp_path)


def test_everything_of_a_study_lies_in_it(root):
    here = study(root)
    places = {here.params, here.data, here.models, here.features, here.results, here.build, here.scratch}
    assert len(places) == 7
    assert {place.parent for place in places} == {root}


def test_only_a_stage_of_the_study_writes_into_it(root, monkeypatch, capsys):
    monkeypatch.delenv(paths.STAGE, raising=False)
    beside = study(root).output()
    assert beside.root.is_relative_to(root / "scratch") and str(beside.root) in capsys.readouterr().out
    monkeypatch.setenv(paths.STAGE, str(root / "another"))
    assert study(root).output() == beside
    capsys.readouterr()
    monkeypatch.setenv(paths.STAGE, str(root.resolve()))
    assert study(root).output() == Study(root) and capsys.readouterr().out == ""


def test_replacing_keeps_the_suffix_and_makes_the_folder(tmp_path):
    path = tmp_path / "new" / "a.npy"
    with replacing(path) as temporary:
        assert temporary.parent == path.parent and temporary.suffix == ".npy"
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_sorted_rounded_and_plain(tmp_path):
    path = tmp_path / "a.json"
    table = {
        "b": np.float32(1 / 3),
        "a": [float("nan"), 2, True, None],
        "c": np.arange(2),
        "d": (1e-9 / 3, "é"),
    }
    write_json(table, path)
    text = path.read_text(encoding="utf-8")
    assert text.endswith("}\n") and '  "a": [\n' in text
    assert list(json.loads(text)) == ["a", "b", "c", "d"]
    expected = {"a": [None, 2, True, None], "b": 0.333333, "c": [0, 1], "d": [3.33333e-10, "é"]}
    assert json.loads(text) == expected


def test_infinity_is_refused(tmp_path):
    with pytest.raises(ValueError):
        write_json({"a": float("inf")}, tmp_path / "a.json")
    assert not list(tmp_path.iterdir())


def test_the_digest_is_that_of_dvc(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"speech")
    assert paths.md5(file) == hashlib.md5(b"speech").hexdigest()


def test_records_are_rows_by_a_key():
    table = pd.DataFrame({"k": ["r1", "r2"], "value": [0.5, 1.0]})
    assert paths.records(table, "k") == {"r1": {"value": 0.5}, "r2": {"value": 1.0}}


def test_a_table_nests_by_its_keys_or_its_index():
    table = pd.DataFrame({"a": ["x", "x", "y"], "b": [1, 2, 1], "value": [0.1, 0.2, 0.3]})
    expected = {"x": {"1": {"value": 0.1}, "2": {"value": 0.2}}, "y": {"1": {"value": 0.3}}}
    assert paths.nested(table, "a", "b") == paths.nested(table.set_index(["a", "b"])) == expected

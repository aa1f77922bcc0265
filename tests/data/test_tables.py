"""The tables of a corpus: written and read back, and refused in one sentence where they are wrong."""

import numpy as np
import pandas as pd
import pytest

from s2f.data import tables
from s2f.data.shards import ShardWriter
from s2f.study.paths import UserError


@pytest.fixture
def clips():
    return pd.DataFrame(
        {
            "clip_id": ["a-1", "a-2", "b-1", "c-1"],
            "speaker_id": ["a", "a", "b", "c"],
            "split": ["train", "train", "val", "test"],
            "source": "world",
            "seconds": [6.0, 3.0, 6.0, 2.5],
            "audio_shard": ["train-000.i16", "train-000.i16", "val-000.i16", "test-000.i16"],
            "audio_offset": [0, 60, 0, 0],
            "audio_samples": [60, 30, 60, 25],
            "face": pd.array([0, 1, None, 2], "Int64"),
            "language": ["fr", None, "hi", "de"],
            "sex": ["F", "F", "M", None],
            "age": [31.5, 31.5, None, 60.0],
            "group": ["A", "A", "B", "B"],
        }
    )


def test_a_manifest_survives_the_file(clips, tmp_path):
    clips = clips.assign(true_vtl_cm=[15.0, 15.0, 17.0, np.nan])
    tables.write(clips, "clips", tmp_path / "manifest.parquet")
    pd.testing.assert_frame_equal(tables.read("clips", tmp_path / "manifest.parquet"), clips)


def test_what_a_corpus_does_not_know_may_be_empty(clips, tmp_path):
    unknown = clips.assign(face=None, language=None, sex=None, age=None, group=None)
    tables.write(unknown, "clips", tmp_path / "manifest.parquet")
    back = tables.read("clips", tmp_path / "manifest.parquet")
    assert back[["face", "language", "sex", "age", "group"]].isna().all(axis=None)
    assert back["face"].dtype == "Int64" and back["age"].dtype == "float64"


WRONG = {
    "missing column": (lambda df: df.drop(columns="face"), "column 'face' is missing"),
    "unknown column": (lambda df: df.assign(speaker=1), "column 'speaker' is unknown"),
    "wrong split": (
        lambda df: df.assign(split=["train", "train", "dev", "test"]),
        "'split' has dev in row 2",
    ),
    "duplicate ids": (lambda df: df.assign(clip_id=["a-1", "a-1", "b-1", "c-1"]), "'clip_id' has a-1"),
    "speaker in two splits": (lambda df: df.assign(speaker_id=["a", "a", "b", "a"]), "speaker a;"),
    "no length": (lambda df: df.assign(seconds=[6.0, 0.0, 6.0, 2.5]), "'seconds' has 0.0 in row 1"),
    "no end": (lambda df: df.assign(seconds=[6.0, np.inf, 6.0, 2.5]), "'seconds' has inf in row 1"),
    "a length that is no number": (
        lambda df: df.assign(seconds=[6.0, np.nan, 6.0, 2.5]),
        "'seconds' is empty in row 1",
    ),
    "no samples": (lambda df: df.assign(audio_samples=0), "'audio_samples' has 0"),
    "negative offset": (lambda df: df.assign(audio_offset=-1), "'audio_offset' has -1"),
    "broken offset": (lambda df: df.assign(audio_offset=0.5), "'audio_offset' has float64"),
    "empty speaker": (
        lambda df: df.assign(speaker_id=["a", None, "b", "c"]),
        "'speaker_id' is empty in row 1",
    ),
    "number for a name": (lambda df: df.assign(clip_id=[1, 2, 3, 4]), "'clip_id' has 1"),
    "sex in words": (lambda df: df.assign(sex="female"), "'sex' has female"),
    "negative face": (lambda df: df.assign(face=[0, 1, -1, 2]), "'face' has -1 in row 2"),
    "age in the wrong unit": (lambda df: df.assign(age=1985.0), "'age' has 1985.0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_manifest_is_refused_in_one_sentence(case, clips, tmp_path):
    spoil, words = WRONG[case]
    path = tmp_path / "manifest.parquet"
    with pytest.raises(UserError, match=words) as caught:
        tables.write(spoil(clips), "clips", path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    assert not path.exists()


def test_a_wrong_file_is_refused_on_reading(clips, tmp_path):
    clips.drop(columns="split").to_parquet(tmp_path / "manifest.parquet")
    with pytest.raises(UserError, match="column 'split' is missing"):
        tables.read("clips", tmp_path / "manifest.parquet")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="no table of clips .*none.parquet"):
        tables.read("clips", tmp_path / "none.parquet")


def test_a_file_that_is_not_parquet_is_named(tmp_path):
    (tmp_path / "a.parquet").write_text("clip_id,speaker_id\n")
    with pytest.raises(UserError, match="a.parquet is not a parquet file"):
        tables.read("clips", tmp_path / "a.parquet")


def test_many_names_are_cut(clips):
    speakers = [f"s{i}" for i in range(8)]
    table = pd.concat([clips.iloc[[0]]] * 16, ignore_index=True)
    table = table.assign(
        clip_id=[str(i) for i in range(16)], speaker_id=speakers * 2, split=["train"] * 8 + ["val"] * 8
    )
    with pytest.raises(UserError, match="s0, s1, s2, s3, s4 and 3 more"):
        tables.check(table, "clips")


@pytest.fixture
def audio_folder(clips, tmp_path):
    for split in tables.SPLITS:
        with ShardWriter(tmp_path, split, 1000) as writer:
            for samples in clips.loc[clips["split"] == split, "audio_samples"]:
                writer.append(np.ones(samples, np.int16))
    return tmp_path


def test_clips_inside_their_shards_pass(clips, audio_folder):
    tables.check_audio(clips, audio_folder)


def test_a_clip_past_the_end_of_its_shard_is_named(clips, audio_folder):
    clips.loc[1, "audio_offset"] += 1
    with pytest.raises(UserError, match="train-000.i16 ends before the end of clip a-2:"):
        tables.check_audio(clips, audio_folder)


def test_a_missing_shard_is_named(clips, audio_folder):
    (audio_folder / "val-000.i16").unlink()
    with pytest.raises(UserError, match="no audio shard .*val-000.i16 for clip b-1"):
        tables.check_audio(clips, audio_folder)


def test_photographs_and_people_are_checked_too(tmp_path):
    people = pd.DataFrame({"speaker_id": ["a", "a"], "split": "train"})
    labels = {"sex": None, "age": None, "group": None, "language": None, "age_band": None, "age_decade": None}
    with pytest.raises(UserError, match="'speaker_id' has a in more than one row"):
        tables.write(people.assign(**labels), "people", tmp_path / "people.parquet")
    with pytest.raises(UserError, match="column 'speaker_id' is missing"):
        tables.write(pd.DataFrame({"split": ["face"]}), "photographs", tmp_path / "photos.parquet")

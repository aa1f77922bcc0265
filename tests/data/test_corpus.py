"""A corpus on disk: what it answers, with and without labels and truth, and how a damaged one is refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from s2f.data import corpus, tables
from s2f.data.corpus import Corpus
from s2f.data.shards import ShardWriter
from s2f.study import config
from s2f.study.paths import UserError
from s2f.synthetic.truth import Truth

TINY = Path(__file__).parents[1] / "tiny" / "params.yaml"
SPLIT = {"a": "train", "b": "train", "c": "val", "d": "test", "e": "test", "f": "face"}
LABELS = {
    "sex": ["F", "M", "F", "M", "F", "F"],
    "age": [31.0, 42.0, 53.0, 64.0, 25.0, 30.0],
    "group": ["A", "B", "A", "A", "A", "B"],
    "language": ["de", "fr", "de", "fr", None, "de"],
}


@pytest.fixture
def parts(tmp_path, rng):
    """The tables and images of six people with two photographs each; five of them speak."""
    people = pd.DataFrame({"speaker_id": list(SPLIT), "split": list(SPLIT.values()), **LABELS})
    people = people.assign(age_band=None, age_decade=None)
    photographs = people.loc[people.index.repeat(2), ["speaker_id", "split"]].reset_index(drop=True)
    clips = people[people["split"] != "face"].reset_index(drop=True)
    with ShardWriter(tmp_path / "audio", "all", 100_000) as writer:
        places = [writer.append(np.full(16_000, row, np.int16)) for row in range(len(clips))]
    shards, offsets = zip(*places, strict=True)
    clips = clips[["speaker_id", "split", *LABELS]].assign(
        clip_id=clips["speaker_id"] + "-0",
        source="toy",
        seconds=1.0,
        audio_shard=shards,
        audio_offset=offsets,
        audio_samples=16_000,
        face=pd.array(2 * np.arange(len(clips)), "Int64"),
    )
    return {
        "clips": clips,
        "people": people,
        "photographs": photographs,
        "images": rng.integers(0, 256, (12, 8, 8, 3), np.uint8),
        "canonical": rng.integers(0, 256, (6, 8, 8, 3), np.uint8),
        "landmarks": rng.random((6, 68, 2)),
    }


def test_what_was_written_is_opened(parts, tmp_path):
    corpus.write(tmp_path, **parts)
    opened = Corpus.open(tmp_path)
    assert opened.clips["clip_id"].tolist() == [f"{name}-0" for name in "abcde"]
    assert opened.people.index.tolist() == list(SPLIT)
    np.testing.assert_array_equal(opened.images, parts["images"])
    np.testing.assert_array_equal(opened.canonical, parts["canonical"])
    np.testing.assert_allclose(opened.landmarks, parts["landmarks"], rtol=1e-6)
    assert opened.rejected.empty and opened.truth is None
    row = opened.clips.iloc[3]
    assert (opened.shards.clip(row["audio_shard"], row["audio_offset"], row["audio_samples"]) == 3).all()


def test_held_out_clips_come_with_their_speakers(parts, tmp_path):
    held_out = corpus.write(tmp_path, **parts).held_out
    assert held_out.clips["speaker_id"].tolist() == ["c", "d", "e"] and held_out.test.tolist() == [False, True, True]
    assert held_out.speakers.tolist() == ["d", "e"] and held_out.about["age"].tolist() == [64.0, 25.0]


def test_people_photographs_and_features_go_together(parts, tmp_path):
    toy = corpus.write(tmp_path, **parts)
    assert toy.rows(["e", "a"]).tolist() == [4, 0]
    assert toy.of_split("test", "face").tolist() == [False, False, False, True, True, True]
    features = np.arange(24.0).reshape(12, 2)
    assert toy.templates(features).loc["b"].tolist() == [5.0, 6.0]
    assert toy.paired(features, toy.held_out.clips)[:, 0].tolist() == [8.0, 12.0, 16.0]


def test_a_label_is_known_if_everybody_has_it_and_not_all_the_same(parts, tmp_path):
    assert corpus.write(tmp_path, **parts).known(*tables.LABELS) == ["sex", "age"]  # all test speakers are of group A
    parts["people"][list(LABELS)] = None
    assert corpus.write(tmp_path, **parts).known(*tables.LABELS) == []


def test_the_truth_of_a_synthetic_world_is_found(parts, tmp_path):
    toy = corpus.write(tmp_path, **parts)
    traits = toy.people.assign(mismatched=[0, 0, 0, 1, 0, 0])
    Truth(config.load(config.World, TINY), traits, toy.photographs).write(tmp_path / "truth")
    assert Corpus.open(tmp_path).truth.foreign(["d", "a"]).tolist() == [True, False]
    (tmp_path / "truth" / "world.json").write_text("{}")
    with pytest.raises(UserError, match="truth does not hold the truth of a synthetic world"):
        _ = Corpus.open(tmp_path).truth


@pytest.mark.parametrize("name", ["manifest.parquet", "people.parquet", "faces/photos.parquet", "faces/canonical.npy"])
def test_a_missing_file_is_named(name, parts, tmp_path):
    corpus.write(tmp_path, **parts)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=f"There is no .*{name}"):
        Corpus.open(tmp_path)


WRONG = {
    "clip of a stranger": (lambda parts: {"people": parts["people"].iloc[1:]}, "clips name speaker a"),
    "too few photographs": (lambda parts: {"images": parts["images"][1:]}, "wild.npy has 11 rows, its table 12"),
    "photograph that is not there": (
        lambda parts: {"clips": parts["clips"].assign(face=pd.array([0, 2, 4, 6, 12], "Int64"))},
        "clip e-0 names a photograph that is not there",
    ),
    "sound that is not there": (
        lambda parts: {"clips": parts["clips"].assign(audio_samples=1_000_000)},
        "ends before the end of clip",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_tables_and_images_that_disagree_are_refused(case, parts, tmp_path):
    spoil, words = WRONG[case]
    with pytest.raises(UserError, match=words):
        corpus.write(tmp_path, **parts | spoil(parts))


def test_a_file_that_lost_rows_is_refused(parts, tmp_path):
    corpus.write(tmp_path, **parts)
    np.save(tmp_path / "faces" / "landmarks.npy", parts["landmarks"][1:])
    with pytest.raises(UserError, match="landmarks.npy has 5 rows, its table 6"):
        Corpus.open(tmp_path)

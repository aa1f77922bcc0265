"""A corpus from a user's table: what is read, what is set aside, and what is refused."""

import os

import numpy as np
import pandas as pd
import pytest
from own_data import make

from s2f.data import tables
from s2f.data.sources import folder
from s2f.signal import speech
from s2f.study.paths import UserError

SETTINGS = {"size": 32, "seconds": 3.0, "seed": 1, "shares": (0.25, 0.25), "source": "toy"}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    place = tmp_path_factory.mktemp("toy") / "files"
    make(place, train=3, val=1, test=2)
    return place


def table_of(files, change=None, name="changed.csv"):
    table = pd.read_csv(files / "recordings.csv", dtype=str)
    table = table if change is None else change(table)
    table.to_csv(files / name, index=False, encoding="utf-8-sig")
    return files / name


def built(path, target, **changes):
    aside = folder.SetAside()
    recordings = folder.read_table(path, aside)
    detect = folder.landmarks_from(path.parent / "landmarks.csv")
    return folder.build(recordings, target, detect, aside=aside, **SETTINGS | changes)


def test_a_corpus_of_a_table(files, tmp_path):
    corpus = built(table_of(files), tmp_path / "data")
    assert corpus.people["split"].value_counts().to_dict() == {"train": 3, "test": 2, "val": 1}
    assert corpus.clips["split"].value_counts().to_dict() == {"test": 4, "train": 3, "val": 1}
    assert corpus.images.shape == (12, 32, 32, 3) and corpus.canonical.shape == (6, 32, 32, 3)
    assert corpus.truth is None and corpus.rejected.empty
    told = pd.read_csv(files / "recordings.csv").drop_duplicates("speaker").set_index("speaker")
    assert corpus.people["sex"].to_dict() == told["sex"].to_dict()
    assert corpus.people["age"].to_dict() == told["age"].to_dict()
    assert corpus.people["group"].isna().all()
    clip = corpus.clips.iloc[0]
    (sound,) = pd.read_csv(files / "recordings.csv").query("speaker == @clip.speaker_id")["sound"]
    wave = corpus.shards.clip(clip["audio_shard"], clip["audio_offset"], clip["audio_samples"])
    assert np.array_equal(wave, speech.read(files / sound, 3.0))
    # Clip after clip comes with another photograph, each of its own speaker.
    shown = corpus.clips[corpus.clips["split"] == "test"].groupby("speaker_id")["face"].agg(list)
    owners = corpus.photographs["speaker_id"].to_numpy()
    assert all(len(set(faces)) == 2 and set(owners[faces]) == {speaker} for speaker, faces in shown.items())
    again = built(table_of(files), tmp_path / "again")
    assert np.array_equal(corpus.canonical, again.canonical) and corpus.clips.equals(again.clips)


def test_of_which_file_each_clip_and_photograph_was_made(files, tmp_path):
    corpus = built(table_of(files), tmp_path / "data", name_files=True)
    made_of = pd.read_parquet(tmp_path / "data" / folder.FILES)
    assert made_of["table"].value_counts().to_dict() == {"photographs": 12, "clips": 8}
    clips = corpus.clips.loc[made_of.loc[made_of["table"] == "clips", "row"]].reset_index(drop=True)
    sounds = made_of.loc[made_of["table"] == "clips", "file"]
    for clip, sound in zip(clips.itertuples(), sounds, strict=True):
        wave = corpus.shards.clip(clip.audio_shard, clip.audio_offset, clip.audio_samples)
        assert np.array_equal(wave, speech.read(sound, 3.0))
    pictures = made_of[made_of["table"] == "photographs"]
    owners = corpus.photographs.loc[pictures["row"], "speaker_id"]
    assert all(
        file.split("/")[-1].startswith(f"{owner}-") for file, owner in zip(pictures["file"], owners, strict=True)
    )
    assert not (built(table_of(files), tmp_path / "plain").folder / folder.FILES).exists()


def test_a_parquet_table_says_the_same(files, tmp_path):
    pd.read_csv(files / "recordings.csv").to_parquet(files / "recordings.parquet")
    one, other = (folder.read_table(files / f"recordings.{kind}", folder.SetAside()) for kind in ("csv", "parquet"))
    pd.testing.assert_frame_equal(one, other)


def test_people_without_a_split_are_dealt_out_by_the_seed(files, tmp_path):
    path = table_of(files, lambda table: table.drop(columns="split"))
    deals = [built(path, tmp_path / f"{seed}", seed=seed).people["split"] for seed in (1, 1, 2)]
    assert deals[0].value_counts().to_dict() == {"train": 2, "val": 2, "test": 2}
    assert deals[0].equals(deals[1]) and not deals[0].equals(deals[2])


def test_what_cannot_be_used_is_set_aside_with_its_reason(files, tmp_path):
    (files / "sounds" / "text.wav").write_text("hello")

    def spoil(table):
        good = table.iloc[0].to_dict() | {"split": "train"}
        bad = [
            {"sound": "sounds/text.wav"},
            {"sound": "sounds/absent.wav"},
            {"sound": "../elsewhere.wav"},
            {"sound": ""},
            {"sound": "a.wav", "split": "dev"},
            {"sound": "b.wav", "sex": "male" if good["sex"] == "F" else "female"},
            {"sound": "c.wav", "age": "old"},
            {"sound": good["sound"]},
            {"sound": "d.wav", "speaker": "faceless", "photographs": "photographs/absent.png"},
        ]
        return pd.concat([table, pd.DataFrame([good | change for change in bad])])

    corpus = built(table_of(files, spoil), tmp_path / "data")
    assert len(corpus.people) == 6 and len(corpus.clips) == 8
    said = corpus.rejected.groupby("kind")["reason"].agg(" | ".join)
    assert corpus.rejected["kind"].value_counts().to_dict() == {
        "row": 6, "recording": 2, "photograph": 1, "person": 1,
    }  # fmt: skip
    for word in ("leads out", "no sound", "'dev'", "another sex", "'old'", "same sound"):
        assert word in said["row"], word
    assert "not audio" in said["recording"] and "There is no sound file" in said["recording"]
    assert "no landmarks" in said["photograph"] and "no face was found" in said["person"]
    assert folder.card(corpus)["set_aside"]["row"] == 6


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda table: table.drop(columns="speaker"), "lacks the column speaker"),
        (lambda table: table.assign(mood="good"), "unknown column mood"),
        (lambda table: table.assign(split=["train", "val"] * 4), "stands in more than one split"),
        (lambda table: table.assign(photographs=""), "names no photographs"),
        (lambda table: table[table["split"] != "test"], "No speaker of the split test"),
    ],
)
def test_a_table_of_which_no_corpus_can_be_made_is_refused(files, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        built(table_of(files, change), tmp_path / "data")


def test_a_missing_or_broken_table_is_named(files):
    with pytest.raises(UserError, match="There is no table"):
        folder.read_table(files / "absent.csv", folder.SetAside())
    (files / "broken.parquet").write_text("no table")
    with pytest.raises(UserError, match="broken.parquet is not a table"):
        folder.read_table(files / "broken.parquet", folder.SetAside())
    with pytest.raises(UserError, match="lacks the column photograph"):
        folder.landmarks_from(files / "recordings.csv")


def test_file_names_that_are_not_utf_8_can_be_set_aside(tmp_path):
    aside = folder.SetAside()
    aside.add("recording", os.fsdecode(b"caf\xe9.wav"), "it is no sound")
    tables.write(aside.table, "rejected", tmp_path / "rejected.parquet")
    assert list(tables.read("rejected", tmp_path / "rejected.parquet")["item"]) == ["caf\\udce9.wav"]


@pytest.mark.parametrize("bad", ("inf", "nan", ""))
def test_landmarks_that_are_no_numbers_are_no_landmarks(bad, tmp_path):
    table = pd.DataFrame(
        [["a.png", *["5"] * 136], ["b.png", bad, *["5"] * 135]], columns=["photograph", *folder.COORDINATES]
    )
    table.to_csv(tmp_path / "landmarks.csv", index=False)
    pd.read_csv(tmp_path / "landmarks.csv").to_parquet(tmp_path / "landmarks.parquet")
    for kind in ("csv", "parquet"):
        found = folder.landmarks_from(tmp_path / f"landmarks.{kind}")([tmp_path / "a.png", tmp_path / "b.png"])
        assert list(found["reason"]) == ["", "the table has no landmarks of it"]
        assert not np.isinf(found["landmarks"]).any()

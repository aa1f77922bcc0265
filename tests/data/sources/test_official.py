"""Corpora in their official layouts: what is read of them, and that each planted fault is found by its name."""

import csv
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import official_corpora
import own_data
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from official_corpora import Toy
from repository import ROOT
from typer.testing import CliRunner

from s2f import cli
from s2f.data import tables
from s2f.data.sources import avspeech, check, folder, official, tree
from s2f.study.paths import Study, UserError

SETTINGS = {
    "tables": "tables", "voices": "voices", "faces": "faces", "split": "official", "photographs": 4,
    "landmarks": "faces/landmarks.csv", "size": 32, "seconds": 3.0, "val_share": 0.2, "test_share": 0.0, "seed": 1,
    "workers": 1, "scheduler": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return Toy(tmp_path_factory.mktemp("toy") / "files")


# Of each corpus where its parts are, what else its settings are, and how many people and clips can be used.
PLACES = {
    "voxceleb": {},
    "avspeech": {"voices": "clips", "faces": "clips", "landmarks": "clips/landmarks.csv", "split": "official"},
    "crema_d": {
        "voices": "AudioWAV", "faces": "VideoFlash", "landmarks": "VideoFlash/landmarks.csv", "split": "lot",
        "test_share": 0.3,
    },
    "mav_celeb": {"split": "lot", "test_share": 0.3},
}  # fmt: skip
USABLE = {"voxceleb": (10, 18), "avspeech": (8, 18), "crema_d": (8, 16), "mav_celeb": (8, 17)}
each_corpus = pytest.mark.parametrize("corpus", PLACES)


@pytest.fixture(scope="module")
def made(toy, tmp_path_factory):
    """`made(corpus)`: where it lies, and the words that go with each planted fault."""

    @cache
    def make(corpus):
        root = tmp_path_factory.mktemp(corpus) / "study"
        planted = getattr(official_corpora, corpus)(root, toy)
        toy.landmarks(root / settings(corpus).faces)
        return root, planted

    return make


@pytest.fixture
def voxceleb(made):
    return made("voxceleb")


def settings(corpus, **changes):
    return official.Official(corpus=corpus, **SETTINGS | PLACES[corpus] | changes)


def study(root: Path, cfg: official.Official) -> Study:
    """The study of a corpus, as `s2f data check` finds it."""
    lines = "".join(f"  {name}: {'' if value is None else value}\n" for name, value in cfg.model_dump().items())
    (root / "params.yaml").write_text(f"data:\n{lines}", encoding="utf-8")
    (root / "dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    return Study(root)


def found(root, cfg):
    aside = folder.SetAside()
    recordings, counts = official.find(cfg, root, aside)
    return recordings, counts.set_index("what"), aside.table


def assert_each_is_named(findings: pd.DataFrame, planted: dict[str, str]) -> None:
    """Each planted fault has a finding with its reason, and there is no other."""
    for item, words in planted.items():
        named = findings[findings["item"].str.contains(item, regex=False)]
        assert named["reason"].str.contains(words, regex=False).any(), (item, words, named["reason"].tolist())
    others = [item for item in findings["item"] if not any(name in item for name in planted)]
    assert others == []


def test_voxceleb_is_read_by_its_metadata(voxceleb):
    root, _ = voxceleb
    recordings, counts, _ = found(root, settings("voxceleb"))
    assert set(recordings["speaker"]) == {*(f"id1000{n}" for n in range(6)), *(f"id0000{n}" for n in range(6, 10))}
    assert len(recordings) == 12 + 2 + 4 + 2  # two clips each, two of them faulty; one each, two of them faulty
    by_speaker = recordings.drop_duplicates("speaker").set_index("speaker")
    assert by_speaker["split"].dropna().to_dict() == dict.fromkeys(("id10004", "id10005", "id00009"), "test")
    assert by_speaker["group"].dropna().eq("Nowhere").sum() == 6
    # A recording has the pictures of its own video; the first of a person those of no recorded video.
    for row in recordings.itertuples():
        assert all(path.parent.name == row.sound.parent.name for path in row.photographs if "1.6" in str(path))
    assert by_speaker.loc["id00006", "photographs"] == tuple(
        root / "faces" / f"VGGFace2/n000006/0001_0{shot}.jpg" for shot in (0, 1)
    )
    assert counts.loc["vox1: people with a voice", ["found", "complete"]].tolist() == [6, 1_251]
    assert counts.loc["vox2: recordings of test", ["found", "complete"]].tolist() == [1, 36_237]


@pytest.mark.parametrize(
    "split, expected",
    [
        ("letters", {"train": 1, "val": 2, "test": 3}),
        ("hq_voxceleb", {"train": 10}),
        ("lot", {}),
    ],
)
def test_the_splits_of_voxceleb(voxceleb, split, expected):
    recordings, _, aside = found(voxceleb[0], settings("voxceleb", split=split))
    people = recordings.drop_duplicates("speaker")
    assert people["split"].value_counts().to_dict() == expected
    left_out = aside[aside["reason"].str.contains("no place for this person")]
    assert len(left_out) == (4 if split == "letters" else 0)


def test_of_many_pictures_some_are_taken_evenly(voxceleb):
    recordings, *_ = found(voxceleb[0], settings("voxceleb", photographs=1))
    taken = recordings.groupby("speaker")["photographs"].agg(lambda paths: len(set().union(*paths)))
    assert (taken == 1).all()


def test_pictures_that_a_published_list_names_are_taken_as_well(voxceleb, tmp_path):
    tables = shutil.copytree(voxceleb[0] / "tables", tmp_path / "tables")
    pictures = [f"Ana_Ar/1.6/{video}/0000025.jpg" for video in ("aaaaaaaaaaa", "bbb-bbbb_bb")]
    trials = [f"id10000/aaaaaaaaaaa/00001.wav {picture}" for picture in pictures]
    (tables / "verify_v2f_test.txt").write_text("\n".join(trials))
    (tables / "verify_f2v_test.txt").write_text("id10000/aaaaaaaaaaa/00001.wav")
    recordings, _, aside = found(voxceleb[0], settings("voxceleb", photographs=1, tables=str(tables)))
    taken = recordings.groupby("speaker")["photographs"].agg(lambda paths: set().union(*paths))
    assert taken["id10000"] == {voxceleb[0] / "faces/unzippedFaces" / picture for picture in pictures}
    assert (taken.drop("id10000").map(len) == 1).all()
    (row,) = aside[aside["kind"] == "list"].itertuples()
    assert row.item == "verify_f2v_test.txt" and "line 1: a voice and a face" in row.reason


@each_corpus
def test_each_fault_is_reported_by_its_name_and_nothing_else_is_lost(corpus, made, tmp_path):
    root, planted = made(corpus)
    cfg = settings(corpus)
    report = check.check(study(root, cfg), opening=True)
    assert_each_is_named(report.findings, planted)
    assert not report.whole and all(report.people.values()) and set(report.people) == set(tables.SPLITS)
    used = report.findings[report.findings["used"]]
    assert used["reason"].str.contains("cut off|its content").all()

    aside = folder.SetAside()
    recordings = official.find(cfg, root, aside).recordings
    look_up = avspeech.landmarks_from if corpus == "avspeech" else lambda path, _: folder.landmarks_from(path)
    corpus_made = folder.build(
        recordings,
        tmp_path / "data",
        look_up(root / cfg.landmarks, recordings),
        size=cfg.size,
        seconds=cfg.seconds,
        seed=cfg.seed,
        shares=(cfg.val_share, cfg.test_share),
        source=cfg.corpus,
        aside=aside,
        scratch=tmp_path / "scratch",
    )
    people, clips = USABLE[corpus]
    assert (len(corpus_made.people), len(corpus_made.clips)) == (people, clips)
    assert len(report.recordings) == clips
    # Whatever has no clip in the corpus has a reason in its list.
    listed = " ".join(corpus_made.rejected["item"])
    for item in set(report.findings.loc[~report.findings["used"], "item"]):
        assert Path(item).name in listed, item


def test_the_face_at_the_point_is_the_speakers(made, toy):
    root, _ = made("avspeech")
    cfg = settings("avspeech")
    recordings = official.find(cfg, root, folder.SetAside()).recordings
    detect = avspeech.landmarks_from(root / cfg.landmarks, recordings)
    found = detect([root / f"clips/vid02_-xxxx_{start}.mp4" for start in ("50.0", "60.0")])
    right = toy.points(2) + [len(toy.image(1)), 0]
    assert found["landmarks"][0] == pytest.approx(right, abs=0.01)
    assert list(found["reason"]) == ["", "no face lies where its speaker's should"]


def test_points_of_frames_are_kept_for_those_who_look_for_faces(made, tmp_path):
    root, _ = made("avspeech")
    recordings = official.find(settings("avspeech"), root, folder.SetAside()).recordings
    path = avspeech.write_points(recordings, tmp_path)
    points = pd.read_parquet(path).set_index("photograph")
    assert list(points.loc[str(root / "clips/vid02_-xxxx_50.0.mp4")]) == [0.75, 0.5]
    assert avspeech.write_points(recordings, tmp_path) == path
    assert avspeech.write_points(recordings.assign(x=recordings["y"]), tmp_path) != path


def test_what_actors_of_crema_d_say_of_themselves(made, toy):
    root, _ = made("crema_d")
    recordings, counts, _ = found(root, settings("crema_d"))
    people = recordings.drop_duplicates("speaker").set_index("speaker")
    assert people["age"].to_dict() == {str(1001 + n): 20.0 + n for n in range(9) if n != 2}
    assert people["sex"].to_dict() == {str(1001 + n): toy.sex[toy.speakers[n]] for n in range(9) if n != 2}
    assert set(people["group"]) == {"Group, of some"} and set(people["language"]) == {"English"}
    assert counts.loc["actors with a voice", ["found", "complete"]].tolist() == [8, 91]
    # Of one picture each, it is a neutral one.
    one, *_ = found(root, settings("crema_d", photographs=1))
    assert {path.stem.split("_")[2] for paths in one["photographs"] for path in paths} == {"NEU"}


def test_languages_of_mav_celeb(made):
    root, _ = made("mav_celeb")
    recordings, counts, _ = found(root, settings("mav_celeb"))
    assert set(recordings["language"]) == {"English", "Urdu"}
    for row in recordings.itertuples():
        assert all(path.parts[-3] == row.language for path in row.photographs)
    assert counts.loc["recordings of the test set, which are left out", "found"] == 3
    assert counts.loc["people with a picture", ["found", "complete"]].tolist() == [8, 64]


def test_two_versions_of_mav_celeb_are_not_mixed(tmp_path):
    for language in ("Urdu", "German"):
        (tmp_path / f"voices/id0001/{language}/aaa").mkdir(parents=True)
        (tmp_path / f"voices/id0001/{language}/aaa/00000.wav").touch()
    (tmp_path / "faces").mkdir()
    with pytest.raises(UserError, match="v1 and v3, which share ids"):
        found(tmp_path, settings("mav_celeb"))


@pytest.mark.parametrize("corpus, split", [("avspeech", "pins"), ("crema_d", "official"), ("mav_celeb", "letters")])
def test_a_split_of_another_corpus_is_refused(corpus, split, made):
    with pytest.raises(UserError, match=f"The split '{split}' is none of"):
        found(made(corpus)[0], settings(corpus, split=split))


@each_corpus
@pytest.mark.parametrize("part", ["tables", "voices", "faces"])
def test_a_place_that_is_not_there_is_named(corpus, part, made):
    if (corpus, part) == ("mav_celeb", "tables"):
        return  # its table is optional
    with pytest.raises(UserError, match="nowhere"):
        found(made(corpus)[0], settings(corpus, **{part: "nowhere"}))


# Files


def test_what_no_corpus_should_hold_is_set_aside_unopened(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.wav").touch()
    planted = official_corpora.hostile(tmp_path / "corpus", tmp_path / "outside")
    aside = folder.SetAside()
    assert tree.files(tmp_path / "corpus", tree.SOUNDS, aside) == ["alias.WAV", "plain.wav"]
    assert_each_is_named(aside.table, planted)


def test_what_no_table_should_say_makes_no_name_of_a_file(made, tmp_path):
    """Names in the metadata are compared with those of folders; none is ever opened."""
    root = tmp_path / "study"
    shutil.copytree(made("voxceleb")[0], root)
    lines = (root / "tables/vox1_meta.csv").read_text(encoding="utf-8").splitlines()
    lines += [
        "id10008\t../../outside\tm\tNowhere\tdev",
        "../x\tName\tm\tNowhere\tdev",
        "id10009\t$(touch x)\tm\tN\tdev",
    ]
    (root / "tables/vox1_meta.csv").write_text("\n".join(lines), encoding="utf-8")
    recordings, _, aside = found(root, settings("voxceleb"))
    inside = [*recordings["sound"], *(path for paths in recordings["photographs"] for path in paths)]
    assert all(path.resolve().is_relative_to(root.resolve()) for path in inside)
    assert aside["reason"].str.contains("the id is '../x'", regex=False).any()


@given(
    st.lists(st.lists(st.text('ab ,"\t', max_size=4), min_size=1, max_size=4), max_size=6),
    st.sampled_from(["\n", "\r\n"]),
)
def test_a_table_is_read_as_it_was_written(tmp_path_factory, rows, end):
    path = tmp_path_factory.mktemp("table") / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator=end).writerows([["one", " two "], *rows])
    aside = folder.SetAside()
    table = tree.table(path, aside)
    assert list(table) == ["one", "two"]
    assert table.to_numpy().tolist() == [[cell.strip() for cell in row] for row in rows if len(row) == 2]
    assert len(aside.rows) == sum(len(row) != 2 and any(cell.strip() for cell in row) for row in rows)


@given(st.lists(st.sampled_from("abc"), min_size=1), st.integers(1, 5))
def test_some_of_each_group_are_taken_from_all_over_it(groups, most):
    groups = pd.Series(sorted(groups))
    kept = tree.evenly(groups, most)
    for name, size in groups.value_counts().items():
        places = np.flatnonzero(kept[groups == name])
        assert len(places) == min(size, most) and places[0] == 0
        assert np.diff(places).max(initial=0) <= -(-size // len(places))


def test_the_command_names_faults_and_what_is_missing(voxceleb):
    root, _ = voxceleb
    study(root, settings("voxceleb"))
    result = CliRunner().invoke(cli.app, ["data", "check", str(root)])
    assert result.exit_code == 1, result.output
    assert "vox1: people with a voice: 6 of 1,251" in result.output and "--open decodes each" in result.output
    assert "wav/id10002/aaaaaaaaaaa/00001.wav: the same clip lies in another folder" in result.output
    listed = pd.read_csv(root / "scratch" / "check" / "findings.csv")
    assert set(listed) == {"kind", "item", "reason", "used"} and len(listed) == 6


def test_the_command_passes_a_whole_corpus_of_ones_own(tmp_path):
    shutil.copytree(ROOT / "studies" / "template", tmp_path / "mine")
    own_data.make(tmp_path / "mine", train=1, val=1, test=1)
    result = CliRunner().invoke(cli.app, ["data", "check", str(tmp_path / "mine"), "--open"])
    assert result.exit_code == 0, result.output
    assert "4 recordings of 3 people" in result.output and "opened    10 files" in result.output
    (tmp_path / "mine" / "photographs").rename(tmp_path / "mine" / "moved")
    result = CliRunner().invoke(cli.app, ["data", "check", str(tmp_path / "mine"), "--open"])
    assert result.exit_code == 1 and result.output.count("the file is missing") == 6


def test_a_study_that_makes_its_data_itself_has_nothing_to_check():
    result = CliRunner().invoke(cli.app, ["data", "check", str(ROOT)])
    assert result.exit_code == 2 and "there is nothing to check" in result.output

"""Corpora in their official layouts: what is read of them, and that each planted fault is found by its name."""

import shutil
from pathlib import Path

import official_corpora
import own_data
import pandas as pd
import pytest
from official_corpora import Toy
from repository import ROOT
from typer.testing import CliRunner

from s2f import cli
from s2f.data import tables
from s2f.data.sources import check, folder, official
from s2f.study.paths import Study

SETTINGS = {
    "tables": "tables", "voices": "voices", "faces": "faces", "split": "official", "photographs": 4,
    "landmarks": "faces/landmarks.csv", "size": 32, "seconds": 3.0, "val_share": 0.2, "test_share": 0.0, "seed": 1,
    "workers": 1, "scheduler": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return Toy(tmp_path_factory.mktemp("toy") / "files")


@pytest.fixture(scope="module")
def voxceleb(toy, tmp_path_factory):
    root = tmp_path_factory.mktemp("voxceleb") / "study"
    return root, official_corpora.voxceleb(root, toy)


def settings(corpus, **changes):
    return official.Official(corpus=corpus, **SETTINGS | changes)


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
    """Each planted fault has one finding, with its reason, and there is no other."""
    for item, words in planted.items():
        named = findings[findings["item"].str.contains(item, regex=False)]
        assert named["reason"].str.contains(words, regex=False).any(), (item, words, named["reason"].tolist())
    assert len(findings) == len(planted), findings.to_string()


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


def test_each_fault_of_voxceleb_is_reported_and_nothing_else_is_lost(voxceleb, toy, tmp_path):
    root, planted = voxceleb
    cfg = settings("voxceleb")
    report = check.check(study(root, cfg), opening=True)
    assert_each_is_named(report.findings, planted)
    assert not report.whole and report.people == {"train": 6, "val": 1, "test": 3}
    used = report.findings[report.findings["used"]]
    assert len(used) == 2 and used["reason"].str.contains("cut off|its content").all()

    aside = folder.SetAside()
    corpus = folder.build(
        official.find(cfg, root, aside).recordings,
        tmp_path / "data",
        folder.landmarks_from(toy.landmarks(root / "faces")),
        size=cfg.size,
        seconds=cfg.seconds,
        seed=cfg.seed,
        shares=(cfg.val_share, cfg.test_share),
        source=cfg.corpus,
        aside=aside,
        scratch=tmp_path / "scratch",
        workers=cfg.workers,
    )
    assert len(corpus.people) == 10 and len(corpus.clips) == 18
    assert corpus.rejected["kind"].value_counts()["recording"] == 3  # doubled, empty, cut off
    tables.read("rejected", tmp_path / "data" / "rejected.parquet")


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

"""The reader of the published samples: numbers instead of names, and one sentence for a clone that is not whole."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published_samples import ASSISTANTS, avspeech, clone, samples, voxceleb

from s2f.data.sources import folder, published, published_corpus
from s2f.study.paths import UserError


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_clips_have_numbers_instead_of_names(tmp_path, suffix):
    table = published.clips(avspeech(tmp_path, suffix=suffix), "avspeech")
    assert list(table["video"]) == [0, 1, 1, 2] and list(table["person"]) == [0, 1, 1, 2]  # "-" sorts before "a"
    assert list(table["seconds"].round(6)) == [4.5, 4.5, 9.0, 4.5]
    assert {path.suffix for path in table["voice"]} == {suffix}
    assert table["sex"].isna().all()
    assert published.listed(tmp_path, "avspeech") == 5


def test_voxceleb_codes_and_names(tmp_path):
    table = published.clips(voxceleb(tmp_path), "voxceleb")
    assert list(table["person"]) == [0, 1, 1]
    row = table.iloc[1]
    assert (row["sex"], row["fluency"], row["age_band"], row["ethnicity"]) == (
        "F", "not native", "60 and over", "white, not Hispanic",
    )  # fmt: skip
    assert table["seconds"].isna().all() and table["product"].isna().all()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A whole clone, for tests that leave it as it was."""
    return voxceleb(avspeech(tmp_path_factory.mktemp("clone")))


def test_assistants_are_a_set_of_their_own_without_true_faces(tmp_path):
    root = voxceleb(tmp_path)
    for kind in ("Face_ori", "Face_f2f"):
        for stem in ASSISTANTS:
            (root / "figures" / "voxceleb" / kind / f"{stem}.jpg").unlink()
    aside = folder.SetAside()
    table = published.clips(root, "assistants", aside)
    assert list(table["product"]) == ["Google", "Siri", "Siri"] and list(table["person"]) == [0, 1, 1]
    assert table[["sex", "fluency", "age_band", "ethnicity"]].isna().all(axis=None)
    assert {"exg0", "exg1.4"} < set(table) and not {"true", "f2f"} & set(table)
    assert len(published.clips(root, "voxceleb", aside)) == 3 and not aside.rows
    assert published.sets(avspeech(root)) == ["avspeech", "voxceleb", "assistants"]


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_any_other_name_is_set_aside_in_one_of_the_sets(whole, stem):
    """Whatever a file is called, one of the sets of its folder sets it aside, and nothing ends."""
    hidden = stem.startswith(".")
    for place, names in {"avspeech_res": ["avspeech"], "voxceleb": ["voxceleb", "assistants"]}.items():
        stray = whole / "figures" / place / "Wav" / f"{stem}.wav"
        stray.touch()
        try:
            aside = folder.SetAside()
            clips = [len(published.clips(whole, name, aside)) for name in names]
            assert sum(clips) == (4 if place == "avspeech_res" else 6) and len(aside.rows) == (0 if hidden else 1)
        finally:
            stray.unlink()


def test_a_file_that_does_not_fit_is_set_aside_by_name_and_with_its_reason(tmp_path):
    root = voxceleb(tmp_path)
    place = root / "figures" / "voxceleb"
    (place / "Wav" / "somebody.wav").touch()
    (place / "Wav" / "1199Bad_Code_bbcdefghijk_0000001.wav").touch()
    (place / "Face_f2f" / "0041No_One_bbcdefghijk_0000001.jpg").unlink()
    (place / "Wav" / "1134Somebody_J._Else_abcdefghijk_0000001.wav").unlink()
    aside = folder.SetAside()
    assert len(published.clips(root, "voxceleb", aside)) == 1
    assert aside.table.to_dict("records") == [
        {"kind": "incomplete", "item": "0041No_One_bbcdefghijk_0000001", "reason": "it has no picture of the kind f2f"},
        {"kind": "incomplete", "item": "1134Somebody_J._Else_abcdefghijk_0000001", "reason": "it has no voice"},
        {
            "kind": "name",
            "item": "1199Bad_Code_bbcdefghijk_0000001",
            "reason": "it is not named as the authors name theirs",
        },
        {"kind": "name", "item": "somebody", "reason": "it is not named as the authors name theirs"},
    ]


def test_an_exaggeration_may_be_missing_and_a_clip_without_a_face_is_left_out(tmp_path):
    root = avspeech(tmp_path, leave_out=["Face_exg0.7"])
    next((root / "figures" / "avspeech_res" / "Face_exg0").iterdir()).unlink()
    table = published.clips(root, "avspeech")
    assert len(table) == 3 and "exg0.7" not in table and "exg1.4" in table


def test_what_a_system_leaves_beside_the_files_is_no_clip(tmp_path):
    root = avspeech(tmp_path)
    table = published.clips(root, "avspeech")
    for path in list((root / "figures" / "avspeech_res").glob("*/*")):
        path.with_name(f"._{path.name}").touch()
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (root / "figures" / "avspeech_res" / "Wav" / name).touch()
    assert table.equals(published.clips(root, "avspeech"))
    aside = folder.SetAside()
    assert len(published_corpus.recordings(root, aside)) == len(table)
    assert len(aside.table) == len(table) + 1 and aside.table["item"].str.startswith("hidden file").all()


def test_the_variable_comes_before_the_folder(tmp_path, monkeypatch):
    root = avspeech(tmp_path / "clone")
    monkeypatch.setenv(published.VARIABLE, str(root))
    assert published.place("nowhere") == root
    assert published.sets(root) == ["avspeech"]
    monkeypatch.delenv(published.VARIABLE)
    assert published.place(root) == root


def test_a_missing_or_partial_clone_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.delenv(published.VARIABLE, raising=False)
    with pytest.raises(UserError, match="does not hold the published samples: run .* and set S2F_PUBLISHED"):
        published.place(tmp_path)
    root = avspeech(tmp_path, leave_out=["Face_f2f"])
    with pytest.raises(UserError, match="not whole, .*Face_f2f is missing"):
        published.clips(root, "avspeech")
    (root / "figures" / "avspeech_res" / "Face_f2f").mkdir()
    with pytest.raises(UserError, match="No clip in .* has a voice and all faces"):
        published.clips(root, "avspeech")
    with pytest.raises(UserError, match="No clip in .* has a voice and all faces"):
        published.clips(clone(tmp_path / "odd", ["somebody"]), "avspeech")


def test_one_row_a_person_the_first_clip_or_the_mean(rng):
    first = samples(rng)
    true = first.arrays["true.feature"]
    assert np.array_equal(first["true.feature"], true[::2])
    assert np.allclose(replace(first, mean=True)["true.feature"], (true[::2] + true[1::2]) / 2)
    assert len(first.where(first.clips["person"].to_numpy() < 7)["true.feature"]) == 7
    assert first.kinds == ["exg0"] and first.drawn == ["exg0", "f2f"]
    voices = {f"1.5s.{block}": rng.normal(size=(len(true), 3)) for block in published.EMBEDDINGS}
    voice = replace(first, arrays=voices).voice(1.5)
    assert [np.array_equal(a, b[::2]) for a, b in zip(voice, voices.values(), strict=True)] == [True] * 3


def test_drawn_faces_are_joined_as_another_kind(rng):
    alone = samples(rng).first()
    assert len(alone.clips) == 40 and list(alone.clips["person"]) == list(alone.who)
    feature = rng.normal(size=alone["true.feature"].shape)
    joined = alone.joined("ours", {"feature": feature})
    assert np.array_equal(joined["ours.feature"], feature) and joined.drawn == ["exg0", "ours", "f2f"]
    assert alone.drawn == ["exg0", "f2f"]  # as it was


def test_features_come_back_without_the_clips_that_were_set_aside(rng, tmp_path):
    given = samples(rng)
    reasons = np.full(len(given.clips), "", "U40")
    faceless, silent = reasons.copy(), reasons.copy()
    faceless[5], silent[[5, 7]] = "no face was found in it", "no speech was found in it"
    arrays = {**given.arrays, "6s.reason": silent, "exg0.reason": faceless, "true.reason": reasons}
    files = {name: [tmp_path / f"{row}.{name}" for row in range(len(reasons))] for name in ("voice", "true", "exg0")}
    aside = folder.SetAside([("name", "odd", "it is not named as the authors name theirs")])
    published.save(given.clips.assign(**files), arrays, tmp_path, "avspeech", aside)
    back = published.load(tmp_path, "avspeech")
    assert published.made(tmp_path) == ["avspeech"]
    assert list(back.clips) == list(given.clips) and not any(name.endswith("reason") for name in back.arrays)
    assert np.array_equal(back.arrays["true.feature"], np.delete(given.arrays["true.feature"], [5, 7], axis=0))
    rejected = pd.read_parquet(tmp_path / "avspeech_rejected.parquet")
    assert rejected.equals(aside.table) and list(rejected["kind"]) == ["name", "no speech", "no speech"]
    assert list(rejected["item"][1:]) == [str(tmp_path / "5.voice"), str(tmp_path / "7.voice")]
    with pytest.raises(UserError, match="no features of the voxceleb set"):
        published.load(tmp_path, "voxceleb")


def test_a_set_of_too_few_people_for_the_folds_is_left_out(rng, tmp_path):
    for name, people in {"avspeech": 6, "voxceleb": 7, "assistants": 9}.items():
        given = samples(rng, people=people)
        published.save(given.clips.assign(voice="x.wav"), given.arrays, tmp_path, name)
    assert list(published.people(tmp_path, folds=4)) == ["avspeech"]
    both = published.people(tmp_path, folds=3)
    assert list(both) == ["avspeech", "voxceleb"] and both["voxceleb"].mean and not both["avspeech"].mean

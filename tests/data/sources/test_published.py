"""The reader of the published samples: numbers instead of names, and one sentence for a clone that is not whole."""

from dataclasses import replace

import numpy as np
import pytest
from published_samples import avspeech, clone, samples

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
    twice = [f"1134Somebody_J._Else_abcdefghijk_000000{number}" for number in (1, 2)]
    clone(tmp_path, [*twice, "0041No_One_bbcdefghijk_0000001"], folder="voxceleb")
    table = published.clips(tmp_path, "voxceleb")
    assert list(table["person"]) == [0, 1, 1]
    row = table.iloc[1]
    assert (row["sex"], row["fluency"], row["age_band"], row["ethnicity"]) == (
        "F", "not native", "60 and over", "white, not Hispanic",
    )  # fmt: skip
    assert table["seconds"].isna().all()


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
    with pytest.raises(UserError, match="not named as the authors"):
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


def test_features_come_back_without_the_clips_whose_face_was_not_found(rng, tmp_path):
    given = samples(rng)
    given.arrays["exg0.age"][5] = np.nan
    published.save(given.clips.assign(voice="x.wav", true="x.jpg"), given.arrays, tmp_path, "avspeech")
    back = published.load(tmp_path, "avspeech")
    assert published.made(tmp_path) == ["avspeech"]
    assert len(back.clips) == len(given.clips) - 1 and "voice" not in back.clips and "true" not in back.clips
    assert np.array_equal(back.arrays["true.feature"], np.delete(given.arrays["true.feature"], 5, axis=0))
    with pytest.raises(UserError, match="no features of the voxceleb set"):
        published.load(tmp_path, "voxceleb")

"""Public trial lists that name voices by ids and faces by names; nobody in them exists."""

import os
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s2f.data import public_trials, trials
from s2f.data.corpus import Corpus
from s2f.data.sources import voxceleb
from s2f.data.sources.folder import SetAside
from s2f.study.paths import UserError

NAMES = {"id10001": "Ana_Ar", "id10002": "Bea_Br"}


def read_pairs(path):
    return public_trials.read_pairs(path, NAMES)


def saved(folder, text):
    path = folder / "list.txt"
    path.write_text(text)
    return path


@pytest.mark.parametrize("order", [1, -1])
def test_pairs_of_kid_are_labelled_by_the_names_of_ids(order, tmp_path):
    voices, faces = ("id10001/a/1.wav", "id10001/a/1.wav", "id10002/b/1.wav"), ("Ana_Ar/1", "Bea_Br/1", "Bea_Br/1")
    pairs = list(zip(voices, faces, strict=True))
    text = "".join(" ".join(pair[::order]) + "\n" for pair in pairs)
    table = public_trials.read_pairs(saved(tmp_path, text), NAMES)
    assert list(table[["voice", "face"]].itertuples(index=False, name=None)) == pairs
    assert list(table["same"]) == [True, False, True] and list(table["voice_speaker"])[2] == "Bea_Br"
    # It is a table as those that this library draws: it can be written, and read back.
    trials.write({"pairs": table.assign(voice=table["voice_speaker"] + "/" + table["voice"])}, tmp_path / "written")
    assert len(trials.read_verification(tmp_path / "written" / "pairs.txt")) == 3


def test_a_gallery_of_cmpc(tmp_path):
    text = "VoxCeleb1 ID\tjpg\nid10001\tAna_Ar/1.6/a/1.jpg\nid10002\tBea_Br/1.6/b/1.jpg\n"
    gallery = public_trials.read_gallery(saved(tmp_path, text))
    assert list(gallery["person"]) == list(NAMES) and gallery["item"][1] == "Bea_Br/1.6/b/1.jpg"


@pytest.mark.parametrize(
    ("read", "text", "says"),
    [
        (read_pairs, "id10001/a.wav Ana_Ar/1.jpg\nid10001/a.wav\n", "line 2: a voice"),
        (read_pairs, "id10009/a.wav Ana_Ar/1.jpg\n", "line 1: a voice and a face"),
        (read_pairs, "id10001/a.wav Nobody/1.jpg\n", "line 1: a voice and a face"),
        (public_trials.read_gallery, "id10001\ta.jpg\n", "must have the columns VoxCeleb1 ID"),
        (public_trials.read_gallery, "VoxCeleb1 ID\tjpg\n", "holds no items"),
        (public_trials.read_gallery, "VoxCeleb1 ID\tjpg\nid10001 a.jpg\n", "line 2: an id and an item"),
        (public_trials.read_gallery, "", "is empty"),
    ],
)
def test_a_file_that_is_no_such_list_is_refused_with_its_place(read, text, says, tmp_path):
    with pytest.raises(UserError, match=f"list.txt.*{says}"):
        read(saved(tmp_path, text))


@pytest.mark.parametrize(
    "item",
    [
        "id10001/v_deo-1/00025.wav",
        "wav/dev/id10001/v_deo-1/00025.m4a",
        "Ana_Ar/v_deo-1_0000025.wav",
        "Ana_Ar/1.6/v_deo-1/0000025.jpg",
        "Ana_Ar/v_deo-1/0000025.jpg",
        "id10002/unzippedFaces/Ana_Ar/1.6/v_deo-1/0000025.jpg",
    ],
)
def test_an_item_has_one_name_whatever_a_list_or_a_disk_calls_it(item):
    kind = "face" if item.endswith("jpg") else "voice"
    assert public_trials.item_name(item, public_trials.person_ids(NAMES)) == f"id10001/v_deo-1/25/{kind}"


def test_items_without_a_video_or_a_person():
    ids = public_trials.person_ids(NAMES)
    assert public_trials.item_name("Bea_Br/00000000.jpg", ids) == "id10002/0/face"
    assert public_trials.item_name("Nobody/1.6/v/0000025.jpg", ids) is None
    assert public_trials.item_name("Ana_Ar.jpg", ids) is None


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_no_name_ends_with_an_error(item):
    named = public_trials.item_name(item, public_trials.person_ids(NAMES))
    assert named is None or named.split("/")[0] in NAMES


LISTS = {
    "matching_v2f_U.csv": "id10001/a/1.wav Ana_Ar/1.6/a/1.jpg Bea_Br/1.6/b/1.jpg\n"
    "id10001/a/1.wav Ana_Ar/1.6/a/1.jpg Cleo_Cr/1.6/c/1.jpg\nid10001/a/1.wav Ana_Ar/1.6/a/1.jpg Bea_Br/1.6/b/9.jpg",
    "veriflist_test_G_unseenunheard.txt": "id,voice-speaker-id,face-speaker-id,label,voice-path,face-path\n"
    "1,1,1,1,Ana_Ar/a_0000001.wav,Ana_Ar/a/0000001.jpg\n2,1,2,0,Ana_Ar/a_0000001.wav,Bea_Br/b/0000001.jpg",
    "verify_f2v_test.txt": "Ana_Ar/1.6/a/1.jpg id10002/b/1.wav",
    "wav_20k.csv": "VoxCeleb1 ID\twav\nid10001\tid10001/a/1.wav",
    "jpg_20k.csv": "VoxCeleb1 ID\tjpg\nid10002\tBea_Br/1.6/b/1.jpg",
    "reterival_f2v_test.txt": "Bea_Br/1.6/b/1.jpg\nid10001/a/1.wav id10002/b/1.wav",
    "reterival_v2f_test.txt": "id10001/a/1.wav",
    "notes.txt": "none of them",
}


def test_published_lists_become_trials_of_a_corpus(tmp_path):
    """Bea and Ana are of the test split, Cleo is not; a picture of Bea is not there."""
    for name, text in LISTS.items():
        (tmp_path / name).write_text(text)
    names = NAMES | {"id10003": "Cleo_Cr"}
    lists, unreadable = public_trials.read_published(tmp_path, names)
    assert list(unreadable) == ["reterival_v2f_test.txt"] and "has 1 lines" in unreadable["reterival_v2f_test.txt"]
    people = pd.DataFrame({"split": ["test", "test", "train"]}, index=list(names))
    clips = pd.DataFrame({"speaker_id": ["id10001", "id10002"], "clip_id": ["id10001-000", "id10002-000"]})
    photographs = pd.DataFrame({"speaker_id": list(names)})
    places = [
        "wav/id10001/a/1.wav",
        "wav/id10002/b/1.wav",
        *(f"{name}/1.6/{name[0].lower()}/1.jpg" for name in names.values()),
    ]
    files = pd.DataFrame({"table": ["clips"] * 2 + ["photographs"] * 3, "row": [0, 1, 0, 1, 2], "file": places})
    found = public_trials.in_corpus(lists, Corpus(tmp_path, clips, people, photographs), files, names)

    found.write(tmp_path / "lists")
    found = public_trials.InCorpus.load(tmp_path / "lists")
    counts = {row.name: (row.listed, row.others, row.kept) for row in found.summary.itertuples(index=False)}
    assert counts == {
        "matching_v2f_U": (3, 1, 1),
        "veriflist_test_G_unseenunheard": (2, 0, 2),
        "verify_f2v_test": (1, 0, 1),
        "reterival_f2v_test": (3, 0, 3),
        "retrieval_20k": (2, 0, 2),
    }
    ana, bea = "id10001/id10001-000", "id10002/id10002-000"
    assert found.lists["matching_v2f_U"].to_numpy().tolist() == [[ana, "id10001/0", "id10002/1"]]
    pairs = found.lists["veriflist_test_G_unseenunheard"]
    assert pairs[["voice", "face", "same"]].to_numpy().tolist() == [[ana, "id10001/0", True], [ana, "id10002/1", False]]
    assert pairs[["voice_speaker", "face_speaker"]].to_numpy().tolist() == [["id10001"] * 2, ["id10001", "id10002"]]
    assert found.lists["verify_f2v_test"]["voice"].tolist() == [bea]
    assert found.lists["reterival_f2v_test"].to_numpy().tolist() == [
        ["face", "id10002/1"],
        ["voice", ana],
        ["voice", bea],
    ]
    assert set(found.lists["retrieval_20k"]["item"]) == {ana, "id10002/1"}


def test_a_corpus_without_lists_has_none(tmp_path):
    assert public_trials.InCorpus.load(tmp_path).lists == {}


@pytest.mark.skipif("S2F_METADATA" not in os.environ, reason="S2F_METADATA names no folder with VoxCeleb's metadata")
def test_the_published_metadata_name_everybody_once():
    folder, aside = Path(os.environ["S2F_METADATA"]), SetAside()
    people = voxceleb.read_people(folder, aside)
    assert len(people) == 1_251 and aside.rows == [] and people["name"].is_unique
    assert people["set"].value_counts().to_dict() == {"dev": 1_211, "test": 40}
    assert people["sex"].value_counts().to_dict() == {"M": 690, "F": 561} and people["group"].nunique() == 36


@pytest.mark.skipif(
    not {"S2F_METADATA", "S2F_LISTS"} <= set(os.environ),
    reason="no folders with metadata and published lists are named",
)
def test_ids_and_names_of_the_published_lists_are_of_the_same_people():
    names = voxceleb.names_of_ids(Path(os.environ["S2F_METADATA"]))
    for name in ("v2f_GN", "f2v_U"):
        table = trials.read_matching(Path(os.environ["S2F_LISTS"]) / f"matching_{name}.csv")
        probes, targets = (trials.speakers(table[column]) for column in ("probe", "target"))
        assert [names.get(person, person) for person in probes] == [names.get(person, person) for person in targets]
    sets = trials.read_splits(Path(os.environ["S2F_LISTS"]) / "identity_splits.txt")
    assert set(sets.index) == set(names.values())
    lists, unreadable = public_trials.read_published(Path(os.environ["S2F_LISTS"]), names)
    assert unreadable == {} and len(lists["matching_f2v_U"]) == 10_000

"""Public trial lists that name voices by ids and faces by names; nobody in them exists."""

import os
from pathlib import Path

import pytest

from s2f.data import public_trials, trials
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

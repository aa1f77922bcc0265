"""VoxCeleb 1 and 2: voices by id, pictures by name, joined by the official metadata.

    tables/vox1_meta.csv                      VoxCeleb1 ID, VGGFace1 ID, Gender, Nationality, Set; parted by tabs
           vox2_meta.csv                      VoxCeleb2 ID, VGGFace2 ID, Gender, Set; parted by commas and blanks
           full_vox2_meta.csv                 the same with names (HQ-VoxCeleb), in place of vox2_meta.csv
           identity_splits.txt                the split `pins`
    voices/.../id10001/<video>/00001.wav      VoxCeleb 1
           .../id00012/<video>/00001.m4a      VoxCeleb 2; wav and flac as well
    faces/.../<name>/1.6/<video>/<frame>.jpg  crops of VoxCeleb 1
          .../<name>/<file>.jpg               VGGFace by name, HQ-VoxCeleb (its `masked_faces` are passed over)

A picture belongs to a person by the name of its folder: the name or id in the metadata. Recordings have the pictures of
their own video where there are some. The group of a person is the nationality, which VoxCeleb 1 alone has.

Splits: `official` leaves validation to the lot, among the people of `dev`. `letters` goes by the first letter of the
name (A and B validation, C to E test; Nagrani et al., 2018), `pins` by the list of Learnable PINs, both for VoxCeleb 1
alone. `hq_voxceleb` takes of each ten rows of the metadata the ninth for test and the tenth for validation (SF2F).

Published lists of trials (`s2f.data.public_trials`) may lie in the folder of the tables: pictures that they name are
kept beyond the number that is asked for.
"""

import unicodedata
from pathlib import Path

import pandas as pd

from s2f.data import public_trials, trials
from s2f.data import tables as checked
from s2f.data.sources import tree
from s2f.data.sources.folder import SetAside
from s2f.data.sources.official import COUNTED, Found, Official
from s2f.study.paths import UserError

VOICE = r"(?:^|/)(?P<id>id\d{5})/(?P<video>[^/]+)/(?P<clip>[^/]+)\.\w+$"
CROP = r"(?:^|/)(?P<name>[^/]+)/\d\.\d+/(?P<video>[^/]+)/[^/]+$"  # 1.6: how much larger than the face the crop is
NAMED = r"(?:^|/)(?P<name>[^/]+)/[^/]+$"
MASKED = "masked_faces/"
SETS = {"dev": None, "test": "test"}
# What a complete copy has: people and recordings, by part and official set.
COMPLETE = {
    "vox1": {"people": 1_251, "dev": 148_642, "test": 4_874},
    "vox2": {"people": 6_112, "dev": 1_092_009, "test": 36_237},
}


def find(cfg: Official, tables: Path, voices: Path, faces: Path, aside: SetAside) -> Found:
    """The recordings of VoxCeleb (`official.find`)."""
    people = read_people(tables, aside)
    clips = _clips(voices, aside)
    clips = clips.join(people[["part", "set"]], on="speaker")
    for speaker in clips.loc[clips["part"].isna(), "speaker"].unique():
        aside.add("person", speaker, "no usable row of the metadata has this id")
    clips = clips[clips["part"].notna()]
    named = _named_in_lists(tables, people, aside)
    pictures = _pictures(faces, people, cfg.photographs, named, aside)
    counts = _counts(people, clips, pictures)

    split = _split(cfg.split, people, tables)
    for speaker in sorted(set(clips["speaker"]) - set(split.index)):
        aside.add("person", speaker, f"the split {cfg.split} has no place for this person")
    clips = clips[clips["speaker"].isin(split.index)]
    recordings = tree.recordings(clips, pictures, voices, faces, aside)
    owner = recordings["speaker"]
    labels = {"split": owner.map(split), "sex": owner.map(people["sex"]), "group": owner.map(people["group"])}
    return Found(recordings.assign(**labels), counts)


def read_people(tables: Path, aside: SetAside) -> pd.DataFrame:
    """The people of VoxCeleb by id, in the order of the metadata.

    Args:
        tables: the folder of vox1_meta.csv, vox2_meta.csv or full_vox2_meta.csv: of one, or of both parts.
        aside: takes rows that cannot be used.

    Returns:
        `part` (vox1, vox2), `row` (in its table, from 0), `set` (dev, test), `sex`, `group` (nationality), and two
        names of pictures: `name` (VGGFace 1, or HQ-VoxCeleb; None where unknown) and `number` (VGGFace 2).

    Raises:
        UserError: if neither table is there, or one lacks a column.
    """
    full = tables / "full_vox2_meta.csv"
    wanted = {"vox1": tables / "vox1_meta.csv", "vox2": full if full.is_file() else tables / "vox2_meta.csv"}
    parts = [_read_part(part, path, aside) for part, path in wanted.items() if path.is_file()]
    if not parts:
        raise UserError(f"There is neither vox1_meta.csv nor vox2_meta.csv in {tables}: get them from VoxCeleb.")
    return pd.concat(parts).set_index("id")


def _read_part(part: str, path: Path, aside: SetAside) -> pd.DataFrame:
    table = tree.table(path, aside)
    # `VoxCeleb1 ID`, `VoxCeleb2 ID ` and `VoxCeleb2ID` are one column.
    table = table.rename(columns={name: name.lower().replace(" ", "") for name in table})
    key = "voxceleb1id" if part == "vox1" else "voxceleb2id"
    if missing := [name for name in (key, "gender", "set") if name not in table]:
        raise UserError(f"{path} lacks the column {missing[0]}: is it the metadata of VoxCeleb?")
    table = table.loc[:, ~table.columns.duplicated()]
    blank = pd.Series(None, index=table.index, dtype=object)
    people = pd.DataFrame(
        {
            "id": table[key],
            "part": part,
            "set": table["set"].str.lower(),
            "sex": table["gender"].str.upper().str[:1],
            "group": table.get("nationality", blank),
            "name": table["vggface1id"] if part == "vox1" and "vggface1id" in table else table.get("name", blank),
            "number": table.get("vggface2id", blank),
        }
    )
    named = people["id"].str.fullmatch(r"id\d{5}") & people["set"].isin(SETS)
    for number, row in people[~named].iterrows():
        aside.add("row", f"{path.name}, row {number}", f"the id is {row['id']!r} and the set {row['set']!r}")
    unclear = named & ~people["sex"].isin(["F", "M"])
    for number, row in people[unclear].iterrows():
        aside.add("row", f"{path.name}, row {number}", f"the gender of {row['id']} is not m or f: it stays unknown")
    people["sex"] = people["sex"].where(~unclear, None)
    people = tree.unique(people[named], "id", path.name, aside)
    return people.assign(row=people.index - 2)  # the header is row 1


def names_of_ids(tables: Path) -> dict[str, str]:
    """The names of the people of VoxCeleb by their ids: trial lists name voices by one and faces by the other."""
    people = read_people(tables, SetAside())
    return people["name"].dropna().to_dict()


def _clips(voices: Path, aside: SetAside) -> pd.DataFrame:
    """`name` (as seen from `voices`), `speaker` and `video` of each sound in an official place."""
    names = pd.Series(tree.files(voices, tree.SOUNDS, aside), dtype=object)
    clips = names.str.extract(VOICE).assign(name=names).rename(columns={"id": "speaker"})
    for name in clips.loc[clips["speaker"].isna(), "name"]:
        aside.add("recording", name, "it does not lie in id/video/, as those of VoxCeleb do")
    clips = clips.dropna(subset="speaker")
    again = clips.duplicated(["speaker", "video", "clip"])
    for name in clips.loc[again, "name"]:
        aside.add("recording", name, "the same clip lies in another folder, or in another format")
    return clips[~again]


def _named_in_lists(tables: Path, people: pd.DataFrame, aside: SetAside) -> set[str]:
    """What published lists name, as `public_trials.item_name` does."""
    lists, unreadable = public_trials.read_published(tables, people["name"].dropna().to_dict())
    for name, reason in unreadable.items():
        aside.add("list", name, reason)
    return public_trials.items(lists)


def _pictures(faces: Path, people: pd.DataFrame, most: int, named: set[str], aside: SetAside) -> pd.DataFrame:
    """`name` (as seen from `faces`), `speaker` and `video` (NA where none is named) of the pictures to be used."""
    names = pd.Series(tree.files(faces, tree.PICTURES, aside), dtype=object)
    names = names[~names.str.contains(MASKED, regex=False)].reset_index(drop=True)
    crops = names.str.extract(CROP)
    owner = crops["name"].fillna(names.str.extract(NAMED)["name"]).fillna("")
    ids = {}
    for column in ("number", "name"):
        known = people[column].dropna()
        ids |= {_comparable(name): speaker for speaker, name in known.items()}
    ids |= {speaker: speaker for speaker in people.index}
    # Of each name once: there are a few thousand, and a million pictures.
    speakers = {name: ids.get(_comparable(name)) for name in owner.unique()}
    for name, speaker in speakers.items():
        if speaker is None:
            aside.add("person", name, "there are pictures by this name, which no usable row of the metadata has")
    pictures = pd.DataFrame({"name": names, "speaker": owner.map(speakers), "video": crops["video"]})
    pictures = pictures.dropna(subset="speaker").sort_values(["speaker", "name"])
    kept = tree.evenly(pictures["speaker"], most)
    if named:
        ids = public_trials.person_ids(people["name"].dropna().to_dict())
        kept |= pictures["name"].map(lambda name: public_trials.item_name(name, ids)).isin(named)
    return pictures[kept]


def _comparable(name: str) -> str:
    """A name as both tables and file systems write it: some of these keep accents as characters of their own."""
    return unicodedata.normalize("NFC", name)


def _split(name: str, people: pd.DataFrame, tables: Path) -> pd.Series:
    """The split of each person who has a place in it, by id; None where the lot decides."""
    if name == "lot":
        return pd.Series(None, index=people.index, dtype=object)
    if name == "official":
        return people["set"].map(SETS).astype(object)
    if name == "hq_voxceleb":
        return people["row"].mod(10).map({8: "test", 9: "val"}).fillna("train")
    named = people.loc[people["part"] == "vox1", "name"].dropna()
    if name == "letters":
        first = named.str[0].str.upper()
        return first.map(lambda letter: "val" if letter < "C" else "test" if letter < "F" else "train")
    if name == "pins":
        sets = trials.read_splits(tables / "identity_splits.txt").replace({"unseen_unheard": "test"})
        return named.map(sets[sets.isin(checked.SPLITS)]).dropna()
    raise UserError(f"The split {name!r} is none of VoxCeleb: name official, letters, pins, hq_voxceleb or lot.")


def _counts(people: pd.DataFrame, clips: pd.DataFrame, pictures: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for part, members in people.groupby("part"):
        here = clips[clips["part"] == part]
        lacking = members.index.difference(here["speaker"])
        rows.append((f"{part}: people with a voice", here["speaker"].nunique(), COMPLETE[part]["people"], lacking))
        for name in SETS:
            rows.append((f"{part}: recordings of {name}", int((here["set"] == name).sum()), COMPLETE[part][name], ()))
        pictured = members.index.isin(pictures["speaker"])
        rows.append((f"{part}: people with a picture", int(pictured.sum()), len(members), members.index[~pictured]))
    table = pd.DataFrame(rows, columns=COUNTED)
    return table.assign(missing=table["missing"].map(list))

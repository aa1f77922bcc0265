"""CREMA-D: 91 actors say twelve sentences in six emotions; age, sex, race and ethnicity are as they gave them.

    tables/VideoDemographics.csv              ActorID, Age, Sex, Race, Ethnicity
    voices/.../1001_IEO_HAP_LO.wav            actor, sentence, emotion, level (`AudioWAV`)
    faces/.../1001_IEO_HAP_LO.flv             the same as a video (`VideoFlash`), of which the first frame is taken

Pictures of the same names are taken as well. The group of an actor is the race, also where that is "Unknown". All speak
English. There is no official split.
"""

from pathlib import Path

import pandas as pd

from s2f.data.sources import tree
from s2f.data.sources.folder import SetAside
from s2f.data.sources.official import COUNTED, Found, Official
from s2f.study.paths import UserError

# One of the 7,442 clips has the level X.
CLIP = r"(?:^|/)(?P<video>(?P<speaker>\d{4})_[A-Z]{3}_(?P<emotion>[A-Z]{3})_(?:LO|MD|HI|XX|X))(?P<ending>\.\w+)$"
COLUMNS = ["ActorID", "Age", "Sex", "Race", "Ethnicity"]
SEXES = {"male": "M", "female": "F"}
NEUTRAL = "NEU"
COMPLETE = {"actors": 91, "clips": 7_442}


def find(cfg: Official, tables: Path, voices: Path, faces: Path, aside: SetAside) -> Found:
    """The recordings of CREMA-D (`official.find`)."""
    if cfg.split != "lot":
        raise UserError(f"The split {cfg.split!r} is none of CREMA-D, which has no official one: name lot.")
    actors = read_actors(tables / "VideoDemographics.csv", aside)
    clips = _clips(voices, (*tree.SOUNDS, *tree.VIDEOS), "recording", aside)
    for actor in sorted(set(clips["speaker"]) - set(actors.index)):
        aside.add("person", actor, "no usable row of VideoDemographics.csv has this id")
    clips = clips[clips["speaker"].isin(actors.index)]
    pictures = _clips(faces, (*tree.PICTURES, *tree.VIDEOS), "photograph", aside)
    counts = _counts(actors, clips, pictures)
    # Neutral faces first: canonical faces are made of these.
    pictures = pictures.assign(moved=pictures["emotion"] != NEUTRAL).sort_values(["speaker", "moved", "name"])
    pictures = pictures[pictures.groupby("speaker").cumcount() < cfg.photographs]
    recordings = tree.recordings(clips, pictures, voices, faces, aside)
    actor = recordings["speaker"].map
    labels = {"sex": actor(actors["sex"]), "age": actor(actors["age"]), "group": actor(actors["race"])}
    return Found(recordings.assign(language="English", **labels), counts)


def read_actors(path: Path, aside: SetAside) -> pd.DataFrame:
    """What the actors say of themselves: `age` (years), `sex`, `race`, `ethnicity`, by their ids.

    What is no age or sex is unknown, and its row is set aside with the reason; the actor stays.

    Raises:
        UserError: if the table is missing or lacks a column.
    """
    table = tree.table(path, aside)
    if missing := [name for name in COLUMNS if name not in table]:
        raise UserError(f"{path} lacks the column {missing[0]}: is it VideoDemographics.csv of CREMA-D?")
    ages = pd.to_numeric(table["Age"], errors="coerce")
    actors = pd.DataFrame(
        {
            "id": table["ActorID"],
            "age": ages.where(ages.between(1, 120)),
            "sex": table["Sex"].str.lower().map(SEXES),
            "race": table["Race"],
            "ethnicity": table["Ethnicity"],
        }
    )
    for number, row in actors[actors[["age", "sex"]].isna().any(axis=1)].iterrows():
        what = "age" if pd.isna(row["age"]) else "sex"
        aside.add("row", f"{path.name}, row {number}", f"the {what} of {row['id']} cannot be read: it stays unknown")
    return tree.unique(actors, "id", path.name, aside).set_index("id")


def _clips(root: Path, endings: tuple[str, ...], kind: str, aside: SetAside) -> pd.DataFrame:
    """`name` (as seen from `root`), `video` (it without ending), `speaker` and `emotion` of each clip, once."""
    names = pd.Series(tree.files(root, endings, aside), dtype=object)
    clips = names.str.extract(CLIP).assign(name=names)
    for name in clips.loc[clips["video"].isna(), "name"]:
        aside.add(kind, name, "it is not named <actor>_<sentence>_<emotion>_<level>, as those of CREMA-D are")
    clips = clips.dropna(subset="video")
    again = clips.duplicated("video")
    for name in clips.loc[again, "name"]:
        aside.add(kind, name, "the same clip lies in another folder, or in another format")
    return clips[~again].sort_values("video")


def _counts(actors: pd.DataFrame, clips: pd.DataFrame, pictures: pd.DataFrame) -> pd.DataFrame:
    mute = actors.index.difference(clips["speaker"]).tolist()
    unseen = actors.index.difference(pictures["speaker"]).tolist()
    rows = [
        ("actors with a voice", clips["speaker"].nunique(), COMPLETE["actors"], mute),
        ("recordings", len(clips), COMPLETE["clips"], []),
        ("actors with a video or picture", pictures["speaker"].nunique(), COMPLETE["actors"], unseen),
        ("videos or pictures", len(pictures), COMPLETE["clips"], []),
    ]
    return pd.DataFrame(rows, columns=COUNTED)

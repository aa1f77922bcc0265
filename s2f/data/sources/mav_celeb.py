"""MAV-Celeb: people who speak English and another language, in the version v1, v2 or v3.

    tables/v1_meta.csv                                   optional: ids, name, gender
    voices/id0001/English/<video>/00000.wav              .../Urdu/... in v1, Hindi in v2, German in v3
    faces/id0001/English/<video>/0000100.jpg
    voices/English/00000.wav, faces/English/00000.jpg    the test set of the FAME challenge, whose people are not named

The versions give the same ids to other people, so a study reads one of them. The test set is left out here, as nobody
publishes which voice belongs to which face: `trials.read_fame` reads its lists, `trials.write_fame` writes scores.
"""

from pathlib import Path

import pandas as pd

from s2f.data.sources import tree
from s2f.data.sources.folder import SetAside
from s2f.data.sources.official import COUNTED, Found, Official
from s2f.study.paths import UserError

FILE = r"(?:^|/)(?P<speaker>id\d{4})/(?P<video>(?P<language>[A-Z][a-z]+)/[^/]+)/[^/]+$"
TEST = r"(?:^|/)[A-Z][a-z]+/\d{5}\.\w+$"
VERSIONS = {"Urdu": "v1", "Hindi": "v2", "German": "v3"}
COMPLETE = {"v1": 64, "v2": 78, "v3": 50}  # people to train with
SEXES = {"male": "M", "female": "F", "m": "M", "f": "F"}


def find(cfg: Official, tables: Path, voices: Path, faces: Path, aside: SetAside) -> Found:
    """The recordings of MAV-Celeb (`official.find`)."""
    if cfg.split != "lot":
        raise UserError(f"The split {cfg.split!r} is none of MAV-Celeb, whose test people are not named: name lot.")
    clips, tested = _files(voices, tree.SOUNDS, "recording", aside)
    pictures, _ = _files(faces, tree.PICTURES, "photograph", aside)
    versions = sorted({VERSIONS[language] for language in clips["language"].unique() if language in VERSIONS})
    if len(versions) > 1:
        raise UserError(f"{voices} holds {' and '.join(versions)}, which share ids: name the folder of one of them.")
    version = versions[0] if versions else None
    counts = _counts(version, clips, pictures, tested)
    pictures = pictures[tree.evenly(pictures["speaker"], cfg.photographs)]
    recordings = tree.recordings(clips, pictures, voices, faces, aside)
    sexes = _sexes(tables / f"{version}_meta.csv", aside)
    return Found(recordings.assign(sex=recordings["speaker"].map(sexes)), counts)


def _files(root: Path, endings: tuple[str, ...], kind: str, aside: SetAside) -> tuple[pd.DataFrame, int]:
    """`name`, `speaker`, `language` and `video` (under its language) of the files; how many are of the test set."""
    names = pd.Series(tree.files(root, endings, aside), dtype=object)
    files = names.str.extract(FILE).assign(name=names)
    tested = files["speaker"].isna() & names.str.contains(TEST)
    for name in files.loc[files["speaker"].isna() & ~tested, "name"]:
        aside.add(kind, name, "it does not lie in id/Language/video/, as those of MAV-Celeb do")
    return files.dropna(subset="speaker").sort_values("name"), int(tested.sum())


def _sexes(path: Path, aside: SetAside) -> dict[str, str]:
    """The sex of each person, by id, where there is such a table."""
    if not path.is_file():
        return {}
    table = tree.table(path, aside)
    if missing := [name for name in ("ids", "gender") if name not in table]:
        raise UserError(f"{path} lacks the column {missing[0]}: is it the table of MAV-Celeb?")
    people = tree.unique(table, "ids", path.name, aside).set_index("ids")
    return people["gender"].str.lower().map(SEXES).dropna().to_dict()


def _counts(version: str | None, clips: pd.DataFrame, pictures: pd.DataFrame, tested: int) -> pd.DataFrame:
    whole = COMPLETE.get(version, pd.NA)
    speakers, faces = set(clips["speaker"]), set(pictures["speaker"])
    rows = [
        ("people with a voice", len(speakers), whole, sorted(faces - speakers)),
        ("people with a picture", len(faces), whole, sorted(speakers - faces)),
        *((f"recordings in {name}", len(rows), pd.NA, []) for name, rows in clips.groupby("language")),
        ("recordings of the test set, which are left out", tested, pd.NA, []),
    ]
    return pd.DataFrame(rows, columns=COUNTED)

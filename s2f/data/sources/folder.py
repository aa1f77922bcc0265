"""A corpus from files on a user's disk: a table of recordings, sounds, photographs (README, "Your own data").

The table is CSV (UTF-8) or parquet, a row a recording; its columns:

    sound         the sound file; empty for a person who only serves the face model
    speaker       who speaks
    photographs   pictures of the speaker, more than one parted by ";"
    split         optional: train, val, test, or face (no voice, for the face model only); without it by lot
    sex, age, language, group    optional labels: F or M, years, any names

Files are named as seen from the folder of the table. What cannot be used is set aside with its reason.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
import pyarrow as arrow
from jaxtyping import Shaped
from pydantic import Field
from tqdm.auto import tqdm

from s2f.data import corpus, tables
from s2f.data.corpus import Corpus
from s2f.data.shards import ShardWriter
from s2f.signal import audio, speech
from s2f.signal.canonical import align, canonical_faces, pose
from s2f.signal.images import read_image
from s2f.study import config
from s2f.study.config import Count, Seconds, Section, Seed, Share
from s2f.study.paths import UserError, printable

NEEDED = ("sound", "speaker", "photographs")
LABELS = ("sex", "age", "language", "group")
OPTIONAL = ("split", *LABELS)
BETWEEN = ";"  # the photographs of one row
SHARD_SAMPLES = 2**26  # 128 MiB a file
COORDINATES = [f"{axis}{point}" for point in range(68) for axis in "xy"]  # of a table of landmarks
# Bands and decades of age, by the years in which they begin.
AGE_BANDS = {0: "under 18", 18: "18-34", 35: "35-49", 50: "50-64", 65: "65 and over"}

# What a detector says of pictures: `landmarks` (NaN where there are none) and `reason`.
Detector = Callable[[Sequence[Path]], Mapping[str, Shaped[np.ndarray, "files ..."]]]


class Folder(Section):
    """Where a user's files are, and what of them becomes the corpus."""

    section: ClassVar = "data"

    table: str  # of recordings; its folder is where all other names begin
    landmarks: str  # "dlib", or a table with the columns photograph, x0, y0, ..., x67, y67 (px)
    size: Annotated[int, Field(ge=32, le=224, multiple_of=16)]
    seconds: Seconds  # of speech, from the beginning of a recording
    val_share: Share
    test_share: Share
    seed: Seed
    workers: Count


# What such a study may hold: all that does not ask for the truth of a synthetic world.
SECTIONS: dict[str, type[Section]] = {"data": Folder} | {
    name: config.SECTIONS[name]
    for name in ("face_model", "train", "predict", "evaluate", "robustness", "audit", "retrieval", "matching", "report")
}


@dataclass
class SetAside:
    """What cannot be used, and why."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, kind: str, item: str | Path, reason: str) -> None:
        # A file name that is not UTF-8 could not be written.
        self.rows.append((kind, printable(str(item)), printable(reason)))

    @property
    def table(self) -> pd.DataFrame:
        """After `tables.SCHEMAS["rejected"]`."""
        return pd.DataFrame(self.rows, columns=["kind", "item", "reason"], dtype=str)


def read_table(path: str | Path, aside: SetAside) -> pd.DataFrame:
    """The user's table of recordings, checked.

    Args:
        path: CSV or parquet with the columns that stand above.
        aside: takes the rows that cannot be used.

    Returns:
        A row a recording: `sound` (Path, or None), `speaker`, `photographs` (tuple of Paths), `split` and the labels
        (None where unknown).

    Raises:
        UserError: if the file is missing or unreadable, or lacks a column or has an unknown one.
    """
    path = Path(path).expanduser()
    table = _text(path)
    if missing := [name for name in NEEDED if name not in table]:
        raise UserError(f"{path} lacks the column {missing[0]}: it needs {', '.join(NEEDED)}.")
    if unknown := [name for name in table if name not in (*NEEDED, *OPTIONAL)]:
        raise UserError(
            f"{path} has the unknown column {unknown[0]}: drop it; known are {', '.join(NEEDED + OPTIONAL)}."
        )
    table = table.reindex(columns=[*NEEDED, *OPTIONAL], fill_value="").map(str.strip)
    rows, known, sounds = [], {}, set()
    for number, row in enumerate(table.to_dict("records"), 2):  # 1 is the header
        try:
            checked = _row(row, path.parent)
            if checked["sound"] in sounds:
                raise UserError("the same sound stands in an earlier row")
            for name in (*LABELS[:2], "group"):
                earlier = known.get(row["speaker"], checked)[name]
                if None not in (earlier, checked[name]) and earlier != checked[name]:
                    raise UserError(f"an earlier row of this speaker has another {name}")
        except UserError as error:
            aside.add("row", f"row {number}", str(error))
            continue
        known.setdefault(row["speaker"], checked)
        sounds |= {checked["sound"]} - {None}
        rows.append(checked)
    return pd.DataFrame(rows, columns=[*NEEDED, *OPTIONAL])


def _text(path: Path) -> pd.DataFrame:
    """A table whose cells are all text."""
    if not path.is_file():
        raise UserError(f"There is no table {path}: name it in `table`, section data of params.yaml.")
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
            return table.astype(object).where(table.notna(), "").astype(str)
        return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", skipinitialspace=True)
    except (ValueError, arrow.ArrowInvalid):  # pandas' ParserError and EmptyDataError, and UnicodeDecodeError
        raise UserError(f"{path} is not a table in CSV (UTF-8) or parquet: export it again.") from None


def _row(row: dict[str, str], folder: Path) -> dict:
    """A row of the table with its types; UserError that says what is wrong with it."""
    if not row["speaker"]:
        raise UserError("it names no speaker")
    if row["split"] not in ("", *tables.SPLITS, "face"):
        raise UserError(f"the split is {row['split']!r}, not train, val, test or face")
    if not row["sound"] and row["split"] != "face":
        raise UserError("it names no sound (only rows of split face may)")
    sex = row["sex"].upper()[:1] if row["sex"].lower() in ("f", "m", "female", "male") else None
    if row["sex"] and sex is None:
        raise UserError(f"the sex is {row['sex']!r}, not F or M")
    try:
        age = float(row["age"]) if row["age"] else None
    except ValueError:
        raise UserError(f"the age is {row['age']!r}, not a number of years") from None
    if age is not None and not 0 <= age <= 120:
        raise UserError(f"the age is {row['age']}, not 0 to 120 years")
    names = [name.strip() for name in row["photographs"].split(BETWEEN)]
    labels = {name: row[name] or None for name in ("split", "language", "group")}
    return {
        "sound": _inside(folder, row["sound"]) if row["sound"] else None,
        "speaker": row["speaker"],
        "photographs": tuple(_inside(folder, name) for name in names if name),
        "sex": sex,
        "age": age,
    } | labels


def _inside(folder: Path, name: str) -> Path:
    """A file in the folder of the table; UserError if its name leads out of it."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise UserError(f"{name} leads out of the folder of the table: name files as seen from there")
    return folder / name


def landmarks_from(path: str | Path) -> Detector:
    """A detector that looks landmarks up in a table.

    Args:
        path: CSV or parquet with the columns photograph (as seen from the table's folder), x0, y0, ..., x67, y67 (px).

    Raises:
        UserError: if the table is missing, lacks a column or holds something else than numbers.
    """
    path = Path(path).expanduser()
    table = _text(path)
    if missing := [name for name in ("photograph", *COORDINATES) if name not in table]:
        raise UserError(f"{path} lacks the column {missing[0]}: it needs photograph, x0, y0, ..., x67, y67.")
    try:
        points = table[COORDINATES].replace("", np.nan).to_numpy(float).reshape(-1, 68, 2)
    except ValueError:
        raise UserError(f"{path} holds landmarks that are not numbers: give px, or leave them empty.") from None
    points[~np.isfinite(points)] = np.nan
    known = dict(zip((path.parent / name for name in table["photograph"]), points, strict=True))

    def look_up(paths: Sequence[Path]) -> dict[str, np.ndarray]:
        found = np.stack([known.get(each, np.full((68, 2), np.nan)) for each in paths])
        empty = np.isnan(found).any(axis=(1, 2))
        return {"landmarks": found, "reason": np.where(empty, "the table has no landmarks of it", "")}

    return look_up


def build(
    recordings: pd.DataFrame,
    folder: Path,
    detect: Detector,
    *,
    size: int,
    seconds: float,
    seed: int,
    shares: tuple[float, float],
    source: str,
    aside: SetAside,
    canonical: Mapping[str, Path] | None = None,
) -> Corpus:
    """Make a corpus of recordings and photographs.

    Nothing that one file lacks stops the others: a picture without a face, a file that is no sound, and a person of
    whom nothing is left are set aside.

    Args:
        recordings: rows as `read_table` makes them.
        folder: where the corpus goes.
        detect: finds the landmarks in pictures.
        size: side of the photographs and of the canonical faces (px).
        seconds: how much of the speech in each recording is kept.
        seed: of the lots that deal people without a split.
        shares: of these people, in validation and in test.
        source: the name of the corpus, as the table of clips has it.
        aside: what was set aside so far; takes the rest.
        canonical: pictures of people, by speaker, that their canonical faces are made of (default: their photographs).

    Raises:
        UserError: if nothing usable is left in a split, or a speaker stands in two.
    """
    photographs, images, landmarks, poses = _photographs(recordings, detect, size, aside)
    if canonical is None:
        portraits = (photographs, images, landmarks, poses)
    else:
        sitters = [speaker for speaker in photographs["speaker_id"].unique() if speaker in canonical]
        rows = pd.DataFrame({"speaker": sitters, "photographs": [(canonical[name],) for name in sitters]})
        portraits = _photographs(rows, detect, size, aside)

    faces = set(portraits[0]["speaker_id"]) & set(photographs["speaker_id"])
    usable = recordings["speaker"].isin(faces)
    for speaker in recordings.loc[~usable, "speaker"].unique():
        aside.add("person", speaker, "no face was found in any photograph")
    recordings = recordings[usable].reset_index(drop=True)
    recordings = recordings.assign(split=splits(recordings, seed, shares))
    clips = _sounds(recordings, photographs, folder / "audio", seconds, source, aside)
    kept = set(clips["speaker_id"]) | set(recordings.loc[recordings["split"] == "face", "speaker"])
    for speaker in recordings.loc[~recordings["speaker"].isin(kept), "speaker"].unique():
        aside.add("person", speaker, "no recording of this speaker can be used")
    people = _people(recordings[recordings["speaker"].isin(kept)])
    for split in tables.SPLITS:
        if not (people["split"] == split).any():
            raise UserError(f"No speaker of the split {split} can be used: see what was set aside, and add some.")

    number = pd.Series(np.arange(len(people)), index=people["speaker_id"])
    kept = photographs["speaker_id"].isin(number.index).to_numpy()
    sitting = portraits[0]["speaker_id"].isin(number.index).to_numpy()
    owners = number[portraits[0].loc[sitting, "speaker_id"]].to_numpy()
    faces, points = canonical_faces(
        portraits[1][sitting], portraits[2][sitting], pose_rows(portraits[3], sitting), owners
    )
    new_row = np.cumsum(kept) - 1
    shown = photographs[kept].reset_index(drop=True)
    return corpus.write(
        folder,
        clips=clips.assign(face=new_row[clips["face"]]).astype({"face": "Int64"}),
        people=people,
        photographs=shown[["speaker_id"]].assign(split=people["split"].to_numpy()[number[shown["speaker_id"]]]),
        images=images[kept],
        canonical=faces,
        landmarks=points,
        rejected=aside.table,
    )


def pose_rows(poses, rows):
    """Some rows of poses."""
    return type(poses)(*(values[rows] for values in poses))


def splits(recordings: pd.DataFrame, seed: int, shares: tuple[float, float]) -> list[str]:
    """The split of each recording: as the table says, or by lot, a speaker as a whole.

    Raises:
        UserError: if a speaker stands in two splits.
    """
    given = recordings.dropna(subset="split").groupby("speaker")["split"].unique()
    if both := [speaker for speaker, named in given.items() if len(named) > 1]:
        raise UserError(f"Speaker {tables.some(both)} stands in more than one split: give each speaker one.")
    split = {speaker: named[0] for speaker, named in given.items()}
    free = sorted(set(recordings["speaker"]) - set(split))
    drawn = [free[place] for place in np.random.default_rng(seed).permutation(len(free))]
    # At least one each, where a share is asked for.
    val, test = (max(round(share * len(free)), 1 if share else 0) for share in shares)
    split |= (
        dict.fromkeys(drawn, "train") | dict.fromkeys(drawn[: val + test], "test") | dict.fromkeys(drawn[:val], "val")
    )
    return [split[speaker] for speaker in recordings["speaker"]]


def _photographs(recordings: pd.DataFrame, detect: Detector, size: int, aside: SetAside):
    """The pictures in which a face was found: table, cut-outs, landmarks, poses."""
    owner = {path: row.speaker for row in recordings.itertuples() for path in row.photographs}
    paths = list(owner)
    if not paths:
        raise UserError("The table names no photographs: fill in the column photographs.")
    found = detect(paths)
    rows, images, landmarks = [], [], []
    poses = pose(np.asarray(found["landmarks"], float))
    kept = np.zeros(len(paths), bool)
    for place, path in enumerate(tqdm(paths, unit="photograph")):
        try:
            if found["reason"][place]:
                raise UserError(str(found["reason"][place]))
            image, points = align(read_image(path), found["landmarks"][place], size)
        except UserError as error:
            aside.add("photograph", path, str(error))
            continue
        kept[place] = True
        rows.append((owner[path], path))
        images.append(image)
        landmarks.append(points)
    if not rows:
        raise UserError(f"No face was found in any of {len(paths)} photographs: see whether they show faces.")
    # A person's photographs are neighbours.
    table = pd.DataFrame(rows, columns=["speaker_id", "path"])
    order = table.sort_values("speaker_id", kind="stable").index.to_numpy()
    kept = np.flatnonzero(kept)[order]
    return (
        table.iloc[order].reset_index(drop=True),
        np.stack(images)[order],
        np.stack(landmarks)[order],
        pose_rows(poses, kept),
    )


def _sounds(recordings, photographs, folder, seconds, source, aside) -> pd.DataFrame:
    """Pack the sounds; the table of the clips, in which `face` counts the rows of `photographs`."""
    rows_of = photographs.groupby("speaker_id").indices
    row_of = pd.Series(photographs.index, index=photographs["path"])
    rows, counts = [], dict.fromkeys(recordings["speaker"], 0)
    for stale in folder.glob("*.i16"):
        stale.unlink()
    voiced = recordings[recordings["sound"].notna()]
    for split, members in voiced.groupby("split", sort=False):
        with ShardWriter(folder, split, SHARD_SAMPLES) as writer:
            for clip in tqdm(members.itertuples(), total=len(members), unit="clip", desc=split):
                try:
                    wave = speech.read(clip.sound, seconds)
                except UserError as error:
                    aside.add("recording", clip.sound, str(error))
                    continue
                shard, offset = writer.append(wave)
                count = counts[clip.speaker]
                counts[clip.speaker] += 1
                # Its own photographs, where a face was found in one; clip after clip another of them.
                own = [row_of[path] for path in clip.photographs if path in row_of.index]
                own = own or rows_of[clip.speaker]
                rows.append(
                    {
                        "clip_id": f"{clip.speaker}-{count:03d}",
                        "speaker_id": clip.speaker,
                        "split": split,
                        "source": source,
                        "seconds": len(wave) / audio.SAMPLE_RATE,
                        "audio_shard": shard,
                        "audio_offset": offset,
                        "audio_samples": len(wave),
                        "face": own[count % len(own)],
                    }
                    | {name: getattr(clip, name) for name in LABELS}
                )
    if not rows:
        raise UserError(f"None of {len(voiced)} recordings can be used: see whether they are sound files.")
    return pd.DataFrame(rows)


def _people(recordings: pd.DataFrame) -> pd.DataFrame:
    """The table of people; of each label the first value that is known."""
    people = recordings.groupby("speaker", sort=False)[["split", *LABELS]].first().reset_index(names="speaker_id")
    age = people["age"].to_numpy(float)
    people["age_band"] = [
        None if np.isnan(years) else AGE_BANDS[max(e for e in AGE_BANDS if e <= years)] for years in age
    ]
    people["age_decade"] = [None if np.isnan(years) else str(min(int(years) // 10 * 10, 70)) for years in age]
    return people.astype({"age": float})


def card(made: Corpus) -> dict:
    """The numbers of the data card: counts and hours, nothing of single people or files."""
    clips = made.clips
    return {
        "speakers": made.people["split"].value_counts().to_dict(),
        "clips": clips["split"].value_counts().to_dict(),
        "hours": (clips.groupby("split")["seconds"].sum() / 3600).to_dict(),
        "photographs": len(made.photographs),
        "set_aside": made.rejected["kind"].value_counts().to_dict(),
    }

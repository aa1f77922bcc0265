"""A corpus from files on a user's disk: a table of recordings, sounds, photographs (README, "Your own data").

The table is CSV (UTF-8) or parquet, a row a recording; its columns:

    sound         the sound file; empty for a person who only serves the face model
    speaker       who speaks
    photographs   pictures of the speaker, more than one parted by ";"
    split         optional: train, val, test, or face (no voice, for the face model only); without it by lot
    sex, age, language, group    optional labels: F or M, years, any names

Files are named as seen from the folder of the table. What cannot be used is set aside with its reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as arrow
from jaxtyping import Float
from pydantic import Field

from s2f.data import corpus, preparation, tables
from s2f.data.corpus import Corpus
from s2f.data.preparation import Detector, People, Workshop
from s2f.data.shards import ShardWriter
from s2f.signal import audio
from s2f.study import blocks, config
from s2f.study.config import Count, Seconds, Section, Seed, Share
from s2f.study.paths import UserError, enough_room, printable, replacing

NEEDED = ("sound", "speaker", "photographs")
LABELS = ("sex", "age", "language", "group")
OPTIONAL = ("split", *LABELS)
FILES = "files.parquet"  # beside the table of clips: of which file each clip and photograph was made
BETWEEN = ";"  # the photographs of one row
SHARD_SAMPLES = 2**26  # 128 MiB a file
COORDINATES = [f"{axis}{point}" for point in range(68) for axis in "xy"]  # of a table of landmarks
# Bands and decades of age, by the years in which they begin.
AGE_BANDS = {0: "under 18", 18: "18-34", 35: "35-49", 50: "50-64", 65: "65 and over"}


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
    scheduler: str | None  # address of a Dask cluster that works in their place, such as tcp://10.0.0.1:8786


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
    table = _table(path, dtype=str, keep_default_na=False)
    table = table.astype(object).where(table.notna(), "").astype(str)
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


def _table(path: Path, **kinds) -> pd.DataFrame:
    """A table of CSV or parquet; `kinds` says of what kind the cells of CSV are (`pandas.read_csv`)."""
    if not path.is_file():
        raise UserError(f"There is no table {path}: name it in `table`, section data of params.yaml.")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, encoding="utf-8-sig", skipinitialspace=True, **kinds)
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


def read_landmarks(path: str | Path) -> dict[Path, Float[np.ndarray, "faces 68 2"]]:
    """A table of landmarks: those of the faces in each photograph, NaN where they are empty.

    Args:
        path: CSV or parquet with the columns photograph (as seen from the table's folder), x0, y0, ..., x67, y67 (px).

    Raises:
        UserError: if the table is missing, lacks a column or holds something else than numbers.
    """
    path = Path(path).expanduser()
    table = _table(path, converters={"photograph": str}, low_memory=False)
    if missing := [name for name in ("photograph", *COORDINATES) if name not in table]:
        raise UserError(f"{path} lacks the column {missing[0]}: it needs photograph, x0, y0, ..., x67, y67.")
    try:
        points = table[COORDINATES].to_numpy(float, copy=True).reshape(-1, 68, 2)
    except ValueError:
        raise UserError(f"{path} holds landmarks that are not numbers: give px, or leave them empty.") from None
    points[~np.isfinite(points)] = np.nan
    rows = table.groupby("photograph", sort=False).indices
    return {path.parent / name: points[of_it] for name, of_it in rows.items()}


def landmarks_from(path: str | Path) -> Detector:
    """A detector that looks landmarks up in a table (`read_landmarks`): the last face of each photograph."""
    known = read_landmarks(path)

    def look_up(paths: Sequence[Path]) -> dict[str, np.ndarray]:
        found = np.stack([known.get(each, np.full((1, 68, 2), np.nan))[-1] for each in paths])
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
    detect_in_blocks: bool = False,
    name_files: bool = False,
    scratch: Path | None = None,
    workers: int = 1,
    scheduler: str | None = None,
) -> Corpus:
    """Make a corpus of recordings and photographs.

    Nothing that one file lacks stops the others: a picture without a face, a file that is no sound, and a person of
    whom nothing is left are set aside. The files are read in blocks (`s2f.data.preparation`), which wait in `scratch`
    until all is packed: an interrupted call is taken up where it stopped, and the bytes of the corpus do not depend on
    who does the work.

    Args:
        recordings: rows as `read_table` makes them.
        folder: where the corpus goes.
        detect: finds the landmarks in pictures; called once, for all of them.
        size: side of the photographs and of the canonical faces (px).
        seconds: how much of the speech in each recording is kept.
        seed: of the lots that deal people without a split.
        shares: of these people, in validation and in test.
        source: the name of the corpus, as the table of clips has it.
        aside: what was set aside so far; takes the rest.
        canonical: pictures of people, by speaker, that their canonical faces are made of (default: their photographs).
        detect_in_blocks: whether the workers call `detect`, block by block; it must be a function of the library.
        name_files: whether FILES is written.
        scratch: where finished blocks wait (default: `scratch/preparation` beside the folder); as large as the corpus.
        workers: number of processes.
        scheduler: address of a Dask cluster that works in their place (`blocks.spread`).

    Raises:
        UserError: if nothing usable is left in a split, or a speaker stands in two.
    """
    folder = Path(folder)
    workshop = Workshop(scratch or folder.parent / "scratch" / "preparation", workers, scheduler)
    with enough_room(), blocks.alone(workshop.folder):
        photographs = _pictures(_owners(recordings, aside), detect, detect_in_blocks, size, aside, workshop)
        if canonical is None:
            portraits = photographs
        else:
            sitters = {canonical[name]: name for name in photographs.table["speaker_id"].unique() if name in canonical}
            portraits = _pictures(sitters, detect, detect_in_blocks, size, aside, workshop)

        faces = set(portraits.table["speaker_id"]) & set(photographs.table["speaker_id"])
        usable = recordings["speaker"].isin(faces)
        for speaker in recordings.loc[~usable, "speaker"].unique():
            aside.add("person", speaker, "no face was found in any photograph")
        recordings = recordings[usable].reset_index(drop=True)
        recordings = recordings.assign(split=splits(recordings, seed, shares))
        sounds = _sounds(recordings, seconds, aside, workshop)
        voiced = {speaker for part in sounds for speaker in part.rows["speaker"]}
        kept = voiced | set(recordings.loc[recordings["split"] == "face", "speaker"])
        for speaker in recordings.loc[~recordings["speaker"].isin(kept), "speaker"].unique():
            aside.add("person", speaker, "no recording of this speaker can be used")
        people = _people(recordings[recordings["speaker"].isin(kept)])
        for split in tables.SPLITS:
            if not (people["split"] == split).any():
                raise UserError(f"No speaker of the split {split} can be used: see what was set aside, and add some.")

        photographs, portraits = photographs.of(people["speaker_id"]), portraits.of(people["speaker_id"])
        canonical_files = _canonical(portraits, workshop)

        # The table of clips vouches for all other files: it goes first and comes back last.
        (folder / "manifest.parquet").unlink(missing_ok=True)
        _pack_faces(photographs, portraits, canonical_files, people["speaker_id"], size, folder / "faces")
        if name_files:
            _write_files(sounds, photographs, folder / FILES)
        split_of = people.set_index("speaker_id")["split"]
        made = corpus.write(
            folder,
            clips=_pack_sounds(sounds, photographs.table, folder / "audio", source),
            people=people,
            photographs=photographs.table[["speaker_id"]].assign(
                split=split_of[photographs.table["speaker_id"]].to_numpy()
            ),
            rejected=aside.table,
        )
        workshop.clear()
    return made


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


class Pictures(NamedTuple):
    """Pictures in which a face was found, a person's side by side."""

    table: pd.DataFrame  # speaker_id, path, and the row in the blocks, one after the other
    files: list[Path]  # the blocks

    def of(self, speakers: pd.Series) -> "Pictures":
        """Those of some people."""
        return Pictures(self.table[self.table["speaker_id"].isin(speakers)].reset_index(drop=True), self.files)


def _owners(recordings: pd.DataFrame, aside: SetAside) -> dict[Path, str]:
    """Whose each photograph is."""
    owners = {}
    for row in recordings.itertuples():
        for path in row.photographs:
            if owners.setdefault(path, row.speaker) != row.speaker:
                aside.add("photograph", path, f"speaker {row.speaker} names it, but it is of {owners[path]}")
    if not owners:
        raise UserError("The table names no photographs: fill in the column photographs.")
    return owners


def _pictures(
    owners: dict[Path, str], detect: Detector, in_blocks: bool, size: int, aside: SetAside, workshop: Workshop
) -> Pictures:
    """Find the faces in pictures and cut them out."""
    table = pd.DataFrame({"speaker_id": owners.values(), "path": owners.keys()})
    found = None if in_blocks else detect(list(owners))
    table = table.sort_values("speaker_id", kind="stable")
    paths, order = table["path"].tolist(), table.index.to_numpy()
    parts = [
        (
            paths[part],
            detect if in_blocks else {name: found[name][order[part]] for name in ("landmarks", "reason")},
            size,
        )
        for part in preparation.slices(len(paths))
    ]
    files = workshop.map(preparation.photographs, parts, "photographs")
    table["reason"] = np.concatenate([preparation.load(file, "reason")["reason"] for file in files])
    table["row"] = np.arange(len(table))
    for row in table[table["reason"] != ""].sort_index().itertuples():
        aside.add("photograph", row.path, row.reason)
    table = table.loc[table["reason"] == "", ["speaker_id", "path", "row"]]
    if table.empty:
        raise UserError(f"No face was found in any of {len(paths)} photographs: see whether they show faces.")
    return Pictures(table.reset_index(drop=True), files)


def _canonical(portraits: Pictures, workshop: Workshop) -> list[Path]:
    """The blocks of canonical faces, of people in the order of the portraits."""
    numbers = pd.factorize(portraits.table["speaker_id"])[0]
    rows = portraits.table["row"].to_numpy()
    parts = []
    for part in preparation.slices(int(numbers[-1]) + 1):
        mine = slice(*np.searchsorted(numbers, [part.start, part.stop]))
        file = rows[mine] // preparation.BLOCK
        of_each = [rows[mine][file == number] % preparation.BLOCK for number in np.unique(file)]
        files = [portraits.files[number] for number in np.unique(file)]
        parts.append(People(files, of_each, numbers[mine] - part.start))
    lights = workshop.map(preparation.light, [(each,) for each in parts], "light")
    (lit,) = workshop.map(preparation.mean_light, [(lights,)], "mean light")
    return workshop.map(preparation.faces, [(each, lit) for each in parts], "canonical faces")


class Sounds(NamedTuple):
    """The recordings of a split that hold speech, in one block."""

    split: str
    rows: pd.DataFrame  # of the recordings, with their `length` (samples) and `row` in the block
    file: Path


def _sounds(recordings: pd.DataFrame, seconds: float, aside: SetAside, workshop: Workshop) -> list[Sounds]:
    """Find the speech in the recordings; blocks in the order of the splits."""
    voiced = recordings[recordings["sound"].notna()]
    parts = [
        (split, members.iloc[part])
        for split, members in voiced.groupby("split", sort=False)
        for part in preparation.slices(len(members))
    ]
    read = [(rows["sound"].tolist(), float(seconds)) for _, rows in parts]
    found = []
    for (split, rows), file in zip(parts, workshop.map(preparation.sounds, read, "recordings"), strict=True):
        rows = rows.assign(**preparation.load(file, "length", "reason"), row=np.arange(len(rows)))
        for clip in rows[rows["reason"] != ""].itertuples():
            aside.add("recording", clip.sound, clip.reason)
        if len(rows := rows[rows["reason"] == ""]):
            found.append(Sounds(split, rows, file))
    if not found:
        raise UserError(f"None of {len(voiced)} recordings can be used: see whether they are sound files.")
    return found


def _pack_faces(
    photographs: Pictures, portraits: Pictures, canonical: list[Path], speakers: pd.Series, size: int, folder: Path
) -> None:
    """Write the photographs, and the canonical faces with their landmarks by the order of `speakers`."""
    rows = photographs.table["row"].to_numpy()
    with preparation.array_file(folder / "wild.npy", (len(rows), size, size, 3), "u1") as put:
        for number, file in enumerate(photographs.files):
            here = np.flatnonzero(rows // preparation.BLOCK == number)
            if len(here):
                put(here, preparation.load(file, "images")["images"][rows[here] % preparation.BLOCK])
    places = pd.Index(speakers).get_indexer(portraits.table["speaker_id"].unique())
    parts = preparation.slices(len(places))
    for name, shape, dtype in (("canonical", (size, size, 3), "u1"), ("landmarks", (68, 2), "<f4")):
        with preparation.array_file(folder / f"{name}.npy", (len(places), *shape), dtype) as put:
            for part, file in zip(parts, canonical, strict=True):
                put(places[part], preparation.load(file, name)[name])


def _pack_sounds(sounds: list[Sounds], photographs: pd.DataFrame, folder: Path, source: str) -> pd.DataFrame:
    """Pack the recordings; the table of the clips, in which `face` counts the rows of `photographs`."""
    rows_of = photographs.groupby("speaker_id").indices
    row_of = {key: row for row, key in enumerate(zip(photographs["speaker_id"], photographs["path"], strict=True))}
    parts = []
    for split, members in groupby(sounds, key=lambda part: part.split):
        with ShardWriter(folder, split, SHARD_SAMPLES) as writer:
            for part in members:
                parts.append(_packed(part, writer))
    clips = pd.concat(parts, ignore_index=True)
    for stale in {path.name for path in folder.glob("*.i16")} - set(clips["audio_shard"]):
        (folder / stale).unlink()  # of a larger corpus that was here before
    faces, numbers = [], clips.groupby("speaker").cumcount()
    for speaker, names, number in zip(clips["speaker"], clips["photographs"], numbers, strict=True):
        # Its own photographs, where a face was found in one; clip after clip another of them.
        own = [row_of[speaker, path] for path in names if (speaker, path) in row_of] or rows_of[speaker]
        faces.append(own[number % len(own)])
    return pd.DataFrame(
        {
            "clip_id": [f"{name}-{number:03d}" for name, number in zip(clips["speaker"], numbers, strict=True)],
            "speaker_id": clips["speaker"],
            "split": clips["split"],
            "source": source,
            "seconds": clips["length"] / audio.SAMPLE_RATE,
            "audio_shard": clips["audio_shard"],
            "audio_offset": clips["audio_offset"],
            "audio_samples": clips["length"],
            "face": pd.array(faces, "Int64"),
        }
        | {name: clips[name] for name in LABELS}
    )


def _packed(part: Sounds, writer: ShardWriter) -> pd.DataFrame:
    """Append the recordings of a block; their rows, with their places."""
    made = preparation.load(part.file, "samples", "length")
    starts = np.cumsum(made["length"]) - made["length"]
    waves = [made["samples"][starts[row] :][: made["length"][row]] for row in part.rows["row"]]
    places = [writer.append(wave) for wave in waves]
    return part.rows.assign(audio_shard=[shard for shard, _ in places], audio_offset=[offset for _, offset in places])


def _write_files(sounds: list[Sounds], photographs: Pictures, path: Path) -> None:
    """Write `table` (clips, photographs), `row` in it and `file`, for lists of trials that name files."""
    made_of = {"clips": pd.concat([part.rows["sound"] for part in sounds]), "photographs": photographs.table["path"]}
    files = pd.concat({table: files.astype(str) for table, files in made_of.items()}, names=["table"])
    files = files.rename("file").reset_index("table")
    with replacing(path) as temporary:
        files.assign(row=files.groupby("table").cumcount()).to_parquet(temporary, index=False)


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

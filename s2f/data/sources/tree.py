"""The files below a folder, and the tables that lie beside them: read whole, without opening or measuring any file.

A corpus comes from elsewhere, so nothing in it is trusted: only regular files inside the folder count, names are never
made of what a table says, and what does not fit is set aside with its reason.
"""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from s2f.data.sources.folder import SetAside
from s2f.study.paths import UserError

SOUNDS = (".wav", ".flac", ".m4a", ".mp3", ".ogg", ".opus", ".aac")  # the first comes first where a clip has several
VIDEOS = (".mp4", ".webm", ".mkv", ".avi", ".mov", ".flv")
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def files(root: Path, endings: Sequence[str], aside: SetAside) -> list[str]:
    """The regular files below a folder that end so (in either case), seen from there, sorted.

    The kind of a file comes with the listing of its folder, so that no file is touched for it: a million files take
    seconds. Hidden files are passed over. Set aside are links that lead out of the folder and links to folders, pipes
    and devices, names that are not UTF-8, and folders that cannot be opened.

    Raises:
        UserError: if there is no such folder.
    """
    if not root.is_dir():
        raise UserError(f"There is no folder {root}: name it in section data of params.yaml.")
    inside, endings = os.path.realpath(root) + os.sep, tuple(endings)
    found, waiting = [], [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(os.path.join(root, folder)) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    name = folder + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(name + "/")
                    elif entry.is_symlink():
                        _follow(entry, name, inside, endings, found, aside)
                    elif entry.name.lower().endswith(endings):
                        if not entry.is_file(follow_symlinks=False):
                            aside.add("file", name, "it is a pipe or a device")
                        elif not entry.name.isprintable():
                            aside.add("file", name, "its name is not UTF-8, or cannot be shown: rename it")
                        else:
                            found.append(name)
        except OSError as error:
            aside.add("folder", folder, f"it cannot be opened ({error.strerror})")
    return sorted(found)


def _follow(
    entry: os.DirEntry, name: str, inside: str, endings: tuple[str, ...], found: list[str], aside: SetAside
) -> None:
    """A link to a file inside the folder counts as the file."""
    target = os.path.realpath(entry.path)
    if os.path.isdir(target):
        aside.add("folder", name, "it is a link to a folder, which is not followed: name that in params.yaml")
    elif entry.name.lower().endswith(endings):
        if target.startswith(inside) and os.path.isfile(target):
            found.append(name)
        else:
            aside.add("file", name, "it is a link that leads out of the folder, or nowhere")


def table(path: Path, aside: SetAside) -> pd.DataFrame:
    """A small table with a header, parted by tabs where its header is, otherwise by commas; all cells are text.

    Blanks around names and cells are dropped. Rows with another number of cells, or that are not UTF-8, are set aside.

    Raises:
        UserError: if the file is missing or empty.
    """
    if not path.is_file():
        raise UserError(f"There is no table {path}: get it from where the corpus is published.")
    text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    between = "\t" if "\t" in text.partition("\n")[0] else ","
    try:
        header, *lines = csv.reader(text.splitlines(), delimiter=between, skipinitialspace=True)
    except ValueError:
        raise UserError(f"{path} is empty: get it from where the corpus is published.") from None
    rows = {}
    for number, line in enumerate(lines, 2):
        cells = [cell.strip() for cell in line]
        if len(cells) != len(header):
            if any(cells):
                aside.add("row", f"{path.name}, row {number}", f"it has {len(cells)} cells under {len(header)} columns")
        elif not "".join(cells).replace("\t", "").isprintable():
            aside.add("row", f"{path.name}, row {number}", "it is not UTF-8, or has characters that cannot be shown")
        else:
            rows[number] = cells
    return pd.DataFrame.from_dict(rows, orient="index", columns=[name.strip() for name in header], dtype=str)


def unique(people: pd.DataFrame, key: str, source: str, aside: SetAside) -> pd.DataFrame:
    """The rows of a table, one for each value of a column: of equal rows the first, of contradictory ones none.

    Args:
        people: numbered as in the file.
        key: the column.
        source: the name of the file.
        aside: takes the other rows.
    """
    again, distinct = people.duplicated(key), people.drop_duplicates()
    contradictory = people[key].isin(distinct.loc[distinct.duplicated(key), key])
    for number, name in people.loc[contradictory, key].items():
        aside.add("row", f"{source}, row {number}", f"{name} stands in several rows that contradict each other")
    for number, name in people.loc[again & ~contradictory, key].items():
        aside.add("row", f"{source}, row {number}", f"{name} stands in an earlier row as well")
    return people[~again & ~contradictory]


def evenly(groups: pd.Series, most: int) -> pd.Series:
    """Which rows to keep so that each group has `most` at most, spread evenly over its rows in their order."""
    place, size = groups.groupby(groups).cumcount(), groups.groupby(groups).transform("size")
    kept = size.clip(upper=most)
    return (place * kept // size) != ((place - 1) * kept // size)


def recordings(clips: pd.DataFrame, pictures: pd.DataFrame, voices: Path, faces: Path, aside: SetAside) -> pd.DataFrame:
    """The recordings of people of whom there are pictures.

    A recording has the pictures of its own video. The first of a person also has those of videos without a recording.

    Args:
        clips: `name` (as seen from `voices`), `speaker`, `video`, and whatever else.
        pictures: `name` (as seen from `faces`), `speaker` and `video` (NA where none is named).
        voices: the folder of the sounds.
        faces: the folder of the pictures.
        aside: takes people without a picture.

    Returns:
        `clips` without these people, with `sound` and `photographs` as `folder.build` takes them.
    """
    for speaker in sorted(set(clips["speaker"]) - set(pictures["speaker"])):
        aside.add("person", speaker, "there is no picture of this person")
    clips = clips[clips["speaker"].isin(pictures["speaker"])].reset_index(drop=True)
    recorded = set(zip(clips["speaker"], clips["video"], strict=True))
    of_video: dict[tuple[str, str | None], list[Path]] = {}
    for name, speaker, video in pictures[["name", "speaker", "video"]].itertuples(index=False):
        key = (speaker, video) if (speaker, video) in recorded else (speaker, None)
        of_video.setdefault(key, []).append(faces / name)
    shared = {key: tuple(paths) for key, paths in of_video.items()}
    first = ~clips["speaker"].duplicated()
    photographs = [
        shared.get((speaker, video), ()) + (shared.get((speaker, None), ()) if leads else ())
        for speaker, video, leads in zip(clips["speaker"], clips["video"], first, strict=True)
    ]
    return clips.assign(sound=[voices / name for name in clips["name"]], photographs=photographs)

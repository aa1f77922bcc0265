"""AVSpeech: two tables of segments of videos, and the clips that a user cut out of them.

    tables/avspeech_train.csv, avspeech_test.csv   no header; video, start and end (s), x and y of the speaker's face
    voices/.../<video>_<start>.mp4                 a clip as sound or video; -<end> or _<end> may follow the start
    faces/.../<the same>.mp4                       the same clip, or its first frame as a picture

x and y are shares of the width and height of the first frame. The starts in names are those of the tables, to the
millisecond. A video stands for a person, as nobody says who speaks in it. Where a clip lies as sound and as video, the
sound is taken; where its first frame lies as a picture, the picture.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from s2f.data.preparation import Detector
from s2f.data.sources import folder, tree
from s2f.data.sources.folder import SetAside
from s2f.data.sources.official import COUNTED, Found, Official
from s2f.signal import landmarks
from s2f.signal.images import read_image
from s2f.study.paths import UserError, replacing

NUMBER = r'\s*"?\s*(\d+(?:\.\d+)?)\s*"?\s*'
ROW = rf'^\s*"?\s*([\w-]{{11}})\s*"?\s*,{NUMBER},{NUMBER},{NUMBER},{NUMBER}$'
CLIP = r"(?:^|/)(?P<video>[\w-]{11})_(?P<start>\d+(?:\.\d+)?)(?:[-_]\d+(?:\.\d+)?)?(?P<ending>\.\w+)$"
SPLITS = {"train": None, "test": "test"}  # validation is left to the lot, among the videos of the training table
COMPLETE = {"train": 2_621_845, "test": 183_273}  # rows


def find(cfg: Official, tables: Path, voices: Path, faces: Path, aside: SetAside) -> Found:
    """The recordings of AVSpeech (`official.find`), with the columns `x` and `y`."""
    if cfg.split not in ("official", "lot"):
        raise UserError(f"The split {cfg.split!r} is none of AVSpeech: name official or lot.")
    rows = read_rows(tables, aside)
    sounds = _clips(voices, (*tree.SOUNDS, *tree.VIDEOS), "recording", aside)
    pictures = _clips(faces, (*tree.PICTURES, *tree.VIDEOS), "photograph", aside)
    counts = _counts(rows, sounds)
    for name in sounds.loc[~sounds.index.isin(rows.index), "name"]:
        aside.add("recording", name, "no usable row of the tables has its video and start")
    clips = rows.join(sounds["name"], how="inner").join(pictures["name"].rename("picture"))
    for name in clips.loc[clips["picture"].isna(), "name"]:
        aside.add("recording", name, "there is no frame of it among the faces")
    clips = clips.dropna(subset="picture").sort_values(["video", "start"])
    shown = tree.evenly(clips["video"], cfg.photographs)
    recordings = pd.DataFrame(
        {
            "sound": [voices / name for name in clips["name"]],
            "speaker": clips["video"],
            "photographs": [
                (faces / name,) if first else () for name, first in zip(clips["picture"], shown, strict=True)
            ],
            "split": None if cfg.split == "lot" else clips["table"].map(SPLITS),
            "x": clips["x"],
            "y": clips["y"],
        }
    )
    return Found(recordings.reset_index(drop=True), counts)


def read_rows(tables: Path, aside: SetAside) -> pd.DataFrame:
    """The segments in both tables.

    Args:
        tables: the folder of avspeech_train.csv and avspeech_test.csv, or of one of them.
        aside: takes rows that cannot be used, also those of a video that stands in both tables, but for its test rows.

    Returns:
        `table` (train, test), `video`, `start` (s), `x` and `y` (0 to 1), by a key of video and start.

    Raises:
        UserError: if neither table is there.
    """
    paths = {name: tables / f"avspeech_{name}.csv" for name in SPLITS}
    parts = [_read_table(name, path, aside) for name, path in paths.items() if path.is_file()]
    if not parts:
        raise UserError(f"There is neither avspeech_train.csv nor avspeech_test.csv in {tables}: get one of them.")
    rows = pd.concat(parts)
    held_out = rows.loc[rows["table"] == "test", "video"].unique()
    leaking = (rows["table"] == "train") & rows["video"].isin(held_out)
    for video in rows.loc[leaking, "video"].unique():
        aside.add("video", video, "it stands in both tables: its rows in avspeech_train.csv are left out")
    return rows[~leaking].set_index("key")


def _read_table(name: str, path: Path, aside: SetAside) -> pd.DataFrame:
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    lines = pd.Series(text.split("\n"), dtype=str)
    lines.index += 1
    lines = lines[lines.str.strip() != ""]
    rows = lines.str.extract(ROW)
    rows.columns = ["video", "start", "end", "x", "y"]
    numbers = rows[["start", "end", "x", "y"]].astype(float)
    usable = (numbers["end"] > numbers["start"]) & numbers[["x", "y"]].le(1).all(axis=1)
    for number in rows.index[~usable]:
        aside.add("row", f"{path.name}, row {number}", "it is no video, start, later end, and x and y from 0 to 1")
    rows = numbers[usable].assign(table=name, video=rows["video"])
    rows["key"] = _key(rows["video"], rows["start"])
    return tree.unique(rows, "key", path.name, aside)


def _key(video: pd.Series, start: pd.Series) -> pd.Series:
    """Of a segment: its video and the millisecond in which it begins."""
    return video + "@" + start.astype(float).mul(1000).round().astype("int64").astype(str)


def _clips(root: Path, endings: Sequence[str], kind: str, aside: SetAside) -> pd.DataFrame:
    """`name` (as seen from `root`) of the files named as clips, by the keys of their segments, each once."""
    names = pd.Series(tree.files(root, endings, aside), dtype=object)
    clips = names.str.extract(CLIP).assign(name=names)
    for name in clips.loc[clips["video"].isna(), "name"]:
        aside.add(kind, name, "it is not named <video>_<start>, as a clip of AVSpeech is here")
    clips = clips.dropna(subset="video")
    order = {ending: place for place, ending in enumerate(endings)}
    clips = clips.assign(order=clips["ending"].str.lower().map(order)).sort_values("order", kind="stable")
    clips = clips.set_index(_key(clips["video"], clips["start"]))
    again = clips.index.duplicated()
    # A clip may lie as sound and as video, but not twice as either.
    for name in clips.loc[again & clips.duplicated(["video", "start", "ending"]), "name"]:
        aside.add(kind, name, "the same clip lies in another folder")
    return clips[~again]


def _counts(rows: pd.DataFrame, sounds: pd.DataFrame) -> pd.DataFrame:
    table = []
    for name, of_table in rows.groupby("table", sort=False):
        here = of_table.index.isin(sounds.index)
        table.append((f"{name}: rows of the table", len(of_table), COMPLETE[name], []))
        table.append((f"{name}: clips", int(here.sum()), len(of_table), of_table.loc[~here, "video"].head(5).tolist()))
    return pd.DataFrame(table, columns=COUNTED)


def write_points(recordings: pd.DataFrame, folder: Path) -> Path:
    """Write where the speakers' faces are, as `extraction.landmarks_at` takes them: `photograph`, `x`, `y`.

    Returns:
        The file in the folder, which is named by what it holds: other points are another file.
    """
    shown = recordings[recordings["photographs"].map(len) > 0]
    points = pd.DataFrame({"photograph": [str(paths[0]) for paths in shown["photographs"]]})
    points = points.assign(x=shown["x"].to_numpy(float), y=shown["y"].to_numpy(float))
    path = folder / f"points-{pd.util.hash_pandas_object(points).sum():016x}.parquet"
    with replacing(path) as temporary:
        points.to_parquet(temporary, index=False)
    return path


def landmarks_from(path: Path, recordings: pd.DataFrame) -> Detector:
    """A detector that looks landmarks up in a table, which may have several faces of a frame: the speaker's is taken.

    Args:
        path: as for `folder.landmarks_from`; rows with the same photograph are faces in it.
        recordings: with `photographs`, `x` and `y`.
    """
    faces = folder.read_landmarks(path)
    where = {paths[0]: (x, y) for paths, x, y in recordings[["photographs", "x", "y"]].itertuples(index=False) if paths}

    def look_up(pictures: Sequence[Path]) -> Mapping[str, np.ndarray]:
        found = [_speaker(faces.get(picture), picture, where[picture]) for picture in pictures]
        empty = np.array([points is None for points in found])
        rows = [np.full((68, 2), np.nan) if points is None else points for points in found]
        return {"landmarks": np.stack(rows), "reason": np.where(empty, landmarks.NOBODY_THERE, "")}

    return look_up


def _speaker(
    faces: Float[np.ndarray, "faces 68 2"] | None, picture: Path, where: tuple[float, float]
) -> Float[np.ndarray, "68 2"] | None:
    if faces is None:
        return None
    try:
        height, width = read_image(picture).shape[:2]
    except UserError:
        return faces[0]  # who reads the picture will say what is wrong with it
    return landmarks.nearest(faces, (where[0] * width, where[1] * height))

"""The table of clips: one row a clip, checked against one schema whenever it is written or read."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pyarrow as arrow

from s2f.data.shards import DTYPE
from s2f.study.paths import UserError, replacing

SPLITS = ("train", "val", "test")


def _maybe(dtype, *checks: pa.Check) -> pa.Column:
    """A column that must be there and may be empty; coerced, as a column of None has no type of its own."""
    return pa.Column(dtype, checks, nullable=True, coerce=True)


SCHEMA = pa.DataFrameSchema(
    {
        "clip_id": pa.Column(str, unique=True),
        "speaker_id": pa.Column(str),
        "split": pa.Column(str, pa.Check.isin(SPLITS)),
        "source": pa.Column(str),
        "seconds": pa.Column(float, pa.Check.gt(0)),
        "audio_shard": pa.Column(str),  # file name in the audio folder
        "audio_offset": pa.Column(int, pa.Check.ge(0)),  # in samples
        "audio_samples": pa.Column(int, pa.Check.gt(0)),
        "face": _maybe("Int64", pa.Check.ge(0)),  # row of the photograph in faces/wild.npy
        "language": _maybe(str),
        "sex": _maybe(str, pa.Check.isin(["F", "M"])),
        "age": _maybe(float, pa.Check.in_range(0, 120)),  # years
        "group": _maybe(str),
        # What only a synthetic world knows.
        "true_.*": pa.Column(regex=True, required=False, nullable=True),
    },
    strict=True,
)


def write(df: pd.DataFrame, path: str | Path) -> None:
    """Write the manifest as parquet; UserError if it breaks the schema."""
    checked = check(df, str(path))
    with replacing(path) as temporary:
        checked.to_parquet(temporary, index=False, engine="pyarrow")


def read(path: str | Path) -> pd.DataFrame:
    """Read a manifest; UserError if the file is missing, is not parquet, or breaks the schema."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no manifest {path}: prepare the data first.")
    try:
        df = pd.read_parquet(path, engine="pyarrow")
    except arrow.ArrowInvalid:
        raise UserError(f"{path} is not a parquet file: prepare the data again.") from None
    return check(df, str(path))


class HeldOut(NamedTuple):
    """The recordings that no training has heard, and who speaks in them."""

    clips: pd.DataFrame  # rows of the manifest, validation and test
    test: np.ndarray  # which of them are test
    speakers: np.ndarray  # of the test clips
    about: pd.DataFrame  # the speakers' rows of the people table, one a test clip
    people: pd.DataFrame  # the people table, by speaker_id


def held_out(data: str | Path) -> HeldOut:
    """The validation and test clips of the corpus in a folder."""
    clips = read(Path(data) / "manifest.parquet")
    clips = clips[clips["split"] != "train"].reset_index(drop=True)
    test = (clips["split"] == "test").to_numpy()
    people = pd.read_parquet(Path(data) / "people.parquet").set_index("speaker_id")
    speakers = clips.loc[test, "speaker_id"].to_numpy()
    return HeldOut(clips, test, speakers, people.loc[speakers].reset_index(), people)


def check(df: pd.DataFrame, name: str = "The manifest") -> pd.DataFrame:
    """The table, its rows numbered from 0; UserError, led by `name`, for the first thing wrong."""
    try:
        df = SCHEMA.validate(df.reset_index(drop=True), lazy=True)
    except pa.errors.SchemaErrors as errors:
        raise UserError(f"{name}: {_sentence(errors.failure_cases.iloc[0])}.") from None
    splits = df.groupby("speaker_id")["split"].nunique()
    both = sorted(splits.index[splits > 1])
    if both:
        raise UserError(f"{name}: more than one split holds speaker {_some(both)}; give each one split.")
    return df


def check_audio(df: pd.DataFrame, folder: str | Path) -> None:
    """UserError unless every clip lies inside its shard in `folder`; no audio is read."""
    for shard, clips in df.groupby("audio_shard"):
        path = Path(folder) / shard
        if not path.is_file():
            ids = clips["clip_id"]
            raise UserError(f"There is no audio shard {path} for clip {_some(ids)}: prepare the data again.")
        held = path.stat().st_size // DTYPE.itemsize
        outside = clips["audio_offset"] + clips["audio_samples"] > held
        if outside.any():
            ids = clips.loc[outside, "clip_id"]
            raise UserError(f"{path} ends before the end of clip {_some(ids)}: prepare the data again.")


def _sentence(failure: pd.Series) -> str:
    """One row of pandera's table of failures in words."""
    column, value, rule = failure["column"], failure["failure_case"], failure["check"]
    if rule == "column_in_dataframe":
        return f"column {value!r} is missing; add it, empty where nothing is known"
    if rule == "column_in_schema":
        return f"column {value!r} is unknown; drop it or name it true_{value}"
    if rule == "not_nullable":
        return f"column {column!r} is empty in row {failure['index']}; fill it in"
    if rule == "field_uniqueness":
        return f"column {column!r} has {value} in more than one row; give each clip its own"
    where = "" if pd.isna(failure["index"]) else f" in row {failure['index']}"
    return f"column {column!r} has {value}{where}, which fails {rule}; correct it"


def _some(names) -> str:
    """The first few of many names."""
    names = list(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

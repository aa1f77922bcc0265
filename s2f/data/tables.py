"""The tables of a corpus (clips, people, photographs, rejected): one schema each, checked on writing and reading."""

from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pyarrow as arrow

from s2f.data.shards import DTYPE
from s2f.study.paths import UserError, replacing

SPLITS = ("train", "val", "test")
# Labels that a corpus may know of a person; a column without a value says that it does not.
LABELS = ("sex", "age", "age_band", "age_decade", "group", "language")


def _column(dtype, *checks: pa.Check, unique: bool = False) -> pa.Column:
    return pa.Column(dtype, checks, unique=unique)


def _optional(dtype, *checks: pa.Check) -> pa.Column:
    """A column that must be there and may be empty; coerced, as a column of None has no type of its own."""
    return pa.Column(dtype, checks, nullable=True, coerce=True)


_SPEAKER = {
    "sex": _optional(str, pa.Check.isin(["F", "M"])),
    "age": _optional(float, pa.Check.in_range(0, 120)),  # years
    "group": _optional(str),
    "language": _optional(str),
}
SCHEMAS = {
    # A row a recording.
    "clips": pa.DataFrameSchema(
        {
            "clip_id": _column(str, unique=True),
            "speaker_id": _column(str),
            "split": _column(str, pa.Check.isin(SPLITS)),
            "source": _column(str),
            "seconds": _column(float, pa.Check.in_range(0, np.inf, include_min=False, include_max=False)),
            "audio_shard": _column(str),  # file name in the audio folder
            "audio_offset": _column(int, pa.Check.ge(0)),  # in samples
            "audio_samples": _column(int, pa.Check.gt(0)),
            "face": _optional("Int64", pa.Check.ge(0)),  # row of the photograph that goes with it
            **_SPEAKER,
            "true_.*": pa.Column(regex=True, required=False, nullable=True),  # what only a synthetic world knows
        },
        strict=True,
    ),
    # A row a person; row i has the canonical face and the landmarks i.
    "people": pa.DataFrameSchema(
        {
            "speaker_id": _column(str, unique=True),
            "split": _column(str, pa.Check.isin([*SPLITS, "face"])),  # face: no voice, for the face model only
            **_SPEAKER,
            "age_band": _optional(str),
            "age_decade": _optional(str),
        },
        strict=True,
    ),
    # A row a photograph; row i is the image i.
    "photographs": pa.DataFrameSchema(
        {"speaker_id": _column(str), "split": _column(str, pa.Check.isin([*SPLITS, "face"]))}, strict=True
    ),
    # A row an item that was set aside, and why.
    "rejected": pa.DataFrameSchema({"kind": _column(str), "item": _column(str), "reason": _column(str)}, strict=True),
}


def write(table: pd.DataFrame, schema: str, path: str | Path) -> None:
    """Write a table as parquet, if it fits its schema.

    Args:
        table: rows of the kind that `schema` names.
        schema: a key of `SCHEMAS`.
        path: the file.

    Raises:
        UserError: for the first thing that breaks the schema.
    """
    checked = check(table, schema, str(path))
    with replacing(path) as temporary:
        checked.to_parquet(temporary, index=False, engine="pyarrow")


def read(schema: str, path: str | Path) -> pd.DataFrame:
    """Read a table; UserError if the file is missing, is not parquet, or breaks the schema."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no table of {schema} {path}: prepare the data first.")
    try:
        table = pd.read_parquet(path, engine="pyarrow")
    except arrow.ArrowInvalid:
        raise UserError(f"{path} is not a parquet file: prepare the data again.") from None
    return check(table, schema, str(path))


def check(table: pd.DataFrame, schema: str, name: str = "The table") -> pd.DataFrame:
    """The table, its rows numbered from 0; UserError, led by `name`, for the first thing wrong."""
    try:
        table = SCHEMAS[schema].validate(table.reset_index(drop=True), lazy=True)
    except pa.errors.SchemaErrors as errors:
        raise UserError(f"{name}: {_sentence(errors.failure_cases.iloc[0], schema)}.") from None
    if schema == "clips":
        splits = table.groupby("speaker_id")["split"].nunique()
        if both := sorted(splits.index[splits > 1]):
            raise UserError(f"{name}: more than one split holds speaker {some(both)}; give each one split.")
    return table


def check_audio(clips: pd.DataFrame, folder: str | Path) -> None:
    """UserError unless every clip lies inside its shard in `folder`; no audio is read."""
    for shard, rows in clips.groupby("audio_shard"):
        path = Path(folder) / shard
        if not path.is_file():
            raise UserError(f"There is no audio shard {path} for clip {some(rows['clip_id'])}: prepare the data again.")
        held = path.stat().st_size // DTYPE.itemsize
        outside = rows["audio_offset"] + rows["audio_samples"] > held
        if outside.any():
            ids = rows.loc[outside, "clip_id"]
            raise UserError(f"{path} ends before the end of clip {some(ids)}: prepare the data again.")


def _sentence(failure: pd.Series, schema: str) -> str:
    """One row of pandera's table of failures in words."""
    column, value, rule = failure["column"], failure["failure_case"], failure["check"]
    if rule == "column_in_dataframe":
        return f"column {value!r} is missing; add it, empty where nothing is known"
    if rule == "column_in_schema":
        return f"column {value!r} is unknown; drop it" + (f" or name it true_{value}" if schema == "clips" else "")
    if rule == "not_nullable":
        return f"column {column!r} is empty in row {failure['index']}; fill it in"
    if rule == "field_uniqueness":
        return f"column {column!r} has {value} in more than one row; make it unique"
    where = "" if pd.isna(failure["index"]) else f" in row {failure['index']}"
    return f"column {column!r} has {value}{where}, which fails {rule}; correct it"


def some(names) -> str:
    """The first few of many names."""
    names = list(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

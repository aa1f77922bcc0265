"""The numbers that the paper published, each with the place of ours and the reason why they differ."""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML

from s2f.paths import UserError

PAPER = Path(__file__).with_suffix(".yaml")

Text = Annotated[str, Field(min_length=1), AfterValidator(str.strip)]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Reported(Part):
    """One published number, in the unit of its group."""

    key: Text
    what: Text
    reported: float
    std: float | None = None  # over test samples, where the paper prints one
    ours: Text | None  # dotted path into results/*.json, the file name first; null: we have no counterpart
    headline: bool = False


class Group(Part):
    """Published numbers from one place that differ from ours for the same reason."""

    where: Text
    unit: Literal["degrees", "feature distance", "percent", "share", "correlation"]
    why_differs: Text
    rows: list[Reported] = Field(min_length=1)


class Entry(Reported):
    """A published number with all there is to say of it."""

    where: Text
    unit: Text
    why_differs: Text


class Ledger(Part):
    """All published numbers."""

    groups: list[Group]

    @cached_property
    def entries(self) -> list[Entry]:
        return [
            Entry(**row.model_dump(), **group.model_dump(exclude={"rows"}))
            for group in self.groups
            for row in group.rows
        ]

    def reported(self, prefix: str) -> dict[str, float]:
        """The numbers whose keys begin with `prefix.`, by the rest of the key."""
        lead = f"{prefix}."
        return {e.key.removeprefix(lead): e.reported for e in self.entries if e.key.startswith(lead)}


def load(path: Path = PAPER) -> Ledger:
    """Read a ledger. UserError names the entry that is wrong, or a key that stands twice."""
    try:
        ledger = Ledger(groups=YAML(typ="safe", pure=True).load(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path.name}: {where}: {first['msg']}; mend that entry.") from None
    keys = [entry.key for entry in ledger.entries]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise UserError(f"{path.name}: key {twice[0]!r} stands twice; give each number its own.")
    return ledger

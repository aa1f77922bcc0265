"""The ledger: each experiment of the paper, what was published, where ours is, and why the two differ.

`ledger.yaml` lists the experiments in the order of the paper, then those that go beyond it. An experiment has groups of
rows; a row is a published number, or, where the paper shows only pictures, a finding in a sentence.
"""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML

from s2f.study.paths import UserError

LEDGER = Path(__file__).with_suffix(".yaml")

Text = Annotated[str, Field(min_length=1), AfterValidator(str.strip)]
Unit = Literal[
    "correlation", "degrees", "feature distance", "people", "percent", "pixels", "semitones", "share", "silhouette",
    "weights", "years a year",
]  # fmt: skip


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Reported(Part):
    """One published number in the unit of its group, or a finding that the paper shows without a number."""

    key: Text  # begins with the id of its experiment
    what: Text
    reported: float | None = None
    std: float | None = None  # over test samples, where the paper prints one
    finding: Text | None = None  # beyond the paper: what one should expect
    ours: Text | None  # dotted path into results/*.json, the file name first; null: we have no counterpart
    headline: bool = False


class Group(Part):
    """Rows of one kind that differ from ours for the same reason."""

    title: Text
    unit: Unit
    finding: Text | None = None  # of the rows that have neither a number nor a finding of their own
    why_differs: Text  # in any corpus
    in_synthetic_world: Text | None = None  # what is to be added where the corpus is one
    rows: list[Reported] = Field(min_length=1)

    @model_validator(mode="after")
    def _every_row_says_something(self) -> "Group":
        mute = [row.key for row in self.rows if row.reported is None and not (row.finding or self.finding)]
        if mute:
            raise ValueError(f"{mute[0]!r} has neither a reported number nor a finding")
        return self


class Figure(Part):
    """A figure of ours: `evaluate/duration` is results/figures/evaluate/duration.png."""

    file: Text
    caption: Text


class Experiment(Part):
    """A table or figure of the paper, or an experiment beyond it, with all that shows it here."""

    id: Text
    where: Text  # "Table 2"
    title: Text
    claim: Text  # what the paper says, in a sentence or two of our own; beyond the paper: what is asked
    notebooks: list[Text] = Field(min_length=1)  # the first one is where it is made
    functions: list[Text] = Field(min_length=1)  # of the library, by their full names
    figures: list[Figure] = []
    groups: list[Group] = []
    beyond: bool = False
    real_people: bool = False  # made by stages that only studies of real people have

    @property
    def stages(self) -> set[str]:
        """The names of the results (or, of pictures, the folders of figures) that show it."""
        ours = [row.ours for group in self.groups for row in group.rows if row.ours]
        return {key.split(".")[0] for key in ours} or {figure.file.split("/")[0] for figure in self.figures}

    @model_validator(mode="after")
    def _keys_begin_with_the_id(self) -> "Experiment":
        keys = [row.key for group in self.groups for row in group.rows]
        if strange := [key for key in keys if not key.startswith(f"{self.id}.")]:
            raise ValueError(f"the key {strange[0]!r} does not begin with '{self.id}.'")
        return self


class Entry(Reported):
    """A row with all there is to say of it."""

    experiment: Text
    where: Text
    group: Text
    unit: Unit
    why_differs: Text


class Ledger(Part):
    """All experiments."""

    experiments: list[Experiment]

    @cached_property
    def entries(self) -> list[Entry]:
        """All rows, in order."""
        return [
            Entry(
                **row.model_dump() | {"finding": row.finding or group.finding},
                experiment=experiment.id,
                where=experiment.where,
                group=group.title,
                unit=group.unit,
                why_differs=group.why_differs,
            )
            for experiment in self.experiments
            for group in experiment.groups
            for row in group.rows
        ]

    def explained(self, synthetic: bool) -> "Ledger":
        """The ledger of a corpus, a synthetic world or not.

        `why_differs` says all there is to say of it, and a synthetic world lacks the experiments with real people.
        """

        def with_reasons(group: Group) -> Group:
            more = group.in_synthetic_world if synthetic else None
            reasons = f"{group.why_differs} {more}" if more else group.why_differs
            return group.model_copy(update={"why_differs": reasons, "in_synthetic_world": None})

        return Ledger(
            experiments=[
                experiment.model_copy(update={"groups": [with_reasons(group) for group in experiment.groups]})
                for experiment in self.experiments
                if not (synthetic and experiment.real_people)
            ]
        )

    def reported(self, prefix: str) -> dict[str, float]:
        """The published numbers whose keys begin with `prefix.`, by the rest of the key."""
        lead = f"{prefix}."
        return {
            entry.key.removeprefix(lead): entry.reported
            for entry in self.entries
            if entry.key.startswith(lead) and entry.reported is not None
        }


def load(path: Path = LEDGER) -> Ledger:
    """Read a ledger. UserError names the entry that is wrong, or what stands twice."""
    try:
        ledger = Ledger(experiments=YAML(typ="safe", pure=True).load(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path.name}: {where}: {first['msg']}; mend that entry.") from None
    names = [experiment.id for experiment in ledger.experiments] + [entry.key for entry in ledger.entries]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"{path.name}: {twice[0]!r} stands twice; give each its own name.")
    return ledger

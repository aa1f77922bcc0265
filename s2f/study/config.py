"""Settings: one frozen model for each section of `params.yaml`, checked before anything runs.

A stage reads one section, its notebook holds the same names in its `parameters` cell, and nothing has a default here:
`params.yaml` says every value, and an unknown, missing or impossible one is refused by name. What a section cannot know
alone, such as how many speakers there are, is compared by `s2f.study.rules`.
"""

import ast
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    ValidationError,
    model_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from s2f.study.paths import UserError, study

Seed = Annotated[int, Field(ge=0, lt=2**32)]  # NumPy, scikit-learn and faiss take no other
Count = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Precision = Literal["auto", "float32", "bfloat16"]  # auto: bfloat16 where the hardware has it
Seconds = Annotated[float, Field(ge=0.5, le=60)]
# Of the learning rate. steps: the paper's, times `decay` after each `decay_every` steps; cosine: to nothing at the end.
Schedule = Literal["steps", "cosine"]
# Of the voice encoder. paper: three terms (section 3.2); the others are its ablations, baselines, and one of ours.
Loss = Literal[
    "paper", "first_only", "cosine_only", "distill_only", "without_first", "without_cosine", "without_distill",
    "feature_l1", "pixel_l1", "contrastive",
]  # fmt: skip


def _with_zero(steps: list[float]) -> list[float]:
    if 0 not in steps or len(set(steps)) < max(len(steps), 2):
        raise ValueError(f"the steps are {steps}, but must hold 0 and other steps, each once")
    return steps


Steps = Annotated[list[float], AfterValidator(_with_zero)]
Severities = Annotated[list[float], Field(min_length=1)]


class Section(BaseModel):
    """A section of `params.yaml`: types are strict, unknown names are errors, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    section: ClassVar[str]

    @classmethod
    def of(cls, namespace: dict[str, Any], **given: Any) -> "Section":
        """The settings of a notebook: its section of the study around the working folder, but for what was given.

        A value of the parameters cell that is another than the study's does not count, and a line says so.

        Args:
            namespace: the notebook's `globals()`. What papermill was given with `-p` stands in a cell of its own there.
            given: other values to try, by name, as with `-p`.

        Raises:
            UserError: for a name that the section has not, and for a value that is impossible, also beside others.
        """
        given = _injected(namespace) | given
        if unknown := sorted(set(given) - set(cls.model_fields)):
            raise UserError(f"There is no parameter {unknown[0]!r} here; there are {', '.join(cls.model_fields)}.")
        path = study().params
        sections = read(path)
        cell = {name: namespace[name] for name in cls.model_fields if name in namespace}
        recorded = cls.recorded(sections, cell | given)
        settings = parse(
            cls, (recorded or cell) | given, "The parameters" if given else f"{path}, section '{cls.section}'"
        )
        # By a name that `study.code` cannot follow: what is refused changes no result, so that code makes none stale.
        import_module(f"{__package__}.rules").check(sections, path, settings)
        if others := [name for name in cell if name not in given and recorded.get(name, cell[name]) != cell[name]]:
            values = ", ".join(f"{name} = {recorded[name]!r}" for name in others)
            print(f"As {path.name} says, not the parameters cell: {values}. ", end="")
            print(f"To try others: config.{cls.__name__}.of(globals(), {others[0]}=...), papermill -p, or s2f run -p.")
        return settings

    @classmethod
    def recorded(cls, sections: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
        """What the file of a study says of this section, if it has it."""
        return sections.get(cls.section) or {}


def _injected(namespace: dict[str, Any]) -> dict[str, Any]:
    """The values that papermill was given: it writes them into a cell of their own below the parameters cell."""
    names = set()
    for cell in namespace.get("In", []):
        if cell.startswith("# Parameters\n"):
            with suppress(SyntaxError):  # of a cell that somebody wrote, and that did not run
                names |= {node.id for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Name)}
    return {name: namespace[name] for name in sorted(names & set(namespace))}


class Measured(Section):
    """What every measurement with intervals needs."""

    seed: Seed
    replicates: Count


class World(Section):
    """The synthetic world: see `s2f.synthetic.people` for what the numbers mean."""

    section: ClassVar = "data"

    seed: Seed
    strength: Annotated[float, Field(ge=0, le=10)]
    group_shares: dict[str, Share]
    confound: Share
    confound_test: Share
    train_speakers: Count
    val_speakers: Count
    test_speakers: Count
    face_identities: Size
    train_clips: Count
    test_clips: Count
    train_seconds: Seconds
    test_seconds: Seconds
    photos: Count
    size: Annotated[int, Field(ge=32, le=224, multiple_of=16)]
    session_spread: Annotated[float, Field(ge=0, le=2)]
    photo_spread: Annotated[float, Field(ge=0, le=2)]
    workers: Count

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> "World":
        if abs(sum(self.group_shares.values()) - 1) > 1e-6:
            raise ValueError(f"group_shares must sum to 1, not {sum(self.group_shares.values()):g}")
        return self


class FaceModel(Section):
    """The face encoder (`weights`: the file of VGG-Face's), and training of it and of the face decoder."""

    section: ClassVar = "face_model"

    seed: Seed
    feature: Literal["small", "large", "vgg_face", "dlib"]
    weights: str | None
    encoder_steps: Count
    encoder_batch: Count
    encoder_rate: Positive
    decoder_steps: Count
    decoder_batch: Count
    decoder_rate: Positive
    precision: Precision
    checkpoint_minutes: Positive
    threads: Count

    @model_validator(mode="after")
    def _weights_of_vgg_face(self) -> "FaceModel":
        if (self.weights is not None) != (self.feature == "vgg_face"):
            raise ValueError("weights must name a file for the feature vgg_face, and be null for the others")
        return self


class Train(Section):
    """Training of the voice encoder (paper, section 4)."""

    section: ClassVar = "train"

    seed: Seed
    model: Literal["small", "paper"]
    batch_norm: bool
    loss: Loss
    seconds: Seconds
    degraded: Share
    steps: Count
    batch: Count
    rate: Positive
    schedule: Schedule
    decay: Annotated[float, Field(gt=0, le=1)]
    decay_every: Count
    beta1: Annotated[float, Field(ge=0, lt=1)]
    epsilon: Positive
    rebalance_step: Size
    validate_every: Count
    checkpoint_minutes: Positive
    precision: Precision
    threads: Count


class Scale(Section):
    """How the training of the voice encoder is spread over a machine, in studies that have this section.

    A batch is computed in `parts`: batch normalisation sees one part, and the gradient is the mean over all. So the
    parts may lie on as many GPUs as divide them, or follow one another on one, and the result is the same.
    """

    section: ClassVar = "scale"

    processes: Count  # GPUs that a notebook takes; `torchrun` takes what it is told
    parts: Count
    readers: Count  # threads that read batches, each one ahead
    fused: bool  # on a GPU: the network's fused kernels, and the fastest ones; they round otherwise from run to run

    @model_validator(mode="after")
    def _parts_divide(self) -> "Scale":
        if self.parts % self.processes:
            raise ValueError(f"{self.processes} processes cannot divide {self.parts} parts of a batch")
        return self


class Predict(Section):
    """Features of the test recordings at several durations, and the faces drawn from them."""

    section: ClassVar = "predict"

    durations: Annotated[list[Seconds], Field(min_length=1)]
    headline_seconds: Seconds
    batch: Count
    threads: Count


class Evaluate(Measured):
    """Similarity, attributes, craniofacial measures, duration, negative controls."""

    section: ClassVar = "evaluate"

    population: Count


class SameSpeaker(Measured):
    """One speaker heard again: segments, languages, several clips."""

    section: ClassVar = "same_speaker"

    segment_seconds: Seconds
    speakers_per_group: Annotated[int, Field(ge=2)]
    takes: Annotated[int, Field(ge=2)]
    fused_speakers: Annotated[int, Field(ge=2)]
    fused_clips: Annotated[list[Count], Field(min_length=1)]


class VoiceProbes(Measured):
    """The same recordings with pitch and tract length changed step by step, and what the faces do."""

    section: ClassVar = "voice_probes"

    speakers: Annotated[int, Field(ge=2)]
    seconds: Seconds
    semitones: Steps
    percent: Steps
    population: Count


class Robustness(Measured):
    """Degraded copies of recordings: the severities of each kind of `s2f.signal.degradation.KINDS`, in its unit."""

    section: ClassVar = "robustness"

    speakers: Annotated[int, Field(ge=5)]
    validation_speakers: Annotated[int, Field(ge=5)]
    length: Severities
    reverberation: Severities
    noise: Severities
    level: Severities
    clipping: Severities
    telephone: Severities
    codec: Severities
    workers: Count


class FeatureSpace(Measured):
    """Exaggeration, failures, and maps of the feature space."""

    section: ClassVar = "feature_space"

    permutations: Count
    exaggerations: Annotated[list[Positive], Field(min_length=1)]
    years: Positive
    shown: Count
    perplexity: Positive
    neighbours: Annotated[int, Field(ge=2)]


class Audit(Measured):
    """Group tables with intervals."""

    section: ClassVar = "audit"

    permutations: Count
    minimum_speakers: Count


class Controls(Measured):
    """What decoder, classifier and averaging add, and what must make no difference."""

    section: ClassVar = "controls"

    permutations: Count
    scales: Annotated[list[Positive], Field(min_length=1)]
    margin: Annotated[float, Field(gt=0, lt=0.5)]


class Mitigation(Measured):
    """The trained voice encoder, trained on with groups drawn equally often."""

    section: ClassVar = "mitigation"

    seeds: Annotated[list[Seed], Field(min_length=2)]
    steps: Count
    rate: Positive
    penalty: Positive


class Retrieval(Measured):
    """Recall, matching and verification among test speakers."""

    section: ClassVar = "retrieval"

    gallery: Annotated[int, Field(ge=10)]
    score_dims: Count


class Matching(Measured):
    """Matching and verification by the protocols of the field."""

    section: ClassVar = "matching"

    draws: Count
    seen_speakers: Annotated[int, Field(ge=2)]
    population: Count


class Galleries(Measured):
    """Retrieval in galleries of up to a million faces."""

    section: ClassVar = "galleries"

    sizes: Annotated[list[Annotated[int, Field(ge=100)]], Field(min_length=1)]
    largest_l1: Count
    population: Count
    bandwidth: Share
    cells: Count
    probes: Annotated[list[Count], Field(min_length=1)]


class Languages(Measured):
    """Trained on one language, tested on that and another."""

    section: ClassVar = "languages"

    languages: Annotated[list[str], Field(min_length=2, max_length=2)]
    speakers: Annotated[int, Field(ge=2)]
    takes: Count
    seconds: Seconds
    draws: Count
    population: Count


class Lineup(Measured):
    """The drawn face as a phantom image."""

    section: ClassVar = "lineup"

    pools: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=1)]
    firsts: Annotated[list[Count], Field(min_length=1)]
    members: Annotated[int, Field(ge=2)]
    drawn: Count
    minimum_speakers: Count


class CeilingGap(Measured):
    """What is lost between the ceiling and the model."""

    section: ClassVar = "ceiling_gap"

    dims: Count
    steps: Annotated[int, Field(ge=50)]


class Ablation(Section):
    """One training of the ablations: `run` is its name, the rest is what it changes in the section `train`."""

    section: ClassVar = "ablations"

    run: Annotated[str, Field(min_length=1)]
    loss: Loss
    batch_norm: bool
    seconds: Seconds

    @classmethod
    def recorded(cls, sections: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
        """What the file of a study says of one of the runs."""
        runs = sections.get(cls.section) or {}
        if runs and values.get("run") not in runs:
            raise UserError(f"There is no run {values.get('run')!r}; there are {', '.join(runs)}.")
        return runs.get(values.get("run"), {})


class Trainings(Section):
    """The training again from other seeds, and the notebooks after it."""

    section: ClassVar = "trainings"

    seeds: Annotated[list[Seed], Field(min_length=1)]  # of the further trainings
    notebooks: Annotated[list[str], Field(min_length=1)]  # in order
    replicates: Count  # of their intervals and permutations, at most: it is their numbers that count


class Ablations(RootModel[dict[str, Ablation]]):
    """The runs of the ablations by name; `full` is the one that the others are compared with."""

    section: ClassVar = "ablations"

    @model_validator(mode="after")
    def _names_agree(self) -> "Ablations":
        if "full" not in self.root:
            raise ValueError("the run 'full' is missing, which the others are compared with")
        for name, ablation in self.root.items():
            if ablation.run != name:
                raise ValueError(f"the run {name!r} calls itself {ablation.run!r}")
        return self


class AblationTable(Section):
    """What all runs of the ablations have in common, and how they are compared."""

    section: ClassVar = "ablation_table"

    seed: Seed
    degraded: Share
    steps: Count
    decay_every: Count
    rebalance_step: Size
    validate_every: Count
    durations: Annotated[list[Seconds], Field(min_length=1)]
    by_length: list[str]  # the runs that are tested at all durations
    replicates: Count


class NullWorld(World):
    """The same pipeline in a world without links: the data of `World`, and a short training."""

    section: ClassVar = "null_world"

    steps: Count
    replicates: Count


class Cartoon(Measured):
    """Avatars of predicted faces."""

    section: ClassVar = "cartoon"

    shown: Count


class Report(Section):
    """The page that sets the paper beside ours."""

    section: ClassVar = "report"

    title: Annotated[str, Field(min_length=1)]
    speakers: Annotated[str, Field(min_length=1)]  # a sentence on whose voices the study has heard
    complete: bool  # a missing result or figure stops the report; false: what rests on it is left out


SECTIONS: dict[str, type[BaseModel]] = {
    model.section: model
    for model in (
        World,
        FaceModel,
        Train,
        Predict,
        Evaluate,
        SameSpeaker,
        VoiceProbes,
        Robustness,
        FeatureSpace,
        Audit,
        Controls,
        Mitigation,
        Retrieval,
        Matching,
        Galleries,
        Languages,
        Lineup,
        CeilingGap,
        Trainings,
        Ablations,
        AblationTable,
        NullWorld,
        Cartoon,
        Report,
    )
}
# Sections that a study may leave out.
OPTIONAL: dict[str, type[BaseModel]] = {Scale.section: Scale}


def read(path: Path) -> dict[str, Any]:
    """The sections of a params file as plain Python values (YAML 1.2, the dialect that DVC reads)."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        if "\0" in text:  # UTF-16 without a mark
            raise UnicodeError
        content = YAML(typ="safe", pure=True).load(text)
    except UnicodeError:
        raise UserError(f"{path} is not UTF-8: save it so.") from None
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist; run from the folder of a study (it holds params.yaml and dvc.yaml)."
        ) from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise UserError(f"{path} is not valid YAML{where}; mend that line.") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold sections such as `train:`, each with its keys.")
    return content


def parse(model: type[BaseModel], values: Any, where: str) -> BaseModel:
    """`values` as a section, or a UserError that names every key that is unknown, missing or impossible."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_sentence(problem) for problem in error.errors())
        raise UserError(f"{where}: {problems}.") from None


def load(model: type[BaseModel], path: Path) -> BaseModel:
    """The section of the params file at `path` that `model` describes, such as `load(config.Train, study.params)`."""
    return _section(model.section, model, path)


def load_optional(model: type[BaseModel], path: Path) -> BaseModel | None:
    """The section of the params file at `path` that `model` describes; None where the study leaves it out."""
    return _section(model.section, model, path) if model.section in read(path) else None


def _section(name: str, model: type[BaseModel], path: Path) -> BaseModel:
    sections = read(path)
    if name not in sections:
        raise UserError(f"{path} has no section '{name}'; it has {', '.join(sections)}.")
    return parse(model, sections[name], f"{path}, section '{name}'")


def check(path: Path, models: Mapping[str, type[BaseModel]] = SECTIONS) -> None:
    """Refuse a params file with an unknown or missing section, a bad value, or values that do not go together.

    `models` are the sections that the study has; the default study's are those above.
    """
    sections = read(path)
    models = models | {name: model for name, model in OPTIONAL.items() if name in sections}
    if unknown := [name for name in sections if name not in models]:
        raise UserError(f"{path}: unknown section '{unknown[0]}'; known are {', '.join(models)}.")
    problems = []
    for name, model in models.items():
        try:
            _section(name, model, path)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError(" ".join(problems))
    from s2f.study import rules  # which looks at the sections above

    rules.check(sections, path)


def _sentence(problem: dict[str, Any]) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "the section"
    if problem["type"] == "extra_forbidden":
        return f"unknown key '{key}'"
    if problem["type"] == "missing":
        return f"missing key '{key}'"
    if problem["type"] == "value_error":
        return f"{problem['ctx']['error']}"
    message = problem["msg"][0].lower() + problem["msg"][1:]
    return f"'{key}' is {problem['input']!r}, but {message}"


if __name__ == "__main__":
    try:
        check(Path(sys.argv[1] if len(sys.argv) > 1 else "params.yaml"))
    except UserError as error:
        print(f"s2f: {error}", file=sys.stderr)
        sys.exit(2)

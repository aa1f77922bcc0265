"""The settings of the study of the published samples: a section of its params.yaml for each stage."""

from typing import Annotated, ClassVar

from pydantic import Field

from s2f.heads import drawing
from s2f.heads.settings import Training
from s2f.study.config import Count, Measured, Positive, Seconds, Section, Severities, Size

Folds = Annotated[int, Field(ge=2)]
NestedFolds = Annotated[int, Field(ge=3)]  # the people outside one fold are cross-validated once more
Gallery = Annotated[int, Field(ge=10)]


class Features(Section):
    """Where the clone lies, and how much of each voice is read."""

    section: ClassVar = "features"

    folder: str
    seconds: Annotated[list[Seconds], Field(min_length=1)]
    workers: Count


class Original(Measured):
    """The original model's outputs, measured again."""

    section: ClassVar = "original"

    permutations: Count
    folds: Folds
    gallery: Gallery
    sizes: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=1)]
    near: Positive


class Painted(Measured):
    """The audit of the original's outputs."""

    section: ClassVar = "painted"

    permutations: Count
    folds: Folds
    minimum_speakers: Count


class Ours(Measured):
    """Regressions on pretrained voice features, beside the original."""

    section: ClassVar = "ours"

    folds: NestedFolds
    repeats: Count
    gallery: Gallery
    score_dims: Count
    components: Count
    match_steps: Annotated[list[Size], Field(min_length=1)]


class FromScratch(Training):
    """The paper's voice encoder, trained on these pairs alone."""

    section: ClassVar = "from_scratch"

    folder: str
    replicates: Count
    folds: NestedFolds


class Longer(Measured):
    """Duration, several clips, and distillation."""

    section: ClassVar = "longer"

    folds: Folds


WORSE_WAYS = ("telephone", "noise", "codec", "reverberation")


class Counterfactuals(Measured):
    """Real recordings with another pitch, other formants, or by a worse way."""

    section: ClassVar = "counterfactuals"

    folder: str
    folds: Folds
    people: Annotated[int, Field(ge=10)]
    semitones: Annotated[float, Field(gt=0, le=12)]
    percent: Annotated[float, Field(gt=0, le=25)]
    telephone: Positive  # each of WORSE_WAYS in the unit of `signal.degradation.KINDS`
    noise: Positive
    codec: Positive
    reverberation: Positive
    workers: Count


Exaggeration = Annotated[float, Field(ge=0, le=10)]
Weight = Annotated[float, Field(ge=0)]


class Drawn(Measured):
    """Faces drawn from predicted features, measured as the original's are."""

    section: ClassVar = "drawn"

    folder: str
    permutations: Count
    folds: NestedFolds
    gallery: Gallery
    penalties: Annotated[list[Positive], Field(min_length=1)]
    emphases: Annotated[list[Weight], Field(min_length=1)]
    components: Count
    exaggeration: Exaggeration
    directions: Count
    trait_spread: Positive
    texture_gain: Positive
    landmark_gain: Positive
    anchor: Weight
    traits: Weight
    steps: Count
    judge_components: Count
    workers: Count

    @property
    def learning(self) -> drawing.Settings:
        """How regressions and decoders learn."""
        chosen = self.model_dump(include=set(drawing.Settings._fields))
        return drawing.Settings(gains=(self.texture_gain, self.landmark_gain), **chosen)


class Model(Measured):
    """The model to keep, which draws as `Drawn` does: the degraded copies from which its limits are known."""

    section: ClassVar = "model"

    folder: str
    folds: Folds
    gallery: Gallery
    recordings: Annotated[int, Field(ge=5)]
    length: Severities
    reverberation: Severities
    noise: Severities
    clipping: Severities
    telephone: Severities
    codec: Severities
    workers: Count


SECTIONS: dict[str, type[Section]] = {
    model.section: model
    for model in (Features, Original, Painted, Ours, FromScratch, Longer, Counterfactuals, Drawn, Model)
}

"""Settings of the stages that only studies of real corpora have, as `s2f.study.config` has those of all others."""

from typing import Annotated, ClassVar

from pydantic import Field

from s2f.study.config import Count, Measured, Section, Size


class Baselines(Measured):
    """Heads on front ends that were not trained on the corpus, beside the voice encoder that was."""

    section: ClassVar = "baselines"

    clips: Count  # of a training speaker, at most
    folds: Annotated[int, Field(ge=3)]  # of people, for the contrastive maps
    dims: Count  # of the space of these maps
    match_steps: Annotated[list[Size], Field(min_length=1)]  # how long they may learn
    workers: Count


SECTIONS: dict[str, type[Section]] = {Baselines.section: Baselines}

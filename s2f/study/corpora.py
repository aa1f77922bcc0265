"""Settings of the stages that only studies of real corpora have, as `s2f.study.config` has those of all others."""

from typing import Annotated, ClassVar

from pydantic import Field

from s2f.study.config import Count, Measured, Section, Share, Size


class Baselines(Measured):
    """Heads on front ends that were not trained on the corpus, beside the voice encoder that was."""

    section: ClassVar = "baselines"

    clips: Count  # of a training speaker, at most
    folds: Annotated[int, Field(ge=3)]  # of people, for the contrastive maps
    dims: Count  # of the space of these maps
    match_steps: Annotated[list[Size], Field(min_length=1)]  # how long they may learn
    workers: Count


class PublishedLists(Measured):
    """Trials that others published, and verification by the language of the recordings."""

    section: ClassVar = "published_lists"

    least_share: Share  # of a list that must be here, or it is not scored
    draws: Count  # of pairs a recording, by language
    gallery: Annotated[int, Field(ge=2)]  # people in a gallery of SF2F


SECTIONS: dict[str, type[Section]] = {model.section: model for model in (Baselines, PublishedLists)}

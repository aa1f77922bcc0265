"""Settings of a network that is trained on a few hundred pairs."""

from typing import Literal

from s2f.study.config import Count, Positive, Precision, Seconds, Section, Seed


class Training(Section):
    """How the paper's voice encoder is trained; `model` is its size, `seconds` the length of a training crop."""

    seed: Seed
    model: Literal["small", "paper"]
    seconds: Seconds
    steps: Count
    batch: Count
    rate: Positive
    validate_every: Count
    checkpoint_minutes: Positive
    precision: Precision
    threads: Count

"""A corpus in which voices say nothing of faces: a negative control for the whole chain."""

from pathlib import Path

from s2f.data.corpus import Corpus
from s2f.data.sources import synthetic
from s2f.study.config import World


def build(world: World, folder: Path, scratch: Path) -> Corpus:
    """The corpus of a synthetic world without links between voice and face (strength 0, language independent of group).

    Args:
        world: its settings; those of the links are replaced.
        folder: where the corpus goes.
        scratch: where finished blocks wait for the rest.
    """
    unlinked = World.model_validate(world.model_dump(include=set(World.model_fields)))
    return synthetic.build(
        unlinked.model_copy(update={"strength": 0.0, "confound": 0.0, "confound_test": 0.0}), folder, scratch
    )

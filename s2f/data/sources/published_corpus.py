"""The published samples (`s2f.data.sources.published`) as a corpus: a person is a video, a photograph its frame."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pandas as pd
from pydantic import Field

from s2f.data.sources import folder, published
from s2f.data.sources.folder import SetAside
from s2f.study.config import Count, Seconds, Section, Seed, Share


class Samples(Section):
    """Where the clone is, and what of it becomes the corpus."""

    section: ClassVar = "data"

    folder: str  # the clone, seen from the study; S2F_PUBLISHED comes first
    canonical: Literal["f2f", "photographs"]  # canonical faces: those of the authors' decoder, or made of photographs
    apparent_labels: bool  # sex and age as a packaged network sees them in the photographs
    size: Annotated[int, Field(ge=32, le=224, multiple_of=16)]
    seconds: Seconds
    val_share: Share
    test_share: Share
    seed: Seed
    workers: Count


SECTIONS: dict[str, type[Section]] = folder.SECTIONS | {"data": Samples}


def recordings(root: Path, aside: SetAside) -> pd.DataFrame:
    """The AVSpeech clips of a clone, as `folder.build` takes them, with the column `f2f`.

    Args:
        root: the clone.
        aside: takes the files that are hidden, named otherwise or lack a face; they are numbered in the order of their
            names.

    Returns:
        A row a clip, without labels. A video stands for a person and has a number, in the order of the names.

    Raises:
        UserError: if a folder of the set is missing.
    """
    place = root / "figures" / published.SETS["avspeech"]
    voices = published.files_by_stem(place / published.VOICES, published.SOUND)
    faces = {kind: published.files_by_stem(place / published.FACES[kind], (".jpg",)) for kind in ("true", "f2f")}
    for number in range(sum(map(published.hidden, (place / published.VOICES).iterdir()))):
        aside.add("recording", f"hidden file {number}", "its name begins with a dot, as of what a system leaves there")
    rows = []
    for number, (stem, sound) in enumerate(sorted(voices.items())):
        named = published.AVSPEECH.fullmatch(stem)
        if named is None:
            aside.add("recording", f"file {number}", "it is not named as the authors name theirs")
        elif lacking := [kind for kind in faces if stem not in faces[kind]]:
            aside.add("recording", f"file {number}", f"it has no face of the kind {lacking[0]}")
        else:
            rows.append((sound, named["video"], (faces["true"][stem],), faces["f2f"][stem]))
    table = pd.DataFrame(rows, columns=["sound", "speaker", "photographs", "f2f"])
    table["speaker"] = [f"p{number:04d}" for number in table.groupby("speaker").ngroup()]
    return table.assign(**dict.fromkeys(folder.OPTIONAL))

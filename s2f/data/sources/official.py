"""Corpora in the layout in which they are published: their settings, and which module reads them.

A reader makes the table of recordings that `folder.build` takes, by official metadata and splits, and counts what is
there beside what a complete copy has. It opens no sound and no picture: what is broken inside is found when the corpus
is built, or by `s2f data check --open`.
"""

from importlib import import_module
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple

import pandas as pd
from pydantic import Field

from s2f.data.sources import folder
from s2f.data.sources.folder import SetAside
from s2f.study import corpora
from s2f.study.config import Count, Seconds, Section, Seed, Share

# The modules beside this one that have a function `find(cfg, tables, voices, faces, aside)`.
CORPORA = Literal["voxceleb", "avspeech", "crema_d", "mav_celeb"]


class Official(Section):
    """Where a published corpus is, and what of it becomes the corpus of the study."""

    section: ClassVar = "data"

    corpus: CORPORA
    tables: str  # the folder of its metadata and lists, seen from the study, or absolute
    voices: str  # the folder below which its sounds are
    faces: str  # ... its pictures or videos
    split: Literal["official", "letters", "pins", "hq_voxceleb", "lot"]
    photographs: Count  # of a person, at most, spread evenly over all that there are
    landmarks: str  # "dlib", or a table: photograph, x0, y0, ..., x67, y67 (px)
    size: Annotated[int, Field(ge=32, le=224, multiple_of=16)]
    seconds: Seconds  # of speech, from the beginning of a recording
    val_share: Share  # of the people to whom the split gives no place
    test_share: Share
    seed: Seed
    workers: Count
    scheduler: str | None  # address of a Dask cluster that prepares in their place


COUNTED = ("what", "found", "complete", "missing")
SECTIONS: dict[str, type[Section]] = folder.SECTIONS | {"data": Official} | corpora.SECTIONS


class Found(NamedTuple):
    """What a reader finds."""

    recordings: pd.DataFrame  # as `folder.build` takes them
    counts: pd.DataFrame  # COUNTED: how many of what, in a complete copy (NA: unknown), and who is missing


def find(cfg: Official, root: Path, aside: SetAside) -> Found:
    """The recordings of a corpus.

    Args:
        cfg: where it is.
        root: the study, from which its places are seen.
        aside: takes what cannot be used.

    Raises:
        UserError: if a folder or table is missing, or the split is not one of this corpus.
    """
    tables, voices, faces = (root / Path(place).expanduser() for place in (cfg.tables, cfg.voices, cfg.faces))
    reader = import_module(f"{__package__}.{cfg.corpus}")
    recordings, counts = reader.find(cfg, tables, voices, faces, aside)
    columns = [*folder.NEEDED, *folder.OPTIONAL, *(name for name in ("x", "y") if name in recordings)]
    recordings = recordings.reindex(columns=columns).astype(object)
    return Found(recordings.where(recordings.notna(), None).reset_index(drop=True), counts)

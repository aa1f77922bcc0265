"""A corpus of voices and faces: the one door through which notebooks reach clips, photographs, faces and labels.

manifest.parquet, audio/<split>-*.i16       recordings, packed; a row a clip (`tables.SCHEMAS["clips"]`)
people.parquet                              a row a person
faces/photos.parquet, faces/wild.npy        a row a photograph, and the photographs: uint8 (photographs, size, size, 3)
faces/canonical.npy, faces/landmarks.npy    uint8 (people, size, size, 3), float32 (people, 68, 2; px): rows of people
SHA256SUMS                                  digests of all these files (of a corpus of real people)
rejected.parquet                            what was set aside, and why (where something was)
files.parquet, lists/                       of which files it was made, and published trials on them (of VoxCeleb)
truth/                                      what only a synthetic world knows (`s2f.synthetic.truth`)
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Float32, Int, Shaped, UInt8

from s2f.data import checksums, tables
from s2f.data.shards import Shards
from s2f.study.numbers import finite
from s2f.study.paths import Study, UserError, replacing
from s2f.synthetic.truth import Truth

Column = np.ndarray | pd.Series


class HeldOut(NamedTuple):
    """The validation and test recordings, and who speaks in them."""

    clips: pd.DataFrame  # rows of the table of clips, validation and test
    test: Bool[np.ndarray, "clips"]  # which of them are test
    speakers: Shaped[np.ndarray, "test_clips"]  # who speaks in each test clip
    about: pd.DataFrame  # the speakers' rows of the table of people, one a test clip
    people: pd.DataFrame  # the table of people, by speaker_id


@dataclass(frozen=True)
class Corpus:
    """The clips, people and photographs in a folder; images are mapped, not read."""

    folder: Path
    clips: pd.DataFrame  # a row a recording
    people: pd.DataFrame  # a row a person, by speaker_id
    photographs: pd.DataFrame  # a row a photograph: whose it is

    @classmethod
    def open(cls, place: Study | Path) -> "Corpus":
        """The corpus of a study, or in a folder; UserError if a table or file is missing or does not fit the others."""
        folder = place.data if isinstance(place, Study) else Path(place)
        clips = tables.read("clips", folder / "manifest.parquet")
        people = tables.read("people", folder / "people.parquet")
        photographs = tables.read("photographs", folder / "faces" / "photos.parquet")
        corpus = cls(folder, clips, people.set_index("speaker_id"), photographs)
        corpus._check()
        return corpus

    def _check(self) -> None:
        """UserError for the first thing in which tables and images disagree."""
        for table, column in ((self.clips, "clips"), (self.photographs, "photographs")):
            if unknown := sorted(set(table["speaker_id"]) - set(self.people.index)):
                raise UserError(
                    f"{self.folder}: the {column} name speaker {tables.some(unknown)}, whom people.parquet lacks."
                )
        for name, rows in (("wild", self.photographs), ("canonical", self.people), ("landmarks", self.people)):
            if len(array := self._array(name)) != len(rows):
                file = self.folder / "faces" / f"{name}.npy"
                raise UserError(f"{file} has {len(array)} rows, its table {len(rows)}: prepare the data again.")
        outside = self.clips["face"].fillna(-1) >= len(self.photographs)
        if outside.any():
            clip = self.clips.loc[outside, "clip_id"].iloc[0]
            raise UserError(f"{self.folder}: clip {clip} names a photograph that is not there; prepare the data again.")

    def _array(self, name: str) -> np.ndarray:
        path = self.folder / "faces" / f"{name}.npy"
        if not path.is_file():
            raise UserError(f"There is no {path}: prepare the data first.")
        return np.load(path, mmap_mode="r")

    @cached_property
    def images(self) -> UInt8[np.ndarray, "photographs size size 3"]:
        """The photographs, by the rows of `photographs`."""
        return self._array("wild")

    @cached_property
    def canonical(self) -> UInt8[np.ndarray, "people size size 3"]:
        """The canonical face (frontal, neutral, evenly lit) of each person, by the rows of `people`."""
        return self._array("canonical")

    @cached_property
    def landmarks(self) -> Float32[np.ndarray, "people 68 2"]:
        """The landmarks (px) of the canonical faces."""
        return self._array("landmarks")

    @cached_property
    def shards(self) -> Shards:
        """The sound."""
        return Shards(self.folder / "audio")

    @cached_property
    def truth(self) -> Truth | None:
        """What only a synthetic world knows of its people; None for a corpus of real ones."""
        return Truth.load(self.folder / "truth")

    @cached_property
    def held_out(self) -> HeldOut:
        """The validation and test clips."""
        clips = self.clips[self.clips["split"] != "train"].reset_index(drop=True)
        test = (clips["split"] == "test").to_numpy()
        speakers = clips.loc[test, "speaker_id"].to_numpy()
        return HeldOut(clips, test, speakers, self.people.loc[speakers].reset_index(), self.people)

    @property
    def rejected(self) -> pd.DataFrame:
        """What was set aside when the corpus was made: kind, item, reason."""
        path = self.folder / "rejected.parquet"
        return tables.read("rejected", path) if path.is_file() else pd.DataFrame(columns=["kind", "item", "reason"])

    def of_split(self, *splits: str) -> Bool[np.ndarray, "people"]:
        """Which people stand in these splits."""
        return self.people["split"].isin(splits).to_numpy()

    def rows(self, speakers: Iterable[str]) -> Int[np.ndarray, "speakers"]:
        """The rows of `people`, `canonical` and `landmarks` of these speakers."""
        return self.people.index.get_indexer(np.asarray(speakers))

    def known(self, *labels: str) -> list[str]:
        """Those of the labels (`tables.LABELS`) that are known of every speaker and not the same of all.

        Where all training or all test speakers have one value, nothing can be learned or measured.
        """
        by_split = {split: self.people[self.of_split(split)] for split in tables.SPLITS}
        return [
            label
            for label in labels
            if all(people[label].notna().all() for people in by_split.values())
            and all(by_split[split][label].nunique() > 1 for split in ("train", "test"))
        ]

    def templates(self, features: Float[np.ndarray, "photographs dim"]) -> pd.DataFrame:
        """The mean feature of each person's photographs, by speaker_id; UserError for one that is not finite."""
        finite(photograph_feature=features)
        return pd.DataFrame(features).groupby(self.photographs["speaker_id"].to_numpy()).mean()

    def paired(
        self, features: Shaped[np.ndarray, "photographs ..."], clips: pd.DataFrame
    ) -> Shaped[np.ndarray, "clips ..."]:
        """Of the features (or images) of photographs those that go with the clips."""
        return features[clips["face"].to_numpy(int)]


def write(
    folder: Path,
    *,
    clips: pd.DataFrame,
    people: pd.DataFrame,
    photographs: pd.DataFrame,
    images: UInt8[np.ndarray, "photographs size size 3"] | None = None,
    canonical: UInt8[np.ndarray, "people size size 3"] | None = None,
    landmarks: Float[np.ndarray, "people 68 2"] | None = None,
    rejected: pd.DataFrame | None = None,
) -> Corpus:
    """Write the tables and images of a corpus whose sound is already packed in `folder / "audio"`, and open it.

    `SHA256SUMS` holds the digests of all files (`checksums.verify`, or `sha256sum -c SHA256SUMS`).

    Args:
        folder: where the corpus goes.
        clips, people, photographs, rejected: tables after `tables.SCHEMAS`.
        images: the photographs, by the rows of `photographs`.
        canonical: canonical faces, by the rows of `people`.
        landmarks: their landmarks (px). Images and landmarks that are not given lie already in `folder / "faces"`.

    Raises:
        UserError: for the first thing that does not fit; the table of clips, which vouches for the rest, comes last.
    """
    folder = Path(folder)
    for name in ("manifest.parquet", checksums.SUMS):
        (folder / name).unlink(missing_ok=True)
    tables.check_audio(tables.check(clips, "clips"), folder / "audio")
    landmarks = None if landmarks is None else landmarks.astype(np.float32)
    for name, array in (("wild", images), ("canonical", canonical), ("landmarks", landmarks)):
        if array is None:
            continue
        with replacing(folder / "faces" / f"{name}.npy") as temporary:
            np.save(temporary, array)
    tables.write(people, "people", folder / "people.parquet")
    tables.write(photographs, "photographs", folder / "faces" / "photos.parquet")
    if rejected is not None:
        tables.write(rejected, "rejected", folder / "rejected.parquet")
    tables.write(clips, "clips", folder / "manifest.parquet")
    checksums.write(folder)
    return Corpus.open(folder)

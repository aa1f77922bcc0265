"""What only a synthetic corpus knows: every trait of its people and photographs, and the best that anybody could do.

Measurements ask a corpus for its truth and leave out what rests on it where there is none, as with real people.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float, Float64, Int16, Shaped
from scipy.special import softmax

from s2f.signal.audio import FULL_SCALE
from s2f.signal.landmarks import measures
from s2f.signal.speech import isolate
from s2f.study.config import World
from s2f.study.paths import UserError, replacing, write_json
from s2f.synthetic import changes, ideal_observer, people, readings, render, retakes, speech


@dataclass(frozen=True)
class Truth:
    """The world that a corpus was drawn from, with every trait of its people and photographs."""

    world: World
    people: pd.DataFrame  # by speaker_id, columns of `people.sample`
    photographs: pd.DataFrame  # pose, light, expression and background of each photograph

    # The group in which each language is at home, and the first language of each group.
    HOME: ClassVar[Mapping[str, str]] = retakes.HOME
    FIRST: ClassVar[Mapping[str, str]] = retakes.FIRST
    # Changes of a recording that a face should hardly depend on.
    SHAMS: ClassVar[Mapping[str, changes.Arm]] = changes.SHAMS

    def write(self, folder: Path) -> None:
        """Write it into a folder, which `load` reads."""
        for name, table in (("people", self.people.reset_index()), ("photographs", self.photographs)):
            with replacing(folder / f"{name}.parquet") as temporary:
                table.to_parquet(temporary, index=False)
        write_json(self.world.model_dump(), folder / "world.json")

    @classmethod
    def load(cls, folder: Path) -> "Truth | None":
        """What `write` wrote; None if there is no such folder, UserError if it is damaged."""
        if not folder.is_dir():
            return None
        try:
            world = World.model_validate(json.loads((folder / "world.json").read_text(encoding="utf-8")))
            everybody, photographs = (pd.read_parquet(folder / f"{name}.parquet") for name in ("people", "photographs"))
        except (OSError, ValueError):
            raise UserError(f"{folder} does not hold the truth of a synthetic world: prepare the data again.") from None
        return cls(world, everybody.set_index("speaker_id"), photographs)

    def of(self, speakers: Iterable[str]) -> pd.DataFrame:
        """Every trait of these speakers, a row each, in this order."""
        return self.people.loc[np.asarray(speakers)].reset_index()

    def foreign(self, speakers: Iterable[str]) -> Shaped[np.ndarray, "speakers"]:
        """Whether each speaker's language is at home in another group (True) or in their own."""
        return self.of(speakers)["mismatched"].to_numpy(bool)

    def correlations(self, columns: list[str]) -> pd.DataFrame:
        """Correlations of the voice traits (rows) with face columns, within sex and five-year age class."""
        return people.links(self.people, columns)

    # ---- the best possible observer

    def links(self, split: str = "test") -> dict[str, float]:
        """Strength of the hidden causes, and how closely language goes with group in this split."""
        confound = self.world.confound_test if split == "test" else self.world.confound
        return {"strength": self.world.strength, "confound": confound}

    def population(self, size: int, seed: int, split: str = "test", **links: float) -> pd.DataFrame:
        """That many new people of this world, drawn as those of a split; `links` replace some of the split's own."""
        links = self.links(split) | links
        return people.sample(size, split=split, seed=seed, shares=self.world.group_shares, **links)

    def log_likelihood(
        self, voices: pd.DataFrame, faces: pd.DataFrame, split: str = "test", **links: float
    ) -> Float[np.ndarray, "voices faces"]:
        """log p(voice | face) of every voice with every face, both as rows of `of` or `population`."""
        return ideal_observer.log_likelihood(voices, faces, **self.links(split) | links)

    def scores(self, speakers: Iterable[str]) -> Float[np.ndarray, "speakers speakers"]:
        """The best possible score of each speaker's voice with each one's face: `log_likelihood` among themselves."""
        traits = self.of(speakers)
        return self.log_likelihood(traits, traits)

    def read_voices(
        self,
        known: Float[np.ndarray, "recordings dim"],
        speakers: Iterable[str],
        features: Float[np.ndarray, "voices dim"],
    ) -> pd.DataFrame:
        """What of the voice traits can be read off features, in place of rows of `of`: see `readings.voices`."""
        return readings.voices(known, self.of(speakers), features)

    def read_faces(
        self,
        known: Float[np.ndarray, "people dim"],
        people: Iterable[str],
        features: Float[np.ndarray, "faces dim"],
        seed: int,
    ) -> pd.DataFrame:
        """What of the face parameters can be read off features, in place of rows of `of`: see `readings.faces`."""
        return readings.faces(known, self.of(people), features, seed)

    def observer(self, voices: Iterable[str] | pd.DataFrame, size: int, seed: int) -> ideal_observer.Observer:
        """The ideal observer of these speakers' voices (or rows of traits), who knows `size` people of the world."""
        traits = voices if isinstance(voices, pd.DataFrame) else self.of(voices)
        return ideal_observer.observer(traits, self.world, size, seed)

    def observer_among(self, voices: Iterable[str], known: Iterable[str]) -> ideal_observer.Observer:
        """The ideal observer of these speakers' voices, whose knowledge of faces is that of the people `known`."""
        population = self.of(known)
        weights = softmax(self.log_likelihood(self.of(voices), population), axis=1)
        return ideal_observer.Observer(population, weights)

    def measures(self, traits: pd.DataFrame) -> Float64[np.ndarray, "people 13"]:
        """The craniofacial measures (px) of the canonical faces of people, rows of `of` or `population`."""
        return measures(render.canonical_landmarks(people.identity(traits), self.world.size).numpy())

    def negative_controls(self, speakers: Iterable[str], photographs: Iterable[int]) -> pd.DataFrame:
        """What no voice carries, as 0/1 columns: of each speaker, and of the photograph taken of them."""
        taken = self.photographs.iloc[np.asarray(photographs, dtype=int)].reset_index(drop=True)
        return people.controls(self.of(speakers), taken)

    def language_given_group(self, confound: float) -> pd.DataFrame:
        """P(language | group), groups x languages, where language goes with group to this degree."""
        return people.language_given_group(confound)

    def group_given_language(self, languages: pd.Series) -> pd.DataFrame:
        """P(group | language) among the training speakers: a row a language given, a column a group."""
        return retakes.group_told(languages, self.world)

    # ---- the studio: the same people, recorded again

    def record(self, traits: pd.DataFrame, seconds: float, seed: int) -> Int16[np.ndarray, "recordings samples"]:
        """A recording (16 kHz) of each row of traits, each on a day of its own."""
        return retakes.record(traits, seconds, self.world, seed)

    def in_every_language(self, speakers: Iterable[str], takes: int) -> pd.DataFrame:
        """Rows of traits for so many takes of each speaker in each language; `home` is the group of the language."""
        return retakes.in_every_language(self.of(speakers), takes)

    def women_and_men(self, speakers: int, split: str = "test") -> pd.DataFrame:
        """Every trait of the first women and the first men of a split, as many of each."""
        return changes.cast(self.people.reset_index(), split, speakers)

    def record_changed(
        self, traits: pd.DataFrame, semitones: Sequence[float], percent: Sequence[float], seconds: float, seed: int
    ) -> tuple[pd.DataFrame, Int16[np.ndarray, "takes samples"]]:
        """Each person recorded with each change of pitch and tract, and with the `SHAMS` (see `changes.plan`).

        Args:
            traits: rows of `of` or `women_and_men`.
            semitones: changes of pitch.
            percent: changes of tract length, each of which is combined with each of `semitones`.
            seconds: of a recording (16 kHz).
            seed: of days and sentences.
        """
        return changes.record(traits, changes.arms(semitones, percent), seconds, seed, self.world.workers)

    def along(self, takes: pd.DataFrame) -> pd.DataFrame:
        """The takes in which nothing but one dose, of pitch or of tract, is changed (see `changes.along`)."""
        return changes.along(takes)

    def expected_of(self, takes: pd.DataFrame, size: int, seed: int) -> pd.DataFrame:
        """What the world expects of the face of somebody with the voice of each take (see `changes.expectation`)."""
        return changes.expectation(takes, self.world, size, seed)

    def speak(self, traits: Mapping, seconds: float, seed: int) -> tuple[Int16[np.ndarray, "samples"], speech.Voice]:
        """A recording of a voice with these traits, and the voice."""
        voice = speech.voice_of(traits)
        with speech.Espeak() as espeak:
            return speech.recording(espeak, voice, seconds, seed), voice

    def read_aloud(self, text: str, seed: int, **voice) -> Int16[np.ndarray, "samples"]:
        """The whole text (16 kHz) without pauses, read by a synthetic voice: fields of `speech.Voice`."""
        with speech.Espeak() as espeak:
            return isolate(espeak.say(speech.Voice(**voice), text, seed).astype(np.float32) / FULL_SCALE)

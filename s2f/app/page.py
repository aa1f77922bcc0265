"""Choose a model and a voice, and see the face that goes with it: the widgets of 00_explore.

What is shown are widgets and no captured output: run by papermill, that can wait forever for an answer.
"""

import random
from collections.abc import Callable, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import ipywidgets as widgets
import numpy as np
import pandas as pd
from jaxtyping import Int16

from s2f import cli
from s2f.app import pieces
from s2f.app.voice import Voice, located, speech_in
from s2f.data.corpus import Corpus
from s2f.models import avatar
from s2f.models.speech2face import CARD, LONGEST_SECONDS, Card, Speech2Face
from s2f.plots import style
from s2f.signal import audio, images, speech
from s2f.study.paths import Study, UserError

SAMPLES = 8  # on the sheet, which has nine faces with the average one
NO_MODEL = "No model is made here: run make repro, or make repro-published for one of real voices."
NO_VOICE = "No voice is chosen yet: record one, choose a file, or take a test speaker."


@cache
def load(models: Path) -> Speech2Face:
    """The system in a folder of models, which has drawn one face: so the first voice waits for nothing."""
    system = Speech2Face.load(models)
    noise = np.random.default_rng(0).normal(0, 1000, 6 * audio.SAMPLE_RATE).astype(np.int16)
    system.face(noise)
    system.samples(noise, 1)
    return system


class Chosen(NamedTuple):
    """The voice that a page shows."""

    speech: Int16[np.ndarray, "samples"]  # as `signal.speech` isolates it
    clip: pd.Series | None  # the row of a test recording; None for a voice of the user's


def models_here(study: Study) -> dict[str, Path]:
    """The folders of finished models by what they learned from: the study's own, then those of `studies/` below it."""
    folders = [study.models, *sorted(study.root.glob("studies/*/models"))]
    return {Card.load(folder).learned_from: folder for folder in folders if (folder / CARD).is_file()}


def recordings(corpus: Corpus) -> dict[str, str]:
    """The ids of the test recordings, by what is known of their speakers, such as "F, 34, G1, en-us, 6.0 s (17-2)"."""
    tests = corpus.held_out.clips[corpus.held_out.test]
    named = {}
    for clip in tests.sort_values(["sex", "age", "clip_id"]).itertuples():
        about = [clip.sex, clip.age, clip.group, clip.language]
        known = [f"{value:.0f}" if isinstance(value, float) else value for value in about if not pd.isna(value)]
        named[f"{', '.join([*known, f'{clip.seconds:.1f} s'])} ({clip.clip_id})"] = clip.clip_id
    return named


class Page:
    """The controls, and what follows them.

    Attributes:
        study: whose models and test recordings are offered, and the models of `studies/` below it.
        corpus: of the study; None where its data are not made.
        controls: choose model and voice.
        face: the face that goes with the chosen voice, others that go with it as well, and how far to trust it.
    """

    def __init__(self, study: Study, recording: str = "", path: str = "") -> None:
        """The page of a study.

        Args:
            study: a study.
            recording: id of a test recording to begin with; by default the first, unless a model of real voices is
                there, which waits for a voice.
            path: of a sound file to begin with.
        """
        style.use()
        self.study, self.followers, self.chosen, self.problem = study, [], None, NO_VOICE
        self.corpus = Corpus.open(study) if (study.data / "manifest.parquet").is_file() else None
        folders = models_here(study)
        real = [folder for folder in folders.values() if Card.load(folder).real]
        listed = recordings(self.corpus) if self.corpus is not None else {}
        first = "" if real else next(iter(listed.values()), "")

        wide = widgets.Layout(width="34em", max_width="100%")
        self.models = widgets.Dropdown(options=folders, value=next(iter([*real, *folders.values()]), None), layout=wide)
        self.voice = Voice(self.take)
        self.path = widgets.Text(placeholder="path of a sound file", continuous_update=False, layout=wide)
        self.listed = widgets.Dropdown(options={"none": "", **listed}, layout=wide)
        another = widgets.Button(description="another one")
        another.on_click(lambda _: self.listed.set_trait("value", random.choice(list(listed.values()))))
        rows = {"model, learned from": [self.models], "your voice": [self.voice], "or a file here": [self.path]}
        if listed:
            rows["or a test speaker"] = [self.listed, another]
        self.controls = widgets.VBox([widgets.HTML(pieces.LOOK), pieces.labelled(rows)])
        self.face = self.follow(portrait)

        if self.models.value is not None:
            load(self.models.value)
        self.models.observe(lambda _: self.update(), "value")
        self.path.observe(lambda change: change["new"] and self.read(change["new"]), "value")
        self.listed.observe(lambda change: change["new"] and self.take_recording(change["new"]), "value")
        if path:
            self.path.value = path
        else:
            self.listed.value = recording or first

    @property
    def system(self) -> Speech2Face:
        """The chosen model; UserError where none is made."""
        if self.models.value is None:
            raise UserError(NO_MODEL)
        return load(self.models.value)

    def take(self, name: str, sound: bytes) -> str:
        """Choose a voice by the bytes of a sound file, and say in a sentence what was found in it."""
        return self.choose(lambda: Chosen(speech_in(sound, name), None))

    def read(self, path: str) -> str:
        """Choose a voice by the path of a sound file, seen from the study or from the working folder."""
        file = located(path, self.study.root, Path.cwd())
        return self.choose(lambda: Chosen(speech.read(file, LONGEST_SECONDS), None))

    def take_recording(self, clip_id: str) -> str:
        """Choose a test recording by its id."""

        def chosen() -> Chosen:
            tests = self.corpus.held_out.clips.set_index("clip_id")
            if clip_id not in tests.index:
                raise UserError(f"There is no test recording {clip_id!r}: take one of the list.")
            clip = tests.loc[clip_id]
            return Chosen(self.corpus.shards.clip(*clip[["audio_shard", "audio_offset", "audio_samples"]]), clip)

        return self.choose(chosen)

    def choose(self, find: Callable[[], Chosen]) -> str:
        """Choose the voice that `find` gives, or show why it gives none; a sentence about either."""
        try:
            self.chosen, self.problem = find(), ""
            answer = f"{len(self.chosen.speech) / audio.SAMPLE_RATE:.1f} s of speech"
        except UserError as error:
            self.chosen, self.problem = None, str(error)
            answer = self.problem
        self.update()
        return answer

    def follow(self, show: Callable[["Page"], Sequence[widgets.Widget]], *controls: widgets.Widget) -> widgets.VBox:
        """A box with what `show(page)` makes of the chosen voice, made anew for each voice and change of `controls`."""
        box = widgets.VBox()

        def update(_change=None) -> None:
            try:
                box.children = tuple(show(self)) if self.chosen is not None else (pieces.sentences(self.problem),)
            except UserError as error:
                box.children = (pieces.sentences(str(error)),)

        for control in controls:
            control.observe(update, "value")
        self.followers.append(update)
        update()
        return box

    def update(self) -> None:
        """Show anew what follows the chosen voice."""
        for update in self.followers:
            update()


def portrait(page: Page) -> list[widgets.Widget]:
    """The face, for a test speaker beside the true one, the sheet of others, the avatar, and how far to trust them."""
    system, (spoken, clip) = page.system, page.chosen
    face = system.face(spoken)
    shown = {"the average face that goes with this voice": face.image}
    if clip is not None:
        (row,) = page.corpus.rows([clip["speaker_id"]])
        shown |= {"true face": page.corpus.canonical[row], "photograph": page.corpus.images[clip["face"]]}
    others = system.samples(spoken, SAMPLES)
    sheet = images.sheet([face.image, *others])
    shown[f"framed: the average face; then {SAMPLES} others that go with this voice as well"] = sheet
    try:
        chosen, rests_on = avatar.of(face, page.models.value)
        shown["average traits of people with such voices, as an avatar"] = avatar.picture(chosen)
        rests_on = f"The avatar: {rests_on} {avatar.credit()}"
    except UserError as error:
        rests_on = str(error)  # such as that its readers are not made yet; the face is
    right = cli.reliability(system.card, page.models.value.parent / "results")
    notes = {"Description": system.card.caveat, "Software": f"s2f {metadata.version('s2f')}"}
    return [
        pieces.faces(shown),
        widgets.HBox(
            [
                pieces.download(pieces.png(face.image, **notes), "face.png", "Download the face"),
                pieces.download(pieces.png(sheet, **notes), "faces.png", "Download the sheet"),
            ]
        ),
        pieces.sentences(face.traits, right, face.uncertainty, rests_on, strong=system.card.caveat),
    ]

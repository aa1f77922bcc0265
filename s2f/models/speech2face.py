"""The front page: from a recording to the average face that goes with its voice, by either kind of model.

To draw needs neither torch, SciPy, scikit-learn nor pandas, whose import takes many times as long as drawing itself.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int16, UInt8

from s2f.models import arrays
from s2f.models.exported import Network
from s2f.models.front_ends import CAMPPLUS, GE2E, VOICE, FrontEnd, SpeakerNetworks, SpectrogramNetwork
from s2f.models.limits import Limits
from s2f.models.linear_decoder import LinearDecoder
from s2f.models.readers import Readers
from s2f.models.spread import Spread
from s2f.signal import speech
from s2f.signal.audio import SAMPLE_RATE, fit_length
from s2f.signal.landmarks import MEASURES, measures
from s2f.study.paths import UserError, write_json

LONGEST_SECONDS = 30.0  # more of a recording does not count: memory grows with it
# The least length of a half: those of less than 6 s overlap, those of 3 s would be the same.
SEGMENT_SECONDS = 3.0
# What tells how far a prediction can be trusted: `signal.speech.quality`, length, the angle between the halves.
SIGNS = ("dynamics", "treble", "crest", "log_seconds", "halves")

FACE, MEAN, HEAD, DECODER = "face.onnx", "mean.safetensors", "head.safetensors", "decoder.safetensors"
LIMITS, SPREAD, READERS, CARD = "limits.safetensors", "spread.safetensors", "readers.safetensors", "model.json"
COMMON = (LIMITS, SPREAD, READERS)
# The files of each kind: one network from the spectrogram on, or a regression on embeddings of speaker networks.
FILES = {"network": (VOICE, FACE, MEAN, *COMMON), "regression": (CAMPPLUS, GE2E, HEAD, DECODER, *COMMON)}


# How often the true face is among the first `among` of `size`, with an interval and by chance.
RIGHT = ("among", "size", "value", "low", "high", "chance")


# ---- What a folder of models holds


@dataclass(frozen=True)
class Card:
    """What a folder of models holds, and how often its faces are right."""

    kind: str  # of `FILES`
    learned_from: str  # such as "the voices and faces of 1,500 people of a synthetic world"
    real: bool  # whether these are real people
    crop_seconds: int | float  # length of a training recording; less speech is repeated
    exaggeration: int | float  # of the faces that are drawn unless another is given
    right: Mapping[str, int | float] | None  # `RIGHT`; None where the results of the study say it
    files: Mapping[str, str]  # digest of each file

    @classmethod
    def load(cls, models: str | Path) -> "Card":
        """The card of a folder; UserError if it is missing or damaged."""
        path = Path(models) / CARD
        if Path(models).exists() and not Path(models).is_dir():
            raise UserError(f"{models} is no folder of models: name the folder.")
        if not path.is_file():
            raise UserError(
                f"There is no {path}: make it with `dvc repro robustness` (of the published samples: "
                "`make repro-published`), or name another folder of models."
            )
        try:
            card = cls(**json.loads(path.read_text(encoding="utf-8")))
            files, numbers = set(card.files), [float(card.crop_seconds), float(card.exaggeration)]
            right = card.right and {key: float(card.right[key]) for key in RIGHT}
            if files != set(FILES[card.kind]) or not np.isfinite(numbers).all() or not 0 < numbers[0] <= 60:
                raise ValueError("not such a card")
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            raise UserError(f"{path} is damaged or something else: make the models again.") from None
        return cls(card.kind, str(card.learned_from), bool(card.real), *numbers, right, dict(card.files))

    @property
    def caveat(self) -> str:
        """What a face drawn by this model is not."""
        return (
            f"This is an average face with traits that go with such voices, learned from {self.learned_from}. "
            "It is not this person: never use it to identify anybody."
        )

    def check(self, models: str | Path) -> None:
        """UserError if a file of the folder is missing, damaged or of another training."""
        for name, digest in self.files.items():
            path = Path(models) / name
            if not path.is_file():
                raise UserError(f"There is no {path}, a part of the model: make the models again.")
            if _digest(path) != digest:
                raise UserError(f"{path} is damaged, or not of one training with {CARD}: make the models again.")


def write_card(
    models: str | Path,
    kind: str,
    learned_from: str,
    real: bool,
    crop_seconds: int | float,
    exaggeration: int | float = 0.0,
    right: Mapping[str, int | float] | None = None,
) -> None:
    """Write the card of a folder whose other files are all there."""
    files = {name: _digest(Path(models) / name) for name in FILES[kind]}
    card = Card(kind, learned_from, real, crop_seconds, exaggeration, right, files)
    write_json(vars(card), Path(models) / CARD)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---- A voice to its face feature


@dataclass(frozen=True)
class Head:
    """A linear map from the numbers of a front end to the face feature, less the mean face's."""

    weights: Float32[np.ndarray, "width feature_dim"]
    offset: Float32[np.ndarray, "feature_dim"]
    mean: Float32[np.ndarray, "feature_dim"]  # feature of the mean face of the training people

    def __call__(self, embeddings: Float32[np.ndarray, "n width"]) -> Float32[np.ndarray, "n feature_dim"]:
        return embeddings @ self.weights + self.offset


@dataclass(frozen=True)
class Prediction:
    """What a model makes of a recording."""

    seconds: float  # of speech that it rests on
    feature: Float32[np.ndarray, "feature_dim"]
    halves: Float32[np.ndarray, "halves feature_dim"]  # features of the two halves; none if it is too short
    quality: dict[str, float]  # see `signal.speech.quality`

    @property
    def halves_angle(self) -> float:
        """Angle between the features of the halves (degrees); NaN for a recording too short to have two."""
        if not len(self.halves):
            return math.nan
        one, other = self.halves.astype(float)
        cosine = one @ other / max(np.linalg.norm(one) * np.linalg.norm(other), 1e-12)
        return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))

    @property
    def signs(self) -> Float[np.ndarray, "signs"]:
        """What tells how far the feature can be trusted, as `limits.Limits` takes it."""
        return np.array([*self.quality.values(), math.log(self.seconds), self.halves_angle])


@dataclass(frozen=True)
class Embedded:
    """A recording as its front end sees it, whole and in halves, before a head maps it to a face feature."""

    seconds: float
    whole: Float32[np.ndarray, "width"]
    halves: Float32[np.ndarray, "halves width"]
    quality: dict[str, float]

    def predicted(self, head: Head | None) -> Prediction:
        """By a head; None where the front end gives the face feature itself."""
        if head is None:
            return Prediction(self.seconds, self.whole, self.halves, self.quality)
        return Prediction(self.seconds, head(self.whole[None])[0], head(self.halves), self.quality)


def embed(front_end: FrontEnd, crop_seconds: float, spoken: Int16[np.ndarray, "samples"]) -> Embedded:
    """A recording as a front end sees it.

    Args:
        front_end: such as `front_ends.SpeakerNetworks`.
        crop_seconds: length of a training recording; less speech is repeated.
        spoken: speech as `signal.speech` isolates it; the first 30 s count.
    """
    spoken = spoken[: round(LONGEST_SECONDS * SAMPLE_RATE)]
    whole = front_end(fit_length(spoken, max(len(spoken), round(crop_seconds * SAMPLE_RATE))))
    half = max(len(spoken) // 2, round(SEGMENT_SECONDS * SAMPLE_RATE))
    # Of a shorter recording both halves would be the whole, and zero degrees would reassure.
    parts = [front_end(part) for part in (spoken[:half], spoken[-half:])] if half < len(spoken) else []
    halves = np.array(parts, np.float32).reshape(len(parts), len(whole))
    return Embedded(len(spoken) / SAMPLE_RATE, whole, halves, speech.quality(spoken))


FRONT_ENDS = {"network": SpectrogramNetwork, "regression": SpeakerNetworks}


@dataclass(frozen=True)
class Voice:
    """The part of a model that goes from speech to the face feature."""

    front_end: FrontEnd
    head: Head | None
    crop_seconds: float

    @classmethod
    def load(cls, models: str | Path, kind: str, crop_seconds: float) -> "Voice":
        """Of a folder of models of a kind of `FILES`."""
        front_end = FRONT_ENDS[kind](models)
        if kind == "network":
            return cls(front_end, None, crop_seconds)
        path = Path(models) / HEAD
        found = arrays.load(path)
        if set(found) != set(Head.__dataclass_fields__):
            raise UserError(f"{path} does not hold the head of a model: make it again with the stage that writes it.")
        return cls(front_end, Head(**found), crop_seconds)

    def predict(self, spoken: Int16[np.ndarray, "samples"]) -> Prediction:
        """The face feature of speech, of all of it and of its halves."""
        return embed(self.front_end, self.crop_seconds, spoken).predicted(self.head)


# ---- A face feature to its picture

Features = Float32[np.ndarray, "faces feature_dim"]


class NetworkPainter:
    """The face decoder of the paper; it draws features v, exaggerated: v + k (v - mean)."""

    def __init__(self, models: str | Path) -> None:
        self._network = Network(Path(models) / FACE)
        path = Path(models) / MEAN
        found = arrays.load(path)
        if set(found) != {"feature"}:
            raise UserError(f"{path} does not hold the mean feature of a model: make the models again.")
        self._mean = found["feature"]
        self.dim = len(self._mean)

    def images(self, features: Features, exaggeration: float) -> UInt8[np.ndarray, "faces size size 3"]:
        images, _, _ = self._network(self._exaggerated(features, exaggeration))
        return np.rint(images * 255).astype(np.uint8).transpose(0, 2, 3, 1)

    def landmarks(self, features: Features, exaggeration: float) -> Float[np.ndarray, "faces 68 2"]:
        _, landmarks, _ = self._network(self._exaggerated(features, exaggeration))
        return landmarks

    def around(
        self, feature: Float32[np.ndarray, "feature_dim"], people: Features
    ) -> UInt8[np.ndarray, "faces size size 3"]:
        return self.images(people, 0.0)

    def _exaggerated(self, features: Features, exaggeration: float) -> Features:
        return features + np.float32(exaggeration) * (features - self._mean)


class LinearPainter:
    """A linear decoder, of features less the mean face's."""

    def __init__(self, models: str | Path) -> None:
        path = Path(models) / DECODER
        try:
            self._decoder = LinearDecoder.of(arrays.load(path))
        except KeyError:
            raise UserError(f"{path} does not hold a face decoder: make the models again.") from None
        self.dim = len(self._decoder.mean)

    def images(self, features: Features, exaggeration: float) -> UInt8[np.ndarray, "faces size size 3"]:
        return self._decoder.render(self._coefficients(features, exaggeration))

    def around(
        self, feature: Float32[np.ndarray, "feature_dim"], people: Features
    ) -> UInt8[np.ndarray, "faces size size 3"]:
        mean = self._decoder.mean
        return self._decoder.render(self._decoder.around(feature + mean, people + mean))

    def landmarks(self, features: Features, exaggeration: float) -> Float[np.ndarray, "faces 68 2"]:
        return self._decoder.landmarks(self._coefficients(features, exaggeration))

    def _coefficients(self, features: Features, exaggeration: float) -> Float[np.ndarray, "faces coefficients"]:
        return self._decoder.coefficients(features + self._decoder.mean, exaggeration)


Painter = NetworkPainter | LinearPainter
PAINTERS = {"network": NetworkPainter, "regression": LinearPainter}


# ---- Both


@dataclass(frozen=True)
class Face:
    """An average face that goes with a voice; not the speaker's."""

    image: UInt8[np.ndarray, "size size 3"]
    landmarks: Float[np.ndarray, "68 2"]
    feature: Float32[np.ndarray, "feature_dim"]  # what it is drawn from, without exaggeration
    prediction: Prediction
    outside: float  # distance of the prediction as a share of what is usual: beyond 1, the face was drawn back
    error: tuple[float, float]  # of the feature, median and 90th percentile of recordings like this (degrees)
    measures: dict[str, tuple[float, float]]  # of the faces of the halves, the smaller and the larger; empty if short
    yardstick: tuple[float, float]  # angle between two recordings of one speaker, and between two speakers (degrees)
    age: tuple[float, float, float] | None  # years: likeliest, and the range of 80 in 100 people with such a voice
    female: float | None  # probability
    skin: tuple[float, float, float] | None  # skin tone (ITA, degrees), as `age`
    real: bool  # whether the model learned from real people, whose age and sex are apparent ones

    @property
    def traits(self) -> str:
        """In a sentence, how old people with such voices are, and of which sex; empty where the model reads neither."""
        apparent = "apparent " if self.real else ""
        parts = []
        if self.age is not None:
            parts.append(f"{apparent}age {self.age[1]:.0f} to {self.age[2]:.0f} years (80 in 100 of them)")
        if self.female is not None:
            sex, share = ("female", self.female) if self.female >= 0.5 else ("male", 1 - self.female)
            parts.append(f"{apparent}sex {sex} (probability {min(share, 0.99):.0%})")
        return f"People with such voices: {', '.join(parts)}." if parts else ""

    @property
    def uncertainty(self) -> str:
        """In a few sentences, how far the face depends on the quality of the recording."""
        (median, high), (same, others), prediction = self.error, self.yardstick, self.prediction
        pairs = {"two recordings of one speaker": same, "those of two speakers": others}
        apart = [f"{whose} lie {angle:.0f} degrees apart" for whose, angle in pairs.items() if math.isfinite(angle)]
        sentences = [
            f"From {prediction.seconds:.1f} s of speech. Recordings like this one move the face by about {median:.0f} "
            f"degrees (one in ten by more than {high:.0f}) from that of a clean recording of the same words"
            f"{', where ' if apart else ''}{' and '.join(apart)}. So it was among the speakers of this study; how far "
            "it is to the true face is another matter."
        ]
        if self.measures:
            width = max((high - low) / low for low, high in self.measures.values())
            sentences.append(
                f"The halves of this recording lie {prediction.halves_angle:.0f} degrees apart, and measures of their "
                f"faces differ by up to {width:.0%}."
            )
            if prediction.halves_angle > others:
                sentences.append("That is as far as two speakers: make sure that only one person speaks.")
        else:
            sentences.append("So little speech tells little of a face: give 6 s.")
        if self.outside > 1:
            sentences.append(
                f"The recording is unlike those that the model knows, {self.outside:.1f} times as far from the average "
                "as nearly all of them: its face is drawn back towards the average face."
            )
        return " ".join(sentences)


@dataclass(frozen=True)
class Speech2Face:
    """A trained system, on the CPU."""

    card: Card
    voice: Voice
    painter: Painter
    limits: Limits
    spread: Spread
    readers: Readers

    @classmethod
    def load(cls, models: str | Path) -> "Speech2Face":
        """The system in a folder of models; UserError if a part is missing, damaged or of another training."""
        models = Path(models)
        card = Card.load(models)
        card.check(models)
        voice = Voice.load(models, card.kind, card.crop_seconds)
        painter = PAINTERS[card.kind](models)
        parts = (part.load(models / name) for part, name in zip((Limits, Spread, Readers), COMMON, strict=True))
        system = cls(card, voice, painter, *parts)
        if len({painter.dim, len(system.limits.mean), len(system.spread.mean)}) > 1:
            raise UserError(f"The models in {models} are of different trainings: make them again.")
        return system

    def face(
        self,
        recording: Int16[np.ndarray, "samples"] | Float32[np.ndarray, "samples"],
        exaggeration: int | float | None = None,
    ) -> Face:
        """The average face that goes with the voice in a recording.

        Args:
            recording: speech at 16 kHz in 16 bits, as `speech.read` and every corpus give it; or any recording in
                float32, in which speech is found first. Its first 30 s count.
            exaggeration: k of v + k (v - mean): how much further away from the average face the face is drawn; by
                default as far as the model says.

        Raises:
            UserError: if no speech is found in the recording.
        """
        prediction = self._predicted(recording)
        feature = self.limits.drawn_back(prediction.feature[None])
        strength = self.card.exaggeration if exaggeration is None else exaggeration
        of_halves = self.painter.landmarks(prediction.halves, 0.0) if len(prediction.halves) else np.empty((0, 68, 2))
        ranges = np.sort(measures(of_halves), axis=0).T.tolist() if len(of_halves) else []
        (error,) = self.limits.expected_error(prediction.signs[None], prediction.feature[None]).tolist()
        return Face(
            self.painter.images(feature, float(strength))[0],
            self.painter.landmarks(feature, float(strength))[0],
            feature[0],
            prediction,
            float(self.limits.distance(prediction.feature[None])[0]),
            tuple(error),
            dict(zip(MEASURES, map(tuple, ranges), strict=False)),
            (float(self.limits.same_speaker), float(self.limits.two_speakers)),
            self.readers.number("age", feature[0]),
            self.readers.probability("female", feature[0]),
            self.readers.number("skin", feature[0]),
            self.card.real,
        )

    def samples(
        self,
        recording: Int16[np.ndarray, "samples"] | Float32[np.ndarray, "samples"],
        count: int,
        seed: int | None = None,
    ) -> UInt8[np.ndarray, "{count} size size 3"]:
        """Faces drawn at random from the distribution of faces given the voice.

        They are drawn without exaggeration, because single people, unlike their average, differ as much as people do.

        Args:
            recording: as `face` takes it.
            count: of the faces.
            seed: of chance; by default the recording itself, so that it gets the same faces each time, and another one
                others.
        """
        if seed is None:
            seed = int.from_bytes(hashlib.sha256(recording.tobytes()).digest()[:8])
        feature = self.limits.drawn_back(self._predicted(recording).feature[None])[0]
        return self.painter.around(feature, self.spread.draw(feature, count, seed))

    def _predicted(self, recording: Int16[np.ndarray, "samples"] | Float32[np.ndarray, "samples"]) -> Prediction:
        return self.voice.predict(recording if recording.dtype == np.int16 else speech.isolate(recording))

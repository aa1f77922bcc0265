"""From voices to faces with trained models: features of clips and photographs, and drawn faces."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float32, Int16, UInt8

from s2f.data.batches import as_images, chunks
from s2f.data.shards import Shards
from s2f.metrics.similarity import angles
from s2f.models import face_encoder, weights
from s2f.models.face_decoder import FaceDecoder
from s2f.models.face_encoder import AnyFaceEncoder
from s2f.models.limits import Limits
from s2f.models.voice_encoder import VoiceEncoder, for_inference
from s2f.signal import speech
from s2f.signal.audio import SAMPLE_RATE, fit_length, spectrogram
from s2f.signal.landmarks import MEASURES, measures
from s2f.study.numbers import finite
from s2f.study.paths import UserError, write_json
from s2f.study.precision import fast_dtype

FACE_BATCH = 256  # photographs or drawn faces at a time
LONGEST_SECONDS = 30.0  # more of a recording is not listened to: memory grows with it
# The least length of a half: those of less than 6 s overlap, those of 3 s would be the same.
SEGMENT_SECONDS = 3.0
# What tells how far a prediction can be trusted: `signal.speech.quality`, length, the angle between the halves.
SIGNS = ("dynamics", "treble", "crest", "log_seconds", "halves")
# The stage that makes each file of a models folder.
STAGES = {
    "voice.safetensors": "train",
    "facts.json": "train",
    "face.safetensors": "face_model",
    "limits.safetensors": "robustness",
}


def available_device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@dataclass(frozen=True)
class VoiceModel:
    """From recordings to predicted face features."""

    encoder: VoiceEncoder
    batch: int  # recordings at a time
    device: torch.device

    @classmethod
    def fast(cls, encoder: VoiceEncoder, batch: int) -> "VoiceModel":
        """A trained encoder made ready for inference, in the fastest precision of the device."""
        device = available_device()
        return cls(for_inference(encoder, fast_dtype(device)), batch, device)

    @classmethod
    def load(cls, models: str | Path, batch: int) -> "VoiceModel":
        """The trained encoder of a folder of models, as `fast` makes it ready."""
        return cls.fast(_voice_encoder(models), batch)

    @classmethod
    def exact(cls, models: str | Path, batch: int) -> "VoiceModel":
        """The trained encoder of a folder of models as it was trained, in float32."""
        return cls(_voice_encoder(models), batch, available_device())

    def clip_features(
        self, shards: Shards, clips: pd.DataFrame, seconds: float, tile_to: float | None = None
    ) -> Float32[np.ndarray, "clips feature_dim"]:
        """Features of the first seconds of clips.

        Args:
            shards: the sound.
            clips: rows of the table of clips.
            seconds: how much of each clip counts.
            tile_to: the length (s) up to which a shorter clip is repeated (default: `seconds`).
        """
        samples = round(seconds * SAMPLE_RATE)
        length = max(samples, round((tile_to or seconds) * SAMPLE_RATE))
        # Cut, then repeat: 3 s of a clip of 2 s, tiled to 6 s, are its 2 s three times, not 2 + 1 + 2 + 1.
        clips = clips.assign(audio_samples=clips["audio_samples"].clip(upper=samples))
        return self._features(shards.gather(clips.iloc[rows], length) for rows in chunks(len(clips), self.batch))

    def wave_features(self, waves: Int16[np.ndarray, "clips samples"]) -> Float32[np.ndarray, "clips feature_dim"]:
        """Features of recordings of one length (16 kHz)."""
        return self._features(waves[rows] for rows in chunks(len(waves), self.batch))

    def _features(self, parts: Iterable[Int16[np.ndarray, "_ samples"]]) -> Float32[np.ndarray, "clips feature_dim"]:
        encoder = self.encoder.to(self.device).eval()
        with torch.inference_mode():
            features = np.concatenate(
                [encoder(spectrogram(torch.from_numpy(waves).to(self.device))).cpu().numpy() for waves in parts]
            )
        finite(predicted_feature=features)
        return features


def _voice_encoder(models: str | Path) -> VoiceEncoder:
    return weights.load(Path(models) / "voice.safetensors", encoder=VoiceEncoder)["encoder"]


@dataclass(frozen=True)
class FaceModel:
    """From photographs to face features, and from features to canonical faces."""

    encoder: AnyFaceEncoder
    decoder: FaceDecoder
    device: torch.device

    @classmethod
    def load(cls, models: str | Path) -> "FaceModel":
        """The trained face encoder and decoder of a folder of models."""
        path = Path(models) / "face.safetensors"
        parts = weights.load(path, encoder=face_encoder.kind_in(path), decoder=FaceDecoder)
        return cls(parts["encoder"], parts["decoder"], available_device())

    def features(
        self, photographs: UInt8[np.ndarray, "photographs size size 3"]
    ) -> Float32[np.ndarray, "photographs feature_dim"]:
        """Features of photographs, or of drawn faces."""
        return photo_features(self.encoder, photographs, self.device)

    def draw(
        self, features: Float32[np.ndarray, "faces feature_dim"]
    ) -> tuple[UInt8[np.ndarray, "faces size size 3"], Float32[np.ndarray, "faces 68 2"]]:
        """The faces that go with features, and their landmarks (px)."""
        return draw(self.decoder, features, self.device)


def photo_features(
    encoder: AnyFaceEncoder, photographs: UInt8[np.ndarray, "photographs size size 3"], device: torch.device
) -> Float32[np.ndarray, "photographs feature_dim"]:
    """Features of photographs of faces."""
    encoder.to(device).eval()
    with torch.inference_mode():
        parts = [
            encoder(as_images(torch.from_numpy(np.array(photographs[rows])).to(device))).cpu()
            for rows in chunks(len(photographs), FACE_BATCH)
        ]
    features = torch.cat(parts).numpy()
    finite(photograph_feature=features)
    return features


def draw(
    decoder: FaceDecoder, features: Float32[np.ndarray, "faces feature_dim"], device: torch.device
) -> tuple[UInt8[np.ndarray, "faces size size 3"], Float32[np.ndarray, "faces 68 2"]]:
    """The faces that go with features, and their landmarks (px)."""
    decoder.to(device).eval()
    images, landmarks = [], []
    with torch.inference_mode():
        for rows in chunks(len(features), FACE_BATCH):
            drawn = decoder(torch.from_numpy(features[rows]).to(device))
            images.append((drawn.image * 255).round().byte().permute(0, 2, 3, 1).cpu())
            landmarks.append(drawn.landmarks.cpu())
    return torch.cat(images).numpy(), torch.cat(landmarks).numpy()


@dataclass(frozen=True)
class Prediction:
    """What the voice model makes of a recording."""

    seconds: float  # of speech that it rests on
    feature: Float32[np.ndarray, "feature_dim"]
    halves: Float32[np.ndarray, "halves feature_dim"]  # features of the two halves; none if it is too short
    quality: dict[str, float]  # see `signal.speech.quality`

    @property
    def halves_angle(self) -> float:
        """Angle between the features of the halves (degrees); NaN for a recording too short to have two."""
        return float(angles(self.halves[:1], self.halves[1:])[0]) if len(self.halves) else math.nan

    @property
    def signs(self) -> Float[np.ndarray, "signs"]:
        """What tells how far the feature can be trusted, as `limits.Limits` takes it."""
        return np.array([*self.quality.values(), math.log(self.seconds), self.halves_angle])


def predict(encoder: VoiceEncoder, crop_seconds: float, spoken: Int16[np.ndarray, "samples"]) -> Prediction:
    """Predict the face feature from speech, on the CPU.

    Args:
        encoder: the voice encoder.
        crop_seconds: length of a training crop; less speech is repeated.
        spoken: speech as `signal.speech` isolates it; the first 30 s count.
    """
    spoken = spoken[: round(LONGEST_SECONDS * SAMPLE_RATE)]
    whole = fit_length(spoken, max(len(spoken), round(crop_seconds * SAMPLE_RATE)))
    half = max(len(spoken) // 2, round(SEGMENT_SECONDS * SAMPLE_RATE))
    # Of a shorter recording both halves would be the whole, and zero degrees would reassure.
    parts = np.stack([spoken[:half], spoken[-half:]]) if half < len(spoken) else np.empty((0, half), np.int16)
    with torch.inference_mode():
        feature = encoder(spectrogram(torch.tensor(whole)[None])).numpy()[0]
        halves = encoder(spectrogram(torch.from_numpy(parts))).numpy() if len(parts) else np.empty((0, len(feature)))
    return Prediction(len(spoken) / SAMPLE_RATE, feature, halves.astype(np.float32), speech.quality(spoken))


@dataclass(frozen=True)
class Face:
    """An average face that goes with a voice; not the speaker's."""

    image: UInt8[np.ndarray, "size size 3"]
    landmarks: Float32[np.ndarray, "68 2"]
    feature: Float32[np.ndarray, "feature_dim"]  # what it is drawn from, without exaggeration
    prediction: Prediction
    outside: float  # distance of the prediction as a share of what is usual: beyond 1, the face was drawn back
    error: tuple[float, float]  # of the feature, median and 90th percentile of recordings like this (degrees)
    measures: dict[str, tuple[float, float]]  # of the faces of the halves, the smaller and the larger; empty if short
    yardstick: tuple[float, float]  # angle between two recordings of one speaker, and between two speakers (degrees)

    @property
    def uncertainty(self) -> str:
        """In a few sentences, how far the face depends on the quality of the recording."""
        (median, high), (same, others), prediction = self.error, self.yardstick, self.prediction
        sentences = [
            f"From {prediction.seconds:.1f} s of speech. Recordings like this one move the face by about {median:.0f} "
            f"degrees (one in ten by more than {high:.0f}) from that of a clean recording of the same words, where two "
            f"recordings of one speaker lie {same:.0f} degrees apart and those of two speakers {others:.0f}. So it was "
            "among the speakers of this study; how far it is to the true face is another matter."
        ]
        if self.measures:
            width = max((high - low) / low for low, high in self.measures.values())
            sentences.append(
                f"The halves of this recording lie {prediction.halves_angle:.0f} degrees apart, and measures of their "
                f"faces differ by up to {width:.0%}."
            )
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
    """The trained system, on the CPU. `facts`: see `write_facts`."""

    voice_encoder: VoiceEncoder
    face_decoder: FaceDecoder
    facts: dict
    limits: Limits

    @classmethod
    def load(cls, models: str | Path) -> "Speech2Face":
        """The system from a folder of models; UserError if one is missing."""
        models = Path(models)
        if models.exists() and not models.is_dir():
            raise UserError(f"{models} is no folder of models: name the folder.")
        for name, stage in STAGES.items():
            if not (models / name).is_file():
                raise UserError(f"There is no {models / name}: make it with `dvc repro {stage}`, or name the folder.")
        decoder = weights.load(models / "face.safetensors", decoder=FaceDecoder)["decoder"]
        system = cls(cpu_voice_encoder(models), decoder, read_facts(models), Limits.load(models / "limits.safetensors"))
        dims = system.voice_encoder.config.feature_dim, len(system.facts["mean_feature"]), len(system.limits.mean)
        if {*dims, decoder.config.feature_dim} != {dims[0]}:
            raise UserError(f"The models in {models} are of different trainings: make them again with `dvc repro`.")
        return system

    def face(
        self, recording: Int16[np.ndarray, "samples"] | Float32[np.ndarray, "samples"], exaggeration: float = 0.0
    ) -> Face:
        """The average face that goes with the voice in a recording.

        Args:
            recording: speech at 16 kHz in 16 bits, as `speech.read` and every corpus give it; or any recording in
                float32, in which speech is found first. Its first 30 s count.
            exaggeration: k of v + k (v - mean): how much further away from the average face the face is drawn.

        Raises:
            UserError: if no speech is found in the recording.
        """
        spoken = recording if recording.dtype == np.int16 else speech.isolate(recording)
        prediction = predict(self.voice_encoder, self.facts["seconds"], spoken)
        feature = self.limits.drawn_back(prediction.feature[None])
        mean = np.array(self.facts["mean_feature"], np.float32)
        exaggerated = feature + np.float32(exaggeration) * (feature - mean)
        features = np.concatenate([exaggerated, prediction.halves])
        images, landmarks = draw(self.face_decoder, features, torch.device("cpu"))
        ranges = np.sort(measures(landmarks[1:]), axis=0).T.tolist() if len(prediction.halves) else []
        (error,) = self.limits.expected_error(prediction.signs[None], prediction.feature[None]).tolist()
        return Face(
            images[0],
            landmarks[0],
            feature[0],
            prediction,
            float(self.limits.distance(prediction.feature[None])[0]),
            tuple(error),
            dict(zip(MEASURES, map(tuple, ranges), strict=False)),
            (float(self.limits.same_speaker), float(self.limits.two_speakers)),
        )


def cpu_voice_encoder(models: str | Path) -> VoiceEncoder:
    """The trained voice encoder of a folder of models, made ready for one recording at a time on the CPU."""
    return for_inference(_voice_encoder(models), torch.float32)


def write_facts(models: str | Path, seconds: float, face_features: Float32[np.ndarray, "photos feature_dim"]) -> None:
    """Write what `Speech2Face` needs beside the weights: seconds of a training crop, mean face feature."""
    write_json({"seconds": seconds, "mean_feature": face_features.mean(axis=0)}, Path(models) / "facts.json")


def read_facts(models: str | Path) -> dict:
    """What `write_facts` wrote; UserError if it is missing."""
    path = Path(models) / "facts.json"
    if not path.is_file():
        raise UserError(f"There is no {path}: make it with `dvc repro train`, or name the folder of the models.")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        seconds, mean = float(facts["seconds"]), [float(value) for value in facts["mean_feature"]]
        if not (0 < seconds <= 60 and np.isfinite(mean).all()):
            raise ValueError("no seconds of a crop, or no feature")
        return {"seconds": seconds, "mean_feature": mean}
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} is damaged or something else: make it again with `dvc repro train`.") from None

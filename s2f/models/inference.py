"""From voices to faces with trained models: features of clips and photographs, and drawn faces."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float32, Int16, UInt8

from s2f.data.batches import as_images, chunks
from s2f.data.shards import Shards
from s2f.models import face_encoder, weights
from s2f.models.face_decoder import FaceDecoder
from s2f.models.face_encoder import AnyFaceEncoder
from s2f.models.voice_encoder import VoiceEncoder, for_inference
from s2f.signal import audio
from s2f.signal.audio import SAMPLE_RATE, fit_length, spectrogram
from s2f.signal.landmarks import MEASURES, measures
from s2f.study.numbers import finite
from s2f.study.paths import UserError, write_json
from s2f.study.precision import fast_dtype

FACE_BATCH = 256  # photographs or drawn faces at a time
LONGEST_SECONDS = 30.0  # more of a recording is not listened to: memory grows with it
READ_SECONDS = 60  # of a longer file, so that an hour of it does not fill the memory
FLOOR_DB = 30  # below the speech: the noise floor that recordings of the synthetic world have, 20 to 40 dB
# The least that is heard as a half: those of less than 6 s overlap, those of 3 s would be the same.
SEGMENT_SECONDS = 3.0
# The stage that makes each file of a models folder.
STAGES = {"voice.safetensors": "train", "facts.json": "train", "face.safetensors": "face_model"}


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
class Spread:
    """How much the face depends on which half of the recording is heard.

    A lower bound of the uncertainty: it knows nothing of what voices do not say of faces.
    """

    degrees: float  # angle between the features of the two halves
    measures: dict[str, tuple[float, float]]  # smaller and larger of each craniofacial measure of their faces

    def __str__(self) -> str:
        width = max((high - low) / low for low, high in self.measures.values())
        return (
            f"The halves of this recording give features {self.degrees:.1f} degrees apart, "
            f"and faces whose measures differ by up to {width:.0%}."
        )


@dataclass(frozen=True)
class Face:
    """An average face that goes with a voice; not the speaker's."""

    image: UInt8[np.ndarray, "size size 3"]
    landmarks: Float32[np.ndarray, "68 2"]
    feature: Float32[np.ndarray, "feature_dim"]  # as predicted, without exaggeration
    spread: Spread | None  # None for a recording too short to have two parts


@dataclass(frozen=True)
class Speech2Face:
    """The trained system, on the CPU. `facts`: see `write_facts`."""

    voice_encoder: VoiceEncoder
    face_decoder: FaceDecoder
    facts: dict

    @classmethod
    def load(cls, models: str | Path) -> "Speech2Face":
        """The system from a folder of models; UserError if one is missing."""
        models = Path(models)
        for name, stage in STAGES.items():
            if not (models / name).is_file():
                raise UserError(f"There is no {models / name}: make it with `dvc repro {stage}`, or name the folder.")
        voice = _voice_encoder(models)
        decoder = weights.load(models / "face.safetensors", decoder=FaceDecoder)["decoder"]
        return cls(for_inference(voice, torch.float32), decoder, read_facts(models))

    def face(self, wave: Float32[np.ndarray, "samples"], exaggeration: float = 0.0) -> Face:
        """The average face that goes with the voice in a recording (16 kHz; of a file: `read_recording`).

        One shorter than the training crops is repeated, of a long one the first 30 s are heard. With
        `exaggeration` k the face is drawn from v + k (v - mean), further away from the average face; the
        spread is that of faces drawn without it. UserError if the recording is empty.
        """
        wave = wave[: round(LONGEST_SECONDS * SAMPLE_RATE)]
        whole = fit_length(wave, max(len(wave), round(self.facts["seconds"] * SAMPLE_RATE)))
        with torch.inference_mode():
            feature = self.voice_encoder(spectrogram(torch.from_numpy(whole)[None])).numpy()
        mean = np.array(self.facts["mean_feature"], np.float32)
        exaggerated = feature + exaggeration * (feature - mean)
        images, landmarks = draw(self.face_decoder, exaggerated, torch.device("cpu"))
        return Face(images[0], landmarks[0], feature[0], self._spread(wave))

    def _spread(self, wave: Float32[np.ndarray, "samples"]) -> Spread | None:
        half = max(len(wave) // 2, round(SEGMENT_SECONDS * SAMPLE_RATE))
        if half >= len(wave):
            return None  # both halves would be the whole recording, and zero degrees would reassure
        halves = torch.from_numpy(np.stack([wave[:half], wave[-half:]]))
        with torch.inference_mode():
            features = self.voice_encoder(spectrogram(halves)).numpy()
        first, second = features / np.linalg.norm(features, axis=1, keepdims=True)
        # From the chord: the cosine of a small angle has lost its digits.
        angle = 2 * np.arcsin(min(np.linalg.norm(first - second) / 2, 1))
        _, landmarks = draw(self.face_decoder, features, torch.device("cpu"))
        ranges = np.sort(measures(landmarks), axis=0).T.tolist()
        return Spread(float(np.rad2deg(angle)), dict(zip(MEASURES, map(tuple, ranges), strict=True)))


def read_recording(path: str | Path) -> Float32[np.ndarray, "samples"]:
    """A sound file as `Speech2Face.face` takes it: its first 60 s at 16 kHz, with a quiet noise floor.

    A telephone, an MP3 or a noise gate leaves bands and pauses without any sound. No recording that the models heard in
    training was as silent anywhere, and the face drawn would be none. The same file gets the same noise.

    Raises:
        UserError: for a file that is no recording, or a silent one.
    """
    wave = audio.read(path, READ_SECONDS)
    noise = np.convolve(np.random.default_rng(0).standard_normal(len(wave)), np.ones(6), "same")
    level = np.sqrt(np.mean(wave**2) / np.mean(noise**2)) * 10 ** (-FLOOR_DB / 20)
    return (wave + level * noise).astype(np.float32)


def write_facts(models: str | Path, seconds: float, face_features: Float32[np.ndarray, "photos feature_dim"]) -> None:
    """Write what `Speech2Face` needs beside the weights: seconds of a training crop, mean face feature."""
    write_json({"seconds": seconds, "mean_feature": face_features.mean(axis=0)}, Path(models) / "facts.json")


def read_facts(models: str | Path) -> dict:
    """What `write_facts` wrote; UserError if it is missing."""
    path = Path(models) / "facts.json"
    if not path.is_file():
        raise UserError(f"There is no {path}: make it with `dvc repro train`, or name the folder of the models.")
    return json.loads(path.read_text(encoding="utf-8"))

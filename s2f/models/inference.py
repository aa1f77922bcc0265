"""Trained networks in torch, for whole corpora: features of clips and photographs, and drawn faces.

`speech2face` draws the face that goes with one recording, without torch; `export` makes its networks from these.
"""

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
from s2f.models import arrays, exporting, face_encoder, front_ends, speech2face, weights
from s2f.models.face_decoder import FaceDecoder
from s2f.models.face_encoder import AnyFaceEncoder
from s2f.models.voice_encoder import VoiceEncoder, for_inference
from s2f.signal.audio import N_BINS, SAMPLE_RATE, n_frames
from s2f.signal.spectrograms import spectrograms
from s2f.study.numbers import finite
from s2f.study.paths import UserError, write_json
from s2f.study.precision import fast_dtype

FACE_BATCH = 32  # photographs or drawn faces at a time: what they become in the network stays in cache


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
                [encoder(spectrograms(torch.from_numpy(waves).to(self.device))).cpu().numpy() for waves in parts]
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


def export(models: str | Path, folder: str | Path) -> None:
    """Write the voice encoder and the face decoder of a folder of models for `speech2face`, with the mean feature."""
    encoder = _voice_encoder(models)
    decoder = weights.load(Path(models) / "face.safetensors", decoder=FaceDecoder)["decoder"]
    crop = torch.zeros(1, 2, n_frames(3 * SAMPLE_RATE), N_BINS)
    exporting.export(encoder, crop, Path(folder) / front_ends.VOICE, ["feature"], {0: "recordings", 2: "frames"})
    feature = torch.zeros(1, decoder.config.feature_dim)
    outputs = ["image", "landmarks", "texture"]
    exporting.export(decoder, feature, Path(folder) / speech2face.FACE, outputs, {0: "faces"})
    mean = np.array(read_facts(models)["mean_feature"], np.float32)
    arrays.save({"feature": mean}, Path(folder) / speech2face.MEAN)

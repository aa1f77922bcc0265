"""Folders of models of both kinds, with invented weights, in which everything that is drawn from is there."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from s2f.models import (
    arrays,
    exporting,
    front_ends,
    inference,
    linear_decoder,
    speech2face,
    voice_encoder,
    weights,
)
from s2f.models.face_decoder import SMALL, FaceDecoder
from s2f.models.limits import Limits
from s2f.models.readers import Readers
from s2f.models.spread import Spread
from s2f.models.voice_encoder import VoiceEncoder

PEOPLE = 60
RIGHT = {"among": 10, "size": 100, "value": 0.43, "low": 0.4, "high": 0.46, "chance": 0.1}


def network(folder: Path, seconds: float = 3.0) -> tuple[VoiceEncoder, FaceDecoder]:
    """A voice encoder and a face decoder, trained on nobody; returned as they are in torch."""
    torch.manual_seed(0)
    encoder, decoder = VoiceEncoder(voice_encoder.SMALL).eval(), FaceDecoder(SMALL).eval()
    decoder.set_mean(torch.rand(68, 2) * 50 + 7)
    nn.init.normal_(decoder.landmarks[-1].weight, std=0.02)
    proof = {"data_md5": "none", "code": "none"}
    weights.save(folder / "voice.safetensors", **proof, encoder=encoder)
    weights.save(folder / "face.safetensors", **proof, decoder=decoder)
    inference.write_facts(folder, seconds, np.zeros((2, SMALL.feature_dim), np.float32))
    inference.export(folder, folder)
    common(folder, SMALL.feature_dim, 1.0)
    speech2face.write_card(folder, "network", "the voices and faces of 60 people of a synthetic world", False, seconds)
    return encoder, decoder


def regression(folder: Path, size: int = 32) -> None:
    """A head and a linear decoder on two networks that are no speaker networks, but have their inputs and outputs."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    exporting.export(Bands(), torch.rand(1, 300, 257), folder / front_ends.CAMPPLUS, ["a", "b"], {1: "frames"})
    windows = nn.Sequential(nn.Flatten(), nn.Linear(160 * 201, 256))
    exporting.export(windows, torch.rand(1, 160, 201), folder / front_ends.GE2E, ["a"], {0: "windows"})
    head = {"weights": rng.normal(0, 0.01, (1472, 8)), "offset": np.zeros(8), "mean": np.full(8, 3.0)}
    arrays.save({name: value.astype(np.float32) for name, value in head.items()}, folder / speech2face.HEAD)
    pictures = rng.integers(60, 200, (PEOPLE, size, size, 3), dtype=np.uint8)
    landmarks = rng.uniform(8, 24, (68, 2)) + rng.normal(0, 0.3, (PEOPLE, 68, 2))
    faces = 3 + rng.normal(size=(PEOPLE, 8))
    parts, coefficients = linear_decoder.parts(pictures, landmarks, 5, 4)
    aim = linear_decoder.Aim.of(faces, faces[:, :1], faces, 0.0, 0.0, 8, 1.0)
    synthesis = linear_decoder.start(faces, faces, coefficients, 5, aim, (1.0, 1.0))
    arrays.save(linear_decoder.LinearDecoder(parts, synthesis).arrays(), folder / speech2face.DECODER)
    common(folder, 8, 0.1)
    learned_from = "the voices and faces of 60 real people"
    speech2face.write_card(folder, "regression", learned_from, True, 6.0, 2.0, RIGHT)


class Bands(nn.Module):
    """Takes what CAM++ takes."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(257, 192), nn.Linear(257, 1024)

    def forward(self, power):
        loud = (power + 1e-6).log().mean(dim=1)
        return self.one(loud), self.other(loud)


def common(folder: Path, dim: int, scale: float) -> None:
    """Limits, spread and readers of made-up predictions about the origin, near which those of untrained weights lie."""
    rng = np.random.default_rng(3)
    predicted = rng.normal(0, scale, (PEOPLE, dim)).astype(np.float32)
    people = np.arange(PEOPLE) // 2
    signs, errors = rng.normal(size=(PEOPLE, 5)), np.full(PEOPLE, 12.0)
    Limits.fit(predicted, people, predicted, signs, errors).save(folder / speech2face.LIMITS)
    Spread.fit(rng.normal(0, scale, (PEOPLE, dim))).save(folder / speech2face.SPREAD)
    traits = {
        "age": 40 + 10 * predicted[:, 0] / scale + rng.normal(0, 3, PEOPLE),
        "female": predicted[:, 1] + rng.normal(0, scale / 2, PEOPLE) > 0,
        "skin": 30 + rng.normal(0, 10, PEOPLE),
    }
    Readers.fit(predicted, traits, people).save(folder / speech2face.READERS)

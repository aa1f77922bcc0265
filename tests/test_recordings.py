"""`s2f face` with real models (untrained weights) on recordings of every kind, good and bad."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from s2f import cli
from s2f.models import inference, voice_encoder, weights
from s2f.models.face_decoder import SMALL, FaceDecoder
from s2f.models.voice_encoder import VoiceEncoder
from s2f.signal import images


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    decoder = FaceDecoder(SMALL)
    decoder.set_mean(torch.rand(68, 2) * 50 + 7)
    proof = {"data_md5": "none", "code": "none"}
    weights.save(folder / "voice.safetensors", **proof, encoder=VoiceEncoder(voice_encoder.SMALL))
    weights.save(folder / "face.safetensors", **proof, decoder=decoder)
    inference.write_facts(folder, 3.0, np.zeros((2, SMALL.feature_dim), np.float32))
    return folder


def draw(recording, out, models):
    return CliRunner().invoke(cli.app, ["face", str(recording), "-o", str(out), "--models", str(models)])


@pytest.mark.parametrize(
    ("name", "rate", "channels", "seconds"),
    [
        ("a.wav", 16_000, 1, 6),
        ("b.flac", 44_100, 2, 4),
        ("c.mp3", 8_000, 2, 5),
        ("d.ogg", 48_000, 1, 3),
        ("e.wav", 16_000, 1, 1),
    ],
)
def test_any_format_rate_and_length_gives_a_face(name, rate, channels, seconds, models, tmp_path, speech_like):
    wave = np.interp(np.linspace(0, 1, rate * seconds), np.linspace(0, 1, 16_000 * seconds), speech_like(seconds))
    soundfile.write(tmp_path / name, np.stack([wave] * channels, axis=1), rate)
    result = draw(tmp_path / name, tmp_path / "face.png", models)
    assert result.exit_code == 0, result.output
    assert images.read_image(tmp_path / "face.png").shape == (64, 64, 3)
    assert "not" in cli.CAVEAT and cli.CAVEAT in result.stdout


def bad_files(folder):
    rate = 16_000
    soundfile.write(folder / "silence.wav", np.zeros(3 * rate), rate)
    soundfile.write(folder / "empty.wav", np.zeros(0), rate)
    soundfile.write(folder / "nan.wav", np.full(3 * rate, np.nan), rate, subtype="FLOAT")
    (folder / "text.wav").write_text("this is no recording")
    return [folder / f"{name}.wav" for name in ("silence", "empty", "nan", "text", "missing")]


def test_what_is_no_voice_is_one_sentence_and_exit_code_2(models, tmp_path):
    for recording in bad_files(tmp_path):
        result = draw(recording, tmp_path / "face.png", models)
        assert result.exit_code == 2, recording
        assert recording.name in result.stderr and result.stderr.count("\n") == 1 and "Traceback" not in result.stderr
        assert not (tmp_path / "face.png").exists()


def test_a_missing_model_is_one_sentence_with_the_command_that_makes_it(tmp_path, speech_like):
    soundfile.write(tmp_path / "a.wav", speech_like(3), 16_000)
    result = draw(tmp_path / "a.wav", tmp_path / "face.png", tmp_path)
    assert result.exit_code == 2 and "dvc repro" in result.stderr and not (tmp_path / "face.png").exists()


@pytest.mark.skipif("S2F_PUBLISHED" not in os.environ, reason="S2F_PUBLISHED names no clone of the published samples")
def test_ten_published_recordings_give_faces(models, tmp_path):
    root = Path(os.environ["S2F_PUBLISHED"])
    recordings = sorted(path for path in root.rglob("*") if path.suffix in (".wav", ".flac"))[::50][:10]
    assert len(recordings) == 10
    for recording in recordings:
        result = draw(recording, tmp_path / "face.png", models)
        assert result.exit_code == 0, (recording.name, result.output)

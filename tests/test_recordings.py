"""`s2f face` with real models (untrained weights) on recordings of every kind, good and bad."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from s2f import cli
from s2f.models.speech2face import Card
from s2f.signal import images, speech
from s2f.signal.audio import spectrogram


@pytest.fixture(params=["network", "regression"])
def models(request, tiny):
    return tiny.folders[request.param]


def draw(recording, out, models):
    return CliRunner().invoke(cli.app, ["face", str(recording), "-o", str(out), "--models", str(models)])


@pytest.mark.parametrize(
    ("name", "rate", "channels", "seconds"),
    [
        ("a.wav", 16_000, 1, 6),
        ("b.flac", 44_100, 2, 4),
        ("c.mp3", 8_000, 2, 5),
        ("d.ogg", 48_000, 1, 3),
        ("e.wav", 16_000, 1, 2),
        ("-1nRm.wav", 16_000, 1, 4),
    ],
)
def test_any_format_rate_and_length_gives_a_face(name, rate, channels, seconds, models, tmp_path, spoken, monkeypatch):
    wave = np.interp(np.linspace(0, 1, rate * seconds), np.linspace(0, 1, 16_000 * seconds), spoken(seconds))
    monkeypatch.chdir(tmp_path)
    soundfile.write(name, np.stack([wave] * channels, axis=1), rate)
    result = draw(name, tmp_path / "face.png", models)
    assert result.exit_code == 0, result.output
    assert images.read_image(tmp_path / "face.png").shape in ((64, 64, 3), (32, 32, 3))
    assert "not this person" in result.stdout and Card.load(models).caveat in result.stdout


def bad_files(folder):
    rate = 16_000
    soundfile.write(folder / "noise.wav", np.random.default_rng(0).normal(0, 0.1, 3 * rate), rate)
    os.mkfifo(folder / "pipe.wav")
    soundfile.write(folder / "silence.wav", np.zeros(3 * rate), rate)
    soundfile.write(folder / "empty.wav", np.zeros(0), rate)
    soundfile.write(folder / "nan.wav", np.full(3 * rate, np.nan), rate, subtype="FLOAT")
    (folder / "text.wav").write_text("this is no recording")
    return [folder / f"{name}.wav" for name in ("silence", "noise", "pipe", "empty", "nan", "text", "missing")]


def test_what_is_no_voice_is_one_sentence_and_exit_code_2(models, tmp_path):
    for recording in bad_files(tmp_path):
        result = draw(recording, tmp_path / "face.png", models)
        assert result.exit_code == 2, recording
        assert recording.name in result.stderr and result.stderr.count("\n") == 1 and "Traceback" not in result.stderr
        assert not (tmp_path / "face.png").exists()


def test_a_missing_model_is_one_sentence_with_the_command_that_makes_it(tmp_path, spoken):
    soundfile.write(tmp_path / "a.wav", spoken(3), 16_000)
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


def test_level_silence_offset_and_channels_do_not_change_what_the_model_hears(tmp_path, spoken):
    """The faults that microphones have; only rounding to 16 bits and the edges of pauses remain."""
    wave, rate = spoken(6), 16_000
    silence = np.zeros(10 * rate, np.float32)
    copies = {
        "quiet": 0.01 * wave,
        "offset": 0.5 * wave + 0.2,
        "late": np.append(silence, wave),
        "early": np.append(wave, silence),
        "opposite": np.stack([wave, -wave], axis=1),
        "left": np.stack([wave, 0 * wave], axis=1),
    }
    soundfile.write(tmp_path / "clean.wav", wave, rate)

    def spectrum(spoken):
        """What tells voices apart with untrained weights: the mean compressed spectrum."""
        return np.abs(spectrogram(spoken)).mean(axis=(0, 1))

    clean = spectrum(speech.read(tmp_path / "clean.wav", 30))
    faster = np.interp(np.arange(0, len(wave), 1.3), np.arange(len(wave)), wave).astype(np.float32)
    other = spectrum(speech.isolate(faster))
    for name, copy in copies.items():
        soundfile.write(tmp_path / f"{name}.flac", copy, rate)
        moved = spectrum(speech.read(tmp_path / f"{name}.flac", 30))
        # The yardstick: another voice, five semitones higher.
        assert np.linalg.norm(moved - clean) < 0.2 * np.linalg.norm(other - clean), name


def test_a_file_name_that_is_not_utf_8_is_read_and_shown(models, tmp_path, spoken):
    soundfile.write(tmp_path / "a.wav", spoken(3), 16_000)
    latin = os.fsdecode(os.fsencode(tmp_path) + b"/M\xfcller.wav")
    os.rename(tmp_path / "a.wav", latin)
    assert draw(latin, tmp_path / "face.png", models).exit_code == 0
    (tmp_path / "face.png").unlink()
    Path(latin).write_text("no sound")
    result = draw(latin, tmp_path / "face.png", models)
    assert result.exit_code == 2 and "ller.wav" in result.stderr


def test_a_full_disk_is_one_sentence(models, tmp_path, spoken, monkeypatch):
    soundfile.write(tmp_path / "a.wav", spoken(3), 16_000)

    def full(image, path, **texts):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(images, "save_png", full)
    result = draw(tmp_path / "a.wav", tmp_path / "face.png", models)
    assert result.exit_code == 2 and "No space left" in result.stderr and result.stderr.count("\n") == 1

"""Compressed sound and video are read by their content, and what a file only promises costs nothing."""

import io
import struct
import wave as plain
import zlib

import numpy as np
import pytest
import soundfile
from official_corpora import cut, film
from PIL import Image

from s2f.signal import audio, images, media
from s2f.study.paths import UserError


@pytest.fixture
def tone():
    """Two seconds at 16 kHz that swell from 200 to 400 Hz."""
    time = np.arange(2 * audio.SAMPLE_RATE) / audio.SAMPLE_RATE
    return 0.4 * np.sin(2 * np.pi * (200 + 50 * time) * time)


@pytest.mark.parametrize("name", ["a.m4a", "a.mp4", "a.wav", "a.flv"])
def test_aac_is_read_whatever_its_name(name, tone, tmp_path):
    made = tmp_path / ("a.flv" if name == "a.flv" else "made.m4a")
    film(made, tone)
    read = audio.read(made.rename(tmp_path / name))
    # AAC begins and ends in blocks of 1024 samples, of which a file may keep two at either end.
    assert 0 <= len(read) - len(tone) <= 4 * 1024
    lag = np.correlate(read, tone, "valid").argmax()
    assert np.corrcoef(read[lag : lag + len(tone)], tone)[0, 1] > 0.99
    assert len(audio.read(tmp_path / name, 0.5)) == audio.SAMPLE_RATE // 2


def test_the_first_frame_of_a_video_is_its_picture(rng, tmp_path):
    small = rng.integers(0, 256, (2, 6, 8, 3)).astype(np.uint8)
    frames = small.repeat(16, axis=1).repeat(16, axis=2)
    film(tmp_path / "a.mp4", None, frames)
    film(tmp_path / "a.flv", None, frames)
    for name in ("a.mp4", "a.flv"):
        difference = np.abs(images.read_image(tmp_path / name).astype(int) - frames[0])
        assert difference.shape == frames.shape[1:] and np.median(difference) < 12  # colour has half the resolution


def test_a_video_without_sound_is_no_sound_and_sound_no_picture(tone, tmp_path):
    film(tmp_path / "mute.mp4", None, np.zeros((2, 32, 32, 3), np.uint8))
    with pytest.raises(UserError, match="mute.mp4 has no sound track"):
        audio.read(tmp_path / "mute.mp4")
    film(tmp_path / "a.m4a", tone)
    with pytest.raises(UserError, match="a.m4a has no pictures"):
        images.read_image(tmp_path / "a.m4a")


@pytest.mark.parametrize("content", [b"", b"plain text", b"\0\0\0\x18ftypmp42"])
def test_what_is_neither_is_refused(content, tmp_path):
    (tmp_path / "a.m4a").write_bytes(content)
    with pytest.raises(UserError, match="a.m4a is not audio that can be read"):
        audio.read(tmp_path / "a.m4a")
    with pytest.raises(UserError, match="a.m4a is not a picture that can be read"):
        images.read_image(tmp_path / "a.m4a")


def test_a_file_that_was_cut_off_is_refused(tone, tmp_path):
    film(tmp_path / "a.m4a", tone)
    with pytest.raises(UserError, match="not audio"):
        audio.read(cut(tmp_path / "a.m4a"))


@pytest.mark.parametrize(
    "playlist", ["#EXTM3U\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile '{}'\n", "{}"]
)
def test_a_playlist_opens_no_other_file(playlist, tone, tmp_path):
    film(tmp_path / "secret.m4a", tone)
    (tmp_path / "a.mp4").write_text(playlist.format(tmp_path / "secret.m4a"))
    with pytest.raises(UserError, match="not audio"):
        audio.read(tmp_path / "a.mp4")


def test_a_name_is_never_an_address(tone, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    film(tmp_path / "a.m4a", tone)
    for name in ("-i a.m4a; touch b", "concat:a.m4a", "$(touch b)"):
        with pytest.raises(UserError, match="no sound file"):
            audio.read(name)
        (tmp_path / "a.m4a").rename(tmp_path / name)
        assert len(audio.read(name)) > audio.SAMPLE_RATE
        (tmp_path / name).rename(tmp_path / "a.m4a")
    assert not (tmp_path / "b").exists()


def test_a_header_that_promises_a_flood_is_refused(tmp_path):
    content = io.BytesIO()
    with plain.open(content, "wb") as file:
        file.setnchannels(1000)
        file.setsampwidth(2)
        file.setframerate(2_000_000)
        file.writeframes(b"")
    (tmp_path / "a.wav").write_bytes(content.getvalue())
    with pytest.raises(UserError, match="1000 channels at 2000000 Hz"):
        audio.read(tmp_path / "a.wav")


@pytest.mark.parametrize("side", [9_001, 14_000, 60_000])
def test_a_picture_that_unpacks_to_gigabytes_is_refused_unopened(side, tmp_path):
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    )
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    with pytest.raises(UserError, match=f"bomb.png has {side} x {side} pixels|bomb.png has more than"):
        images.read_image(tmp_path / "bomb.png")


def test_pictures_for_which_programs_would_be_started_are_refused(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.jpg")
    with pytest.raises(UserError, match="not a picture"):
        images.read_image(tmp_path / "a.jpg")


def test_of_a_long_file_only_the_wanted_seconds_are_decoded(tmp_path):
    """Ten hours of silence."""
    with soundfile.SoundFile(tmp_path / "long.flac", "w", 1_000, 1, "PCM_16") as file:
        file.write(np.zeros(36_000_000, np.int16))
    assert len(audio.read(tmp_path / "long.flac", 3.0)) == 3 * 16_000
    assert media.seconds(tmp_path / "long.flac") == pytest.approx(36_000)

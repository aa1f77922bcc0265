"""Sound and frames of compressed files (AAC in m4a and mp4, Flash, WebM) through PyAV, the extra `corpora`.

A file is known by its content, not by its name. It is opened here and read as a stream, and only as one of `FORMATS`,
so that no name is taken for an address and no playlist opens another file. Whatever its header says, no more than
`MOST_PIXELS` and `MOST_SAMPLES` a second are decoded.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from s2f.study.paths import UserError

FORMATS = "aac,avi,flac,flv,matroska,mov,mp3,mp4,mpeg,mpegts,ogg,wav,webm"
MOST_PIXELS = 80_000_000  # 240 MB; Pillow warns from 89 million on
MOST_SAMPLES = 2**22  # of all channels, a second; 21 channels at 192 kHz
COMPRESSED = "install the extra `corpora` (pip install 's2f[corpora]') if it is AAC or a video"


def sound(path: Path, seconds: int | float) -> tuple[Float32[np.ndarray, "frames channels"], int]:
    """The first seconds of the first sound track of a file; of a damaged file what comes before the damage.

    Returns:
        The samples, and how many of them are a second.

    Raises:
        UserError: if the file cannot be opened, or has no sound.
    """
    parts, frames = [], 0
    with _opened(path, "audio", "WAV") as (av, container):
        if not container.streams.audio:
            raise UserError(f"{path} has no sound track: leave it out.")
        stream = container.streams.audio[0]
        rate = stream.rate
        refuse_flood(path, stream.channels, rate)
        wanted = math.inf if seconds == math.inf else math.ceil(seconds * rate)
        plain = av.AudioResampler("fltp", stream.layout, rate)
        try:
            for packed in container.decode(stream):
                for block in plain.resample(packed):
                    parts.append(block.to_ndarray().T)
                    frames += len(parts[-1])
                if frames >= wanted:
                    break
        except av.FFmpegError:
            pass
    if not parts:
        raise UserError(f"{path} holds no samples, or is damaged from the beginning: export it again.")
    return np.concatenate(parts)[: None if wanted == math.inf else wanted], rate


def frame(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """The first frame of a video, RGB; UserError if there is none."""
    with _opened(path, "a picture", "PNG") as (av, container):
        if not container.streams.video:
            raise UserError(f"{path} has no pictures: leave it out.")
        stream = container.streams.video[0]
        refuse_bomb(path, stream.width, stream.height)
        try:
            first = next(container.decode(stream), None)
        except av.FFmpegError:
            first = None
        if first is None:
            raise UserError(f"{path} is a video of which no frame can be read: export it again.")
        refuse_bomb(path, first.width, first.height)  # which a stream may change
        return first.to_ndarray(format="rgb24")


def seconds(path: Path) -> float | None:
    """How long the file is, as its header says; None if it does not say."""
    with _opened(path, "audio", "WAV") as (_, container):
        return None if container.duration is None else container.duration / 1e6


def refuse_flood(path: Path, channels: int, rate: int) -> None:
    """UserError for a sound whose header promises more than `MOST_SAMPLES` a second."""
    if channels * rate > MOST_SAMPLES:
        raise UserError(f"{path} has {channels} channels at {rate} Hz: convert it to one at 16000 Hz first.")


def refuse_bomb(path: Path, width: int, height: int) -> None:
    """UserError for a picture of more than `MOST_PIXELS`."""
    if width * height > MOST_PIXELS:
        raise UserError(f"{path} has {width} x {height} pixels: make it smaller than {MOST_PIXELS} in all.")


@contextmanager
def _opened(path: Path, what: str, plain: str) -> Iterator:
    """PyAV and the opened file; UserError if it is not `what`, and in which format it could be read."""
    sentence = f"{path} is not {what} that can be read (empty, damaged, or another format): export it as {plain}"
    try:
        import av
    except ImportError:
        raise UserError(f"{sentence}, or {COMPRESSED}.") from None
    with path.open("rb") as stream:
        try:
            container = av.open(stream, options={"format_whitelist": FORMATS})
        except (av.FFmpegError, OSError):  # which PyAV raises for an empty file
            raise UserError(f"{sentence}.") from None
        with container:
            yield av, container

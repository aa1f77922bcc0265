"""A voice from the microphone of a browser or from a file: bytes of a sound file, which stay in memory.

`voice.js` records and sends them. The libraries of sound files want files, so the bytes are in one while they are
decoded: it is nowhere before and after.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import anywidget
import numpy as np
import traitlets
from jaxtyping import Int16

from s2f.models.speech2face import LONGEST_SECONDS
from s2f.signal import speech
from s2f.study.paths import UserError

HINT = "6 s or more of one person speaking; nothing is kept."


class Voice(anywidget.AnyWidget):
    """Buttons to record and to choose a file, a meter of the level, a player, and a sentence about the sound."""

    _esm = Path(__file__).with_name("voice.js")
    _css = Path(__file__).with_name("voice.css")
    hint = traitlets.Unicode(HINT).tag(sync=True)

    def __init__(self, take: Callable[[str, bytes], str]) -> None:
        """A widget that calls `take(name, sound)` for each sound, and shows the sentence that it returns."""
        super().__init__()

        def received(_widget, content, buffers):
            self.send({"answer": take(content["name"], bytes(buffers[0]))})

        self.on_msg(received)


def speech_in(sound: bytes, name: str) -> Int16[np.ndarray, "speech_samples"]:
    """The speech in a sound file, as `signal.speech.read` finds it; its first 30 s count.

    Args:
        sound: the bytes of a file in any format that libsndfile reads.
        name: of the file, for errors.

    Raises:
        UserError: if they are no sound file, or no speech is found.
    """
    with tempfile.TemporaryDirectory() as folder:
        # libsndfile asks the suffix what a file without a header is.
        file = Path(folder) / f"sound{Path(name).suffix}"
        file.write_bytes(sound)
        try:
            return speech.read(file, LONGEST_SECONDS)
        except UserError as error:
            raise UserError(str(error).replace(str(file), name)) from None


def located(text: str, *folders: Path) -> Path:
    """The file that a user means by a path: quoted or not, with ~, seen from the first folder that has it."""
    path = Path(text.strip().strip("'\"").strip()).expanduser()
    return next((folder / path for folder in folders if (folder / path).exists()), path)

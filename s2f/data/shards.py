"""Packed 16-bit audio: many clips in a few headerless little-endian int16 files, `<stem>-000.i16`, ..."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int16, Shaped

from s2f.signal.audio import fit_length
from s2f.study.paths import UserError, replacing

DTYPE = np.dtype("<i2")


class ShardWriter:
    """Appends clips to `<folder>/<stem>-000.i16`, ...: a new shard where a clip would pass `shard_samples`.

    A clip lies in one shard, so a longer one gets a shard of its own. All shards appear under their names at
    `close`; leave the `with` block by an exception and none does.
    """

    def __init__(self, folder: str | Path, stem: str, shard_samples: int):
        self.folder = Path(folder)
        self.stem = stem
        self.shard_samples = shard_samples
        self._shards = 0
        self._name = ""
        self._written = 0
        self._file = None
        self._pending = ExitStack()  # one `replacing` a shard

    def append(self, clip: Int16[np.ndarray, "samples"]) -> tuple[str, int]:
        """Write one clip; its shard's file name and its offset there, in samples."""
        if clip.dtype != np.int16 or clip.ndim != 1 or len(clip) == 0:
            raise UserError(f"A clip of {clip.dtype} {clip.shape} cannot be packed: give a row of int16.")
        if self._file is None or self._written + len(clip) > self.shard_samples:
            self._next_shard()
        offset = self._written
        self._file.write(clip.astype(DTYPE).tobytes())
        self._written += len(clip)
        return self._name, offset

    def _next_shard(self) -> None:
        if self._file is not None:
            self._file.close()
        self._name = f"{self.stem}-{self._shards:03d}.i16"
        temporary = self._pending.enter_context(replacing(self.folder / self._name))
        self._file = self._pending.enter_context(open(temporary, "wb"))
        self._shards += 1
        self._written = 0

    def close(self) -> None:
        self._pending.close()

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *error) -> None:
        self._pending.__exit__(*error)


class Shards:
    """Reads the clips in the shards of one folder; a file is mapped at its first use."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self._maps: dict[str, np.ndarray] = {}

    def __reduce__(self):
        # A data-loader worker gets the folder: a pickled map would be a copy of the whole file.
        return Shards, (self.folder,)

    def clip(self, shard: str, offset: int | np.integer, samples: int | np.integer) -> Int16[np.ndarray, "samples"]:
        """One clip as a read-only view of the file."""
        if shard not in self._maps:
            self._maps[shard] = self._map(shard)
        whole = self._maps[shard]
        if offset < 0 or samples < 1 or offset + samples > len(whole):
            raise UserError(
                f"{self.folder / shard} has {len(whole)} samples, not {samples} from {offset} on: "
                "prepare the data again."
            )
        return whole[offset : offset + samples]

    def _map(self, shard: str) -> Int16[np.ndarray, "all"]:
        if Path(shard).name != shard:  # a table from elsewhere may name any file
            raise UserError(f"The audio shard {shard!r} is not in {self.folder}: prepare the data again.")
        path = self.folder / shard
        if not path.is_file():
            raise UserError(f"There is no audio shard {path}: prepare the data again.")
        # A plain array over the map: slicing np.memmap itself costs more than copying a short clip.
        return np.asarray(np.memmap(path, DTYPE, mode="r"))

    def gather(
        self,
        rows: pd.DataFrame | tuple,
        samples: int,
        start: int | Shaped[np.ndarray, "batch"] = 0,
    ) -> Int16[np.ndarray, "batch samples"]:
        """A batch: `samples` of each clip from `start` on (a number, or one a clip), repeated where short.

        `rows`: manifest rows, or three columns (shard, offset, samples).
        """
        if isinstance(rows, pd.DataFrame):
            rows = (rows["audio_shard"], rows["audio_offset"], rows["audio_samples"])
        names, offsets, lengths = (np.asarray(column).tolist() for column in rows)
        starts = np.broadcast_to(start, len(names)).tolist()
        batch = np.empty((len(names), samples), np.int16)
        for row, name, offset, length, first in zip(batch, names, offsets, lengths, starts, strict=True):
            if not 0 <= first < length:
                raise UserError(f"A start of {first} is outside a clip of {length} samples: start inside.")
            row[:] = fit_length(self.clip(name, offset + first, min(length - first, samples)), samples)
        return batch

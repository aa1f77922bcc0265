"""Sounds and pictures made ready for a corpus: one map over blocks of items, then packed block by block.

A block is a file of arrays that some process, here or on a cluster, makes of a few dozen items (`s2f.study.blocks`).
It is named by a digest of the items, the settings and the code, so an interrupted preparation goes on where it stopped,
and no more than a block is ever in memory. What cannot be used has a reason in place of an empty text.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import joblib
import numpy as np
from jaxtyping import Int, Shaped

from s2f.signal import speech
from s2f.signal.canonical import Pose, align, average_light, canonical_faces, pose
from s2f.signal.images import read_image
from s2f.study import blocks, code
from s2f.study.blocks import Arrays
from s2f.study.paths import UserError, replacing

BLOCK = 64  # items; some seconds of work, so little is lost by an interruption

# What a detector says of pictures: `landmarks` (NaN where there are none) and `reason`.
Found = Mapping[str, Shaped[np.ndarray, "files ..."]]
Detector = Callable[[Sequence[Path]], Found]


@dataclass(frozen=True)
class Workshop:
    """Where blocks are made and lie, and by whom."""

    folder: Path
    workers: int
    scheduler: str | None  # of a Dask cluster, in place of processes on this machine

    def map(self, work: Callable[..., Arrays], parts: Iterable[tuple], about: str) -> list[Path]:
        """The files with what `work(*part)` makes of each part; finished ones are not made again."""
        parts = list(parts)
        files = [self.folder / f"{work.__name__}-{_key(work, part)}.npz" for part in parts]
        jobs = {file: partial(work, *part) for file, part in zip(files, parts, strict=True)}
        blocks.spread(jobs, self.workers, self.scheduler, about)
        return files

    def clear(self) -> None:
        """Remove all blocks, once what they held is packed; also those of settings that have changed since."""
        for file in self.folder.glob("*.npz"):
            file.unlink(missing_ok=True)


def _key(work: Callable, part: tuple) -> str:
    """Of all that a block depends on; files count by their names, sizes and times."""
    first = part[0]
    files = [(str(path), *_state(path)) for path in (first if isinstance(first, list) else first.files)]
    # Of a partial call, the function; its arguments are hashed with the rest.
    digests = [code.digest(getattr(each, "func", each)) for each in (work, *part) if callable(each)]
    return hashlib.sha256(f"{joblib.hash(part)} {digests} {files!r}".encode()).hexdigest()[:24]


def _state(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


def slices(count: int) -> list[slice]:
    """Blocks of so many items."""
    return [slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK)]


def load(path: Path, *names: str) -> Arrays:
    """The arrays of a finished block, or only those of these names; UserError for one that was damaged on the disk."""
    try:
        return blocks.load(path, *names)
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError):
        path.unlink(missing_ok=True)
        raise UserError(f"{path} was damaged on the disk and is removed: run it again, which makes it anew.") from None


@contextmanager
def array_file(path: Path, shape: tuple[int, ...], dtype: str) -> Iterator[Callable[[np.ndarray, np.ndarray], None]]:
    """Write an array that may be larger than memory, to the bytes of `np.save`.

    Yields a function that puts values into some of the rows. It writes plainly: where a disk is full, a process that
    writes to a mapped file is killed without a word.
    """
    kind = np.dtype(dtype)
    width = int(np.prod(shape[1:])) * kind.itemsize
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": kind.str, "fortran_order": False, "shape": shape})
        start = file.tell()

        def put(rows: Int[np.ndarray, "some"], values: Shaped[np.ndarray, "some ..."]) -> None:
            for row, value in zip(rows.tolist(), values, strict=True):
                file.seek(start + row * width)
                file.write(np.ascontiguousarray(value, kind))

        yield put


# ---- blocks of items


def sounds(paths: list[Path], seconds: float) -> Arrays:
    """`samples` of the speech in sound files, int16 and one after the other; of each its `length` and the `reason`."""
    waves, reasons = [np.zeros(0, np.int16)], []
    for path in paths:
        try:
            waves.append(speech.read(path, seconds))
            reasons.append("")
        except UserError as error:
            waves.append(waves[0])
            reasons.append(str(error))
    lengths = [len(wave) for wave in waves[1:]]
    return {"samples": np.concatenate(waves), "length": np.array(lengths), "reason": np.array(reasons)}


def photographs(paths: list[Path], found: Found | Detector, size: int) -> Arrays:
    """Faces cut out of pictures: `images`, `landmarks`, how they are held (`Pose`), and the `reason`.

    Args:
        paths: the pictures.
        found: their landmarks and reasons, or who finds them.
        size: side of a cut-out (px).
    """
    found = found(paths) if callable(found) else found
    images = np.zeros((len(paths), size, size, 3), np.uint8)
    landmarks = np.full((len(paths), 68, 2), np.nan, np.float32)
    reasons = [str(reason) for reason in found["reason"]]
    for row, path in enumerate(paths):
        try:
            if not reasons[row]:
                images[row], landmarks[row] = align(read_image(path), found["landmarks"][row], size)
        except UserError as error:
            reasons[row] = str(error)
    poses = pose(np.asarray(found["landmarks"], float))
    return {"images": images, "landmarks": landmarks, "reason": np.array(reasons)} | poses._asdict()


# ---- blocks of people, of the photographs in other blocks


@dataclass(frozen=True)
class People:
    """The photographs of a few people, in blocks that `photographs` made."""

    files: list[Path]
    rows: list[Int[np.ndarray, "_"]]  # in each of these files
    owners: Int[np.ndarray, "photographs"]  # 0 to people - 1

    def read(self, *names: str) -> list[Shaped[np.ndarray, "photographs ..."]]:
        """Arrays of the photographs; one file at a time."""
        parts = []
        for file, rows in zip(self.files, self.rows, strict=True):
            arrays = load(file, *names)
            parts.append([arrays[name][rows] for name in names])
        return [np.concatenate(part) for part in zip(*parts, strict=True)]


def light(people: People) -> Arrays:
    """The `light` that people are in, and `people`, how many they are."""
    images, *poses = people.read("images", *Pose._fields)
    return {"light": average_light(images, Pose(*poses), people.owners), "people": people.owners.max() + 1}


def mean_light(files: list[Path]) -> Arrays:
    """The mean `light` of the people in several blocks."""
    parts = [load(file) for file in files]
    return {"light": sum(part["light"] * part["people"] for part in parts) / sum(part["people"] for part in parts)}


def faces(people: People, lit: Path) -> Arrays:
    """`canonical` faces and their `landmarks`; `lit` holds the mean light."""
    images, landmarks, *poses = people.read("images", "landmarks", *Pose._fields)
    made, points = canonical_faces(images, landmarks, Pose(*poses), people.owners, load(lit)["light"])
    return {"canonical": made, "landmarks": points}

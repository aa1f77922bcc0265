"""Features of many files, by pretrained networks, Praat and the colour of the skin; an interruption keeps blocks.

A file that cannot be read, or holds neither face nor speech, has NaN in its rows and stands in `reason`, which is empty
for all others: it ends nothing.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float32, Shaped, UInt8

from s2f.models import pretrained
from s2f.signal import audio, colour, landmarks, speech, voice_statistics
from s2f.signal.images import read_image
from s2f.study import blocks, code
from s2f.study.paths import UserError

BLOCK = 32  # files
VOICE_DIMS = {"campplus": 192, "campplus_pooled": 1024, "ge2e": 256}
NO_FACE = "no face was found in it"
Arrays = dict[str, Shaped[np.ndarray, "files ..."]]

# Loaded once a process, when the first file is read.
_face_reader = cache(pretrained.FaceReader)
_landmark_finder = cache(pretrained.LandmarkFinder)
_campplus = cache(pretrained.CamPlus)
_ge2e = cache(pretrained.Ge2e)


def see(paths: Sequence[Path], kept: Path | None, workers: int) -> Arrays:
    """Faces in pictures: `feature` (128), `landmarks` (68, 2; px), `age`, `female`, `skin` (ITA and hue; degrees)."""
    return _blocks(_see, paths, kept, workers)


def landmarks_in(paths: Sequence[Path]) -> Arrays:
    """`landmarks` (68, 2; px) of the largest face in each picture, found by this process (`folder.build` takes it)."""
    finder = _landmark_finder()
    images, reasons = _pictures(list(paths))
    found = [finder(image) for image in images]
    rows = [np.full((68, 2), np.nan) if points is None else points for points in found]
    return {"landmarks": np.stack(rows), "reason": _or_no_face(reasons, found)}


def landmarks_at(points: Path, paths: Sequence[Path]) -> Arrays:
    """`landmarks` (68, 2; px) of the face at a given point of each picture, found by this process.

    Args:
        points: a parquet table with the columns photograph, x and y, shares of its width and height.
        paths: some of these pictures.
    """
    where = _points_of(points).loc[[str(path) for path in paths]].to_numpy()
    finder = _landmark_finder()
    images, reasons = _pictures(list(paths))
    places = [(x * image.shape[1], y * image.shape[0]) for image, (x, y) in zip(images, where, strict=True)]
    found = [finder.at(image, place) for image, place in zip(images, places, strict=True)]
    rows = [np.full((68, 2), np.nan) if face is None else face for face in found]
    missing = np.array([face is None for face in found]) & (np.array(reasons) == "")
    return {"landmarks": np.stack(rows), "reason": np.where(missing, landmarks.NOBODY_THERE, reasons)}


@cache
def _points_of(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path).set_index("photograph")


def face_on(paths: Sequence[Path], kept: Path | None, workers: int) -> Arrays:
    """`frontal`: whether a detector of frontal faces finds one in the picture."""
    return _blocks(_face_on, paths, kept, workers)


def hear(paths: Sequence[Path], kept: Path | None, workers: int, seconds: float, isolated: float) -> Arrays:
    """Embeddings of the first `seconds` of speech: `campplus`, `campplus_pooled`, `ge2e`, and `seconds` of speech used.

    They are cut from the first `isolated` seconds of speech, so that shorter ones are the beginnings of longer ones.
    """
    return _blocks(_hear, paths, kept, workers, seconds, isolated)


def measure(paths: Sequence[Path], kept: Path | None, workers: int, seconds: float) -> Arrays:
    """`statistics` (`voice_statistics.NAMES`) of the first `seconds` of speech."""
    return _blocks(_measure, paths, kept, workers, seconds)


def _blocks(work: Callable[..., Arrays], paths: Sequence[Path], kept: Path | None, workers: int, *settings) -> Arrays:
    """The arrays that `work` makes of the files, by `workers` processes; blocks in `kept` are not made again."""
    parts = [list(paths[start : start + BLOCK]) for start in range(0, len(paths), BLOCK)]
    jobs = [partial(work, part, *settings) for part in parts]
    if kept is None:
        made = blocks.compute(jobs, workers)
    else:
        files = [kept / f"{work.__name__.strip('_')}-{_key(work, part, settings)}.npz" for part in parts]
        blocks.keep(dict(zip(files, jobs, strict=True)), workers)
        made = [blocks.load(file) for file in files]
    return {name: np.concatenate([arrays[name] for arrays in made]) for name in made[0]}


def _key(work: Callable[..., Arrays], paths: list[Path], settings: tuple) -> str:
    # A block is known by the names and sizes of its files, wherever their folder lies.
    files = [(path.parent.name, path.name, path.stat().st_size if path.is_file() else -1) for path in paths]
    return hashlib.sha256(repr((files, settings, code.digest(work))).encode()).hexdigest()[:24]


def _see(paths: list[Path]) -> Arrays:
    reader = _face_reader()  # whose own error, a missing package, is no reason to set pictures aside
    images, reasons = _pictures(paths)
    found = [reader(image) for image in images]
    nobody = pretrained.Face(np.full(pretrained.FACE_DIM, np.nan), np.full((68, 2), np.nan), np.nan, np.nan)
    columns = {name: np.stack([getattr(face or nobody, name) for face in found]) for name in nobody._fields}
    skin = colour.angles(images, columns["landmarks"])
    return columns | {"skin": skin, "reason": _or_no_face(reasons, found)}


def _face_on(paths: list[Path]) -> Arrays:
    return {"frontal": np.array([_face_reader().frontal(image) for image in _pictures(paths)[0]])}


def _pictures(paths: list[Path]) -> tuple[list[UInt8[np.ndarray, "_ _ 3"]], list[str]]:
    """Pictures, and empty reasons; where one cannot be read, a black one and why."""
    images, reasons = [], []
    for path in paths:
        try:
            image, reason = read_image(path), ""
        except UserError as error:
            image, reason = np.zeros((64, 64, 3), np.uint8), str(error)
        images.append(image)
        reasons.append(reason)
    return images, reasons


def _or_no_face(reasons: list[str], found: list) -> Shaped[np.ndarray, "files"]:
    missing = np.array([face is None for face in found])
    return np.where(missing & (np.array(reasons) == ""), NO_FACE, reasons)


def _hear(paths: list[Path], seconds: float, isolated: float) -> Arrays:
    networks = _campplus(), _ge2e()
    rows = []
    for path in paths:
        wave, reason = _speech(path, isolated)
        wave = wave[: round(seconds * audio.SAMPLE_RATE)]
        row = {name: np.full(dim, np.nan, np.float32) for name, dim in VOICE_DIMS.items()}
        for network in networks if not reason else ():
            row |= network(wave)
        rows.append(row | {"seconds": len(wave) / audio.SAMPLE_RATE, "reason": reason})
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _measure(paths: list[Path], seconds: float) -> Arrays:
    found = [_speech(path, seconds) for path in paths]
    unknown = np.full(len(voice_statistics.NAMES), np.nan)
    rows = [unknown if reason else voice_statistics.statistics(wave) for wave, reason in found]
    return {"statistics": np.stack(rows), "reason": np.array([reason for _, reason in found])}


def _speech(path: Path, seconds: float) -> tuple[Float32[np.ndarray, "samples"], str]:
    """The first seconds of speech in a recording, and an empty reason; where none is found, nothing and why."""
    try:
        return speech.read(path, seconds).astype(np.float32) / audio.FULL_SCALE, ""
    except UserError as error:
        return np.zeros(0, np.float32), str(error)

"""Features of many files, by pretrained networks, Praat and the colour of the skin; an interruption keeps blocks."""

import hashlib
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from s2f.models import pretrained
from s2f.signal import audio, colour, voice_statistics
from s2f.signal.images import read_image
from s2f.study import blocks, code
from s2f.study.paths import UserError

BLOCK = 32  # files
Arrays = dict[str, Shaped[np.ndarray, "files ..."]]

# Loaded once a process, when the first file is read.
_face_reader = cache(pretrained.FaceReader)
_landmark_finder = cache(pretrained.LandmarkFinder)
_campplus = cache(pretrained.CamPlus)
_ge2e = cache(pretrained.Ge2e)


def see(paths: Sequence[Path], kept: Path | None, workers: int) -> Arrays:
    """Faces in pictures: `feature` (128), `landmarks` (68, 2; px), `age`, `female`, `skin` (ITA and hue; degrees).

    They are NaN where no face is found.
    """
    return _blocks(_see, paths, kept, workers)


def find_landmarks(paths: Sequence[Path], kept: Path | None, workers: int) -> Arrays:
    """`landmarks` (68, 2; px) of the largest face in each picture, and `reason`: why they are NaN, or nothing.

    A file that is no picture is a reason as well, not an error.
    """
    return _blocks(_find_landmarks, paths, kept, workers)


def face_on(paths: Sequence[Path], kept: Path | None, workers: int) -> Arrays:
    """`frontal`: whether a detector of frontal faces finds one in the picture."""
    return _blocks(_face_on, paths, kept, workers)


def hear(paths: Sequence[Path], kept: Path | None, workers: int, seconds: float) -> Arrays:
    """Features of the first `seconds` of voices: `campplus`, `campplus_pooled`, `ge2e` and `statistics`."""
    return _blocks(_hear, paths, kept, workers, seconds)


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
    images = [read_image(path) for path in paths]
    found = [_face_reader()(image) for image in images]
    nobody = pretrained.Face(np.full(pretrained.FACE_DIM, np.nan), np.full((68, 2), np.nan), np.nan, np.nan)
    columns = {name: np.stack([getattr(face or nobody, name) for face in found]) for name in nobody._fields}
    return columns | {"skin": colour.angles(images, columns["landmarks"])}


def _find_landmarks(paths: list[Path]) -> Arrays:
    finder = _landmark_finder()  # whose own error, a missing package, is no reason to set pictures aside
    found, reasons = [], []
    for path in paths:
        try:
            landmarks, reason = finder(read_image(path)), "no face was found in it"
        except UserError as error:
            landmarks, reason = None, str(error)
        found.append(np.full((68, 2), np.nan) if landmarks is None else landmarks)
        reasons.append(reason if landmarks is None else "")
    return {"landmarks": np.stack(found), "reason": np.array(reasons)}


def _face_on(paths: list[Path]) -> Arrays:
    return {"frontal": np.array([_face_reader().frontal(read_image(path)) for path in paths])}


def _hear(paths: list[Path], seconds: float) -> Arrays:
    rows = []
    for path in paths:
        wave = audio.read(path, seconds)
        rows.append(_campplus()(wave) | _ge2e()(wave) | {"statistics": voice_statistics.statistics(wave)})
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

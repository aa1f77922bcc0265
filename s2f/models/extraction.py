"""Features of many files, by pretrained networks, Praat and the colour of the skin; an interruption keeps blocks."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from joblib import Memory, Parallel, delayed
from tqdm.auto import tqdm

from s2f.models import pretrained
from s2f.signal import audio, colour, voice_statistics
from s2f.signal.images import read_image
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
    """One block after another, `workers` at a time; a block that lies in the folder `kept` is not made again."""
    jobs = [list(paths[start : start + BLOCK]) for start in range(0, len(paths), BLOCK)]
    made = Parallel(workers, return_as="generator")(delayed(_block)(work, kept, job, *settings) for job in jobs)
    parts = list(tqdm(made, total=len(jobs), unit=f"{BLOCK} files"))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _block(work: Callable[..., Arrays], kept: Path | None, paths: list[Path], *settings) -> Arrays:
    # A block is known by the names and sizes of its files, wherever their folder lies.
    names = [(path.parent.name, path.name, path.stat().st_size if path.is_file() else -1) for path in paths]
    return Memory(kept, verbose=0).cache(work, ignore=["paths"])(paths, names, *settings)


def _see(paths: list[Path], names: list[tuple]) -> Arrays:
    images = [read_image(path) for path in paths]
    found = [_face_reader()(image) for image in images]
    nobody = pretrained.Face(np.full(pretrained.FACE_DIM, np.nan), np.full((68, 2), np.nan), np.nan, np.nan)
    columns = {name: np.stack([getattr(face or nobody, name) for face in found]) for name in nobody._fields}
    return columns | {"skin": colour.angles(images, columns["landmarks"])}


def _find_landmarks(paths: list[Path], names: list[tuple]) -> Arrays:
    finder = _landmark_finder()  # whose own error, a missing package, is no reason to set pictures aside
    found, reasons = [], []
    for path in paths:
        try:
            landmarks, reason = finder(read_image(path)), "no face was found in it"
        except UserError as error:
            landmarks, reason = None, str(error)
        found.append(np.full((68, 2), np.nan) if landmarks is None else landmarks)
        reasons.append(reason if landmarks is None else "")
    return {"landmarks": np.stack(found), "reason": np.array(reasons, dtype=object)}


def _face_on(paths: list[Path], names: list[tuple]) -> Arrays:
    return {"frontal": np.array([_face_reader().frontal(read_image(path)) for path in paths])}


def _hear(paths: list[Path], names: list[tuple], seconds: float) -> Arrays:
    rows = []
    for path in paths:
        wave = audio.read(path, seconds)
        rows.append(_campplus()(wave) | _ge2e()(wave) | {"statistics": voice_statistics.statistics(wave)})
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

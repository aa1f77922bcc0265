"""What is there of a corpus, what is missing and what is broken, before hours are spent on it: `s2f data check`."""

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
import pandas as pd
import soundfile
from tqdm import tqdm

from s2f.data import tables
from s2f.data.sources import folder, official
from s2f.data.sources.folder import SetAside
from s2f.signal import audio, media
from s2f.signal.images import read_image
from s2f.study import config
from s2f.study.paths import Study, UserError

LONGEST = 600.0  # s of a sound that are decoded
SILENT = 10 ** (-60 / 20)  # peak of what is called silence, relative to full scale
SHORTER = 0.05  # share of its length that a sound may lack before it is called shorter than its header says
MOST_SHOWN = 10  # findings of a kind that are shown; the list has all
BLOCK = 64  # files opened by a process at a time
POINTER = b"version https://git-lfs"
# Where which bytes stand in a file, and the endings that go with them.
CONTENTS = (
    (0, b"RIFF", (".wav", ".avi")),
    (0, b"fLaC", (".flac",)),
    (0, b"OggS", (".ogg", ".opus")),
    (4, b"ftyp", (".m4a", ".mp4", ".mov")),
)
STREAMED = 2**32 - 1 + 8  # bytes of a WAV file, as a program writes it that does not know how long it will be


class Report(NamedTuple):
    """What was found in a corpus."""

    recordings: pd.DataFrame  # that can be used, as far as was seen
    counts: pd.DataFrame  # as in `official.Found`
    people: dict[str, int]  # of each split
    findings: pd.DataFrame  # `kind`, `item`, `reason`, and whether it is `used` all the same
    opened: int | None  # files; None where none was to be opened

    @property
    def whole(self) -> bool:
        """Whether nothing is missing, nothing was found, and each split has people."""
        complete = self.counts.dropna(subset="complete")
        short = complete["found"] < complete["complete"]
        return self.findings.empty and not short.any() and all(self.people.get(split) for split in tables.SPLITS)

    def lines(self) -> list[str]:
        """The report in words, with the first findings of each kind."""
        lines = [f"found     {len(self.recordings):,} recordings of {self.recordings['speaker'].nunique():,} people"]
        for row in self.counts.itertuples():
            whole = "" if pd.isna(row.complete) else f" of {row.complete:,}"
            missing = f"; missing are {tables.some(row.missing)}" if row.missing else ""
            lines.append(f"          {row.what}: {row.found:,}{whole}{missing}")
        lines.append("people    " + ", ".join(f"{split} {self.people.get(split, 0):,}" for split in tables.SPLITS))
        lines.append(f"opened    {'no file: --open decodes each' if self.opened is None else f'{self.opened:,} files'}")
        for used, title in ((False, "set aside"), (True, "used, but")):
            findings = self.findings[self.findings["used"] == used]
            lines.append(f"{title:<9} {len(findings):,}")
            shown = findings.groupby("kind", sort=False).head(MOST_SHOWN)
            lines += [f"          {row.kind} {row.item}: {row.reason}" for row in shown.itertuples()]
        return lines


def check(study: Study, opening: bool) -> Report:
    """Look through the corpus that a study names.

    Args:
        study: its `params.yaml` says where the corpus is.
        opening: whether to decode every sound and picture as well; otherwise names and tables alone are read.

    Raises:
        UserError: if the study makes its data itself, or nothing is where its settings say.
    """
    aside, still = SetAside(), SetAside()
    cfg, recordings, counts = _recordings(study, aside)
    sounds = list(recordings["sound"].dropna().unique()) if opening else []
    pictures = list(dict.fromkeys(path for paths in recordings["photographs"] for path in paths)) if opening else []
    broken = set()
    for kind, paths, look in (("recording", sounds, _fault_of_sound), ("photograph", pictures, _fault_of_picture)):
        for path, reason, usable in _each(look, paths, cfg.workers, kind):
            (still if usable else aside).add(kind, path, reason)
            broken |= set() if usable else {path}
    recordings = recordings[~recordings["sound"].isin(broken)]
    split = folder.splits(recordings, cfg.seed, (cfg.val_share, cfg.test_share))
    people = recordings.assign(split=split).groupby("split")["speaker"].nunique()
    findings = pd.concat([aside.table.assign(used=False), still.table.assign(used=True)], ignore_index=True)
    return Report(recordings, counts, people.to_dict(), findings, len(sounds) + len(pictures) if opening else None)


def _recordings(study: Study, aside: SetAside) -> tuple[official.Official | folder.Folder, pd.DataFrame, pd.DataFrame]:
    """The settings of a study's corpus, its recordings, and the counts of `official.Found`."""
    settings = config.read(study.params).get("data") or {}
    if "corpus" in settings:
        cfg = config.load(official.Official, study.params)
        return cfg, *official.find(cfg, study.root, aside)
    if "table" in settings:
        cfg = config.load(folder.Folder, study.params)
        return cfg, folder.read_table(study.root / cfg.table, aside), pd.DataFrame(columns=official.COUNTED)
    raise UserError(f"{study.params} names no corpus of files in its section data: there is nothing to check.")


def _each(
    look: Callable[[Path], tuple[str, bool]], paths: Sequence[Path], workers: int, unit: str
) -> list[tuple[Path, str, bool]]:
    """What `look` finds in those files in which it finds something."""
    parts = [paths[start : start + BLOCK] for start in range(0, len(paths), BLOCK)]
    found = []
    with tqdm(total=len(paths), unit=unit, mininterval=1) as bar:
        pool = joblib.Parallel(n_jobs=min(workers, len(parts)) or 1, return_as="generator")
        for part, looked in zip(parts, pool(joblib.delayed(_block)(look, part) for part in parts), strict=True):
            found += [(path, *finding) for path, finding in zip(part, looked, strict=True) if finding[0]]
            bar.update(len(part))
    return found


def _block(look: Callable[[Path], tuple[str, bool]], paths: Sequence[Path]) -> list[tuple[str, bool]]:
    return [look(path) for path in paths]


def _fault_of_sound(path: Path) -> tuple[str, bool]:
    """What is wrong with a sound (empty: nothing), and whether it can be used all the same."""
    if reason := _unlike_media(path):
        return reason, False
    try:
        wave = audio.read(path, LONGEST)
        if np.abs(wave).max(initial=0) < SILENT:
            return f"it is silent: its peak is under {20 * math.log10(SILENT):.0f} dB", False
        promised = _promised_seconds(path)
    except UserError as error:
        return str(error), False
    lasts = len(wave) / audio.SAMPLE_RATE
    if lasts < min(promised, LONGEST) * (1 - SHORTER):
        return f"it ends after {lasts:.1f} s, and its header says {promised:.1f} s: it is cut off", True
    if content := _unlike_its_name(path):
        return f"its content is {content}, unlike its name: it is read by its content", True
    return "", True


def _fault_of_picture(path: Path) -> tuple[str, bool]:
    """What is wrong with a picture or video (empty: nothing), and whether it can be used all the same."""
    if reason := _unlike_media(path):
        return reason, False
    try:
        read_image(path)
    except UserError as error:
        return str(error), False
    return "", True


def _unlike_media(path: Path) -> str:
    """Why a file can be neither sound nor picture; empty where it may be."""
    if not path.exists():
        return "the file is missing"
    if not path.is_file():
        return "it is a folder, a pipe or a device"
    if path.stat().st_size == 0:
        return "it is empty (0 bytes)"
    with path.open("rb") as file:
        if file.read(len(POINTER)) == POINTER:
            return "it is a pointer of Git LFS, not the file itself: run git lfs pull"
    return ""


def _promised_seconds(path: Path) -> float:
    """How long a sound is by its header; 0 where that does not say."""
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            seconds = file.frames / file.samplerate
    except soundfile.SoundFileError:
        return media.seconds(path) or 0.0
    # Of a WAV file libsndfile counts what is there; the header says how many bytes should follow its first eight.
    header, size = _beginning(path), path.stat().st_size
    promised = int.from_bytes(header[4:8], "little") + 8 if header[:4] == b"RIFF" else size
    return seconds if promised == STREAMED else seconds * max(1, promised / size)


def _unlike_its_name(path: Path) -> str:
    """What a sound holds, in the words of a file ending, if its name says something else."""
    header = _beginning(path)
    for place, mark, endings in CONTENTS:
        if header[place : place + len(mark)] == mark and path.suffix.lower() not in endings:
            return endings[0].removeprefix(".")
    return ""


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(12)

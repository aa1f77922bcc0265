"""The samples that the authors of Speech2Face published, read in place from a clone of their repository.

    figures/avspeech_res/Wav/<video>_<start>-<end>.wav      a voice, 6 s; FLAC is read as well
                         Face_ori/<the same>.jpg            the true face: a frame of the video
                         Face_f2f/                          the canonical face that their decoder draws from it
                         Face_exg0/, Face_exg0.7/, ...      what their model draws from the voice, exaggerated
    figures/voxceleb/    the same folders; files are named <code><Name>_<video>_<number>

These are real people, and no licence is stated. So nothing that shows, names or lets one find or hear them leaves the
clone but features in a cache on this machine: clips, videos and people have numbers here, in the order of their names.
"""

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Shaped

from s2f.study.paths import UserError, replacing

REPOSITORY = "https://github.com/speech2face/speech2face.github.io"
VARIABLE = "S2F_PUBLISHED"
HOWTO = f"run `git clone {REPOSITORY}` and set {VARIABLE} to its folder"

SETS = {"avspeech": "avspeech_res", "voxceleb": "voxceleb"}
VOICES = "Wav"
FACES = {"true": "Face_ori", "f2f": "Face_f2f", "exg0": "Face_exg0", "exg0.7": "Face_exg0.7", "exg1.4": "Face_exg1.4"}
NEEDED = ("true", "f2f", "exg0")  # other exaggerations may be missing
EMBEDDINGS = ("campplus", "campplus_pooled", "ge2e")  # of speakers, among the features of `extraction.hear`
SOUND = (".wav", ".flac")

AVSPEECH = re.compile(r"(?P<video>[\w-]{11})_(?P<start>\d+\.\d+)-(?P<end>\d+\.\d+)")
VOXCELEB = re.compile(r"(?P<code>[01][01][0-4][0-5])(?P<name>.+)_(?P<video>[\w-]{11})_\d{7}")
# The four digits before a VoxCeleb name are the authors' annotation, with the meanings on their pages.
CODES = {
    "sex": "MF",
    "fluency": ("native", "not native"),
    "age_band": ("under 20", "20 to 39", "40 to 59", "60 and over", "60 and over"),
    "ethnicity": (
        "American Indian", "Asian or Pacific", "black", "Hispanic", "white, not Hispanic", "another",
    ),
}  # fmt: skip

# Bands of apparent age by the year in which they end.
AGE_BANDS = {"": 0, "under 30": 30, "30 to 44": 45, "45 and over": math.inf}


def place(folder: str | Path) -> Path:
    """The clone: the folder that S2F_PUBLISHED names, else `folder`; UserError if the samples are not in it."""
    root = Path(os.environ.get(VARIABLE) or folder)
    if not (root / "figures" / SETS["avspeech"]).is_dir():
        raise UserError(f"{root.absolute()} does not hold the published samples: {HOWTO}.")
    return root


def sets(root: Path) -> list[str]:
    """The sets that are there: avspeech, and voxceleb where the clone is whole."""
    return [name for name, folder in SETS.items() if (root / "figures" / folder).is_dir()]


def clips(root: Path, name: str) -> pd.DataFrame:
    """The clips of a set that have a voice and all needed faces: a row each, in the order of their names.

    `voice` and the kinds of face (`true`, `f2f`, `exg0`, ...) are paths; an exaggeration that some clip lacks is left
    out. `clip` counts the rows. `video` and `person` are numbers: an AVSpeech video stands for a person, because its
    speakers have no names. `seconds` is the length of the recording before the authors repeated or cut it to 6 s (NaN
    for VoxCeleb). `sex`, `fluency`, `age_band` and `ethnicity` are their annotation, None for AVSpeech. UserError where
    a folder is missing or empty, or a file is named otherwise; hidden files, such as `._NAME` of macOS, are left out.
    """
    folder = root / "figures" / SETS[name]
    voices = files_by_stem(folder / VOICES, SOUND)
    faces = {kind: files_by_stem(folder / place, (".jpg",), kind in NEEDED) for kind, place in FACES.items()}
    complete = sorted(voices.keys() & set.intersection(*(set(faces[kind]) for kind in NEEDED)))
    if not complete:
        raise UserError(f"No clip in {folder} has a voice and all faces: {HOWTO}.")
    table = pd.DataFrame([_named(name, stem) for stem in complete])
    table["voice"] = [voices[stem] for stem in complete]
    for kind, files in faces.items():
        if files.keys() >= set(complete):
            table[kind] = [files[stem] for stem in complete]
    for column in ("video", "person"):
        table[column] = table.groupby(column).ngroup()
    return table.assign(clip=np.arange(len(table)))


def files_by_stem(folder: Path, suffixes: tuple[str, ...], needed: bool = True) -> dict[str, Path]:
    """Files by their names without the suffix; without hidden ones."""
    if needed and not folder.is_dir():
        raise UserError(f"The clone is not whole, {folder} is missing: {HOWTO}.")
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    shown = (path for path in found if path.suffix.lower() in suffixes and not hidden(path))
    return {path.name[: -len(path.suffix)]: path for path in shown}


def hidden(path: Path) -> bool:
    """Does its name begin with a dot, as that of what a system leaves beside the files?"""
    return path.name.startswith(".")


def _named(name: str, stem: str) -> dict[str, str | float | None]:
    """What the name of a clip says."""
    match = (AVSPEECH if name == "avspeech" else VOXCELEB).fullmatch(stem)
    if match is None:
        raise UserError(f"A file of the {name} set is not named as the authors name theirs: {HOWTO}.")
    if name == "avspeech":
        seconds = float(match["end"]) - float(match["start"])
        return {"video": match["video"], "person": match["video"], "seconds": seconds} | dict.fromkeys(CODES)
    labels = {key: values[int(digit)] for (key, values), digit in zip(CODES.items(), match["code"], strict=True)}
    return {"video": match["video"], "person": match["name"], "seconds": math.nan} | labels


def listed(root: Path, name: str) -> int:
    """How many clips the authors list in IDs.txt, those included whose files they left out."""
    path = root / "figures" / SETS[name] / "IDs.txt"
    if not path.is_file():
        raise UserError(f"The clone is not whole, {path} is missing: {HOWTO}.")
    return len(path.read_text(encoding="utf-8-sig", errors="replace").split())


@dataclass(frozen=True)
class Samples:
    """What was read in a set of clips, a row a person: an AVSpeech video's first clip, the mean of a celebrity's."""

    clips: pd.DataFrame  # a row a clip in which every face was found: numbers and labels, no names
    arrays: Mapping[str, Shaped[np.ndarray, "clips ..."]]
    mean: bool

    @property
    def people(self) -> pd.DataFrame:
        return self.clips.drop_duplicates("person").set_index("person").sort_index()

    @property
    def who(self) -> Int[np.ndarray, "people"]:
        """The numbers of the people, one a row."""
        return self.people.index.to_numpy()

    def where(self, kept: Bool[np.ndarray, "clips"]) -> "Samples":
        """Some of the clips."""
        arrays = {name: values[kept] for name, values in self.arrays.items()}
        return replace(self, clips=self.clips[kept].reset_index(drop=True), arrays=arrays)

    def first(self) -> "Samples":
        """The first clip of each person."""
        return self.where(~self.clips["person"].duplicated().to_numpy())

    def joined(self, kind: str, seen: Mapping[str, Shaped[np.ndarray, "clips ..."]]) -> "Samples":
        """With another kind of drawn face, as `extract.see` reads them."""
        return replace(self, arrays={**self.arrays, **{f"{kind}.{name}": values for name, values in seen.items()}})

    def voice(self, seconds: float, blocks: Sequence[str] = EMBEDDINGS) -> list[Float[np.ndarray, "people _"]]:
        """Features of the first `seconds` of the voices, a block a kind, by the order of `people`."""
        return [self[f"{seconds:g}s.{block}"] for block in blocks]

    @property
    def kinds(self) -> list[str]:
        """The kinds of faces drawn from the voice: exaggerations of the authors' model, and what was joined."""
        return [name for name in self.drawn if name != "f2f"]

    @property
    def drawn(self) -> list[str]:
        """All kinds of drawn faces, the one drawn from the picture last."""
        read = [name.removesuffix(".feature") for name in self.arrays if name.endswith(".feature")]
        return sorted((kind for kind in read if kind != "true"), key=lambda kind: kind == "f2f")

    def looks(self, kind: str = "true") -> pd.DataFrame:
        """The `sex`, `age_band` and `age` (years) that a network sees in a kind of face, by the order of `people`."""
        age = self[f"{kind}.age"]
        sex = np.where(self[f"{kind}.female"] > 0.5, "F", "M")
        band = pd.cut(age, AGE_BANDS.values(), right=False, labels=list(AGE_BANDS)[1:]).astype(str)
        return pd.DataFrame({"sex": sex, "age_band": band, "age": age}, index=self.people.index)

    def __getitem__(self, name: str) -> Float[np.ndarray, "people ..."]:
        """An array of features, such as `true.feature` or `6s.campplus`, by the order of `people`."""
        values, owners = self.arrays[name].astype(float), self.clips["person"].to_numpy()
        if self.mean:
            return np.stack([values[owners == person].mean(axis=0) for person in self.who])
        return values[np.unique(owners, return_index=True)[1]]


def save(table: pd.DataFrame, arrays: Mapping[str, Shaped[np.ndarray, "clips ..."]], folder: Path, name: str) -> None:
    """Write the features and the table of the clips, without names and without clips in which a face was not found."""
    found = np.all([np.isfinite(arrays[f"{kind}.age"]) for kind in FACES if f"{kind}.age" in arrays], axis=0)
    kept = table.loc[found].drop(columns=["voice", *(kind for kind in FACES if kind in table)])
    with replacing(folder / f"{name}.parquet") as temporary:
        kept.to_parquet(temporary, index=False)
    with replacing(folder / f"{name}.npz") as temporary:
        np.savez(temporary, **{key: values[found] for key, values in arrays.items()})


def load(folder: Path, name: str) -> Samples:
    """The features of a set; UserError if they were not made."""
    if not (folder / f"{name}.npz").is_file():
        raise UserError(f"There are no features of the {name} set in {folder}: run the stage features first.")
    with np.load(folder / f"{name}.npz") as file:
        arrays = dict(file)
    return Samples(pd.read_parquet(folder / f"{name}.parquet"), arrays, mean=name == "voxceleb")


def made(folder: Path) -> list[str]:
    """The sets whose features were made."""
    return [name for name in SETS if (folder / f"{name}.npz").is_file()]

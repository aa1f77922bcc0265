"""The samples that the authors of Speech2Face published, read in place from a clone of their repository.

    figures/avspeech_res/Wav/<video>_<start>-<end>.wav      a voice, 6 s; FLAC is read as well
                         Face_ori/<the same>.jpg            the true face: a frame of the video
                         Face_f2f/                          the canonical face that their decoder draws from it
                         Face_exg0/, Face_exg0.7/, ...      what their model draws from the voice, exaggerated
    figures/voxceleb/    the same folders; files are named <code><Name>_<video>_<number>, or <code>Zz_<Assistant>_...

Among the files of VoxCeleb are voices of assistants (Siri, Alexa, the Google assistant), which have no true face: they
are a set of their own. Whatever else lies beside these folders is none of the study's business; a file in them that
does not fit is set aside, with its reason, and ends nothing.

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

from s2f.data.sources.folder import SetAside
from s2f.study.paths import UserError, replacing

REPOSITORY = "https://github.com/speech2face/speech2face.github.io"
VARIABLE = "S2F_PUBLISHED"
HOWTO = f"run `git clone {REPOSITORY}` and set {VARIABLE} to its folder"

SETS = {"avspeech": "avspeech_res", "voxceleb": "voxceleb", "assistants": "voxceleb"}
VOICES = "Wav"
FACES = {"true": "Face_ori", "f2f": "Face_f2f", "exg0": "Face_exg0", "exg0.7": "Face_exg0.7", "exg1.4": "Face_exg1.4"}
NEEDED = ("true", "f2f", "exg0")  # other exaggerations may be missing
DRAWN_FROM_VOICE = tuple(kind for kind in FACES if kind not in ("true", "f2f"))  # all that an assistant has
EMBEDDINGS = ("campplus", "campplus_pooled", "ge2e")  # of speakers, among the features of `extraction.hear`
SOUND = (".wav", ".flac")

AVSPEECH = re.compile(r"(?P<video>[\w-]{11})_(?P<start>\d+\.\d+)-(?P<end>\d+\.\d+)")
VOXCELEB = re.compile(r"(?P<code>[01][01][0-4][0-5])(?P<name>.+)_(?P<video>[\w-]{11})_\d{7}")
ASSISTANTS = re.compile(r"\d{4}Zz_(?P<name>[^_]+)_.+")
# The four digits before a VoxCeleb name are the authors' annotation, with the meanings on their pages.
CODES = {
    "sex": "MF",
    "fluency": ("native", "not native"),
    "age_band": ("under 20", "20 to 39", "40 to 59", "60 and over", "60 and over"),
    "ethnicity": (
        "American Indian", "Asian or Pacific", "black", "Hispanic", "white, not Hispanic", "another",
    ),
}  # fmt: skip

COLUMNS = ("video", "person", "seconds", *CODES, "product")  # that a name tells

# Bands of apparent age by the year in which they end.
AGE_BANDS = {"": 0, "under 30": 30, "30 to 44": 45, "45 and over": math.inf}


def place(folder: str | Path) -> Path:
    """The clone: the folder that S2F_PUBLISHED names, else `folder`; UserError if the samples are not in it."""
    root = Path(os.environ.get(VARIABLE) or folder)
    if not (root / "figures" / SETS["avspeech"]).is_dir():
        raise UserError(f"{root.absolute()} does not hold the published samples: {HOWTO}.")
    return root


def sets(root: Path) -> list[str]:
    """The sets that are there: avspeech, and those of VoxCeleb's folder where the clone is whole."""
    return [name for name, folder in SETS.items() if (root / "figures" / folder).is_dir()]


def clips(root: Path, name: str, aside: SetAside | None = None) -> pd.DataFrame:
    """The clips of a set that have a voice and all needed faces: a row each, in the order of their names.

    Hidden files, such as `._NAME` of macOS, are no files of the set.

    Args:
        root: the clone.
        name: one of `SETS`.
        aside: takes the files that are named otherwise, or lack what belongs to them.

    Returns:
        `voice` and the kinds of face (`true`, `f2f`, `exg0`, ...) are paths; an exaggeration that some clip lacks is
        left out. `clip` counts the rows. `video` and `person` are numbers: an AVSpeech video stands for a person,
        because its speakers have no names. `seconds` is the length of the recording before the authors repeated or cut
        it to 6 s (NaN for others). `sex`, `fluency`, `age_band` and `ethnicity` are their annotation of celebrities,
        None for others; `product` is an assistant's name, None for people.

    Raises:
        UserError: if a folder is missing, or no clip of AVSpeech is whole.
    """
    folder, aside = root / "figures" / SETS[name], aside or SetAside()
    kinds = [kind for kind in FACES if name != "assistants" or kind in DRAWN_FROM_VOICE]
    voices = files_by_stem(folder / VOICES, SOUND)
    faces = {kind: files_by_stem(folder / FACES[kind], (".jpg",), kind in NEEDED) for kind in kinds}
    rows = []
    for stem in sorted(voices.keys() | set().union(*faces.values())):
        if (ASSISTANTS.fullmatch(stem) is not None) != (name == "assistants") and SETS[name] == SETS["assistants"]:
            continue  # of the other set in this folder
        named = _named(name, stem)
        lacking = [kind for kind in kinds if kind in NEEDED and stem not in faces[kind]]
        if named is None:
            aside.add("name", stem, "it is not named as the authors name theirs")
        elif stem not in voices:
            aside.add("incomplete", stem, "it has no voice")
        elif lacking:
            aside.add("incomplete", stem, f"it has no picture of the kind {lacking[0]}")
        else:
            rows.append(named | {"stem": stem, "voice": voices[stem]})
    if not rows and name == "avspeech":
        raise UserError(f"No clip in {folder} has a voice and all faces: {HOWTO}.")
    table = pd.DataFrame(rows, columns=[*COLUMNS, "stem", "voice"])
    for kind, files in faces.items():
        if files.keys() >= set(table["stem"]):
            table[kind] = [files[stem] for stem in table["stem"]]
    for column in ("video", "person"):
        table[column] = table.groupby(column).ngroup()
    return table.drop(columns="stem").assign(clip=np.arange(len(table)))


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


def _named(name: str, stem: str) -> dict[str, str | float | None] | None:
    """What the name of a clip tells, after `COLUMNS`; None where it is named otherwise."""
    match = {"avspeech": AVSPEECH, "voxceleb": VOXCELEB, "assistants": ASSISTANTS}[name].fullmatch(stem)
    if match is None:
        return None
    unknown = dict.fromkeys(COLUMNS) | {"seconds": math.nan}
    if name == "avspeech":
        seconds = float(match["end"]) - float(match["start"])
        return unknown | {"video": match["video"], "person": match["video"], "seconds": seconds}
    if name == "assistants":
        return unknown | {"video": stem, "person": match["name"], "product": match["name"]}
    labels = {key: values[int(digit)] for (key, values), digit in zip(CODES.items(), match["code"], strict=True)}
    return unknown | {"video": match["video"], "person": match["name"]} | labels


def listed(root: Path, name: str) -> int | None:
    """How many clips the authors list in IDs.txt, those included whose files they left out; None without that file."""
    path = root / "figures" / SETS[name] / "IDs.txt"
    return len(path.read_text(encoding="utf-8-sig", errors="replace").split()) if path.is_file() else None


@dataclass(frozen=True)
class Samples:
    """What was read in a set of clips, a row a person: an AVSpeech video's first clip, the mean of anybody else's."""

    clips: pd.DataFrame  # a row a clip in which speech and every face was found: numbers and labels, no names
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

    def voice(self, seconds: int | float, blocks: Sequence[str] = EMBEDDINGS) -> list[Float[np.ndarray, "people _"]]:
        """Features of the first `seconds` of the voices, a block a kind, by the order of `people`."""
        return [self[f"{seconds:g}s.{block}"] for block in blocks]

    def of_clips(self) -> "Samples":
        """A row a clip instead of a row a person."""
        return replace(self, clips=self.clips.assign(person=np.arange(len(self.clips))))

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


def save(
    table: pd.DataFrame,
    arrays: Mapping[str, Shaped[np.ndarray, "clips ..."]],
    folder: Path,
    name: str,
    aside: SetAside | None = None,
) -> None:
    """Write the features of a set and the table of its clips, which names nobody, and the table of what was set aside.

    Args:
        table: as `clips` makes it.
        arrays: features of the voices and of each kind of face. `KIND.reason` and `SECONDS.reason` say why a picture or
            a recording has none, or nothing; such clips are set aside.
        folder: where `NAME.npz`, `NAME.parquet` and `NAME_rejected.parquet` go; the last one names files.
        name: of the set.
        aside: what was set aside so far; takes the rest.
    """
    aside, kept = aside or SetAside(), np.ones(len(table), bool)
    for key in [key for key in arrays if key.endswith(".reason")]:
        kind = key.removesuffix(".reason")
        column, fault = (kind, "no face") if kind in FACES else ("voice", "no speech")
        wrong = arrays[key] != ""
        for row in np.flatnonzero(wrong & kept):
            aside.add(fault, table[column].iloc[row], arrays[key][row])
        kept &= ~wrong
    shown = table.loc[kept].drop(columns=["voice", *(kind for kind in FACES if kind in table)])
    with replacing(folder / f"{name}_rejected.parquet") as temporary:
        aside.table.to_parquet(temporary, index=False)
    with replacing(folder / f"{name}.parquet") as temporary:
        shown.to_parquet(temporary, index=False)
    with replacing(folder / f"{name}.npz") as temporary:
        np.savez(temporary, **{key: values[kept] for key, values in arrays.items() if not key.endswith(".reason")})


def load(folder: Path, name: str) -> Samples:
    """The features of a set; UserError if they were not made."""
    if not (folder / f"{name}.npz").is_file():
        raise UserError(f"There are no features of the {name} set in {folder}: run the stage features first.")
    with np.load(folder / f"{name}.npz") as file:
        arrays = dict(file)
    return Samples(pd.read_parquet(folder / f"{name}.parquet"), arrays, mean=name != "avspeech")


def made(folder: Path) -> list[str]:
    """The sets whose features were made."""
    return [name for name in SETS if (folder / f"{name}.npz").is_file()]


def people(folder: Path, folds: int) -> dict[str, Samples]:
    """AVSpeech, and VoxCeleb where it was read and has people enough for so many folds (`ridge.folds`)."""
    samples = {"avspeech": load(folder, "avspeech")}
    if "voxceleb" in made(folder):
        stars = load(folder, "voxceleb")
        samples |= {"voxceleb": stars} if len(stars.who) >= 2 * folds else {}
    return samples

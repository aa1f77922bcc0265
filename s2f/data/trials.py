"""Trial lists for matching and verification: drawing, writing with a hash, and reading public formats.

A drawn list depends only on the seed and on names: each probe ranks the other speakers by a hash of both names.
Therefore neither the order of the rows nor the version of a random generator affects it, an added person changes only
the trials in which they appear, and the first N candidates of a longer trial are those of a trial of size N.

Items are named `speaker/anything`, as in the public lists. A table of *matching* trials has the columns `probe`,
`target`, `other_1`, `other_2` ...: the target is an item of the probe's speaker, and each other an item of a different
speaker, None where there are not enough speakers. A table of *verification* trials has the columns `voice`, `face`,
`voice_speaker`, `face_speaker` and `same`.

Lists are read as UTF-8, with or without a byte order mark, whatever ends their lines; blank lines and lines that begin
with # are left out. A file with `SHA256SUMS` beside it must stand there with its hash.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from jaxtyping import Shaped

from s2f.study.numbers import finite
from s2f.study.paths import UserError, replacing

# The numbers of the sets in identity_splits.txt of Learnable PINs.
SETS = {"1": "train", "2": "val", "3": "seen_heard", "4": "unseen_unheard"}
# Columns of a verification list of Learnable PINs (after the id) and the matching columns of our tables.
PINS = {
    "voice-speaker-id": "voice_speaker",
    "face-speaker-id": "face_speaker",
    "label": "same",
    "voice-path": "voice",
    "face-path": "face",
}
SUMS = "SHA256SUMS"
# A line of `sha256sum`: text, or binary with an asterisk.
SUM = re.compile(r"(?P<digest>[0-9a-fA-F]{64})[ \t]+\*?(?P<name>.+)")
ITEM = re.compile(r"[^/\s,\ud800-\udfff]+/[^\s,\ud800-\udfff]+")  # surrogates: a file name that is not UTF-8


def speakers(items: Iterable[str | None]) -> Shaped[np.ndarray, "items"]:
    """Speaker of each item: the part of its name before the first slash. None stays None."""
    return np.array([item if item is None else item.partition("/")[0] for item in items], dtype=object)


def candidates(table: pd.DataFrame) -> pd.DataFrame:
    """The candidate columns of a table of matching trials, the target first."""
    return table.drop(columns="probe")


def matching(
    probes: Iterable[str], items: Iterable[str], labels: pd.Series, *, size: int, draws: int, seed: int
) -> pd.DataFrame:
    """Draw matching trials in which all candidates have the same label (such as sex) as the speaker of the probe.

    Args:
        probes: Names of the probes, voices or faces.
        items: Names of the candidates, of the other modality.
        labels: Label of each speaker, indexed by speaker; a missing value equals no other label.
        size: Maximum number of candidates in a trial, including the target.
        draws: Number of trials per probe.
        seed: Seed of the draw.

    Returns:
        A table of matching trials (see the module docstring). Probes for which there is no other speaker are left out.

    Raises:
        UserError: If the name of an item has no speaker, a speaker is not in `labels`, or a probe has no target.
    """
    queries, gallery = _named(probes), _named(items)
    people, first, counts = np.unique(speakers(gallery), return_index=True, return_counts=True)
    own, code = _places(speakers(queries), people), _codes(labels, people)
    allowed = (code[own][:, None] == code) & (code >= 0)
    allowed[np.arange(len(queries)), own] = False
    tables = []
    for draw in range(draws):
        key = _mixed(_hashes(queries, f"{seed} {draw}")[:, None] ^ _hashes(people, str(seed)))
        others = np.argsort(np.where(allowed, key, np.iinfo(key.dtype).max), axis=1, kind="stable")[:, : size - 1]
        chosen = np.column_stack([own, others])
        # The key ranks speakers; its remainder selects one of the items of a speaker.
        item = np.take_along_axis(key, chosen, axis=1) % counts[chosen].astype(key.dtype)
        names = gallery[first[chosen] + item.astype(int)]
        names[:, 1:][~np.take_along_axis(allowed, others, axis=1)] = None
        columns = ["target", *(f"other_{place}" for place in range(1, names.shape[1]))]
        tables.append(pd.DataFrame(names, columns=columns).assign(probe=queries))
    table = pd.concat(tables).sort_index(kind="stable").reindex(columns=["probe", "target", *_others(size)])
    return table[table["other_1"].notna()].reset_index(drop=True).astype(object).replace({np.nan: None})


def verification(
    voices: Iterable[str], faces: Iterable[str], labels: pd.Series, *, draws: int, seed: int
) -> pd.DataFrame:
    """Draw verification trials: `draws` times per voice, one with a face of its speaker and one with another face.

    Args:
        voices: Names of the voices.
        faces: Names of the faces.
        labels: Label of each speaker, shared by the two speakers of a trial, as in `matching`.
        draws: Number of pairs of trials per voice.
        seed: Seed of the draw.

    Returns:
        A table of verification trials (see the module docstring), half of which have `same` set.

    Raises:
        UserError: As in `matching`.
    """
    drawn = matching(voices, faces, labels, size=2, draws=draws, seed=seed)
    parts = [
        pd.DataFrame({"voice": drawn["probe"], "face": drawn[column], "same": same})
        for column, same in (("target", True), ("other_1", False))
    ]
    table = pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)
    return table.assign(voice_speaker=speakers(table["voice"]), face_speaker=speakers(table["face"]))


def _others(size: int) -> list[str]:
    return [f"other_{place}" for place in range(1, size)]


def _named(items: Iterable[str]) -> Shaped[np.ndarray, "items"]:
    """The unique items in sorted order."""
    names = np.array(sorted(set(items)), dtype=object)
    for name in names:
        _check_item(name)
    return names


def _check_item(name: str) -> None:
    if not ITEM.fullmatch(name):
        raise UserError(f"The item {name!r} has no speaker: name it speaker/item, in UTF-8, without spaces and commas.")


def _places(wanted: Shaped[np.ndarray, "probes"], people: Shaped[np.ndarray, "people"]) -> np.ndarray:
    places = pd.Index(people).get_indexer(wanted)
    if (places < 0).any():
        raise UserError(f"Speaker {wanted[places < 0][0]} has a probe but no candidate: pass an item of theirs.")
    return places


def _codes(labels: pd.Series, people: Shaped[np.ndarray, "people"]) -> np.ndarray:
    if missing := sorted(set(people) - set(labels.index)):
        raise UserError(f"Speaker {missing[0]} has no label: pass one for each speaker, empty where unknown.")
    return pd.factorize(labels.loc[people])[0]


def _hashes(names: Shaped[np.ndarray, "names"], salt: str) -> np.ndarray:
    digests = [hashlib.blake2b(f"{salt} {name}".encode(), digest_size=8).digest() for name in names]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Hash of each number (SplitMix64), so that the order of people differs between probes."""
    return pd.util.hash_array(numbers.ravel()).reshape(numbers.shape)


def write(lists: Mapping[str, pd.DataFrame], folder: str | Path) -> dict[str, dict[str, int | str]]:
    """Write trial tables as `folder/NAME.txt` and their hashes as `folder/SHA256SUMS`.

    Matching trials have the format of CMPC, verification trials that of Learnable PINs. Lines are sorted, so that equal
    trials give equal files. `sha256sum -c SHA256SUMS` verifies the files, and so do the readers.

    Returns:
        The number of `trials` and the `sha256` of each list, by name.

    Raises:
        UserError: If an item has no speaker; then nothing is written.
    """
    folder = Path(folder)
    texts = {
        f"{name}.txt": _matching_text(table) if "probe" in table else _verification_text(table)
        for name, table in lists.items()
    }
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    texts[SUMS] = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
    for name, text in texts.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    return {name: {"trials": len(table), "sha256": digests[f"{name}.txt"]} for name, table in lists.items()}


def _matching_text(table: pd.DataFrame) -> str:
    rows = [[name for name in row if pd.notna(name)] for row in table.to_numpy(object)]
    for name in {name for row in rows for name in row}:
        _check_item(name)
    return "".join(sorted(" ".join(row) + "\n" for row in rows))


def _verification_text(table: pd.DataFrame) -> str:
    for name in {*table["voice"], *table["face"]}:
        _check_item(name)
    rows = sorted(table.astype({"same": int})[list(PINS.values())].itertuples(index=False, name=None))
    lines = [",".join(["id", *PINS]), *(f"{number}," + ",".join(map(str, row)) for number, row in enumerate(rows, 1))]
    return "\n".join(lines) + "\n"


def read_matching(path: str | Path) -> pd.DataFrame:
    """Read matching trials in the format of CMPC: each line a probe, its target and the others, separated by spaces.

    Voices and faces of a person may have different names (an id and a name), but always the same ones.

    Returns:
        A table of matching trials (see the module docstring).

    Raises:
        UserError: If the file is missing, empty or does not match its hash, or a line has no other candidate, two
            candidates of the same speaker, or a target who is not the probe's speaker.
    """
    lines = {number: line.split() for number, line in _lines(path).items()}
    everybody = {name for line in lines.values() for name in speakers(line[1:])}
    known: dict[str, str] = {}
    for number, line in lines.items():
        own, *people = speakers(line)
        if len(people) < 2 or len(set(people)) < len(people) or not all("/" in item for item in line):
            raise UserError(f"{path}, line {number}: a probe, its target and others of other speakers are needed.")
        expected = own if own in everybody else known.setdefault(own, people[0])
        if people[0] != expected:
            raise UserError(
                f"{path}, line {number}: the target is of {people[0]}, the probe of {expected}; correct that line."
            )
    places = list(zip_longest(*lines.values()))  # shorter lines end in None
    columns = ["probe", "target", *_others(len(places) - 1)]
    return pd.DataFrame(dict(zip(columns, places, strict=True)), dtype=object)


def read_verification(path: str | Path) -> pd.DataFrame:
    """Read verification trials in the format of Learnable PINs.

    Labels are read from the file; some systems infer them from the parity of the row, which is wrong for several of the
    public lists.

    Returns:
        A table of verification trials (see the module docstring).

    Raises:
        UserError: If the file is missing, empty or does not match its hash, a column is missing, or a label contradicts
            the speakers.
    """
    (_, header), *rows = [(number, line.split(",")) for number, line in _lines(path).items()]
    if header[1:] != list(PINS):
        raise UserError(f"{path} must have the columns id, {', '.join(PINS)}: is it a verification list of PINs?")
    for number, row in rows:
        if len(row) != len(header):
            raise UserError(f"{path}, line {number}: {len(row)} values stand under {len(header)} columns; correct it.")
        _, voice, face, label, *_ = row
        if label != str(int(voice == face)):
            raise UserError(
                f"{path}, line {number}: speakers {voice} and {face} have the label {label!r}; correct that line."
            )
    if not rows:
        raise UserError(f"{path} holds no trials: name another list.")
    table = pd.DataFrame([row[1:] for _, row in rows], columns=list(PINS.values()), dtype=object)
    return table.assign(same=table["same"] == "1")


def read_splits(path: str | Path) -> pd.Series:
    """Read identity_splits.txt of Learnable PINs: the set of each person, one of the values of `SETS`.

    Raises:
        UserError: If the file is missing or empty, a line is not a name and a number from 1 to 4, or a person stands
            in two sets.
    """
    sets: dict[str, str] = {}
    for number, line in _lines(path).items():
        name, *rest = line.split()
        if len(rest) != 1 or rest[0] not in SETS:
            raise UserError(f"{path}, line {number}: a name and a set from 1 to 4 are needed.")
        if sets.setdefault(name, rest[0]) != rest[0]:
            raise UserError(f"{path}, line {number}: {name} stands in set {sets[name]} as well; give everybody one.")
    return pd.Series({name: SETS[number] for name, number in sets.items()}, name="set", dtype=object)


def read_fame(path: str | Path) -> pd.DataFrame:
    """Read a test list of the FAME challenge (MAV-Celeb), whose labels are not public.

    Returns:
        One row per trial, with the columns `key`, `voice` and `face`.

    Raises:
        UserError: If the file is missing or empty, a line does not have three fields, or a key stands in two.
    """
    lines: dict[str, list[str]] = {}
    for number, line in _lines(path).items():
        fields = line.split()
        if len(fields) != 3:
            raise UserError(f"{path}, line {number}: a key, a voice and a face are needed.")
        if fields[0] in lines:
            raise UserError(f"{path}, line {number}: the key {fields[0]} stands in an earlier line; drop one of them.")
        lines[fields[0]] = fields
    return pd.DataFrame(lines.values(), columns=["key", "voice", "face"], dtype=object)


def write_fame(table: pd.DataFrame, scores: Iterable[float], path: str | Path) -> None:
    """Write scores (higher is more similar) of the trials of `read_fame` as a FAME submission: one distance per key.

    UserError for another number of scores than trials, or a score that is not finite; then nothing is written.
    """
    scores = np.array(list(scores), dtype=float)
    if len(scores) != len(table):
        raise UserError(f"There are {len(scores)} scores of {len(table)} trials: pass one for each.")
    finite(score=pd.Series(scores, index=table["key"]))
    lines = [f"{key} {-score:.6f}\n" for key, score in zip(table["key"], scores, strict=True)]
    with replacing(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def _lines(path: str | Path) -> dict[int, str]:
    """The lines of a list by their numbers, without blank ones and comments; UserError if there are none."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no trial list {path}: name a file.")
    _check_sum(path)
    if not (lines := _text_lines(path)):
        raise UserError(f"{path} is empty: name a list with at least one trial.")
    return lines


def _text_lines(path: Path) -> dict[int, str]:
    """Lines of a text file by their numbers, without blank ones and comments."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not text in UTF-8: save it as such.") from None
    lines = {number: line.strip() for number, line in enumerate(text.split("\n"), 1)}
    return {number: line for number, line in lines.items() if line and not line.startswith("#")}


def _check_sum(path: Path) -> None:
    """UserError unless a file stands with its hash in the `SHA256SUMS` of its folder, if there is one."""
    sums, known = path.with_name(SUMS), {}
    if not sums.is_file():
        return
    for number, line in _text_lines(sums).items():
        if not (match := SUM.fullmatch(line)):
            raise UserError(f"{sums}, line {number}: a hash of 64 hexadecimal digits and a file name are needed.")
        name = PurePosixPath(match["name"])
        if name.is_absolute() or ".." in name.parts:
            raise UserError(f"{sums}, line {number}: {name} leads out of the folder; name files in it.")
        if not os.path.isfile(path.parent / name):  # which a name too long is not either
            raise UserError(f"{sums}, line {number}: there is no file {name}; bring it, or drop the line.")
        if known.setdefault(str(name), digest := match["digest"].lower()) != digest:
            raise UserError(f"{sums}, line {number}: {name} has another hash in an earlier line; drop one of them.")
    if path.name not in known:
        raise UserError(f"{path} does not stand in the {SUMS} beside it: add its hash, or move it.")
    if hashlib.sha256(path.read_bytes()).hexdigest() != known[path.name]:
        raise UserError(f"{path} is not the list that {SUMS} beside it names: write it again.")

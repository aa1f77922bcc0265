"""Lists of trials: who is compared with whom; drawn by seed, written with a hash, read from the public formats.

A drawn list is a function of the seed and of names only: every probe orders the others by a hash of both names. So
neither the order of the rows nor the version of a random generator changes it, a person who joins changes only the
trials that they enter, and the first N candidates of a long trial are the trial of that size.

An item is named `speaker/anything`, as in the public lists. A table of *matching* trials has the columns `probe`,
`target`, `other_1`, `other_2` ...: one item of the probe's speaker, and one item of each of other speakers, None where
there are not enough of them. A table of *verification* trials has `voice`, `face`, `voice_speaker`, `face_speaker` and
`same`.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Shaped

from s2f.study.paths import UserError, replacing

# The sets in identity_splits.txt of Learnable PINs.
SETS = {"1": "train", "2": "val", "3": "seen_heard", "4": "unseen_unheard"}
# Columns of a verification list of Learnable PINs after its running number, and ours.
PINS = {
    "voice-speaker-id": "voice_speaker",
    "face-speaker-id": "face_speaker",
    "label": "same",
    "voice-path": "voice",
    "face-path": "face",
}
SUMS = "SHA256SUMS"
ITEM = re.compile(r"[^/\s,]+/[^\s,]+")


def speakers(items: Iterable[str | None]) -> Shaped[np.ndarray, "items"]:
    """The speaker of each item: its name up to the first slash; None stays None."""
    return np.array([item if item is None else item.partition("/")[0] for item in items], dtype=object)


def candidates(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of a table of matching trials that hold its candidates, the target first."""
    return table.drop(columns="probe")


def matching(
    probes: Iterable[str], items: Iterable[str], labels: pd.Series, *, size: int, draws: int, seed: int
) -> pd.DataFrame:
    """Matching trials with up to `size` candidates: each probe `draws` times, the others sharing its speaker's label.

    `probes` and `items` (the candidates) may be voices and faces or the reverse; `labels` is the stratum of each
    speaker, and who has none shares it with nobody. A probe without any other is left out. UserError if an item has no
    speaker, a speaker no label, or a probe no target.
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
        # The low digits of a key choose among the items of a person, the key as a whole among people.
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
    """Verification trials, half of them matched: each voice `draws` times with a face of its own and one of another."""
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
    """The items in sorted order, each once."""
    names = np.array(sorted(set(items)), dtype=object)
    for name in names:
        if not ITEM.fullmatch(name):
            raise UserError(f"The item {name!r} has no speaker: name it speaker/item, without spaces and commas.")
    return names


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
    """Each number scrambled (SplitMix64), so that the order of people differs from probe to probe."""
    return pd.util.hash_array(numbers.ravel()).reshape(numbers.shape)


def write(lists: Mapping[str, pd.DataFrame], folder: str | Path) -> dict[str, dict[str, int | str]]:
    """Write tables as `folder/NAME.txt` in the formats of CMPC and PINs, with their hashes; both by name are returned.

    Lines are sorted, so that equal trials make equal files; `sha256sum -c SHA256SUMS` checks them, as the readers do.
    """
    folder, written = Path(folder), {}
    for name, table in lists.items():
        text = _matching_text(table) if "probe" in table else _verification_text(table)
        with replacing(folder / f"{name}.txt") as temporary:
            temporary.write_text(text, encoding="utf-8")
        written[name] = {"trials": len(table), "sha256": hashlib.sha256(text.encode()).hexdigest()}
    with replacing(folder / SUMS) as temporary:
        temporary.write_text("".join(f"{row['sha256']}  {name}.txt\n" for name, row in written.items()))
    return written


def _matching_text(table: pd.DataFrame) -> str:
    rows = table.to_numpy()
    return "".join(sorted(" ".join(name for name in row if name is not None) + "\n" for row in rows))


def _verification_text(table: pd.DataFrame) -> str:
    rows = sorted(table.astype({"same": int})[list(PINS.values())].itertuples(index=False, name=None))
    lines = [",".join(["id", *PINS]), *(f"{number}," + ",".join(map(str, row)) for number, row in enumerate(rows, 1))]
    return "\n".join(lines) + "\n"


def read_matching(path: str | Path) -> pd.DataFrame:
    """A list of CMPC, or one of ours: each line a probe, its target and the others, separated by spaces.

    UserError for a line that has no other or offers one person twice.
    """
    lines = [line.split() for line in _text(path).splitlines()]
    for number, line in enumerate(lines, 1):
        people = speakers(line[1:])
        if len(line) < 3 or len(set(people)) < len(people):
            raise UserError(f"{path}, line {number}: a probe, its target and others of other speakers are needed.")
    places = list(zip_longest(*lines))  # shorter lines end in None
    columns = ["probe", "target", *_others(len(places) - 1)]
    return pd.DataFrame(dict(zip(columns, places, strict=True)), dtype=object)


def read_verification(path: str | Path) -> pd.DataFrame:
    """A list of Learnable PINs, or one of ours.

    UserError for a column that is missing, or a label that contradicts the speakers. (Some systems take the labels from
    the parity of the row, which is wrong for several of these lists.)
    """
    header, *rows = [line.split(",") for line in _text(path).splitlines()] or [[]]
    if header[1:] != list(PINS) or any(len(row) != len(header) for row in rows):
        raise UserError(f"{path} must have the columns id, {', '.join(PINS)}: is it a verification list of PINs?")
    table = pd.DataFrame(rows, columns=["id", *PINS.values()], dtype=object).drop(columns="id")
    wrong = table["same"] != (table["voice_speaker"] == table["face_speaker"]).map({True: "1", False: "0"})
    if wrong.any():
        row = table[wrong].iloc[0]
        raise UserError(f"{path} labels {row['voice']} and {row['face']} with {row['same']!r}: correct that line.")
    return table.assign(same=table["same"] == "1")


def read_splits(path: str | Path) -> pd.Series:
    """identity_splits.txt of Learnable PINs: the set of each person, one of the values of `SETS`."""
    lines = [line.split() for line in _text(path).splitlines()]
    for number, line in enumerate(lines, 1):
        if len(line) != 2 or line[1] not in SETS:
            raise UserError(f"{path}, line {number}: a name and a set from 1 to 4 are needed.")
    return pd.Series({name: SETS[number] for name, number in lines}, name="set", dtype=object)


def read_fame(path: str | Path) -> pd.DataFrame:
    """A test list of the FAME challenge (MAV-Celeb): `key`, `voice` and `face`; the organisers keep the labels."""
    lines = [line.split() for line in _text(path).splitlines()]
    for number, line in enumerate(lines, 1):
        if len(line) != 3:
            raise UserError(f"{path}, line {number}: a key, a voice and a face are needed.")
    return pd.DataFrame(lines, columns=["key", "voice", "face"], dtype=object)


def write_fame(table: pd.DataFrame, scores: Iterable[float], path: str | Path) -> None:
    """Scores (larger when closer) for a list from `read_fame`, as the challenge takes them: a distance a key."""
    lines = [f"{key} {-score:.6f}\n" for key, score in zip(table["key"], scores, strict=True)]
    with replacing(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def _text(path: str | Path) -> str:
    """The text of a list; UserError if it is missing, or is not the one whose hash stands in `SHA256SUMS` beside it."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no trial list {path}: name a file.")
    text, sums = path.read_text(encoding="utf-8"), path.with_name(SUMS)
    known = dict(line.split()[::-1] for line in sums.read_text().splitlines()) if sums.is_file() else {}
    if known.get(path.name, digest := hashlib.sha256(text.encode()).hexdigest()) != digest:
        raise UserError(f"{path} is not the list that {SUMS} beside it names: write it again.")
    return text

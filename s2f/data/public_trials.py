"""Public trial lists that name voices and faces of a person differently: by VoxCeleb's ids, and by names.

`s2f.data.trials` draws and writes lists, and reads the public ones that say themselves who is who. Those here need the
map from ids to names (`s2f.data.sources.voxceleb.names_of_ids`), or are galleries rather than trials.

    matching_v2f_GN.csv, matching_f2v_U.csv, ...      CMPC: 1:2 matching
    veriflist_test_random_unseenunheard.txt, ...      Learnable PINs: verification
    verify_v2f_test.txt, verify_g_f2v_test.txt, ...   KID: verification
    wav_20k.csv, jpg_20k.csv                          CMPC: the two sides of a retrieval
    reterival_v2f_test.txt, reterival_f2v_test.txt    KID: queries and gallery of a retrieval

All of them (`read_published`) become tables whose items have one name, whatever a list calls them (`item_name`), and
those of a corpus (`in_corpus`) name its clips and photographs. A table of retrieval has the columns `kind` (voice or
face) and `item`.
"""

import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd

from s2f.data import trials
from s2f.data.corpus import Corpus
from s2f.study.paths import UserError, replacing

GALLERY = "VoxCeleb1 ID"  # the first column of a gallery of CMPC
SCALE = re.compile(r"\d\.\d+")  # 1.6: how much larger than the face a crop of VoxCeleb 1 is
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
SIDES = {"voice": "wav_20k.csv", "face": "jpg_20k.csv"}
FOLDER, SUMMARY = "lists", "summary"  # in the folder of a corpus, and the name of the table of its lists


def read_pairs(path: str | Path, names: Mapping[str, str]) -> pd.DataFrame:
    """Read verification trials in the format of KID (`verify_*_test.txt`): a voice and a face a line, in either order.

    Voices are named by ids and faces by names. The list has no labels: a pair is of one person if the id has that name.

    Args:
        path: the list.
        names: the name of each person, by id.

    Returns:
        A table of verification trials (`s2f.data.trials`); both speakers are names.

    Raises:
        UserError: if the file is missing or empty or does not match its hash, or a line does not have a voice and a
            face of people in `names`.
    """
    known, rows = set(names.values()), []
    for number, line in trials._lines(path).items():
        items = line.split()
        people = list(trials.speakers(items))
        if people[0] not in names:
            items, people = items[::-1], people[::-1]
        if len(items) != 2 or people[0] not in names or people[1] not in known:
            raise UserError(f"{path}, line {number}: a voice and a face of people in the metadata are needed.")
        rows.append((*items, names[people[0]], people[1]))
    table = pd.DataFrame(rows, columns=["voice", "face", "voice_speaker", "face_speaker"], dtype=object)
    return table.assign(same=table["voice_speaker"] == table["face_speaker"])


def read_gallery(path: str | Path) -> pd.DataFrame:
    """Read a gallery in the format of CMPC (`retrieval/*_20k.csv`): each line the id of a person and an item of theirs.

    Returns:
        `person` and `item`, in the order of the list.

    Raises:
        UserError: if the file is missing or empty or does not match its hash, the header is another, or a line has not
            two fields.
    """
    (_, header), *lines = trials._lines(path).items()
    if header.split("\t")[0] != GALLERY:
        raise UserError(f"{path} must have the columns {GALLERY} and wav or jpg: is it a gallery of CMPC?")
    rows = []
    for number, line in lines:
        fields = line.split("\t")
        if len(fields) != 2:
            raise UserError(f"{path}, line {number}: an id and an item, with a tab between them, are needed.")
        rows.append(fields)
    if not rows:
        raise UserError(f"{path} holds no items: name another list.")
    return pd.DataFrame(rows, columns=["person", "item"], dtype=object)


def read_queries(path: str | Path) -> pd.DataFrame:
    """Read a retrieval in the format of KID (`reterival_*_test.txt`): a line of queries, and one of the gallery.

    Returns:
        `kind` and `item`: the queries are faces in `reterival_f2v_test.txt`, voices in the other.

    Raises:
        UserError: if the file is missing or does not match its hash, or does not have two lines.
    """
    lines = [line.split() for line in trials._lines(path).values()]
    if len(lines) != 2:
        raise UserError(f"{path} has {len(lines)} lines, not one of queries and one of the gallery: is it of KID?")
    kinds = ("face", "voice") if "f2v" in Path(path).name else ("voice", "face")
    rows = [(kind, item) for kind, line in zip(kinds, lines, strict=True) for item in line]
    return pd.DataFrame(rows, columns=["kind", "item"], dtype=object)


def person_ids(names: Mapping[str, str]) -> dict[str, str]:
    """The id of each person, by name and by id, from the names by id."""
    return {unicodedata.normalize("NFC", name): key for key, name in names.items()} | {key: key for key in names}


def item_name(item: str, ids: Mapping[str, str]) -> str | None:
    """The one name of a recording or a picture, such as `id10001/<video>/25/voice`, whatever a list or a disk calls it.

    What stands before the person, the scale of a crop, leading zeros and the format do not count, and the releases of
    VoxCeleb write a video and the number of a clip in it with `/` or with `_` between them.

    Args:
        item: as a list names it, or the path of a file.
        ids: the id of each person (`person_ids`).

    Returns:
        None where it names nobody of these people.
    """
    path = PurePosixPath(unicodedata.normalize("NFC", item))
    *folders, last = (*path.parent.parts, path.stem)
    kind = "face" if path.suffix.lower() in PICTURES else "voice"
    for place in reversed(range(len(folders))):
        if (person := ids.get(folders[place])) is not None:
            inside = [part for part in folders[place + 1 :] if not SCALE.fullmatch(part)]
            before, _, number = last.rpartition("_")
            return "/".join([person, *inside, *([before] if before else []), number.lstrip("0") or "0", kind])
    return None


def read_published(folder: Path, names: Mapping[str, str]) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """The published lists in a folder, by their names without the ending; of the two sides of CMPC `retrieval_20k`.

    Args:
        folder: where they lie.
        names: the name of each person, by id.

    Returns:
        The lists, items named by `item_name`; and why others, by their names, cannot be read.
    """
    readers = {
        "matching_[vf]2[fv]_*.csv": trials.read_matching,
        "veriflist_test_*_unseenunheard.txt": trials.read_verification,
        "verify_*_test.txt": lambda path: read_pairs(path, names),
        "reterival_*_test.txt": read_queries,
        SIDES["voice"]: lambda path: _both_sides(path.parent),
    }
    ids, lists, unreadable = person_ids(names), {}, {}
    for pattern, read in readers.items():
        for path in sorted(folder.glob(pattern)):
            try:
                table = _renamed(path, read(path), ids)
            except UserError as error:
                unreadable[path.name] = str(error)
                continue
            lists["retrieval_20k" if path.name == SIDES["voice"] else path.stem] = table
    return lists, unreadable


def _both_sides(folder: Path) -> pd.DataFrame:
    sides = {kind: read_gallery(folder / name) for kind, name in SIDES.items()}
    return pd.concat([side[["item"]].assign(kind=kind) for kind, side in sides.items()], ignore_index=True)


def _renamed(path: Path, table: pd.DataFrame, ids: Mapping[str, str]) -> pd.DataFrame:
    """With the names of `item_name`, and the speakers by their ids."""
    table = table.copy()
    for column in _items(table):
        known = {item: item_name(item, ids) for item in table[column].dropna().unique()}
        if strange := [item for item, name in known.items() if name is None]:
            raise UserError(f"{path} names {strange[0]}, who is not in the metadata: is it a list of this corpus?")
        table[column] = table[column].map(known)
    if "same" in table:
        table = table.assign(**{f"{side}_speaker": trials.speakers(table[side]) for side in ("voice", "face")})
    return table


def items(lists: Mapping[str, pd.DataFrame]) -> set[str]:
    """All recordings and pictures that lists name."""
    return {item for table in lists.values() for column in _items(table) for item in table[column].dropna()}


def _items(table: pd.DataFrame) -> list[str]:
    """The columns that name recordings and pictures."""
    return [name for name in table if name not in ("same", "kind", "voice_speaker", "face_speaker")]


class InCorpus(NamedTuple):
    """Published lists as far as a corpus has their recordings and pictures."""

    lists: dict[str, pd.DataFrame]  # voices are `speaker/clip_id`, faces `speaker/row` of the table of photographs
    # A row a list: `name`, and of how many trials (of a retrieval: items) it is, how many are of people outside of the
    # test split (`others`), and how many were `kept`.
    summary: pd.DataFrame

    def write(self, folder: Path) -> None:
        """Write them to a folder, a file a list."""
        for name, table in {**self.lists, SUMMARY: self.summary}.items():
            with replacing(folder / f"{name}.parquet") as temporary:
                table.to_parquet(temporary, index=False)

    @classmethod
    def load(cls, folder: Path) -> "InCorpus":
        """Those that `write` wrote; none where the corpus has none."""
        if not (folder / f"{SUMMARY}.parquet").is_file():
            return cls({}, pd.DataFrame(columns=["name", "listed", "others", "kept"]))
        summary = pd.read_parquet(folder / f"{SUMMARY}.parquet")
        return cls({name: pd.read_parquet(folder / f"{name}.parquet") for name in summary["name"]}, summary)


def in_corpus(
    lists: Mapping[str, pd.DataFrame], corpus: Corpus, files: pd.DataFrame, names: Mapping[str, str]
) -> InCorpus:
    """Trials whose recordings and pictures a corpus has, all of them of its test split.

    Args:
        lists: as `read_published` makes them.
        corpus: with speakers named by id.
        files: `table`, `row` and `file` of its clips and photographs (`folder.build`).
        names: the name of each person, by id.
    """
    owners = {
        "clips": corpus.clips["speaker_id"] + "/" + corpus.clips["clip_id"],
        "photographs": corpus.photographs["speaker_id"] + "/" + corpus.photographs.index.astype(str),
    }
    known, ids = {}, person_ids(names)
    for table, rows in files.groupby("table"):
        ours = owners[table].to_numpy()[rows["row"]]
        known |= {item_name(file, ids): name for file, name in zip(rows["file"], ours, strict=True)}
    known.pop(None, None)  # of people without a name, whom no list has
    tested = set(corpus.people.index[corpus.of_split("test")])
    kept, counts = {}, []
    for name, table in lists.items():
        columns = _items(table)
        empty = table[columns].isna()  # of trials with fewer candidates
        others = ~table[columns].apply(lambda column: pd.Series(trials.speakers(column)).isin(tested)) & ~empty
        ours = table[columns].apply(lambda column: column.map(known))
        whole = (ours.notna() | empty).all(axis=1) & ~others.any(axis=1)
        kept[name] = table.assign(**ours)[whole].reset_index(drop=True)
        counts.append((name, len(table), int(others.any(axis=1).sum()), int(whole.sum())))
    return InCorpus(kept, pd.DataFrame(counts, columns=["name", "listed", "others", "kept"]))

"""Public trial lists that name voices and faces of a person differently: by VoxCeleb's ids, and by names.

`s2f.data.trials` draws and writes lists, and reads the public ones that say themselves who is who. Those here need the
map from ids to names (`s2f.data.sources.voxceleb.names_of_ids`), or are galleries rather than trials.
"""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from s2f.data import trials
from s2f.study.paths import UserError

GALLERY = "VoxCeleb1 ID"  # the first column of a gallery of CMPC


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

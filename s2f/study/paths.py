"""Where the files of a study are, how they are written, and the error for bad input."""

import builtins
import errno
import hashlib
import json
import math
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

STAGE = "S2F_STAGE"  # environment: the study of which this process runs a stage
NUMBERS_ONLY = "S2F_NUMBERS_ONLY"  # environment: figures are not asked for
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a disk, the share of a user, the largest file that is allowed


class UserError(ValueError):
    """Bad input: the message is one sentence that names the file, row or value and says what to do."""


@dataclass(frozen=True)
class Study:
    """One study: a folder with its own `params.yaml` and `dvc.yaml`; everything it makes stays in it."""

    root: Path

    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def features(self) -> Path:
        return self.root / "features"

    @property
    def results(self) -> Path:
        return self.root / "results"

    @property
    def build(self) -> Path:
        return self.root / "build"

    @property
    def scratch(self) -> Path:
        """Checkpoints, caches, and what exploring writes: safe to delete, and no output of any stage."""
        return self.root / "scratch"

    @property
    def exploration(self) -> "Study":
        """The place in `scratch` where a notebook writes that does not run as a stage."""
        return Study(self.scratch / "explore")

    def output(self) -> "Study":
        """Where a notebook writes: as a stage the study itself, otherwise `exploration`, and it prints so.

        Whatever is tried in JupyterLab or with papermill reads the study and changes none of its files.
        """
        if _is_stage_of(self.root):
            return self
        print(f"Exploring: what this notebook writes goes to {self.exploration.root}; the study stays as it is.")
        return self.exploration


def study(start: Path | None = None) -> Study:
    """The study around `start` (default: the working folder): the nearest folder up with both its files."""
    start = Path.cwd() if start is None else Path(start).resolve()
    if found := _around(start):
        return found
    raise UserError(f"No study at or above {start}: go to a folder that holds params.yaml and dvc.yaml.")


def _around(start: Path) -> Study | None:
    for folder in (start, *start.parents):
        if (folder / "params.yaml").is_file() and (folder / "dvc.yaml").is_file():
            return Study(folder)
    return None


def _is_stage_of(root: Path) -> bool:
    return os.environ.get(STAGE) == str(root.resolve())


def _refuse_what_a_stage_writes(path: Path) -> None:
    """A notebook that writes a file of the study, but does not run as its stage, has forgotten `Study.output`."""
    if not hasattr(builtins, "__IPYTHON__"):
        return
    path = path.resolve()
    if (around := _around(path.parent)) is None or _is_stage_of(around.root):
        return
    if {around.data, around.models, around.features, around.results, around.build} & set(path.parents):
        raise UserError(f"Only a stage writes {path}: a notebook writes to the places of `paths.study().output()`.")


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, with its suffix; rename it to `path` if the block succeeds.

    A reader sees the old file or the new one, never a half-written one. The folder is made if it is missing.
    UserError in a notebook for a file of a study, unless it runs as a stage (`Study.output` is where it may write).
    """
    path = Path(path)
    _refuse_what_a_stage_writes(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The random part keeps two processes that write the same file apart.
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def enough_room() -> Iterator[None]:
    """UserError in place of the system's error where a disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise UserError(
            f"There is no space left on the disk for {error.filename or 'what is made'}: make room and run it again, "
            "which goes on with what is finished."
        ) from None


def write_json(obj, path: str | Path) -> None:
    """Write `obj` as JSON that diffs well: sorted keys, 6 significant digits, NaN as null.

    NumPy scalars and arrays become numbers and lists. Infinity has no JSON form and is a ValueError.
    """
    text = json.dumps(_plain(obj), indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def printable(text: str) -> str:
    """The text with what UTF-8 cannot hold, such as a file name in another encoding, written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def md5(path: str | Path) -> str:
    """The MD5 digest of a file, as DVC states it in dvc.lock."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def records(table, key: str) -> dict:
    """A pandas table as a dict of its rows by the values of column `key`, as `write_json` takes it."""
    return table.set_index(key).to_dict("index")


def nested(table, *keys: str) -> dict:
    """A pandas table as nested dicts, as `write_json` takes it: a level for each of `keys`, then one row.

    Without `keys`, the levels are those of the index.
    """
    if not keys:
        return nested(table.reset_index(), *table.index.names)
    key, *rest = keys
    if not rest:
        return {str(row.pop(key)): row for row in table.to_dict("records")}
    return {str(value): nested(part.drop(columns=key), *rest) for value, part in table.groupby(key, sort=False)}


def _plain(value):
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.6g}")
    return value

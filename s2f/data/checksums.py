"""Digests of the files in a folder, as `sha256sum` writes and checks them: reading all shows damage on the disk."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from s2f.data.trials import SUM, SUMS
from s2f.study.paths import UserError, replacing

READERS = 4  # files at a time; hashing does not hold Python's lock


def write(folder: Path) -> None:
    """Write the digests of all files in a folder, and below it, as `SHA256SUMS`; hidden files do not count."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    names = [name for name in names if name != SUMS and not Path(name).name.startswith(".")]
    lines = [f"{digest}  {name}\n" for name, digest in zip(names, _digests(folder, names), strict=True)]
    with replacing(folder / SUMS) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8", newline="\n")


def verify(folder: Path) -> int:
    """Read all files that `SHA256SUMS` names.

    Returns:
        How many they are.

    Raises:
        UserError: that names a file which is missing, or whose bytes are not those that were written.
    """
    sums = folder / SUMS
    if not sums.is_file():
        raise UserError(f"There is no {sums}: prepare the data again.")
    found = [SUM.fullmatch(line) for line in sums.read_text(encoding="utf-8").splitlines()]
    if not all(found):
        raise UserError(f"{sums} was damaged: prepare the data again.")
    names = [match["name"] for match in found]
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise UserError(f"There is no {folder / missing[0]}, which {SUMS} names: prepare the data again.")
    digests = _digests(folder, names)
    wrong = [name for name, digest, match in zip(names, digests, found, strict=True) if digest != match["digest"]]
    if wrong:
        others = f" (nor those of {len(wrong) - 1} more)" if wrong[1:] else ""
        raise UserError(
            f"The bytes of {folder / wrong[0]}{others} are not those that were written: prepare the data again."
        )
    return len(names)


def _digests(folder: Path, names: list[str]) -> list[str]:
    with ThreadPoolExecutor(READERS) as readers:
        return list(readers.map(lambda name: digest(folder / name), names))


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

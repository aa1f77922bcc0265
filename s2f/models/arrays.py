"""Arrays on disk by their names: safetensors files, read and written without torch. Loading runs no code."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Shaped
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from s2f.study.paths import UserError, replacing


def save(arrays: Mapping[str, Shaped[np.ndarray, "..."]], path: str | Path) -> None:
    """Write arrays by their names."""
    with replacing(path) as temporary:
        save_file({name: np.array(array, order="C") for name, array in arrays.items()}, temporary)


def load(path: str | Path) -> dict[str, Shaped[np.ndarray, "..."]]:
    """The arrays of any safetensors file; UserError if it is missing or not a complete one."""
    if not Path(path).is_file():
        raise UserError(f"There is no file of arrays {path}: run the stage that writes it, or mend the name.")
    try:
        return load_file(path)
    except SafetensorError:
        raise UserError(f"{path} is not a safetensors file, or is cut off: make it again.") from None

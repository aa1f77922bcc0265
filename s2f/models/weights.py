"""Weights on disk: safetensors files with their provenance in a header. Loading a file runs no code from it."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from s2f.study.paths import UserError, replacing

KEY = "s2f"  # key of the header in the metadata of a safetensors file


class Header(BaseModel):
    """Header of a file of weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    configs: dict[str, dict[str, Any]]  # settings of each model, by name
    data_md5: str  # of the training data
    code: str  # digest of the source code used for training
    tensors: str  # digest of the weights, to detect corruption


def save(path: str | Path, *, data_md5: str, code: str, **models: nn.Module) -> None:
    """Save models, for example `save(path, ..., encoder=encoder, decoder=decoder)`.

    Args:
        path: File to write.
        data_md5: MD5 of the training data.
        code: Digest of the source code used for training.
        models: Models by name. Each has its settings in `.config`, of the type `Config` of its class.
    """
    tensors = {
        f"{name}.{key}": value.detach().cpu().contiguous()
        for name, model in models.items()
        for key, value in model.state_dict().items()
    }
    header = Header(
        configs={name: model.config.model_dump(mode="json") for name, model in models.items()},
        data_md5=data_md5,
        code=code,
        tensors=_digest(tensors),
    )
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={KEY: header.model_dump_json()})


def load(path: str | Path, **classes: type[nn.Module]) -> dict[str, nn.Module]:
    """Load models written by `save`, for example `load(path, encoder=FaceEncoder)["encoder"]`.

    Returns:
        The models by name, on the CPU and in evaluation mode.

    Raises:
        UserError: If the file is missing, damaged or not written by `save`, or a model is missing or of another class.
    """
    found, tensors = header(path), tensors_of(path)
    if _digest(tensors) != found.tensors:
        raise UserError(f"{path} is damaged (its weights do not match their digest): restore or train it again.")
    models = {}
    for name, cls in classes.items():
        if name not in found.configs:
            raise UserError(f"{path} holds {', '.join(sorted(found.configs))}, but no {name}: name another file.")
        own = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
        try:
            # On "meta" nothing is drawn at random only to be overwritten.
            with torch.device("meta"):
                model = cls(cls.Config.model_validate(found.configs[name]))
            model.load_state_dict(own, assign=True)
        except (ValidationError, RuntimeError):
            raise UserError(
                f"The {name} in {path} does not fit {cls.__name__} of this version: train it again."
            ) from None
        models[name] = model.eval()
    return models


def header(path: str | Path) -> Header:
    """Read the header of a file written by `save`, without its weights.

    Raises:
        UserError: If the file is missing, damaged or not written by `save`.
    """
    with _open(path) as file:
        metadata = file.metadata() or {}
    try:
        return Header.model_validate_json(metadata[KEY])
    except (KeyError, ValidationError):
        raise UserError(f"{path} was not written by this version of s2f: give weights that it trained.") from None


def tensors_of(path: str | Path) -> dict[str, Tensor]:
    """Read all tensors of any safetensors file, by name.

    Raises:
        UserError: If the file is missing or not a complete safetensors file.
    """
    with _open(path) as file:
        return {key: file.get_tensor(key) for key in file.keys()}


def _open(path: str | Path) -> safe_open:
    if not Path(path).is_file():
        raise UserError(f"There is no file of weights {path}: train the model first, or mend the name.")
    try:
        return safe_open(path, framework="pt")
    except SafetensorError:
        raise UserError(f"{path} is not a safetensors file, or is cut off: restore or train it again.") from None


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()

"""Pickled weights, read as tensors alone: `torch.load(weights_only=True)` runs no code that a file holds."""

import json
import re
import shutil
import tempfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import save_file

from moodlens.backends.weight_files import WEIGHTS, missing, read_json
from moodlens.base.errors import ContractError, UsageError, must

ANOTHER_COPY = "Copy or download the file again"
PICKLE = "pytorch_model.bin"
PICKLE_INDEX = "pytorch_model.bin.index.json"
TIED = "text_encoder.encoder.embed_tokens.weight"
"""A second name of the text encoder's embedding; transformers stores it once."""


def convert_pickles(folder: Path, target: Path) -> Path:
    """Write a model folder in transformers layout with safetensors weights in place of pickles.

    Args:
        folder: with config.json, a tokenizer, and `pytorch_model.bin` or its shards; only read.
        target: a folder that does not exist yet; it is renamed into place when it is complete.

    Raises:
        UsageError: a file holds code, or the target exists.
        ContractError: a file is absent, damaged or holds no tensors, or the target cannot be written.
    """
    if target.exists():
        advice = "Name another target, or remove it"
        raise UsageError(must("the target", "not exist yet", str(target), next_step=advice))
    weights: dict[str, torch.Tensor] = {}
    for path in _pickled_files(folder):
        content = read_pickle(path)
        named = content if isinstance(content, dict) else {}
        if not named or not all(isinstance(each, torch.Tensor) for each in named.values()):
            rule = "hold named tensors alone"
            raise ContractError(must(str(path), rule, type(content).__name__, next_step=ANOTHER_COPY))
        weights |= named
    if "text_encoder.shared.weight" in weights:
        weights.pop(TIED, None)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            for path in folder.iterdir():
                if (path.suffix == ".json" and path.name != PICKLE_INDEX) or path.name == "spiece.model":
                    shutil.copyfile(path, temporary / path.name)
            save_file(_apart(weights), temporary / WEIGHTS, metadata={"format": "pt"})
            temporary.chmod(0o755)
            temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        advice = f"Free disk space or correct the permissions; {folder} is untouched"
        got = error.strerror or str(error)
        raise ContractError(must(str(target), "be writable", got, next_step=advice)) from None
    return target


def _pickled_files(folder: Path) -> list[Path]:
    if not (folder / PICKLE_INDEX).is_file():
        return [folder / PICKLE]
    named = read_json(folder / PICKLE_INDEX).get("weight_map")
    names = sorted({str(name) for name in named.values()}) if isinstance(named, dict) else []
    if not names or any(Path(name).name != name for name in names):
        rule = "name files of its folder"
        raise ContractError(
            must(str(folder / PICKLE_INDEX), rule, json.dumps(names[:1]), next_step=ANOTHER_COPY)
        )
    return [folder / name for name in names]


def _apart(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors without shared memory, which safetensors cannot store."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in sorted(weights.items()):
        place = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone().contiguous() if place in seen else tensor.contiguous()
        seen.add(place)
    return apart


def read_pickle(path: Path) -> Any:
    """Return what torch.save wrote: tensors and plain values. Tensors are mapped from disk where possible.

    Raises:
        UsageError: it holds code, which is not run.
        ContractError: it is absent, cut or damaged.
    """
    if not path.is_file():
        raise missing(path.parent, path.name)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=_zipped(path))
    except UnpicklingError as error:
        code = re.search(r"(?:GLOBAL|Unsupported (?:class|operand|global:?)) ([A-Za-z_][\w.]*)", str(error))
        if code is None:
            raise ContractError(_damaged(path, str(error))) from None
        advice = "It asks to run code and was not run: export weights and configuration alone"
        raise UsageError(
            must(str(path), "hold tensors and plain values only", code[1], next_step=advice)
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise ContractError(_damaged(path, str(error))) from None


def _zipped(path: Path) -> bool:
    """Say whether the file is in PyTorch's zip format, whose tensors can be mapped from disk."""
    with path.open("rb") as stream:
        return stream.read(4) == b"PK\x03\x04"


def _damaged(path: Path, reason: str) -> str:
    first = reason.strip().splitlines()[0][:120] if reason.strip() else "an early end"
    where = f"{path.stat().st_size} bytes"
    return must(
        str(path), "be a whole file written by torch.save", first, where=where, next_step=ANOTHER_COPY
    )

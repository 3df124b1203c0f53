"""The weight files of a model folder in transformers layout: which are loaded, and which tensors they hold.

Only JSON and safetensors headers are read. What would be loaded in part, twice or not at all is refused, so
that the files that are hashed, the files that are loaded and the files in the folder are the same.

Source: which file transformers prefers is in its 5.23 `modeling_utils._get_resolved_checkpoint_files`.
"""

import json
import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moodlens.base.errors import ContractError, UsageError, must

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.th")
INDEX = "model.safetensors.index.json"
WEIGHTS = "model.safetensors"
BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
"""Bytes of a value by its safetensors dtype; others (8-bit floats) are quantised and refused."""
FLOATS = ("F64", "F32", "F16", "BF16")
ADAPTERS = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
UNMERGED = re.compile(r"lora_|\.base_layer\.|^base_model\.|\.modules_to_save\.|ia3_|oft_")
MERGE = (
    "Merge it first: peft's `PeftModel.from_pretrained(model, folder).merge_and_unload()`, then"
    " `save_pretrained` to another folder"
)
RESTORE = "Restore the file (embedded models: `git checkout -- models`; others: download or copy it again)"
CONVERT = "Pickles can run code: `moodlens models convert FOLDER TARGET` reads them as tensors alone"
METADATA = "__metadata__"


@dataclass(frozen=True)
class Stored:
    """One tensor as the header of its file describes it."""

    dtype: str  # of safetensors
    shape: tuple[int, ...]


def weight_files(folder: Path) -> tuple[Path, ...]:
    """Return the weight files of a folder, all of which transformers loads, in the order of their names.

    Raises:
        UsageError: the weights are pickles, or an adapter lies beside them.
        ContractError: there are none, the index is damaged, or a file of weights would not be loaded.
    """
    for name in ADAPTERS:
        if (folder / name).exists():
            raise UsageError(
                must(f"model folder {folder}", "hold whole weights", f"the adapter {name}", next_step=MERGE)
            )
    names = _named_files(folder)
    beside = sorted({path.name for path in folder.glob("*.safetensors")} - set(names))
    if beside:
        rule = f"hold no weights beside {', '.join(names[:3])}, which alone are loaded"
        advice = "Move the other file away, or remove what names the wrong one"
        raise ContractError(must(f"model folder {folder}", rule, beside[0], next_step=advice))
    return tuple(folder / name for name in names)


def _named_files(folder: Path) -> list[str]:
    single = (folder / WEIGHTS).is_file()
    if (folder / INDEX).is_file():
        shards = sorted(set(_weight_map(folder).values()))
        if single and shards != [WEIGHTS]:
            rule = f"hold {WEIGHTS} or the shards of {INDEX}, not both"
            advice = f"transformers loads {WEIGHTS}: remove the one that is not the model"
            raise ContractError(must(f"model folder {folder}", rule, "both", next_step=advice))
        return shards
    if single:
        return [WEIGHTS]
    pickled = sorted(path.name for pattern in PICKLED for path in folder.glob(pattern))
    if pickled:
        raise UsageError(
            must("model weights", "be safetensors", pickled[0], where=str(folder), next_step=CONVERT)
        )
    raise missing(folder, WEIGHTS)


def _weight_map(folder: Path) -> dict[str, str]:
    """Return tensor -> file of the index; a file must lie in the folder itself."""
    path = folder / INDEX
    index = read_json(path)
    named = index.get("weight_map")
    if not isinstance(named, dict) or not named:
        raise ContractError(damaged(path, "hold a weight_map", type(named).__name__))
    if not isinstance(index.get("metadata"), dict):
        raise ContractError(damaged(path, "hold metadata, an object", type(index.get("metadata")).__name__))
    for name in named.values():
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
            raise ContractError(damaged(path, "name safetensors files of its folder", str(name)))
    return named


def tensors_of(folder: Path, files: Sequence[Path]) -> dict[str, Stored]:
    """Return every tensor of the weight files by name.

    Raises:
        UsageError: a tensor belongs to an adapter that is not merged.
        ContractError: a file is damaged, holds quantised values or a tensor of another file, or the index
            disagrees with its files.
    """
    found: dict[str, Stored] = {}
    place: dict[str, str] = {}
    for path in files:
        for name, stored in read_header(path).items():
            if UNMERGED.search(name):
                raise UsageError(
                    must(
                        "model weights",
                        "be merged with their adapter",
                        name,
                        where=str(path),
                        next_step=MERGE,
                    )
                )
            if name in found:
                raise ContractError(damaged(path, f"not hold {name}, which {place[name]} holds", "both"))
            found[name], place[name] = stored, path.name
    if (folder / INDEX).is_file() and (wrong := _disagreement(_weight_map(folder), place)):
        raise ContractError(damaged(folder / INDEX, "say where each tensor is", wrong))
    return found


def _disagreement(named: Mapping[str, str], place: Mapping[str, str]) -> str:
    for name in sorted(named.keys() | place.keys()):
        if named.get(name) != place.get(name):
            return f"{name} in {named.get(name, 'no file')}, not in {place.get(name, 'no file')}"
    return ""


def read_header(path: Path) -> dict[str, Stored]:
    """Return the tensors of a safetensors file, after checking that they fill it without gaps.

    Raises:
        ContractError: the file is missing, truncated, quantised, or has no readable header.
    """
    if not path.is_file():
        raise missing(path.parent, path.name)
    size = path.stat().st_size
    with path.open("rb") as stream:
        prefix = stream.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else size
        if length > size - 8:
            raise ContractError(damaged(path, f"hold its header of {length} bytes", f"{size} bytes"))
        try:
            header = json.loads(stream.read(length))
            entries = [_entry(name, entry) for name, entry in header.items() if name != METADATA]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ContractError(damaged(path, "have a safetensors header", "something else")) from None
    _check_layout(path, entries, size - 8 - length, 8 + length)
    if dict(header.get(METADATA) or {}).get("format") != "pt":
        got = (header.get(METADATA) or {}).get("format", "nothing")
        raise ContractError(damaged(path, "state the format pt in its metadata", str(got)))
    return {name: stored for name, stored, _start, _end in entries}


def _entry(name: str, entry: Mapping[str, Any]) -> tuple[str, Stored, int, int]:
    start, end = entry["data_offsets"]
    shape = tuple(entry["shape"])
    if not all(type(n) is int and n >= 0 for n in (start, end, *shape)):
        raise ValueError(name)
    return name, Stored(str(entry["dtype"]), shape), start, end


def _check_layout(path: Path, entries: list[tuple[str, Stored, int, int]], size: int, before: int) -> None:
    """Check that the tensors follow one another up to the end of the file, each as long as its shape says."""
    wanted = max((end for *_, end in entries), default=0)
    if size != wanted:
        rule = f"be {before + wanted} bytes long, as its header says"
        raise ContractError(damaged(path, rule, f"{before + size} bytes"))
    at = 0
    for name, stored, start, end in sorted(entries, key=lambda entry: (entry[2], entry[3])):
        if stored.dtype not in BYTES:
            raise ContractError(
                damaged(path, "hold floats of 16, 32 or 64 bits", f"{name} in {stored.dtype}")
            )
        if start != at or end - start != math.prod(stored.shape) * BYTES[stored.dtype]:
            raise ContractError(damaged(path, f"hold {name} of shape {stored.shape}", f"{end - start} bytes"))
        at = end


def read_json(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file in a model folder.

    Raises:
        UsageError: the file is absent and the folder holds pickles, as audiocraft's layout does.
        ContractError: it is absent, or no JSON object.
    """
    if not path.is_file():
        pickled = sorted(file.name for pattern in PICKLED for file in path.parent.glob(pattern))
        if pickled:
            advice = "Convert an audiocraft checkpoint to transformers layout (safetensors) first"
            where = f"{path.parent} has no {path.name}"
            raise UsageError(
                must("model weights", "be safetensors", pickled[0], where=where, next_step=advice)
            )
        raise missing(path.parent, path.name)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ContractError(damaged(path, "be valid JSON", str(error))) from None
    if not isinstance(config, dict):
        raise ContractError(damaged(path, "be a JSON object", type(config).__name__))
    return config


def missing(folder: Path, name: str) -> ContractError:
    """Return the error for a model folder that lacks a file."""
    return ContractError(must(f"model folder {folder}", f"hold {name}", "nothing", next_step=RESTORE))


def damaged(path: Path, rule: str, got: str) -> str:
    """Return the error message for a damaged file of a model folder."""
    return must(str(path), rule, got, next_step=RESTORE)

"""A MusicGen as audiocraft stores it: two files of tensors, each with the configuration it was trained by.

    state_dict.bin               {"xp.cfg": YAML text, "best_state": name -> tensor}, language model
    compression_state_dict.bin   the same for the codec, or {"pretrained": hub id of a codec}

Both are pickles. They are read with `torch.load(weights_only=True)`, which builds tensors and plain values
and refuses everything else: no code of the file ever runs. audiocraft itself is not needed.

Source: audiocraft 1.3.0 `models/loaders.py`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
import yaml
from torch import Tensor

from moodlens.backends.checkpoint import AUDIOCRAFT_FILES, missing
from moodlens.base.errors import ContractError, UsageError, must

ANOTHER_COPY = "Copy or download the file again"
ABSENT: Any = object()
MAX_DEPTH = 8
"""References that lead in a circle end here, unresolved."""

REFERENCE = re.compile(r"\$\{([\w.]+)\}")


class Settings:
    """The nested configuration of a package (`xp.cfg`), asked by dotted names."""

    def __init__(self, values: Mapping[str, Any], path: Path) -> None:
        self.values = values
        self.path = path

    def get(self, name: str, default: object = None) -> Any:
        """Return the value of a dotted name with its `${references}` followed, or the default."""
        found = self._followed(self._at(name))
        return default if found is ABSENT else found

    def _at(self, name: str) -> Any:
        found: Any = self.values
        for key in name.split("."):
            if not isinstance(found, Mapping) or key not in found:
                return ABSENT
            found = found[key]
        return found

    def _followed(self, value: Any, depth: int = 0) -> Any:
        if isinstance(value, Mapping):
            return {key: self._followed(part, depth) for key, part in value.items()}
        if isinstance(value, list):
            return [self._followed(part, depth) for part in value]
        whole = REFERENCE.fullmatch(value) if isinstance(value, str) else None
        if whole is None or depth == MAX_DEPTH:
            return value
        return self._followed(self._at(whole[1]), depth + 1)

    def need(self, name: str) -> Any:
        """Return the value of a dotted name.

        Raises:
            UsageError: the configuration lacks it: this is no MusicGen.
        """
        found = self.get(name)
        if found is None:
            raise UsageError(self.fault(name, "be set in xp.cfg", "nothing"))
        return found

    def demand(self, name: str, allowed: object, default: object) -> None:
        """Check that a setting has the one value that the transformers architecture can express.

        Raises:
            UsageError: it has another.
        """
        found = self.get(name, default)
        if found != allowed and not (not found and not allowed):
            rule = f"be {allowed} (transformers' MusicGen has no other)"
            raise UsageError(self.fault(name, rule, found))

    def fault(self, name: str, rule: str, got: object) -> str:
        """Return the error line of one setting."""
        advice = "Set model.id to a folder with a MusicGen as audiocraft exports it"
        return must(name, rule, got, where=str(self.path), next_step=advice)


@dataclass(frozen=True)
class Package:
    """One file of the layout; `pretrained` names a codec that lies elsewhere, weights are then empty."""

    settings: Settings
    weights: Mapping[str, Tensor]
    pretrained: str = ""


def read_packages(folder: Path) -> tuple[Package, Package]:
    """Return language model and codec of a folder in audiocraft layout.

    Raises:
        UsageError: a file holds pickled code, or something that is no audiocraft package.
        ContractError: a file is absent, truncated or damaged.
    """
    language, codec = (folder / name for name in AUDIOCRAFT_FILES)
    return read_package(language), read_package(codec)


def read_package(path: Path) -> Package:
    """Return one package; see `read_packages`."""
    raw = _load(path)
    if isinstance(raw, Mapping) and isinstance(raw.get("pretrained"), str):
        return Package(Settings({}, path), {}, raw["pretrained"])
    weights = raw.get("best_state") if isinstance(raw, Mapping) else None
    text = raw.get("xp.cfg") if isinstance(raw, Mapping) else None
    tensors = isinstance(weights, Mapping) and all(isinstance(value, Tensor) for value in weights.values())
    if not tensors or not weights or not isinstance(text, str):
        keys = ", ".join(map(str, list(raw)[:4])) if isinstance(raw, Mapping) else type(raw).__name__
        rule = "hold 'xp.cfg' and 'best_state', as audiocraft exports them"
        advice = "Export the experiment with audiocraft.utils.export"
        raise UsageError(must(str(path), rule, keys or "nothing", next_step=advice))
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = str(error).splitlines()[0]
        raise ContractError(must(f"xp.cfg of {path}", "be YAML", reason, next_step=ANOTHER_COPY)) from None
    if not isinstance(values, Mapping):
        raise UsageError(
            must(f"xp.cfg of {path}", "be a YAML mapping", type(values).__name__, next_step=ANOTHER_COPY)
        )
    return Package(Settings(values, path), weights)


def _load(path: Path) -> Any:
    if not path.is_file():
        raise missing(path.parent, path.name)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=_zipped(path))
    except UnpicklingError as error:
        code = re.search(r"(?:GLOBAL|Unsupported (?:class|operand|global:?)) ([\w.]+)", str(error))
        if code is None:
            raise ContractError(_damaged(path, str(error))) from None
        advice = "It asks to run code and was not run: export weights and configuration alone"
        raise UsageError(
            must(str(path), "hold tensors and plain values only", code[1], next_step=advice)
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise ContractError(_damaged(path, str(error))) from None


def _zipped(path: Path) -> bool:
    """Say whether the file has PyTorch's zip form, whose tensors can stay on disk until they are used."""
    with path.open("rb") as stream:
        return stream.read(4) == b"PK\x03\x04"


def _damaged(path: Path, reason: str) -> str:
    first = reason.strip().splitlines()[0][:120] if reason.strip() else "an early end"
    where = f"{path.stat().st_size} bytes"
    return must(
        str(path), "be a whole file written by torch.save", first, where=where, next_step=ANOTHER_COPY
    )

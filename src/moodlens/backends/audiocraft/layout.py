"""A MusicGen in audiocraft layout: two files of tensors, each with its training configuration.

    state_dict.bin               {"xp.cfg": YAML text, "best_state": name -> tensor}, language model
    compression_state_dict.bin   the same for the codec, or {"pretrained": hub id of a codec}

Both are pickles. They are read with `torch.load(weights_only=True)`, which builds tensors and plain values
only, so that no code in the file runs. audiocraft itself is not needed.

Source: audiocraft 1.3.0 `models/loaders.py`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from moodlens.backends.checkpoint import AUDIOCRAFT_FILES
from moodlens.backends.pickles import ANOTHER_COPY, read_pickle
from moodlens.base.errors import ContractError, UsageError, must

ABSENT: Any = object()
MAX_DEPTH = 8
"""Depth at which circular references stay unresolved."""

REFERENCE = re.compile(r"\$\{([\w.]+)\}")


class Settings:
    """The nested configuration of a package (`xp.cfg`), read by dotted names."""

    def __init__(self, values: Mapping[str, Any], path: Path) -> None:
        self.values = values
        self.path = path

    def get(self, name: str, default: object = None) -> Any:
        """Return the value of a dotted name with its `${references}` resolved, or the default."""
        value = self._resolved(self._at(name))
        return default if value is ABSENT else value

    def _at(self, name: str) -> Any:
        value: Any = self.values
        for key in name.split("."):
            if not isinstance(value, Mapping) or key not in value:
                return ABSENT
            value = value[key]
        return value

    def _resolved(self, value: Any, depth: int = 0) -> Any:
        if isinstance(value, Mapping):
            return {key: self._resolved(part, depth) for key, part in value.items()}
        if isinstance(value, list):
            return [self._resolved(part, depth) for part in value]
        whole = REFERENCE.fullmatch(value) if isinstance(value, str) else None
        if whole is None or depth == MAX_DEPTH:
            return value
        return self._resolved(self._at(whole[1]), depth + 1)

    def need(self, name: str) -> Any:
        """Return the value of a dotted name.

        Raises:
            UsageError: the configuration lacks it, so this is not a MusicGen.
        """
        value = self.get(name)
        if value is None:
            raise UsageError(self.fault(name, "be set in xp.cfg", "nothing"))
        return value

    def demand(self, name: str, allowed: object, default: object) -> None:
        """Check that a setting has the only value that transformers' MusicGen can express.

        Raises:
            UsageError: it has another value.
        """
        value = self.get(name, default)
        if value != allowed and not (not value and not allowed):
            rule = f"be {allowed} (transformers' MusicGen has no other)"
            raise UsageError(self.fault(name, rule, value))

    def fault(self, name: str, rule: str, got: object) -> str:
        """Return the error message for one setting."""
        advice = "Set model.id to a folder with a MusicGen as audiocraft exports it"
        return must(name, rule, got, where=str(self.path), next_step=advice)


def segment_s(settings: Settings) -> float | None:
    """Return the seconds of a clip that the language model was trained on, None where they are not stated.

    >>> segment_s(Settings({"dataset": {"segment_duration": 12}}, Path("state_dict.bin")))
    12.0
    """
    said = settings.get("dataset.segment_duration")
    number = isinstance(said, int | float) and not isinstance(said, bool) and isfinite(said) and said > 0
    return float(said) if number else None


@dataclass(frozen=True)
class Package:
    """One file of the layout. `pretrained` names a codec in another place; the weights are then empty."""

    settings: Settings
    weights: Mapping[str, Tensor]
    pretrained: str = ""


def read_packages(folder: Path) -> tuple[Package, Package]:
    """Return language model and codec of a folder in audiocraft layout.

    Raises:
        UsageError: a file holds pickled code, or is not an audiocraft package.
        ContractError: a file is absent, truncated or damaged.
    """
    language, codec = (folder / name for name in AUDIOCRAFT_FILES)
    return read_package(language), read_package(codec)


def read_package(path: Path) -> Package:
    """Return one package; see `read_packages`."""
    raw = read_pickle(path)
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

"""Verification of model folders before anything is loaded from them.

A verified folder has a known layout, whole files and no pickled code, and holds exactly the weights that are
loaded from it. Only JSON and safetensors headers are read: neither torch nor transformers is imported.
Whether the tensors are those of the configuration is compared by `musicgen.fit`, which needs transformers.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from moodlens.backends.digests import file_digest
from moodlens.backends.model_config import check_architecture, completed
from moodlens.backends.weight_files import missing, read_json, tensors_of, weight_files
from moodlens.base.errors import ContractError, UsageError, must

TOKENIZERS = ("tokenizer.json", "spiece.model")
TOKENIZER_FILES = (*TOKENIZERS, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
PLACES = ("name_or_path", "tokenizer_file", "vocab_file", "local_files_only", "is_local")
"""Keys of tokenizer_config.json that say where a tokenizer was, not what it does."""
AUDIOCRAFT_FILES = ("state_dict.bin", "compression_state_dict.bin")
NUMBERED = (
    (re.compile(r"^decoder\.model\.decoder\.layers\.(\d+)\."), "decoder", "num_hidden_layers"),
    (re.compile(r"^decoder\.lm_heads\.(\d+)\."), "decoder", "num_codebooks"),
    (re.compile(r"^text_encoder\.encoder\.block\.(\d+)\."), "text_encoder", "num_layers"),
)
"""Name of a weight with the number of its layer -> part and key of config.json that count those layers."""


@dataclass(frozen=True)
class Checkpoint:
    """A verified model folder in transformers layout."""

    folder: Path
    config: Mapping[str, Any]  # with transformers' defaults where config.json leaves a size out
    weights: tuple[Path, ...]
    stored_dtype: str = "float32"  # of most values in the weight files

    @property
    def sha256(self) -> str:
        """SHA-256 of what decides the model's states: configuration, weight files and tokenizer."""
        digest = sha256(json.dumps(self.config, sort_keys=True).encode())
        for path in self.weights:
            digest.update(file_digest(path).encode())
        for name in TOKENIZER_FILES:
            digest.update(_tokenizer_part(self.folder / name))
        return digest.hexdigest()


def _tokenizer_part(path: Path) -> bytes:
    if not path.is_file():
        return b""
    if path.name != "tokenizer_config.json":
        return f"{path.name}:{file_digest(path)}".encode()
    stated = {key: value for key, value in read_json(path).items() if key not in PLACES}
    return f"{path.name}:{json.dumps(stated, sort_keys=True)}".encode()


def verify_checkpoint(folder: Path) -> Checkpoint:
    """Return the checkpoint in `folder`, after checking that it can be loaded without running code.

    Args:
        folder: in transformers layout.

    Raises:
        UsageError: the folder is absent, is not a MusicGen, holds pickled weights only, or an adapter that is
            not merged.
        ContractError: a file is missing, truncated, damaged or would not be loaded, or the weights have more
            or fewer layers than the configuration.
    """
    if not folder.is_dir():
        raise UsageError(must("a model folder", "exist", str(folder), next_step="Correct model.id"))
    config = read_json(folder / "config.json")
    check_architecture(config, folder)
    config = completed(config)
    files = weight_files(folder)
    tensors = tensors_of(folder, files)
    _check_numbers(tensors, config, folder)
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise missing(folder, " or ".join(TOKENIZERS))
    return Checkpoint(folder, config, files, _stored_dtype(tensors.values()))


def _check_numbers(tensors: Mapping[str, Any], config: Mapping[str, Any], folder: Path) -> None:
    """Check that layers are as many in the weights as in config.json, as far as their names say."""
    for pattern, part, key in NUMBERED:
        numbers = {int(match[1]) for name in tensors if (match := pattern.match(name))}
        wanted = config[part][key]
        if numbers and numbers != set(range(wanted)):
            rule = f"have {wanted} layers, as {part}.{key} of config.json says"
            advice = "config.json and the weights do not belong together: restore the one that was changed"
            got = f"{len(numbers)}, up to number {max(numbers)}"
            raise ContractError(must(f"model weights in {folder}", rule, got, next_step=advice))


def _stored_dtype(tensors: Any) -> str:
    names = {"F16": "float16", "BF16": "bfloat16"}
    n_values: dict[str, int] = {}
    for stored in tensors:
        size = 1
        for n in stored.shape:
            size *= n
        n_values[stored.dtype] = n_values.get(stored.dtype, 0) + size
    most = max(n_values, key=lambda dtype: n_values[dtype], default="F32")
    return names.get(most, "float32")

"""Verification of model folders before anything is loaded from them, and folders of the model hub.

A verified folder has a known layout, whole files and no pickled code. Only JSON and safetensors headers are
read: neither torch nor transformers is imported. Hub models come from the local cache, or are downloaded.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from moodlens.base.errors import ContractError, UsageError, must

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.th")
TOKENIZERS = ("tokenizer.json", "spiece.model")
AUDIOCRAFT_FILES = ("state_dict.bin", "compression_state_dict.bin")
MUSICGENS = ("musicgen", "musicgen_melody")
INDEX = "model.safetensors.index.json"
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A verified model folder in transformers layout."""

    folder: Path
    config: Mapping[str, Any]
    weights: tuple[Path, ...]

    @property
    def sha256(self) -> str:
        """SHA-256 of the configuration and of the weight files' bytes, in the order of their names."""
        files = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in self.weights]
        return _digest(json.dumps(self.config, sort_keys=True), tuple(files))


@lru_cache(maxsize=8)
def _digest(config: str, weights: tuple[tuple[str, int, int], ...]) -> str:
    digest = sha256(config.encode())
    for path, _size, _mtime in weights:
        with Path(path).open("rb") as stream:
            while part := stream.read(1 << 24):
                digest.update(part)
    return digest.hexdigest()


def verify_checkpoint(folder: Path) -> Checkpoint:
    """Return the checkpoint in `folder`, after checking that it can be loaded without running code.

    Args:
        folder: in transformers layout.

    Raises:
        UsageError: the folder is absent, is not a MusicGen, or holds pickled weights only.
        ContractError: a file is missing, truncated or damaged.
    """
    if not folder.is_dir():
        raise UsageError(must("a model folder", "exist", str(folder), next_step="Correct model.id"))
    config = _read_json(folder / "config.json")
    _check_architecture(config, folder)
    weights = _weight_files(folder)
    for path in weights:
        check_safetensors(path)
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise missing(folder, " or ".join(TOKENIZERS))
    return Checkpoint(folder, config, weights)


def check_safetensors(path: Path) -> None:
    """Check that the size of a safetensors file is the one that its header states.

    Raises:
        ContractError: the file is missing, truncated, or has no readable header.
    """
    if not path.is_file():
        raise missing(path.parent, path.name)
    size = path.stat().st_size
    with path.open("rb") as stream:
        prefix = stream.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else size
        if length > size - 8:
            raise ContractError(_damaged(path, f"hold its header of {length} bytes", f"{size} bytes"))
        try:
            header = json.loads(stream.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ContractError(_damaged(path, "have a safetensors header", "something else")) from None
    wanted = 8 + length + max(ends, default=0)
    if size != wanted:
        raise ContractError(_damaged(path, f"be {wanted} bytes long, as its header says", f"{size} bytes"))


def _weight_files(folder: Path) -> tuple[Path, ...]:
    if (folder / INDEX).is_file():
        names = _read_json(folder / INDEX).get("weight_map", {})
        return tuple(folder / name for name in sorted(set(names.values())))
    if (folder / WEIGHTS).is_file():
        return (folder / WEIGHTS,)
    pickled = sorted(path.name for pattern in PICKLED for path in folder.glob(pattern))
    if pickled:
        advice = "Pickles can run code and are refused: save the model with safe_serialization=True"
        raise UsageError(
            must("model weights", "be safetensors", pickled[0], where=str(folder), next_step=advice)
        )
    raise missing(folder, WEIGHTS)


def _check_architecture(config: Mapping[str, Any], folder: Path) -> None:
    kind = config.get("model_type")
    where = f"{folder}/config.json"
    decoder = config.get("decoder")
    parts = [config.get("text_encoder"), config.get("audio_encoder"), decoder]
    if kind not in MUSICGENS or not all(isinstance(part, Mapping) for part in parts):
        advice = "Set model.id to a folder saved from MusicgenForConditionalGeneration"
        rule = "be musicgen or musicgen_melody"
        raise UsageError(must("model_type", rule, kind, where=where, next_step=advice))
    assert isinstance(decoder, Mapping)
    channels = decoder.get("audio_channels", 1)
    if channels not in (1, 2):
        advice = "Choose a mono or stereo checkpoint, such as facebook/musicgen-small"
        raise UsageError(must("audio_channels", "be 1 or 2", channels, where=where, next_step=advice))


def _read_json(path: Path) -> dict[str, Any]:
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
    except ValueError as error:
        raise ContractError(_damaged(path, "be valid JSON", str(error))) from None
    if not isinstance(config, dict):
        raise ContractError(_damaged(path, "be a JSON object", type(config).__name__))
    return config


RESTORE = "Restore the file (embedded models: `git checkout -- models`; others: download or copy it again)"


def missing(folder: Path, name: str) -> ContractError:
    """Return the error for a model folder that lacks a file."""
    return ContractError(must(f"model folder {folder}", f"hold {name}", "nothing", next_step=RESTORE))


def _damaged(path: Path, rule: str, got: str) -> str:
    return must(str(path), rule, got, next_step=RESTORE)


MODEL_FILES = ("*.json", "*.safetensors", "spiece.model")
"""Configuration, tokenizer and weights; no pickles and no copies for other frameworks."""


def cached(repo: str, revision: str = "") -> Path | None:
    """Return the folder of a hub model if it is in the local cache; the network is not used."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    wanted: dict[str, Any] = {"revision": revision or None, "allow_patterns": list(MODEL_FILES)}
    try:
        return Path(snapshot_download(repo, local_files_only=True, **wanted))
    except LocalEntryNotFoundError:
        return None


def snapshot(repo: str, revision: str = "", *, thing: str, instead: str) -> Path:
    """Return the folder of a hub model, cached or downloaded.

    Args:
        repo: the hub id.
        revision: branch, tag or commit; empty is the default branch.
        thing: what the error message calls it.
        instead: what the error message advises apart from downloading.

    Raises:
        UsageError: it is not cached, and the hub cannot be reached.
    """
    folder = cached(repo, revision)
    if folder is not None:
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted: dict[str, Any] = {"revision": revision or None, "allow_patterns": list(MODEL_FILES)}
    try:
        return Path(snapshot_download(repo, **wanted))
    except (OSError, HfHubHTTPError, LocalEntryNotFoundError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        advice = f"Run `hf download {repo}` where the hub can be reached (HF_HUB_OFFLINE unset), or {instead}"
        rule = "be cached or downloadable"
        raise UsageError(must(thing, rule, reason, where="hub", next_step=advice)) from None

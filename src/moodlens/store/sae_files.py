"""SAEs on disk: SAELens folders and training checkpoints. Pickles are never read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from moodlens.base.errors import ContractError, must
from moodlens.sae.model import Sae
from moodlens.sae.saelens import from_saelens, log_firing_rate, to_saelens
from moodlens.sae.state import State
from moodlens.store.atomic import replacing
from moodlens.store.shards import METADATA_KEY, require_checksums, write_shard

CONFIG, WEIGHTS, SPARSITY = "cfg.json", "sae_weights.safetensors", "sparsity.safetensors"
PICKLES = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt")


def save_sae(
    folder: Path, sae: Sae, about: Mapping[str, Any] | None = None, firing: tuple[Tensor, int] | None = None
) -> None:
    """Write an SAE so that SAELens can read it with `SAE.load_from_disk`.

    Args:
        folder: created if absent. Weights are written first and cfg.json last, each file atomically.
        sae: what to write.
        about: JSON values, stored in the metadata.
        firing: (rows on which each latent fired (d_sae,), number of rows), for `sparsity.safetensors`.

    Raises:
        ContractError: the folder cannot be written.
    """
    config, tensors = to_saelens(sae, about)
    write_shard(folder / WEIGHTS, {name: tensor.numpy() for name, tensor in tensors.items()})
    if firing is not None:
        write_shard(folder / SPARSITY, {"sparsity": log_firing_rate(*firing).numpy()})
    with replacing(folder / CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load_sae(folder: Path) -> Sae:
    """Return the SAE of a SAELens folder, written by this package or by SAELens.

    Raises:
        ContractError: the folder is missing, its weights are a pickle, a file is damaged, or config and
            weights do not match.
    """
    if folder.suffix in PICKLES:
        raise ContractError(
            must(str(folder), "be a folder with safetensors", "a pickle", next_step=_convert(WEIGHTS))
        )
    if not (folder / WEIGHTS).is_file():
        pickles = sorted(path.name for path in folder.glob("*") if path.suffix in PICKLES)
        got = f"{pickles[0]}, a pickle" if pickles else "nothing"
        raise ContractError(must(str(folder), f"hold {WEIGHTS}", got, next_step=_convert(WEIGHTS)))
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("not a JSON object")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        advice = "Copy the folder again"
        raise ContractError(
            must(str(folder / CONFIG), "be a JSON object", reason, next_step=advice)
        ) from None
    return from_saelens(config, _tensors(folder / WEIGHTS)[0], str(folder))


def save_state(path: Path, state: State) -> None:
    """Write a checkpoint atomically."""
    write_shard(path, {name: tensor.numpy() for name, tensor in state.tensors.items()}, state.about)


def load_state(path: Path) -> State | None:
    """Return the checkpoint at `path`, or None if the file does not exist.

    Raises:
        ContractError: the file is damaged, or is not a checkpoint of an SAE.
    """
    if not path.is_file():
        return None
    tensors, about = _tensors(path)
    if not {"recipe", "counters"} <= about.keys():
        advice = "Move it away; training then starts from the beginning"
        raise ContractError(must(str(path), "be a checkpoint of an SAE", sorted(about), next_step=advice))
    return State(tensors, about)


def _tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a safetensors file in their stored dtypes, and the metadata this package wrote."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            metadata = file.metadata()
    except (SafetensorError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ContractError(
            must(str(path), "be a whole safetensors file", reason, next_step=_convert(path.name))
        ) from None
    arrays = {name: tensor.numpy() for name, tensor in tensors.items() if METADATA_KEY in (metadata or {})}
    return tensors, require_checksums(path, metadata, arrays, _convert(path.name))


def _convert(name: str) -> str:
    return f"Pickles are never read: save the SAE again as {name}, or remove the file"

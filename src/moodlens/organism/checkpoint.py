"""The state of an unfinished training as one safetensors file: parameters, buffers, moments, step.

No pickle. Written beside its place and renamed, so a killed run leaves the last whole state. The
fingerprint of the recipe travels in the file: a state of another recipe is never resumed.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from moodlens.base.errors import ContractError, must
from moodlens.store.atomic import replacing


def save_state(
    path: Path, model: nn.Module, optimizers: Sequence[Optimizer], step: int, fingerprint: str
) -> None:
    """Write the state after `step` steps; frozen parameters are left out (they come from their own file)."""
    tensors = {f"model.{name}": tensor.detach() for name, tensor in _own_tensors(model).items()}
    for number, optimizer in enumerate(optimizers):
        for index, parameter in enumerate(_parameters(optimizer)):
            for key, value in optimizer.state[parameter].items():
                tensors[f"optimizer.{number}.{index}.{key}"] = torch.as_tensor(value)
    about = json.dumps({"fingerprint": fingerprint, "step": step})
    with replacing(path) as temporary:
        save_file({name: t.contiguous().clone() for name, t in tensors.items()}, temporary, {"about": about})


def load_state(path: Path, model: nn.Module, optimizers: Sequence[Optimizer], fingerprint: str) -> int:
    """Fill model and optimizers from a state and return its step; 0 and nothing touched if there is none.

    A state whose fingerprint differs counts as none: another recipe starts anew.

    Raises:
        ContractError: the file is damaged.
    """
    if not path.is_file():
        return 0
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["about"])
            if about["fingerprint"] != fingerprint:
                return 0
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        advice = "Delete it: training starts anew"
        raise ContractError(
            must(str(path), "be a whole training state", str(error), next_step=advice)
        ) from None
    with torch.no_grad():
        for name, tensor in _own_tensors(model).items():
            tensor.copy_(tensors[f"model.{name}"])
    for number, optimizer in enumerate(optimizers):
        for index, parameter in enumerate(_parameters(optimizer)):
            prefix = f"optimizer.{number}.{index}."
            state = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
            optimizer.state[parameter] = state
    return int(about["step"])


def _own_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The parameters that train and the buffers that move, by name, each storage once."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    return trained | {name: b for name, b in model.named_buffers() if b.is_floating_point()}


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]

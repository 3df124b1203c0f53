"""The state of an unfinished training as tensors and JSON values, for checkpoints."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from moodlens.base.errors import UsageError, must
from moodlens.sae.adam import Adam
from moodlens.sae.dead import Usage
from moodlens.sae.model import Sae

RESUME_ADVICE = "Restore that setting, or use another checkpoint path for this training"


@dataclass(frozen=True)
class State:
    """Content of a checkpoint; `about` holds JSON values."""

    tensors: dict[str, Tensor]
    about: dict[str, Any]


@dataclass
class Counters:
    """Progress of a training."""

    epoch: int = 0  # epoch in progress
    batch: int = 0  # finished batches of this epoch
    step: int = 0  # finished batches of all epochs
    loss_sum: float = 0.0  # over the batches of this epoch
    best_fvu: float = float("inf")  # lowest validation FVU
    best_epoch: int = -1
    stale_epochs: int = 0  # epochs since the last improvement
    finished: bool = False
    curve: list[dict[str, float]] = field(default_factory=list)  # one row per epoch


@dataclass
class Run:
    """Everything of a training that changes from step to step."""

    sae: Sae
    optimizer: Adam
    usage: Usage
    best: dict[str, Tensor]  # state_dict of the best epoch
    counters: Counters

    def state(self, recipe: dict[str, Any]) -> State:
        """Return a copy that further steps do not change."""
        tensors = {f"model.{name}": tensor for name, tensor in self.sae.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        tensors["usage.rows_since"] = self.usage.rows_since
        for name, parameter in self.sae.named_parameters():
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"optimizer.{name}.{key}"] = torch.as_tensor(value)
        copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        counters = {**vars(self.counters), "curve": [dict(row) for row in self.counters.curve]}
        if self.counters.best_epoch < 0:
            counters["best_fvu"] = None  # JSON has no infinity
        return State(copies, {"recipe": recipe, "counters": counters})

    def restore(self, state: State, recipe: dict[str, Any]) -> None:
        """Continue from a state.

        Raises:
            UsageError: the state belongs to another recipe; the message names the first difference.
        """
        refuse_other(state, recipe)
        with torch.no_grad():
            for name, tensor in self.sae.state_dict().items():
                tensor.copy_(state.tensors[f"model.{name}"])
        self.best = _under(state.tensors, "best.")
        self.usage = Usage(state.tensors["usage.rows_since"].clone())
        for name, parameter in self.sae.named_parameters():
            saved = _under(state.tensors, f"optimizer.{name}.")
            self.optimizer.state[parameter] = {key: _in_order_of(t, parameter) for key, t in saved.items()}
        counters = dict(state.about["counters"])
        if counters["best_fvu"] is None:
            counters["best_fvu"] = float("inf")
        counters["curve"] = [dict(row) for row in counters["curve"]]
        self.counters = Counters(**counters)


def refuse_other(state: State, recipe: dict[str, Any]) -> None:
    """Raise a UsageError that names the first setting in which a checkpoint differs from `recipe`."""
    saved = state.about["recipe"]
    for name in sorted({*recipe, *saved}):
        if saved.get(name) != recipe.get(name):
            rule = f"have {name} = {recipe.get(name)}"
            raise UsageError(must("the checkpoint", rule, saved.get(name), next_step=RESUME_ADVICE))


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t.clone() for name, t in tensors.items() if name.startswith(prefix)}


def _in_order_of(moment: Tensor, parameter: Tensor) -> Tensor:
    """The moment in the memory order of its parameter, which `Adam` requires."""
    if moment.shape != parameter.shape:  # the step count
        return moment.to(parameter.device)
    return torch.empty_like(parameter).copy_(moment)

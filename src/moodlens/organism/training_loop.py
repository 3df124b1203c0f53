"""The training loop of all models: numbered steps, a schedule, a curve as CSV, states on disk.

A run is a fixed number of steps, and the batch of a step is a function of (seed, step). A killed run that is
started again resumes from its last state and ends with the same bits as an uninterrupted one.

The state of an unfinished training is one safetensors file (no pickle): parameters, buffers, optimizer
moments, step. It is written under another name and renamed, so that a killed run leaves the last whole state.
The file holds the fingerprint of the recipe; a state of another recipe is never resumed.
"""

import csv
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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
    """Write the state after `step` steps, without frozen parameters, which have their own files."""
    tensors = {f"model.{name}": tensor.detach() for name, tensor in _own_tensors(model).items()}
    for number, optimizer in enumerate(optimizers):
        for index, parameter in enumerate(_parameters(optimizer)):
            for key, value in optimizer.state[parameter].items():
                tensors[f"optimizer.{number}.{index}.{key}"] = torch.as_tensor(value)
    about = json.dumps({"fingerprint": fingerprint, "step": step})
    with replacing(path) as temporary:
        save_file({name: t.contiguous().clone() for name, t in tensors.items()}, temporary, {"about": about})


def load_state(path: Path, model: nn.Module, optimizers: Sequence[Optimizer], fingerprint: str) -> int:
    """Load a state into model and optimizers and return its step; return 0 and change nothing without one.

    A state with another fingerprint is ignored: training starts anew.

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
            must(str(path), "be a complete training state", str(error), next_step=advice)
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
    """Return the trainable parameters and the floating-point buffers by name, each storage once."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    return trained | {name: b for name, b in model.named_buffers() if b.is_floating_point()}


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


@dataclass(frozen=True)
class Schedule:
    """Number of steps, learning rate over steps, and how often to validate and save."""

    n_steps: int  # optimizer steps of the whole run
    learning_rate: float  # at the peak, after the warm-up
    warmup_steps: int  # the rate rises linearly from 0
    final_share: float  # rate at the end of the cosine, as a share of the peak
    clip_norm: float  # gradient norm above which the gradient is scaled down
    validate_every_steps: int  # each validation is a row of the curve
    save_every_steps: int  # a state on disk; a killed run loses at most this many steps
    stop_step: int | None = None  # last step, where a later stage takes over; None means n_steps

    @property
    def last_step(self) -> int:
        """The number of steps that are taken."""
        return self.n_steps if self.stop_step is None else self.stop_step

    def rate_at(self, step: int) -> float:
        """Return the learning rate of step `step`: linear warm-up, then half a cosine to `final_share`."""
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
        cosine = 0.5 * (1 + math.cos(math.pi * step / self.n_steps))
        return self.learning_rate * warm * (self.final_share + (1 - self.final_share) * cosine)


class Task(Protocol):
    """A model to train, with its loss at a numbered step and its validation."""

    @property
    def model(self) -> nn.Module: ...

    def loss(self, step: int) -> Tensor: ...

    def validate(self) -> dict[str, float]: ...


def optimizer_for(model: nn.Module, betas: tuple[float, float], weight_decay: float) -> torch.optim.AdamW:
    """Return AdamW over the trainable parameters; `train` sets its rate at every step."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(trained, lr=0.0, betas=betas, weight_decay=weight_decay, fused=True)


def train(
    task: Task,
    optimizers: Sequence[Optimizer],
    schedule: Schedule,
    state_path: Path,
    curve_path: Path,
    fingerprint: str,
    report: Callable[[str], None] = print,
) -> None:
    """Train to the last step, from the last state on disk if its fingerprint is the same.

    Args:
        state_path: file of the state, kept after the run.
        curve_path: CSV, one row per validation: step, train_loss, the validation's figures, steps_per_s.
        fingerprint: of everything that decides the result; states with another one are not resumed.

    Raises:
        ContractError: the loss is not finite, or the state on disk is damaged.
    """
    first = load_state(state_path, task.model, optimizers, fingerprint)
    rows = _rows_until(curve_path, first) if first else []
    if first:
        report(f"resumed at step {first} of {schedule.last_step}")
    losses: list[float] = []
    began, began_step = time.monotonic(), first
    trained = [parameter for parameter in task.model.parameters() if parameter.requires_grad]
    for step in range(first, schedule.last_step):
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = schedule.rate_at(step)
        loss = task.loss(step)
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            advice = "Lower the learning rate in params.yaml"
            raise ContractError(must(f"the loss at step {step}", "be finite", losses[-1], next_step=advice))
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, schedule.clip_norm)
        for optimizer in optimizers:
            optimizer.step()
        done, last = step + 1, step + 1 == schedule.last_step
        if done % schedule.validate_every_steps == 0 or last:
            rate = (done - began_step) / (time.monotonic() - began)
            figures = {"step": done, "train_loss": sum(losses) / len(losses), **task.validate()}
            rows.append({**figures, "steps_per_s": rate})
            report(_progress(rows[-1], schedule.last_step))
            _write_rows(curve_path, rows)
            losses, began, began_step = [], time.monotonic(), done
        if done % schedule.save_every_steps == 0 or last:
            save_state(state_path, task.model, optimizers, done, fingerprint)


def _progress(row: dict[str, float], n_steps: int) -> str:
    left_min = (n_steps - row["step"]) / row["steps_per_s"] / 60
    figures = " ".join(f"{key} {value:.4g}" for key, value in row.items() if key != "step")
    return f"step {row['step']:.0f}/{n_steps} {figures} remaining {left_min:.1f} min"


def _write_rows(path: Path, rows: Sequence[dict[str, float]]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows({key: f"{value:.6g}" for key, value in row.items()} for row in rows)


def _rows_until(path: Path, step: int) -> list[dict[str, float]]:
    """Return the rows of a curve up to `step`."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    return [row for row in rows if row["step"] <= step]

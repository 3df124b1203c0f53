"""Interventions applied to module outputs, during generation and under teacher forcing alike.

`edited` compiles the interventions of all rows of a pass. Those of one hookpoint that have the same shape are
applied together, so that their cost does not grow with the number of rows. A hook counts the steps that it
sees: step by step or all at once, the same steps are changed.

Hooks run in the order in which they were attached. A recorder that is attached after the edits therefore
records the edited output, which is also what the next module receives.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from moodlens.backends.interventions import Job, check_fits
from moodlens.base.errors import ContractError, must


@contextmanager
def replaced(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Replace the output of `module`, (row, step, width), by `change` of it inside the `with` block."""

    def replace(_module: nn.Module, _args: object, output: object) -> object:
        states = output[0] if isinstance(output, tuple) else output
        assert isinstance(states, Tensor)
        changed = change(states)
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    handle = module.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()


@dataclass
class Switch:
    """Says whether interventions act: a donor that runs alone passes the same modules unedited."""

    on: bool = True


@contextmanager
def edited(
    modules: Mapping[str, nn.Module],
    jobs: Sequence[Job],
    n_steps: int,
    first: int = 0,
    n_prefix: int = 0,
    beside: Callable[[str], Tensor] | None = None,
) -> Iterator[Switch]:
    """Apply interventions inside the `with` block; the switch pauses them.

    Args:
        modules: hookpoint -> module; must contain the hookpoints of the jobs.
        jobs: the interventions of every row; those of one row and hookpoint are applied in this order.
        n_steps: decoder steps of the clip.
        first: first step that is run.
        n_prefix: positions before the first step (a prepended condition); they are never changed.
        beside: hookpoint -> outputs of rows that do not run in this pass, (row, step, width); they are
            counted behind the rows of the pass. None is no such rows.

    Raises:
        UsageError: the vectors of an intervention have another width than the states.
        ContractError: a module did not put out every step exactly once.
    """
    by_hookpoint: dict[str, list[Job]] = {}
    for job in jobs:
        by_hookpoint.setdefault(job.edit.hookpoint, []).append(job)
    writers = [_Writer(name, of_it, n_steps, first, n_prefix, beside) for name, of_it in by_hookpoint.items()]
    switch = Switch()

    def change(writer: _Writer) -> Callable[[Tensor], Tensor]:
        return lambda states: writer.apply(states) if switch.on else states

    with ExitStack() as stack:
        for writer in writers:
            stack.enter_context(replaced(modules[writer.hookpoint], change(writer)))
        yield switch
    for writer in writers:
        writer.finish()


class _Writer:
    """All interventions at one hookpoint; it counts the steps that pass."""

    def __init__(
        self,
        hookpoint: str,
        jobs: Sequence[Job],
        n_steps: int,
        first: int,
        n_prefix: int,
        beside: Callable[[str], Tensor] | None,
    ) -> None:
        self.hookpoint, self.beside = hookpoint, beside
        self.n_steps, self.first = n_steps, first
        self.n_seen = first - n_prefix
        self.groups = [_Group(group, n_steps, first) for group in _groups(jobs)]

    def apply(self, states: Tensor) -> Tensor:
        """Return `states`, (row, new steps, width), with the interventions at these steps."""
        start, self.n_seen = self.n_seen, self.n_seen + states.shape[1]
        steps = slice(max(start, self.first), min(self.n_seen, self.n_steps))
        at = slice(steps.start - start, steps.stop - start)
        if at.stop <= at.start or not any(group.active(steps) for group in self.groups):
            return states
        changed = states.clone()
        now = changed[:, at]
        source = states[:, at]
        if self.beside is not None:
            source = torch.cat([source, self.beside(self.hookpoint)])
        for group in self.groups:
            if group.active(steps):
                now[group.rows] = group.result(now[group.rows], source, steps)
        return changed

    def finish(self) -> None:
        if self.n_seen != self.n_steps:
            advice = "A hook did not fire at every step: report this with the model's id"
            rule = f"be edited at {self.n_steps - self.first} steps, each once"
            got = self.n_seen - self.first
            raise ContractError(
                must(f"hookpoint {self.hookpoint}", rule, got, where="edit", next_step=advice)
            )


def _groups(jobs: Sequence[Job]) -> list[list[Job]]:
    """Return jobs of one shape together; the second job of a row follows the first ones of all rows."""
    groups: dict[tuple, list[Job]] = {}
    order: dict[int, int] = {}
    for job in jobs:
        rank = order[job.row] = order.get(job.row, -1) + 1
        edit = job.edit
        shape = None if edit.vectors is None else edit.vectors.shape
        key = rank, edit.operation, shape, edit.outside, edit.centre is None
        groups.setdefault(key, []).append(job)
    return [groups[key] for key in sorted(groups, key=lambda key: key[0])]


class _Group:
    """Interventions of one operation and shape on different rows."""

    def __init__(self, jobs: Sequence[Job], n_steps: int, first: int) -> None:
        edits = [job.edit for job in jobs]
        self.rows = torch.tensor([job.row for job in jobs])
        self.donors = torch.tensor([job.donor for job in jobs])
        self.operation, self.outside = edits[0].operation, edits[0].outside
        self.given = [edit.steps or (first, n_steps) for edit in edits]
        present = torch.zeros(len(jobs), n_steps, dtype=torch.bool)
        weights = torch.zeros(len(jobs), n_steps)
        for i, (edit, (start, stop)) in enumerate(zip(edits, self.given, strict=True)):
            present[i, start:stop] = True
            decays = edit.decay ** np.arange(stop - start, dtype=np.float64)
            weights[i, start:stop] = torch.from_numpy((edit.coefficient * decays).astype(np.float32))
        if self.operation != "clamp":
            present &= weights != 0  # a clamp to 0 is a change, all others of weight 0 are none
        self.present, self.weights = present, weights
        self.any_at = present.any(0)
        self.vectors = _stacked([edit.vectors for edit in edits])
        self.centre = _stacked([edit.centre for edit in edits])
        latents = [edit.latent for edit in edits]
        self.encoder, self.decoder = (
            _stacked([None if one is None else getattr(one, part) for one in latents])
            for part in ("encoder", "decoder")
        )
        self.bias = torch.tensor([0.0 if one is None else one.bias for one in latents])
        self._placed: Tensor | None = None

    def active(self, steps: slice) -> bool:
        """Whether a step of `steps` is changed in any row."""
        return bool(self.any_at[steps].any())

    def result(self, states: Tensor, source: Tensor, steps: slice) -> Tensor:
        """Return the changed states of the group's rows, (row, step, width); `source` holds all rows."""
        self._place(states)
        x = states.float()
        weight = self.weights[:, steps, None]
        match self.operation:
            case "add":
                assert self.vectors is not None
                new = x + weight * self.vectors
            case "exchange":
                new = self._towards(x, source[self.donors].float(), weight)
            case "replace":
                new = self._towards(x, self._values(steps), weight)
            case "project_out":
                centred = x if self.centre is None else x - self.centre[:, None]
                new = x - weight * self._part(centred)
            case _:  # clamp
                assert self.encoder is not None
                assert self.decoder is not None
                activation = (x @ self.encoder[:, :, None] + self.bias[:, None, None]).clamp_min(0)
                new = x + (weight - activation) * self.decoder[:, None]
        return torch.where(self.present[:, steps, None], new.to(states.dtype), states)

    def _place(self, like: Tensor) -> None:
        """Move the group's tensors to the device of the states, once."""
        if self._placed is None or self._placed.device != like.device:
            for name in ("donors", "present", "weights", "vectors", "centre", "encoder", "decoder", "bias"):
                value = getattr(self, name)
                setattr(self, name, None if value is None else value.to(like.device))
            self._placed = like
        for name, value in (("vectors", self.vectors), ("centre", self.centre), ("latent", self.encoder)):
            if value is not None:
                check_fits(name, value.shape[-1], like.shape[-1])

    def _towards(self, x: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return x moved to `target` by `weight`; a whole exchange is a copy, bit for bit."""
        if self.operation == "exchange" and self.vectors is not None:
            return x + weight * self._part(target - x)
        return torch.where(weight == 1, target, x + weight * (target - x))

    def _part(self, x: Tensor) -> Tensor:
        """Return the part of x, (row, step, width), in the span of the vectors, or outside it."""
        assert self.vectors is not None
        inside = (x @ self.vectors.transpose(1, 2)) @ self.vectors
        return x - inside if self.outside else inside

    def _values(self, steps: slice) -> Tensor:
        """Return the given values of `replace`, (row, step, width); outside the window any value."""
        assert self.vectors is not None
        n_given = self.vectors.shape[1]
        if n_given == 1:
            return self.vectors
        starts = torch.tensor([start for start, _ in self.given], device=self.vectors.device)
        wanted = torch.arange(steps.start, steps.stop, device=starts.device) - starts[:, None]
        return self.vectors.gather(
            1, wanted.clamp(0, n_given - 1)[:, :, None].expand(-1, -1, self.vectors.shape[2])
        )


def _stacked(arrays: Sequence[np.ndarray | None]) -> Tensor | None:
    """Return arrays of one shape as one float32 tensor; None where there are none."""
    given = [np.zeros(0) if array is None else array for array in arrays]
    if not given[0].size:
        return None
    return torch.from_numpy(np.stack(given).astype(np.float32))

"""Replacement of module outputs: by a function, or by given values whose steps are counted.

Hooks run in the order in which they were attached. A recorder that is attached after a patch therefore
records the patched output, which is also what the next module receives.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from moodlens.base.errors import ContractError, UsageError, must, nearest
from moodlens.contracts.backend import Patch


def sites_of(patches: Sequence[Patch]) -> tuple[str, ...]:
    """Return the sites that patches name, each once."""
    return tuple(dict.fromkeys(patch.hookpoint.split(".")[0] for patch in patches))


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


@contextmanager
def patched(
    modules: Mapping[str, nn.Module],
    patches: Sequence[Patch],
    rows: Mapping[str, slice],
    n_steps: int,
    n_prefix: int = 0,
) -> Iterator[None]:
    """Apply patches inside the `with` block.

    Args:
        modules: hookpoint -> module; must contain the hookpoints of the patches.
        patches: `values` has one row per row of its half.
        rows: half -> the rows of a module's output that belong to it.
        n_steps: decoder steps that will be run.
        n_prefix: positions before the first step (a prepended condition); they are never patched.

    Raises:
        UsageError: a patch names a hookpoint, half or step that is not run, or its values have another shape.
        ContractError: a module did not output the steps that were to be patched.
    """
    writers = [_Writer(patch, modules, rows, n_steps, n_prefix) for patch in patches]
    with ExitStack() as stack:
        for writer in writers:
            stack.enter_context(replaced(writer.module, writer.apply))
        yield
    for writer in writers:
        writer.finish()


class _Writer:
    """One patch being applied; it counts the steps that passed and the steps that it replaced."""

    def __init__(
        self,
        patch: Patch,
        modules: Mapping[str, nn.Module],
        rows: Mapping[str, slice],
        n_steps: int,
        n_prefix: int,
    ) -> None:
        thing = f"the patch of {patch.hookpoint}/{patch.half}"
        if patch.hookpoint not in modules:
            advice = nearest(patch.hookpoint, list(modules))
            raise UsageError(must(thing, "name a hookpoint of this model", patch.hookpoint, next_step=advice))
        if patch.half not in rows:
            rule = f"name a half that is run ({', '.join(rows)})"
            raise UsageError(must(thing, rule, patch.half, next_step="Record both halves"))
        steps = tuple(range(n_steps)) if patch.steps is None else patch.steps
        if list(steps) != sorted(set(steps)) or not steps or steps[0] < 0 or steps[-1] >= n_steps:
            rule = f"name ascending steps in 0..{n_steps - 1}"
            raise UsageError(must(thing, rule, list(steps), next_step="Correct the steps"))
        rows_of_half = rows[patch.half]
        n_rows = rows_of_half.stop - rows_of_half.start
        if patch.values.ndim != 3 or patch.values.shape[:2] != (n_rows, len(steps)):
            rule = f"hold values of shape ({n_rows} clips, {len(steps)} steps, width)"
            raise UsageError(must(thing, rule, patch.values.shape, next_step="Give one value per step"))
        self.thing, self.module, self.rows = thing, modules[patch.hookpoint], rows_of_half
        self.steps = np.array(steps)
        self.values = torch.from_numpy(np.ascontiguousarray(patch.values, dtype=np.float32))
        self.n_seen = -n_prefix
        self.n_written = 0

    def apply(self, states: Tensor) -> Tensor:
        """Return `states` (row, new steps, width) with the patched steps replaced."""
        start, self.n_seen = self.n_seen, self.n_seen + states.shape[1]
        inside = (self.steps >= start) & (self.steps < self.n_seen)
        if not inside.any():
            return states
        if states.shape[2] != self.values.shape[2]:
            raise UsageError(
                must(self.thing, f"be {states.shape[2]} wide", self.values.shape[2], next_step="Correct it")
            )
        changed = states.clone()
        columns = torch.from_numpy(self.steps[inside] - start)
        values = self.values[:, torch.from_numpy(inside)].to(device=states.device, dtype=states.dtype)
        changed[self.rows, columns.to(states.device)] = values
        self.n_written += int(inside.sum())
        return changed

    def finish(self) -> None:
        if self.n_written != len(self.steps):
            advice = "A hook did not fire as often as steps were run: report this with the model's id"
            rule = f"replace {len(self.steps)} steps, each once"
            raise ContractError(must(self.thing, rule, self.n_written, where="edit", next_step=advice))

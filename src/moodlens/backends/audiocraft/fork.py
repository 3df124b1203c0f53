"""Parts of audiocraft's streaming state: what a language model holds of the steps that it has run.

The state is a dict, name of module + key -> tensor. Keys and values of self-attention are `past_keys` and
`past_values` of every layer; `offsets` counts steps per row; cross-attention keeps nothing. The state at an
earlier step is a part of the state at a later one, so a stem is run once.

Source: audiocraft 1.3.0 `modules/streaming.py`, `modules/transformer.py`.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from moodlens.backends.edits import replaced

State = Mapping[str, Tensor]
COND = 0
"""Row of the conditional half; a clip runs alone."""


@dataclass
class Stream:
    """A clip that the language model reads, one step after another or all at once."""

    columns: Tensor  # (1, codebook, column), tokens with delays; those of a donor may be its recipient's
    conditions: dict[str, tuple[Tensor, Tensor]]
    n_halves: int
    state: dict[str, Tensor] = field(default_factory=dict)  # of the steps so far

    @property
    def n_steps(self) -> int:
        return self.columns.shape[-1] - 1

    def logits(self, lm: Any, step: int | None) -> Tensor:
        """Return the logits of one step, or of all (None), (half, codebook, step, entry)."""
        inputs = self.columns[:, :, :-1] if step is None else self.columns[:, :, step : step + 1]
        return lm(inputs.repeat(self.n_halves, 1, 1), [], self.conditions)

    def outputs(self, lm: Any, step: int | None, modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        """Return what modules put out for this clip at a step, and advance its own state."""
        seen: dict[str, Tensor] = {}

        def keep(name: str) -> Any:
            def see(states: Tensor) -> Tensor:
                seen[name] = states
                return states

            return see

        if step is not None:
            lm.set_streaming_state(self.state)
        with ExitStack() as stack:
            for name, module in modules.items():
                stack.enter_context(replaced(module, keep(name)))
            self.logits(lm, step)
        if step is not None:
            self.state = lm.get_streaming_state()
        return seen


def self_attention(lm: Any, layer: int) -> dict[str, int]:
    """Return the names of a layer's cached states and their axis of steps."""
    module = lm.transformer.layers[layer].self_attn
    # the fused attention of torch takes (row, head, step, d_head), all others (row, step, head, d_head)
    axis = 2 if module.memory_efficient and _is_torch() else 1
    return {f"transformer.layers.{layer}.self_attn.past_{part}": axis for part in ("keys", "values")}


def _is_torch() -> bool:
    from audiocraft.modules import transformer

    return transformer._efficient_attention_backend == "torch"


def state_at(lm: Any, state: State, step: int) -> dict[str, Tensor]:
    """Return a copy of the state as it was before `step`; before step 0 there is none."""
    if step == 0:
        return {}
    copy = {name: value.clone() for name, value in state.items()}
    for layer in range(len(lm.transformer.layers)):
        for name, axis in self_attention(lm, layer).items():
            copy[name] = state[name].narrow(axis, 0, step).clone()
    for name, value in copy.items():
        if name.endswith(".offsets"):
            value.fill_(step)
    return copy


def give_donor(lm: Any, state: State, donor: State, layers: Sequence[int], window: tuple[int, int]) -> None:
    """Replace the steps (first, stop) of the conditional row in `layers` by those of another state."""
    first, stop = window
    for layer in layers:
        for name, axis in self_attention(lm, layer).items():
            own, theirs = (part[name].narrow(axis, first, stop - first) for part in (state, donor))
            own[COND] = theirs[COND]

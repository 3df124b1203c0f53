"""Recording by forward hooks: every call appends, and the count is checked at the end.

A hook sees one call per decoder step during generation (the first call may hold a prefix of several steps)
and one call with all steps under teacher forcing: both are "append what came". A hook that assigns instead of
appending keeps one step of hundreds; here the recorder owns the place it writes to, and `finish` refuses a
recording whose count differs from the steps that were run.

Attention is not recorded here but summarised where its weights are formed, see `attention_summary`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from moodlens.base.axes import HALVES
from moodlens.base.errors import ContractError, UsageError, must, nearest
from moodlens.contracts.backend import Capture
from moodlens.contracts.tensors import hookpoint

SITES: Mapping[str, Callable[[nn.Module], nn.Module]] = {
    "residual": lambda layer: layer,
    "self_attention": lambda layer: layer.get_submodule("self_attn"),
    "cross_attention": lambda layer: layer.get_submodule("encoder_attn"),
    "mlp": lambda layer: layer.get_submodule("fc2"),
}
"""Site -> the module of a decoder layer whose output is recorded there, (row, step, d_model)."""


def captured_halves(capture: Capture) -> tuple[str, ...]:
    """Return the halves a capture records.

    >>> captured_halves(Capture(half="both"))
    ('cond', 'uncond')

    Raises:
        UsageError: there is no such half.
    """
    if capture.half not in (*HALVES, "both"):
        raise UsageError(
            must("generate.half", "be cond, uncond or both", capture.half, next_step="Correct it")
        )
    return HALVES if capture.half == "both" else (capture.half,)


def captured_modules(layers: Sequence[nn.Module], capture: Capture) -> dict[str, nn.Module]:
    """Return hookpoint name -> module, sites in the order asked, layers ascending.

    Raises:
        UsageError: a site or a layer is unknown to this model.
    """
    chosen = range(len(layers)) if capture.layers is None else sorted(set(capture.layers))
    for site in capture.sites:
        if site not in SITES:
            raise UsageError(must("generate.sites", "name sites", site, next_step=nearest(site, list(SITES))))
    for layer in chosen:
        if not 0 <= layer < len(layers):
            rule = f"lie in 0..{len(layers) - 1} for this model"
            raise UsageError(must("generate.layers", rule, layer, next_step="Correct the list or write all"))
    return {
        hookpoint(site, layer): _module(layers[layer], site) for site in capture.sites for layer in chosen
    }


def _module(layer: nn.Module, site: str) -> nn.Module:
    try:
        return SITES[site](layer)
    except AttributeError:
        present = ", ".join(name for name, found in SITES.items() if _has(layer, found))
        advice = f"This model has: {present}"
        raise UsageError(must("generate.sites", "name sites of this model", site, next_step=advice)) from None


def _has(layer: nn.Module, site: Callable[[nn.Module], nn.Module]) -> bool:
    try:
        site(layer)
    except AttributeError:
        return False
    return True


class Recorder:
    """Appends the outputs of hooked modules to preallocated float32 buffers.

    Args:
        modules: hookpoint -> module.
        rows: half -> the rows of a module's output that belong to it.
        n_steps: decoder steps that will be run.
    """

    def __init__(self, modules: Mapping[str, nn.Module], rows: Mapping[str, slice], n_steps: int) -> None:
        self.modules = modules
        self.rows = rows
        self.n_steps = n_steps
        self.counts = dict.fromkeys(modules, 0)
        self.buffers: dict[str, Tensor] = {}

    @contextmanager
    def attached(self) -> Iterator["Recorder"]:
        """Hook the modules for the length of the block; the hooks go whatever happens."""
        handles = [module.register_forward_hook(self._hook(name)) for name, module in self.modules.items()]
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, name: str) -> Callable[[nn.Module, object, object], None]:
        def record(_module: nn.Module, _args: object, output: object) -> None:
            states = output[0] if isinstance(output, tuple) else output
            assert isinstance(states, Tensor)
            self.append(name, states)

        return record

    def append(self, name: str, states: Tensor) -> None:
        """Write `states` (row, new steps, d_model) behind what hookpoint `name` has recorded."""
        start = self.counts[name]
        stop = start + states.shape[1]
        if stop > self.n_steps:
            raise ContractError(_count_error(name, stop, self.n_steps))
        for half, rows in self.rows.items():
            self._buffer(f"{name}/{half}", states[rows])[:, start:stop] = states[rows]
        self.counts[name] = stop

    def _buffer(self, key: str, states: Tensor) -> Tensor:
        if key not in self.buffers:
            shape = (states.shape[0], self.n_steps, states.shape[2])
            self.buffers[key] = torch.zeros(shape, dtype=torch.float32, device=states.device)
        return self.buffers[key]

    def finish(self) -> dict[str, np.ndarray]:
        """Return `<hookpoint>/<half>` -> (clip, step, d_model), float32.

        Raises:
            ContractError: a hookpoint did not record every step exactly once.
        """
        for name, count in self.counts.items():
            if count != self.n_steps:
                raise ContractError(_count_error(name, count, self.n_steps))
        return {key: buffer.cpu().numpy() for key, buffer in self.buffers.items()}


def _count_error(name: str, count: int, n_steps: int) -> str:
    advice = "A hook overwrote, skipped or repeated a step: report this with the model's id"
    return must(
        f"hookpoint {name}", f"record {n_steps} steps, each once", count, where="capture", next_step=advice
    )

"""Recording of module outputs by forward hooks: every call appends, and the count is checked at the end.

A hook sees one call per decoder step during generation (the first call may hold a prefix of several steps)
and one call with all steps under teacher forcing. In both cases the recorder appends the new steps. A hook
that assigns instead of appending keeps one step of hundreds. `Recorder.finish` therefore refuses a recording
whose count differs from the number of steps that were run.

Attention is not recorded here. It is summarised where its weights are formed, see `backends.attention`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from moodlens.base.errors import ContractError, UsageError, must, nearest
from moodlens.capture.recorders import Track
from moodlens.contracts.backend import Capture, States
from moodlens.contracts.tensors import hookpoint

FindSite = Callable[[nn.Module], nn.Module]
SITES: Mapping[str, FindSite] = {
    "residual": lambda layer: layer,
    "self_attention": lambda layer: layer.get_submodule("self_attn"),
    "cross_attention": lambda layer: layer.get_submodule("encoder_attn"),
    "mlp": lambda layer: layer.get_submodule("fc2"),
}
"""Site -> the module of a decoder layer whose output is recorded there, (row, step, d_model)."""
CHUNK_STEPS = 32
"""Number of steps that are held in float32 before they are summarised and stored, per hookpoint."""
EVERY_STEP = Capture()


def captured_modules(
    layers: Sequence[nn.Module],
    capture: Capture,
    whole: Mapping[str, nn.Module] | None = None,
    sites: Mapping[str, FindSite] = SITES,
) -> dict[str, nn.Module]:
    """Return hookpoint name -> module, sites in the requested order, layers ascending.

    Args:
        layers: of the decoder.
        capture: sites and layers; `capture.layers` does not apply to sites that belong to no layer.
        whole: site of the whole decoder (`contracts.tensors.WHOLE_SITES`) -> module.
        sites: site -> module of a decoder layer, in the names of the model's library.

    Raises:
        UsageError: a site or a layer is unknown to this model.
    """
    whole = whole or {}
    chosen = range(len(layers)) if capture.layers is None else sorted(set(capture.layers))
    for site in capture.sites:
        if site not in sites and site not in whole:
            advice = nearest(site, [*sites, *whole])
            raise UsageError(must("generate.sites", "name sites", site, next_step=advice))
    for layer in chosen:
        if not 0 <= layer < len(layers):
            rule = f"lie in 0..{len(layers) - 1} for this model"
            raise UsageError(must("generate.layers", rule, layer, next_step="Correct the list or write all"))
    modules: dict[str, nn.Module] = {}
    for site in capture.sites:
        if site in whole:
            modules[hookpoint(site, 0)] = whole[site]
        else:
            modules |= {hookpoint(site, layer): _module(layers[layer], site, sites) for layer in chosen}
    return modules


def _module(layer: nn.Module, site: str, sites: Mapping[str, FindSite]) -> nn.Module:
    try:
        return sites[site](layer)
    except AttributeError:
        advice = "This model has: " + ", ".join(present_sites(layer, sites))
        raise UsageError(must("generate.sites", "name sites of this model", site, next_step=advice)) from None


def present_sites(layer: nn.Module, sites: Mapping[str, FindSite] = SITES) -> list[str]:
    """Return the sites that a decoder layer has; a melody model has no cross-attention."""
    return [name for name, find_site in sites.items() if _has(layer, find_site)]


def _has(layer: nn.Module, find_site: FindSite) -> bool:
    try:
        find_site(layer)
    except AttributeError:
        return False
    return True


class Recorder:
    """Collects the outputs of hooked modules and passes them, a chunk of steps at a time, to `Track`s.

    Args:
        modules: hookpoint -> module.
        rows: half -> the rows of a module's output that belong to it.
        n_steps: decoder steps that will be run.
        capture: which steps are stored and whether they are summarised.
        n_delays: distinct delays of the pattern, for the summaries.
        n_prefix: positions before the first step (a prepended condition); they are counted but not recorded.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        rows: Mapping[str, slice],
        n_steps: int,
        capture: Capture = EVERY_STEP,
        n_delays: int = 1,
        n_prefix: int = 0,
    ) -> None:
        self.modules = modules
        self.rows = rows
        self.n_steps = n_steps
        self.n_prefix = n_prefix
        self.counts = dict.fromkeys(modules, 0)
        keys = [f"{name}/{half}" for name in modules for half in rows]
        self.tracks = {key: Track(n_steps, capture, n_delays) for key in keys}
        self._chunks: dict[str, Tensor] = {}

    @contextmanager
    def attached(self) -> Iterator["Recorder"]:
        """Hook the modules inside the `with` block; the hooks are removed even if the block fails."""
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
        """Append `states` (row, new steps, d_model) to the recording of hookpoint `name`."""
        start = self.counts[name]
        stop = start + states.shape[1]
        if stop > self.n_prefix + self.n_steps:
            raise ContractError(_count_error(name, stop - self.n_prefix, self.n_steps))
        self.counts[name] = stop
        new = states[:, max(self.n_prefix - start, 0) :]
        first = max(start - self.n_prefix, 0)
        for half, rows in self.rows.items():
            self._take(f"{name}/{half}", new[rows], first)

    def _take(self, key: str, states: Tensor, first: int) -> None:
        """Put steps into the chunk of `key`; pass a full chunk, or the last one, to the track."""
        at = 0
        while at < states.shape[1]:
            filled = (first + at) % CHUNK_STEPS
            size = min(CHUNK_STEPS - filled, states.shape[1] - at)
            chunk = self._chunk(key, states)
            chunk[:, filled : filled + size] = states[:, at : at + size]
            at += size
            if filled + size == CHUNK_STEPS or first + at == self.n_steps:
                self.tracks[key].add(chunk[:, : filled + size].cpu().numpy())

    def _chunk(self, key: str, states: Tensor) -> Tensor:
        if key not in self._chunks:
            shape = (states.shape[0], CHUNK_STEPS, states.shape[2])
            self._chunks[key] = torch.zeros(shape, dtype=torch.float32, device=states.device)
        return self._chunks[key]

    def finish(self) -> States:
        """Return the stored steps, summaries and quality figures.

        Raises:
            ContractError: a hookpoint did not record every step exactly once.
        """
        for name, count in self.counts.items():
            if count != self.n_prefix + self.n_steps:
                raise ContractError(_count_error(name, count - self.n_prefix, self.n_steps))
        recorded = States()
        for key, track in self.tracks.items():
            if track.stored is not None:
                recorded.values[key] = track.stored
            recorded.summaries |= {f"{key}/{name}": values for name, values in track.summary.items()}
            recorded.figures |= {f"{key}/{name}": values for name, values in track.figures.items()}
        return recorded


def _count_error(name: str, count: int, n_steps: int) -> str:
    advice = "A hook overwrote, skipped or repeated a step: report this with the model's id"
    return must(
        f"hookpoint {name}", f"record {n_steps} steps, each once", count, where="capture", next_step=advice
    )


PARTS = ("values", "summaries", "figures", "attention")


def insert_clips(whole: States, part: States, clips: Sequence[int], n_clips: int) -> None:
    """Insert the states of some clips into the states of all clips.

    Args:
        whole: states of all clips, changed in place.
        part: states of the clips `clips`, in that order; arrays that hold all clips are not copied.
        clips: indices among all clips.
        n_clips: number of all clips.
    """
    for name in PARTS:
        into: dict[str, np.ndarray] = getattr(whole, name)
        arrays: dict[str, np.ndarray] = getattr(part, name)
        for key, states in arrays.items():
            if list(clips) == list(range(n_clips)):
                into[key] = states
                continue
            if key not in into:
                into[key] = np.zeros((n_clips, *states.shape[1:]), dtype=states.dtype)
            into[key][list(clips)] = states

"""Recording by forward hooks: every call appends, and the count is checked at the end.

A hook sees one call per decoder step during generation (the first call may hold a prefix of several steps)
and one call with all steps under teacher forcing: both are "append what came". A hook that assigns instead of
appending keeps one step of hundreds; here the recorder owns the place it writes to, and `finish` refuses a
recording whose count differs from the steps that were run.

Attention is not recorded here but summarised where its weights are formed, see `attention_summary`.

States of parts of the clips as those of all.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from moodlens.base.axes import HALVES
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
"""Steps that are held in float32 before they are summarised and stored: one place per step and hookpoint."""
EVERY_STEP = Capture()


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


def captured_modules(
    layers: Sequence[nn.Module],
    capture: Capture,
    whole: Mapping[str, nn.Module] | None = None,
    sites: Mapping[str, FindSite] = SITES,
) -> dict[str, nn.Module]:
    """Return hookpoint name -> module, sites in the order asked, layers ascending.

    Args:
        layers: of the decoder.
        capture: sites and layers; layers do not choose among the sites that belong to none.
        whole: site of the whole decoder (`contracts.tensors.WHOLE_SITES`) -> module.
        sites: where a layer of this library has its sites.

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
    found: dict[str, nn.Module] = {}
    for site in capture.sites:
        if site in whole:
            found[hookpoint(site, 0)] = whole[site]
        else:
            found |= {hookpoint(site, layer): _module(layers[layer], site, sites) for layer in chosen}
    return found


def _module(layer: nn.Module, site: str, sites: Mapping[str, FindSite]) -> nn.Module:
    try:
        return sites[site](layer)
    except AttributeError:
        advice = "This model has: " + ", ".join(present_sites(layer, sites))
        raise UsageError(must("generate.sites", "name sites of this model", site, next_step=advice)) from None


def present_sites(layer: nn.Module, sites: Mapping[str, FindSite] = SITES) -> list[str]:
    """Return the sites that a decoder layer has: a melody model attends to no text."""
    return [name for name, found in sites.items() if _has(layer, found)]


def _has(layer: nn.Module, site: FindSite) -> bool:
    try:
        site(layer)
    except AttributeError:
        return False
    return True


class Recorder:
    """Passes the outputs of hooked modules on, a chunk of steps at a time, to what is kept of them.

    Args:
        modules: hookpoint -> module.
        rows: half -> the rows of a module's output that belong to it.
        n_steps: decoder steps that will be run.
        capture: which steps are kept and whether summaries run beside.
        n_delays: distinct delays of the pattern, for the summaries.
        n_prefix: places before the first step (a prepended condition); they are counted and left out.
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
        """Take `states` (row, new steps, d_model) behind what hookpoint `name` has recorded."""
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
        """Put steps into the chunk of `key`; a full chunk, or the end, goes to the track."""
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
        """Return what was kept.

        Raises:
            ContractError: a hookpoint did not record every step exactly once.
        """
        for name, count in self.counts.items():
            if count != self.n_prefix + self.n_steps:
                raise ContractError(_count_error(name, count - self.n_prefix, self.n_steps))
        made = States()
        for key, track in self.tracks.items():
            if track.kept is not None:
                made.values[key] = track.kept
            made.summaries |= {f"{key}/{name}": found for name, found in track.summary.items()}
            made.figures |= {f"{key}/{name}": found for name, found in track.figures.items()}
        return made


def _count_error(name: str, count: int, n_steps: int) -> str:
    advice = "A hook overwrote, skipped or repeated a step: report this with the model's id"
    return must(
        f"hookpoint {name}", f"record {n_steps} steps, each once", count, where="capture", next_step=advice
    )


PARTS = ("values", "summaries", "figures", "attention")


def place(whole: States, found: States, clips: Sequence[int], n_clips: int) -> None:
    """Put the states of some clips into those of all `n_clips`; a part that holds all is taken as it is."""
    for name in PARTS:
        into: dict[str, np.ndarray] = getattr(whole, name)
        part: dict[str, np.ndarray] = getattr(found, name)
        for key, states in part.items():
            if list(clips) == list(range(n_clips)):
                into[key] = states
                continue
            if key not in into:
                into[key] = np.zeros((n_clips, *states.shape[1:]), dtype=states.dtype)
            into[key][list(clips)] = states

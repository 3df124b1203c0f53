"""Activations of a model that is loaded already, for notebooks.

    from moodlens import ActivationExtractor, cosine_similarity

    extractor = ActivationExtractor(model, layers=[0, 12, 24])
    audio = extractor.generate(["happy music"])
    happy = extractor.get_activations(concatenate=True)["layer_12"]     # (step, half, prompt, d_model)

`model` is an `audiocraft.models.MusicGen` or transformers' `MusicgenForConditionalGeneration` (or its melody
variant). It generates with its own `generate` and its own settings. Every decoder step is appended, and the
number of steps is checked against the length of the audio, so a hook that keeps 1 step of hundreds is an
error. For reproducible audio, seed torch first; this module draws no random numbers.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Literal, overload

import torch
from jaxtyping import Float
from torch import Tensor, nn

from moodlens.backends.model_objects import ModelObject, model_object
from moodlens.base.errors import ContractError, UsageError, must

Steps = list[Tensor]
"""One tensor per call of the hook, (row, new steps, d_model)."""


class ActivationExtractor:
    """Records the residual stream after chosen decoder layers while a model generates.

    Hooks are on the model only while `generate` runs. After a `with` block on the extractor, `generate`
    raises an error.

    Args:
        model: an audiocraft MusicGen or a transformers MusicgenForConditionalGeneration.
        layers: decoder layers, 0 is the first; None is all of them.
        processor: processor or tokenizer of a transformers model. audiocraft models have their own.

    Raises:
        UsageError: the model is not a MusicGen, lacks a requested layer, or has no tokenizer.
    """

    def __init__(
        self, model: object, layers: Sequence[int] | None = None, *, processor: object = None
    ) -> None:
        self._model = model_object(model, processor)
        n_layers = len(self._model.layers)
        self.layers = tuple(range(n_layers)) if layers is None else tuple(sorted(set(layers)))
        for layer in self.layers:
            if not 0 <= layer < n_layers:
                rule = f"lie in 0..{n_layers - 1} for this model"
                raise UsageError(must("layers", rule, layer, next_step="Correct the list"))
        self._runs: list[dict[str, Tensor]] = []
        self._handles: list[Any] = []
        self._closed = False

    def generate(self, prompts: Sequence[str], **settings: object) -> Float[Tensor, "prompt channel sample"]:
        """Generate one clip per prompt with the model's own `generate`, record it, and return the audio.

        Args:
            prompts: one text per clip.
            settings: passed to transformers' `generate` (max_length, guidance_scale, ...); an audiocraft
                model takes its settings from `model.set_generation_params`.

        Raises:
            UsageError: no prompts, a closed extractor, or settings that cannot be recorded.
            ContractError: the recording does not hold every step exactly once; it is then discarded.
        """
        if self._closed:
            raise UsageError(must("the extractor", "be open", "closed", next_step="Make a new one"))
        texts = [prompts] if isinstance(prompts, str) else list(prompts)
        if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
            raise UsageError(must("prompts", "be texts", repr(prompts)[:60], next_step="Give at least one"))
        run: dict[str, Steps] = {f"layer_{layer}": [] for layer in self.layers}
        with self._hooked(run):
            audio, n_frames = self._model.generate(texts, settings)
        self._runs.append(_checked(run, self._model, n_frames, len(texts)))
        return audio

    @overload
    def get_activations(self, concatenate: Literal[True] = True) -> dict[str, Tensor]: ...

    @overload
    def get_activations(self, concatenate: Literal[False]) -> dict[str, Steps]: ...

    def get_activations(self, concatenate: bool = True) -> dict[str, Tensor] | dict[str, Steps]:
        """Return the activations since the last `clear_activations`, by layer.

        Several runs are concatenated along the prompt axis. Half 0 is conditional, half 1 is null text;
        without guidance (transformers, guidance_scale 1) there is half 0 only. A melody prefix is left out.

        Args:
            concatenate: True gives `{"layer_12": (step, half, prompt, d_model)}`, False a list with one
                tensor (half, prompt, d_model) per step. Steps are frames + 3 (mono and stereo MusicGen).

        Raises:
            UsageError: nothing was recorded.
            ContractError: the runs have different lengths or halves.
        """
        if not self._runs:
            advice = "Call extractor.generate(prompts) first"
            raise UsageError(must("activations", "be recorded", "nothing", next_step=advice))
        shapes = {tuple(states.shape[:2]) for run in self._runs for states in run.values()}
        if len(shapes) > 1:
            got = " and ".join(f"{steps} steps x {halves}" for steps, halves in sorted(shapes))
            advice = "Call clear_activations() between runs of different settings"
            raise ContractError(must("recorded runs", "have one length", got, next_step=advice))
        activations = {name: torch.cat([run[name] for run in self._runs], dim=2) for name in self._runs[0]}
        return activations if concatenate else {name: list(x) for name, x in activations.items()}

    def clear_activations(self) -> None:
        """Delete all recorded activations."""
        self._runs.clear()

    def close(self) -> None:
        """Remove every hook and refuse further generation; recorded activations can still be read."""
        self._closed = True
        self._unhook()

    def __enter__(self) -> "ActivationExtractor":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _hooked(self, run: dict[str, Steps]) -> Iterator[None]:
        def append(name: str) -> Any:
            def hook(_module: nn.Module, _args: object, output: object) -> None:
                states = output[0] if isinstance(output, tuple) else output
                assert isinstance(states, Tensor)
                run[name].append(states.detach().to("cpu", copy=True))

            return hook

        def restart() -> None:
            for steps in run.values():
                steps.clear()

        for layer in self.layers:
            module = self._model.layers[layer]
            self._handles.append(module.register_forward_hook(append(f"layer_{layer}")))
        self._handles += self._model.on_restart(restart)
        try:
            yield
        finally:
            self._unhook()

    def _unhook(self) -> None:
        while self._handles:
            self._handles.pop().remove()


def cosine_similarity(first: Any, second: Any) -> float:
    """Return the mean over all steps, halves and prompts of cos(first, second) along d_model.

    cos = <x, y> / (|x| |y|). It is descriptive: raw activations share a large mean, so that unrelated clips
    have a high value too. Tests that can support a claim centre each layer and permute whole prompts
    (`moodlens.stats`).

    Args:
        first: activations, (..., d_model), as returned by `get_activations`.
        second: the same shape.

    Raises:
        ContractError: the shapes differ, or a vector is zero or not finite.

    >>> cosine_similarity(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([[2.0, 0.0], [1.0, -1.0]]))
    0.5
    """
    x, y = (torch.as_tensor(values).to(torch.float64) for values in (first, second))
    if x.shape != y.shape:
        advice = "Generate clips of one length with the same number of prompts, or cut the longer one"
        raise ContractError(
            must("both activations", f"have one shape, {tuple(x.shape)}", tuple(y.shape), next_step=advice)
        )
    norms = x.norm(dim=-1) * y.norm(dim=-1)
    if not bool(torch.isfinite(norms).all()) or not bool((norms > 0).all()):
        raise ContractError(
            must(
                "activations", "be finite and not zero", "a zero or infinite vector", next_step="Leave it out"
            )
        )
    return float(((x * y).sum(dim=-1) / norms).mean())


def _checked(run: dict[str, Steps], model: ModelObject, n_frames: int, n_prompts: int) -> dict[str, Tensor]:
    """Return each layer as one tensor, (step, half, prompt, d_model).

    Raises:
        ContractError: a layer did not record every step of every prompt exactly once.
    """
    n_steps = n_frames + model.max_delay
    layers = {}
    for name, calls in run.items():
        n_prefix = calls[0].shape[1] - 1 if calls and model.has_prefix else 0
        recorded = sum(call.shape[1] for call in calls) - n_prefix
        rows = {call.shape[0] for call in calls}
        if recorded != n_steps or rows not in ({n_prompts}, {2 * n_prompts}):
            steps = f"{n_steps} steps ({n_frames} frames + {model.max_delay})"
            rule = f"record {steps} of {n_prompts} prompts, each once"
            got = f"{recorded} steps, rows {sorted(rows)}"
            advice = "Leave use_cache on and return one sequence per prompt"
            raise ContractError(must(name, rule, got, where="capture", next_step=advice))
        states = torch.cat(calls, dim=1)[:, n_prefix:]
        halves = states.unflatten(0, (-1, n_prompts))
        layers[name] = halves.permute(2, 0, 1, 3).contiguous()
    return layers

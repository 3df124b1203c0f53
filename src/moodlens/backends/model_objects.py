"""MusicGen objects that the user loaded, of audiocraft or transformers, behind one small interface.

Neither library is imported here: if an object of a class exists, its module is already in `sys.modules`.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from moodlens.base.errors import UsageError, must

ACCEPTED = "Pass audiocraft.models.MusicGen or transformers.MusicgenForConditionalGeneration"


class ModelObject(Protocol):
    """What `ActivationExtractor` needs of a loaded model."""

    layers: Sequence[nn.Module]
    max_delay: int  # steps beyond the frames under the delay pattern
    has_prefix: bool  # whether conditioning is prepended to the first step (melody)

    def generate(self, texts: Sequence[str], settings: Mapping[str, object]) -> tuple[Tensor, int]:
        """Return the audio, (prompt, channel, sample), and the number of frames."""
        ...

    def on_restart(self, restart: Callable[[], None]) -> list[Any]:
        """Hook the model so that `restart` runs whenever it restarts its sequence; return the handles."""
        ...


def model_object(model: object, processor: object = None) -> ModelObject:
    """Return the interface of a loaded model.

    Raises:
        UsageError: it is not a MusicGen of audiocraft or transformers, or it has no tokenizer.
    """
    if _is_a(model, "audiocraft.models.musicgen", "MusicGen"):
        return AudiocraftObject(model)
    if _is_a(model, "transformers.models.musicgen.modeling_musicgen", "MusicgenForConditionalGeneration"):
        return TransformersObject(model, processor)
    melody = "transformers.models.musicgen_melody.modeling_musicgen_melody"
    if _is_a(model, melody, "MusicgenMelodyForConditionalGeneration"):
        return TransformersObject(model, processor, has_prefix=True)
    raise UsageError(must("model", "be a MusicGen", type(model).__name__, next_step=ACCEPTED))


def _is_a(model: object, module: str, name: str) -> bool:
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(model, kind)


class AudiocraftObject:
    """`audiocraft.models.MusicGen`; its first decoder call holds the prefix, if any, and step 0."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.layers: Sequence[nn.Module] = list(model.lm.transformer.layers)
        self.max_delay: int = max(model.lm.pattern_provider.delays)
        self.has_prefix = bool(model.lm.fuser.fuse2cond.get("prepend"))

    def generate(self, texts: Sequence[str], settings: Mapping[str, object]) -> tuple[Tensor, int]:
        """Return audio and frames of `MusicGen.generate`.

        Raises:
            UsageError: settings were given, guidance takes two calls per step, or the clip is longer than the
                model's window (audiocraft would then generate overlapping pieces).
        """
        if settings:
            advice = "Use model.set_generation_params before generate"
            raise UsageError(
                must("settings", "be none for audiocraft", ", ".join(settings), next_step=advice)
            )
        if self._model.generation_params.get("two_step_cfg"):
            advice = "Set it to False: both halves are then rows of one call"
            raise UsageError(must("two_step_cfg", "be False to be recorded", True, next_step=advice))
        if self._model.duration > self._model.max_duration:
            rule = f"be at most {self._model.max_duration} s to be recorded"
            raise UsageError(must("duration", rule, f"{self._model.duration} s", next_step="Shorten it"))
        audio, tokens = self._model.generate(list(texts), return_tokens=True)
        return audio, tokens.shape[-1]

    def on_restart(self, restart: Callable[[], None]) -> list[Any]:
        """Return no handles: audiocraft runs each step once."""
        return []


class TransformersObject:
    """`MusicgenForConditionalGeneration`, whose `generate` runs the first step twice (transformers 5.23)."""

    def __init__(self, model: Any, processor: Any, has_prefix: bool = False) -> None:
        tokenizer = getattr(processor, "tokenizer", processor)
        if not callable(tokenizer):
            advice = "Pass processor=AutoProcessor.from_pretrained(...), or its tokenizer"
            got = type(processor).__name__
            raise UsageError(must("processor", "be given with a transformers model", got, next_step=advice))
        self._model: Any = model
        self._tokenizer: Any = tokenizer
        decoder = model.config.decoder
        self.layers: Sequence[nn.Module] = list(model.decoder.model.decoder.layers)
        self.max_delay: int = decoder.num_codebooks // decoder.audio_channels - 1
        self.has_prefix = has_prefix

    @torch.no_grad()
    def generate(self, texts: Sequence[str], settings: Mapping[str, object]) -> tuple[Tensor, int]:
        """Return audio and frames of `generate(**settings)`."""
        inputs = self._tokenizer(list(texts), padding=True, return_tensors="pt").to(self._model.device)
        output = self._model.generate(**inputs, **settings)
        audio = output if isinstance(output, Tensor) else output.sequences
        hop = math.prod(self._model.config.audio_encoder.upsampling_ratios)
        return audio, audio.shape[-1] // hop

    def on_restart(self, restart: Callable[[], None]) -> list[Any]:
        """Hook the decoder: a call with an empty cache starts the sequence, possibly for the second time."""

        def before(_module: nn.Module, _args: object, kwargs: dict[str, Any]) -> None:
            past = kwargs.get("past_key_values")
            if past is None or past.get_seq_length() == 0:
                restart()

        return [self._model.decoder.register_forward_pre_hook(before, with_kwargs=True)]

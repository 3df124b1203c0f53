"""What the pipeline asks of a music generator: text, generation with capture, teacher forcing, decoding."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a loaded model; stored beside every dataset made with it."""

    model_id: str
    revision: str  # hub revision, or "" for a local or embedded model
    weights_sha256: str  # of the safetensors bytes; for the random twin, of the seed and config
    n_layers: int
    d_model: int
    d_text: int
    n_codebooks: int
    codebook_size: int
    frame_rate_hz: float
    sample_rate_hz: int
    dtype: str
    device: str
    audio_channels: int = 1  # 2: the codebooks of left and right are interleaved

    @property
    def n_delays(self) -> int:
        """Distinct delays of the pattern: a clip takes n_frames + n_delays - 1 decoder steps."""
        return self.n_codebooks // self.audio_channels


@dataclass(frozen=True)
class ClipRequest:
    """One clip to generate: its noise is a function of (seed_key, step, codebook) and of nothing else."""

    clip_id: str
    prompt_id: str
    text: str
    seed_key: int  # 63-bit, from base.seeding.seed_for
    wording: str = ""  # the words of the text that bear emotion, for attention summaries


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. temperature 0 is greedy; top_k 0 and top_p 0 switch a filter off."""

    n_frames: int
    guidance_scale: float = 3.0
    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 0.0


@dataclass(frozen=True)
class Capture:
    """What to record. `layers=None` is every layer; `half` is cond, uncond or both.

    States go by in chunks of steps: memory is that of the kept steps in `dtype`, and a few vectors.
    `attention` names the kinds of attention to summarise, of cross and self; always in every layer and in the
    conditional half, since null text has no words.
    """

    sites: tuple[str, ...] = ("residual",)
    layers: tuple[int, ...] | None = None
    half: str = "cond"
    keep_steps: bool = True  # False: summaries alone
    step_stride: int = 1  # keep every step_stride-th step, from step 0
    windows: tuple[tuple[int, int], ...] = ()  # of those, the steps inside one (first, stop); () keeps all
    dtype: str = "float32"  # of the kept steps: float32 or float16
    summaries: bool = False  # mean, var, early, late, norm and quality figures, over all steps
    attention: tuple[str, ...] = ()


@dataclass(frozen=True)
class Patch:
    """What replaces the output of a hookpoint in one half, at some decoder steps or at all.

    `values` is (clip, step, width), float32, one row per clip of the call and one entry per step of `steps`.
    """

    hookpoint: str  # e.g. residual.3
    values: np.ndarray
    half: str = "cond"
    steps: tuple[int, ...] | None = None  # ascending; None is every step of the pass


@dataclass
class States:
    """Recorded activations: `values["residual.3/cond"]` is (clip, step, d_model), float32 or float16.

    Where the capture asks for them, `summaries["residual.3/cond/mean"]` and
    `figures["residual.3/cond/absmax"]` (see `capture.recorders`), and of `Capture.attention` for instance
    `attention["cross/entropy"]`, (clip, layer, head, step). The first axis is always the clip.
    """

    values: dict[str, np.ndarray] = field(default_factory=dict)
    summaries: dict[str, np.ndarray] = field(default_factory=dict)
    figures: dict[str, np.ndarray] = field(default_factory=dict)
    attention: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def n_steps(self) -> int:
        return next(iter(self.values.values())).shape[1]


@dataclass
class Generated:
    """The result of one batch: undelayed audio tokens and what was recorded while they were drawn."""

    codes: np.ndarray  # (clip, codebook, frame), int16
    states: States


@dataclass(frozen=True)
class TextEncoding:
    """Text side of a prompt, without pads: before and after the projection into the decoder."""

    tokens: tuple[str, ...]
    hidden: np.ndarray  # (token, d_text), float32
    projected: np.ndarray  # (token, d_model), float32


class MusicBackend(Protocol):
    """Everything above `backends/` sees a model through these methods only."""

    @property
    def info(self) -> ModelInfo: ...

    def hookpoints(self) -> list[str]:
        """Every hookpoint this model has, e.g. residual.0 ... residual.5, cross_attention.0 ..."""
        ...

    def encode_text(self, texts: Sequence[str]) -> list[TextEncoding]:
        """Return the text encoding of each prompt; each is a function of its own text only."""
        ...

    def generate(self, requests: Sequence[ClipRequest], sampling: Sampling, capture: Capture) -> Generated:
        """Draw the clips; same clip, same tokens in any batch and order."""
        ...

    def teacher_force(
        self,
        codes: np.ndarray,
        texts: Sequence[str | None],
        capture: Capture,
        patches: Sequence[Patch] = (),
        wordings: Sequence[str] | None = None,
    ) -> States:
        """Feed given tokens (clip, codebook, frame) back; text None is null text (zero after projection).

        Patches replace module outputs on the way; what is recorded is what the next module sees. `wordings`
        says per clip which words bear emotion, where attention is summarised.
        """
        ...

    def token_vectors(self, codes: np.ndarray) -> np.ndarray:
        """Return the codec's vector of every token, (clip, codebook, frame, d_codec).

        The latent that the codec decodes is their sum over codebooks.
        """
        ...

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the waveform of each clip, (clip, sample), or (clip, channel, sample), float32 in -1..1."""
        ...

    def random_twin(self, seed: int) -> "MusicBackend":
        """Return the same architecture with untrained weights (codec and tokenizer kept)."""
        ...

    def random_decoder(self, seed: int) -> "MusicBackend":
        """Return an untrained decoder and projection behind the trained text encoder, codec and tokenizer."""
        ...


Metrics = Mapping[str, object]

"""The interface of a music generator (`MusicBackend`), and the records that pass through it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from moodlens.contracts.interventions import Intervention, Reading


@dataclass(frozen=True)
class ModelInfo:
    """Description of a loaded model; stored beside every dataset that was made with it."""

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
        """Number of distinct delays in the pattern; a clip takes n_frames + n_delays - 1 decoder steps."""
        return self.n_codebooks // self.audio_channels


@dataclass(frozen=True)
class ClipRequest:
    """One clip to generate. Its noise depends on (seed_key, step, codebook) only."""

    clip_id: str
    prompt_id: str
    text: str
    seed_key: int  # 63-bit, from base.seeding.seed_for
    wording: str = ""  # the words of the text that bear emotion, for attention summaries


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. temperature 0 is greedy; top_k 0 and top_p 0 turn the filter off."""

    n_frames: int
    guidance_scale: float = 3.0
    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 0.0


@dataclass(frozen=True)
class Capture:
    """What to record. `layers=None` is every layer; `half` is cond, uncond or both.

    States are processed in chunks of steps. Memory is that of the stored steps in `dtype` and a few vectors.
    `attention` names the kinds of attention to summarise, "cross" and "self". They are summarised in every
    layer, in the conditional half only, since null text has no words.
    """

    sites: tuple[str, ...] = ("residual",)
    layers: tuple[int, ...] | None = None
    half: str = "cond"
    keep_steps: bool = True  # False: summaries only
    step_stride: int = 1  # store every step_stride-th step, from step 0
    windows: tuple[tuple[int, int], ...] = ()  # of those, store steps inside a window (first, stop); () = all
    dtype: str = "float32"  # of the stored steps: float32 or float16
    summaries: bool = False  # mean, var, early, late, norm and quality figures, over all steps
    attention: tuple[str, ...] = ()


@dataclass
class States:
    """Recorded activations: `values["residual.3/cond"]` is (clip, step, d_model), float32 or float16.

    If the capture requests them, there are also `summaries["residual.3/cond/mean"]`,
    `figures["residual.3/cond/absmax"]` (see `capture.recorders`) and, of `Capture.attention`,
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
    """The result of one batch: audio tokens without delays, and the states recorded while they were drawn."""

    codes: np.ndarray  # (clip, codebook, frame), int16
    states: States


@dataclass(frozen=True)
class TextEncoding:
    """Text encoder output for a prompt, without padding, before and after the projection into the decoder."""

    tokens: tuple[str, ...]
    hidden: np.ndarray  # (token, d_text), float32
    projected: np.ndarray  # (token, d_model), float32


@dataclass(frozen=True)
class Stem:
    """Tokens of one clip that are fed back under a text: the source of prefixes and of cached states."""

    codes: np.ndarray  # (codebook, frame), without delays, int16
    text: str | None  # under which the states are cached; None is null text
    seed_key: int  # noise of every continuation, by (step, codebook); the clip's own key is its own noise


@dataclass(frozen=True)
class Branch:
    """A continuation: the tokens of a stem before `step`, then generation under the text `ahead`.

    Step s of the decoder outputs frame s - k of a codebook with delay k. So the prefix of a fork at step s
    holds the frames below s - k of that codebook. Cached states are keys and values of self-attention.
    Those of layer 0 are computed before any text is read, so they are the same under every text.
    """

    stem: int
    step: int  # first decoder step that is drawn anew, 0 .. n_steps - 1
    ahead: str | None  # None is null text
    donor: int | None = None  # stem whose cached states replace those of `stem`: same prefix, another text
    layers: tuple[int, ...] | None = None  # layers in which they are replaced; None is all
    window: tuple[int, int] | None = None  # steps (first, stop) that are replaced; None is the whole prefix
    edits: tuple[Intervention, ...] = ()  # of the steps that are drawn


@dataclass
class Forked:
    """The result of forks: one continuation per branch, and how likely the model finds it."""

    codes: np.ndarray  # (branch, codebook, frame), int16; frames before the fork are the stem's
    nats_per_token: np.ndarray  # (branch,), float32: mean -ln p of the drawn tokens, see `MusicBackend.fork`


class MusicBackend(Protocol):
    """The methods through which the rooms above `backends` use a model."""

    @property
    def info(self) -> ModelInfo: ...

    def hookpoints(self) -> list[str]:
        """Return all hookpoints of the model, e.g. residual.0 ... residual.5, cross_attention.0 ..."""
        ...

    def encode_text(self, texts: Sequence[str]) -> list[TextEncoding]:
        """Return the encoding of each prompt, which depends on its own text only."""
        ...

    def generate(self, requests: Sequence[ClipRequest], sampling: Sampling, capture: Capture) -> Generated:
        """Return the generated clips. The tokens of a clip depend neither on its batch nor on the order."""
        ...

    def fork(self, stems: Sequence[Stem], branches: Sequence[Branch], sampling: Sampling) -> Forked:
        """Return the continuation of every branch. It depends neither on the other branches nor on the order.

        A branch whose text, cached states and noise are those of a generated clip gives that clip, bit for
        bit. Under guidance the unconditional half keeps null text and its own cached states. The likelihood
        is that of the logits with guidance, before temperature and filters, in nats; padding of the delay
        pattern does not count.
        """
        ...

    def teacher_force(
        self,
        codes: np.ndarray,
        texts: Sequence[str | None],
        capture: Capture,
        edits: Sequence[Sequence[Intervention]] = (),
        wordings: Sequence[str] | None = None,
    ) -> States:
        """Return the states when given tokens (clip, codebook, frame) are fed back.

        Text None is null text, which is zero after projection. `edits` gives the interventions of each clip,
        or none; the recorded states are those that the next module receives. `wordings` gives the words of
        each clip's text that bear emotion, and is needed where attention is summarised.
        """
        ...

    def score(self, readings: Sequence[Reading]) -> np.ndarray:
        """Return -ln p of every token that is fed back, (reading, codebook, frame), float32, in nats.

        Only the conditional half is run. A token's probability is that of the logits, before temperature and
        filters. Readings that follow each other and have the same tokens are run together.
        """
        ...

    def token_vectors(self, codes: np.ndarray) -> np.ndarray:
        """Return the codec's vector of every token, (clip, codebook, frame, d_codec).

        Their sum over codebooks is the latent that the codec decodes.
        """
        ...

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the waveform of each clip, (clip, sample), or (clip, channel, sample), float32 in -1..1."""
        ...

    def random_twin(self, seed: int) -> "MusicBackend":
        """Return the same architecture with untrained weights, but with this codec and tokenizer."""
        ...

    def random_decoder(self, seed: int) -> "MusicBackend":
        """Return an untrained decoder and projection behind the trained text encoder, codec and tokenizer."""
        ...

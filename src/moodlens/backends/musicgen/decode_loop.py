"""The decode loop of MusicGen: one step per call, or a whole sequence under teacher forcing.

The stock modules of transformers do the arithmetic, so forward hooks on them record what they would record
there. The loop replaces `generate()`, which runs a second prefill, rebuilds masks at every step, and copies
the cache as it grows.

Batch independence. The tokens of a clip do not depend on the other clips of its batch, bit for bit. Rows
interact only through the row count of matrix products, and that count is constant: every block has
`block_clips` clips (the rest is padding) in rows [cond; uncond], one text width (see `conditioning`), and
noise of its own (see `sampling`). That the index of a row within a fixed shape does not change its bits is a
property of the BLAS; `tests/backends/musicgen/test_backend.py` measures it on states and tokens.

Key/value cache. The buffers are allocated once for all steps: a step writes one column, attention reads a
view, and nothing is copied. transformers' DynamicCache concatenates the whole history at every step (29 % of
a decode step at organism size). On the CPU most of that gain is lost, because a view with gaps reads about
half as fast from cold memory as the dense copy: DynamicCache took 0.96 - 1.06 x the time in three loaded runs
of `python -m benchmarks.generate`. A dense block with a short tail was 7 % faster than this cache, which did
not justify its code.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicLayer, EncoderDecoderCache

from moodlens.backends.conditioning import Conditioning, EncodedText, conditioning, text_width
from moodlens.backends.sampling import draw_tokens, guided
from moodlens.base.units import steps_for
from moodlens.codes.delay import undo_delay
from moodlens.contracts.backend import Sampling


class PreallocatedLayer(CacheLayerMixin):
    """Keys and values of one decoder layer: buffers (row, head, step, d_head), filled to `n_filled`."""

    def __init__(self, n_steps: int) -> None:
        super().__init__()
        self.n_steps = n_steps
        self.n_filled = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        rows, heads, _, d_head = key_states.shape
        self.keys = key_states.new_empty(rows, heads, self.n_steps, d_head)
        self.values = value_states.new_empty(rows, heads, self.n_steps, d_head)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the new steps and return views of all steps so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None
        assert self.values is not None
        start, self.n_filled = self.n_filled, self.n_filled + key_states.shape[2]
        assert self.n_filled <= self.n_steps, "more steps than the cache was made for"
        self.keys[:, :, start : self.n_filled] = key_states
        self.values[:, :, start : self.n_filled] = value_states
        return self.keys[:, :, : self.n_filled], self.values[:, :, : self.n_filled]

    def copied(self, rows: Sequence[int]) -> "PreallocatedLayer":
        """Return the steps so far of `rows`, in this order, with room for as many steps as here."""
        copy = PreallocatedLayer(self.n_steps)
        if self.is_initialized:
            assert self.keys is not None
            assert self.values is not None
            chosen = torch.tensor(rows, device=self.keys.device)
            copy.update(*(part[chosen, :, : self.n_filled] for part in (self.keys, self.values)))
        return copy

    def replace(
        self, row: int, source: "PreallocatedLayer", source_row: int, window: tuple[int, int]
    ) -> None:
        """Replace the steps of `window`, (first, stop), in one row by those of a row of another cache."""
        steps = slice(*window)
        for own, other in ((self.keys, source.keys), (self.values, source.values)):
            assert own is not None
            assert other is not None
            own[row, :, steps] = other[source_row, :, steps]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.n_filled + query_length, 0

    def get_seq_length(self) -> int:
        return self.n_filled

    def get_max_length(self) -> int:
        return self.n_steps


def decoder_cache(n_layers: int, n_steps: int) -> EncoderDecoderCache:
    """Return an empty cache for `n_steps` steps; the text's keys and values are computed at the first one."""
    own = Cache(layers=[PreallocatedLayer(n_steps) for _ in range(n_layers)])
    text = Cache(layers=[DynamicLayer() for _ in range(n_layers)])
    return EncoderDecoderCache(own, text)


class Heads(nn.Module):
    """The output heads of all codebooks as one module, so that a hook sees their logits side by side."""

    def __init__(self, heads: nn.ModuleList) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, states: Float[Tensor, "... d_model"]) -> Float[Tensor, "... logit"]:
        return torch.cat([head(states) for head in self.heads], dim=-1)


@dataclass(frozen=True)
class Decoder:
    """The modules that a decoder step runs through; text enters through cross-attention.

    `backends.musicgen.melody` has the decoder whose conditions are prepended to the sequence.
    """

    lm: Any  # MusicgenForCausalLM, or its melody sibling
    embedding: nn.Module = field(default_factory=nn.Identity)
    """The identity on the input of layer 0; a site for hooks, since transformers has no module there."""

    @cached_property
    def heads(self) -> Heads:
        return Heads(self.lm.lm_heads)

    @cached_property
    def whole_sites(self) -> dict[str, nn.Module]:
        """Return the modules of the sites that belong to no layer."""
        return {
            "embedding": self.embedding,
            "final_norm": self.lm.model.decoder.layer_norm,
            "logits": self.heads,
        }

    @property
    def layers(self) -> nn.ModuleList:
        return self.lm.model.decoder.layers

    @property
    def n_codebooks(self) -> int:
        return self.lm.config.num_codebooks

    @property
    def n_channels(self) -> int:
        return self.lm.config.audio_channels

    @property
    def n_delays(self) -> int:
        return self.n_codebooks // self.n_channels

    @property
    def like(self) -> Tensor:
        """A tensor with the type and the device of the states; its last axis is d_model."""
        return self.lm.model.decoder.layer_norm.weight

    @property
    def pad_id(self) -> int:
        pad_id = self.lm.config.pad_token_id
        assert pad_id is not None
        return pad_id

    def width(self, n_tokens: int, text_padding: str) -> int:
        """Return the number of positions of a text; it depends on the text's own length only."""
        return text_width(n_tokens)

    def n_prefix(self, width: int) -> int:
        """Return the number of positions before the first step: none with cross-attention."""
        return 0

    def cache(self, n_positions: int) -> Any:
        """Return an empty cache for `n_positions` positions of the sequence."""
        return decoder_cache(len(self.layers), n_positions)

    def conditioning(
        self,
        texts: Sequence[EncodedText | None],
        n_text_rows: int,
        n_rows: int,
        width: int,
        text_padding: str,
    ) -> Conditioning:
        """Return the text input of `n_rows` rows: texts in the first `n_text_rows`, null text in the rest."""
        return conditioning(texts, n_text_rows, width, self.like, text_padding)

    def states(
        self,
        columns: Int[Tensor, "row codebook column"],
        text: Conditioning,
        cache: Any | None,
    ) -> Float[Tensor, "row column d_model"]:
        """Return the normalised output of the last layer for the given input columns.

        The first rows attend to `text`, one row each; the remaining rows are under null text.
        """
        body = self.lm.model.decoder
        past = cache.get_seq_length() if cache is not None else 0
        hidden = sum(body.embed_tokens[k](columns[:, k]) for k in range(self.n_codebooks))
        hidden = self.embedding(hidden + body.embed_positions(columns, past))
        for layer in body.layers:
            hidden = layer(
                hidden,
                None,  # one query, or causal by the module's own flag
                text.hidden,
                encoder_attention_mask=text.mask,
                past_key_values=cache,
                use_cache=cache is not None,
            )
        return body.layer_norm(hidden)

    def logits(self, states: Float[Tensor, "row column d_model"]) -> Float[Tensor, "row codebook entry"]:
        """Return the logits of every codebook at the last column, float32."""
        return self.heads(states)[:, -1].unflatten(-1, (self.n_codebooks, -1)).float()


def real_outputs(n_steps: int, n_codebooks: int, n_channels: int = 1) -> Iterator[list[bool]]:
    """Yield per step which codebooks output a token; the others output the padding of the delay pattern.

    >>> list(real_outputs(3, 2))
    [[True, False], [True, True], [False, True]]
    """
    n_frames = n_steps - n_codebooks // n_channels + 1
    for step in range(n_steps):
        yield [0 <= step - k // n_channels < n_frames for k in range(n_codebooks)]


@dataclass
class Block:
    """Clips that are decoded together, one step after another."""

    columns: Int[Tensor, "clip codebook column"]
    """Tokens with delays. Column s is the input of step s; what is not drawn yet holds the padding."""
    text: Conditioning
    n_rows: int
    """Rows of the decoder: as many as clips, [cond], or twice as many, [cond; uncond]."""
    cache: Any
    """Keys and values of the steps so far."""
    fed_by: dict[int, int] = field(default_factory=dict)
    """Row -> the row whose drawn tokens it is fed instead of its own."""
    kept: set[int] = field(default_factory=set)
    """Rows that are fed the tokens that `columns` holds already."""

    def follow(self, row: int, other: int) -> None:
        """Feed a row what another row draws."""
        self.fed_by[row] = other

    def keep(self, row: int, columns: Int[Tensor, "codebook column"]) -> None:
        """Feed a row given tokens with delays."""
        self.columns[row] = columns.to(self.columns.device)
        self.kept.add(row)

    @property
    def n_steps(self) -> int:
        return self.columns.shape[-1] - 1

    def states(self, decoder: Decoder, step: int) -> Float[Tensor, "row column d_model"]:
        """Run one step and return the normalised output of the last layer."""
        column = self.columns[:, :, step : step + 1]
        return decoder.states(column.repeat(self.n_rows // len(column), 1, 1), self.text, self.cache)


Watch = Callable[[Tensor, Tensor, Tensor], None]
"""Receives at every step guided logits, (clip, codebook, entry), tokens, and which codebooks output one."""


def empty_columns(decoder: Decoder, n_clips: int, n_steps: int) -> Int[Tensor, "clip codebook column"]:
    """Return the tokens of clips of which nothing is drawn yet."""
    shape = n_clips, decoder.n_codebooks, n_steps + 1
    return torch.full(shape, decoder.pad_id, dtype=torch.long, device=decoder.like.device)


def draw_block(
    decoder: Decoder,
    block: Block,
    uniforms: Float[Tensor, "clip step codebook"],
    sampling: Sampling,
    first: int = 0,
    watch: Watch | None = None,
) -> None:
    """Draw the tokens of all steps from `first` on; the cache holds the steps before it."""
    device = block.columns.device
    uniforms = uniforms.to(device)
    outputs = list(real_outputs(block.n_steps, decoder.n_codebooks, decoder.n_channels))
    real = torch.tensor(outputs, device=device)
    drawn = [row for row in range(len(block.columns)) if row not in block.kept]
    source = torch.tensor([block.fed_by.get(row, row) for row in drawn], device=device)
    rows = torch.tensor(drawn, device=device)
    for step in range(first, block.n_steps):
        logits = decoder.logits(block.states(decoder, step))
        logits = guided(logits, len(block.columns), sampling.guidance_scale)
        tokens = draw_tokens(logits, uniforms[:, step], sampling)
        block.columns[rows, :, step + 1] = torch.where(real[step], tokens, decoder.pad_id)[source]
        if watch is not None:
            watch(logits, tokens, real[step])


def generate_block(
    decoder: Decoder,
    text: Conditioning,
    n_rows: int,
    uniforms: Float[Tensor, "clip step codebook"],
    sampling: Sampling,
) -> Int[Tensor, "clip codebook frame"]:
    """Return the tokens of one block of clips.

    Args:
        decoder: the model.
        text: one row per clip.
        n_rows: rows of the decoder: as many as clips, [cond], or twice as many, [cond; uncond].
        uniforms: uniform random numbers of each clip.
        sampling: how tokens are drawn, and how many frames.
    """
    n_steps = steps_for(sampling.n_frames, decoder.n_delays)
    columns = empty_columns(decoder, len(uniforms), n_steps)
    cache = decoder.cache(n_steps + decoder.n_prefix(text.width))
    block = Block(columns, text, n_rows, cache)
    draw_block(decoder, block, uniforms, sampling)
    return undo_delay(block.columns, decoder.n_channels)

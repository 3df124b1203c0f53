"""Training of the decoder on audio tokens and captions, for the organism and its siblings.

The delay pattern is applied here, because `forward(labels=...)` of transformers applies none. Captions are
drawn anew each time a clip is used. The siblings differ in one thing: the steps of a clip at which the
decoder can see the caption (`TextRegime`).

A step without text is exactly a step under null text. A place whose key and value are zero stands in front of
the text. Where the text is hidden, cross-attention sees this place alone and adds zero, as it does in the
unconditional half of `generate`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface, MusicgenForConditionalGeneration, T5Tokenizer
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from moodlens.base.seeding import rng_for
from moodlens.base.units import steps_for
from moodlens.codes.delay import apply_delay
from moodlens.organism.architecture import pad_id_of, text_encoder_of
from moodlens.organism.unfolding import LOOKAHEAD_FRAMES

ATTENTION = "moodlens_bmm"
"""Name of our attention in transformers' registry."""

FIRST_LOST_STEP = 4
"""The text of a clip never goes away before this step."""


@dataclass(frozen=True)
class TextRegime:
    """The steps of the training clips at which the decoder sees the caption.

    What is left of the three shares is the share of clips with text at every step.
    """

    never: float  # share of clips without text; classifier-free guidance needs it
    lost: float  # share of clips whose text goes away at a random step before the turn
    late: float  # share of clips whose text comes with the turn
    paired: bool  # False: the caption tells the emotion of another piece


@dataclass(frozen=True)
class DecoderRecipe:
    """The settings of the decoder's training beside architecture, data, schedule and text regime."""

    seed: int  # of weights, batches and captions
    batch_clips: int  # clips per step
    codebook_weights: tuple[float, ...]  # of the losses, coarsest codebook first
    turn_weight: float  # of the loss in the frames at the turn; other frames have 1
    early_clips: int = 0  # further clips per step that turn early and are cut off behind the turn
    early_frames: int = 0  # frames of these clips


Captions = Callable[[int, int], str]
"""(index of the clip, number of the draw) -> caption."""

Span = tuple[Int[Tensor, " clip"], Int[Tensor, " clip"]]
"""First step with text, and first step after it without text, of each clip."""

TURN_FRAMES = (-LOOKAHEAD_FRAMES // 3, 8)
"""First frame at the turn, and first frame behind it, counted from the turn."""


@dataclass(frozen=True)
class TokenisedPieces:
    """Pieces as the decoder sees them."""

    codes: Int[Tensor, "clip codebook frame"]  # undelayed
    turns: Int[Tensor, " clip"]  # frame of the turn
    captions: Captions


class DecoderTask:
    """The decoder as a `training_loop.Task`: clips, captions and text spans are drawn by (seed, step)."""

    def __init__(
        self,
        model: MusicgenForConditionalGeneration,
        tokenizer: T5Tokenizer,
        recipe: DecoderRecipe,
        regime: TextRegime,
        pieces: TokenisedPieces,
        held_out: TokenisedPieces,
    ) -> None:
        self.model = model.train()
        self.tokenizer = tokenizer
        self.recipe, self.regime = recipe, regime
        self.pieces, self.held_out = pieces, held_out
        self.weights = torch.tensor(recipe.codebook_weights)

    def loss(self, step: int) -> Tensor:
        """Return the loss of step `step`: cross-entropy averaged by the weights of codebooks and frames."""
        rng = rng_for("decoder batch", self.recipe.seed, step)
        losses, weight = torch.zeros(len(self.weights)), torch.zeros(())
        for pool, n_clips, n_frames in self._parts():
            clips = rng.choice(pool, size=n_clips, replace=False)
            turns = self.pieces.turns[clips]
            texts = [self.pieces.captions(int(clip), step) for clip in clips]
            spans = text_spans(rng, self.regime, turns)
            found = self.token_losses(self.pieces.codes[clips][:, :, :n_frames], texts, spans)
            by_frame = 1 + (self.recipe.turn_weight - 1) * at_turn(turns, n_frames).float()
            losses = losses + (found * by_frame[:, None]).sum((0, 2))
            weight = weight + by_frame.sum()
        return (losses / weight * self.weights).sum() / self.weights.sum()

    def _parts(self) -> list[tuple[np.ndarray, int, int]]:
        """Return (clips to draw from, number of clips, frames of each) for the whole and the early clips.

        Text tells something at the turn only. Clips that turn early and end behind the turn show it at a
        third of the cost of a whole clip.
        """
        n_clips, _, n_frames = self.pieces.codes.shape
        parts = [(np.arange(n_clips), self.recipe.batch_clips, n_frames)]
        if self.recipe.early_clips:
            last_turn = self.recipe.early_frames - TURN_FRAMES[1]
            early = np.flatnonzero(self.pieces.turns.numpy() <= last_turn)
            parts.append((early, self.recipe.early_clips, self.recipe.early_frames))
        return parts

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return losses on held-out clips in nats per token, plain means over codebooks.

        val_cond and val_uncond are over all frames, with and without text. turn_cond, turn_lost and
        turn_uncond are over the frames at the turn: with text, with text that went away before the codec's
        lookahead, and without text.
        """
        totals: dict[str, float] = dict.fromkeys(
            ("val_cond", "val_uncond", "turn_cond", "turn_lost", "turn_uncond"), 0.0
        )
        self.model.eval()
        for clips in torch.arange(len(self.held_out.codes)).split(self.recipe.batch_clips):
            texts = [self.held_out.captions(int(clip), 0) for clip in clips]
            turns = self.held_out.turns[clips]
            first, never = torch.zeros_like(turns), torch.full_like(turns, NEVER)
            ends = {"cond": never, "lost": turns - LOOKAHEAD_FRAMES, "uncond": first}
            for name, end in ends.items():
                losses = self.token_losses(self.held_out.codes[clips], texts, (first, end)).mean(1)
                share = len(clips) / len(self.held_out.codes)
                if name != "lost":
                    totals[f"val_{name}"] += float(losses.mean()) * share
                totals[f"turn_{name}"] += float(losses[at_turn(turns, losses.shape[1])].mean()) * share
        self.model.train()
        return totals

    def token_losses(
        self, codes: Int[Tensor, "clip codebook frame"], texts: list[str], spans: Span
    ) -> Float[Tensor, "clip codebook frame"]:
        """Return the cross-entropy of every token, in nats.

        Args:
            codes: audio tokens, undelayed.
            texts: one caption per clip.
            spans: the steps at which each clip's text is seen.
        """
        n_codebooks, n_frames = codes.shape[1:]
        codes = codes.long()
        columns = apply_delay(codes, pad_id_of(self.model))[:, :, : steps_for(n_frames, n_codebooks)]
        text = self.tokenizer(texts, padding=True, return_tensors="pt")
        with torch.autocast("cpu", torch.bfloat16):
            states = hidden_states(self.model, columns, text.input_ids, text.attention_mask, spans)
            heads = self.model.decoder.lm_heads
            losses = []
            for k in range(n_codebooks):
                logits = heads[k](states[:, k : k + n_frames]).float().transpose(1, 2)
                losses.append(functional.cross_entropy(logits, codes[:, k], reduction="none"))
        return torch.stack(losses, 1)


NEVER = 1 << 20
"""A step behind every clip."""


def text_spans(rng: np.random.Generator, regime: TextRegime, turns: Int[Tensor, " clip"]) -> Span:
    """Return the steps with text of every clip, drawn by `rng` as the regime says."""
    kind = rng.random(len(turns))
    before = turns.numpy() - LOOKAHEAD_FRAMES
    lost_at = rng.integers(FIRST_LOST_STEP, np.maximum(before, FIRST_LOST_STEP) + 1)
    never = kind < regime.never
    lost = ~never & (kind < regime.never + regime.lost)
    late = ~never & ~lost & (kind < regime.never + regime.lost + regime.late)
    first = np.where(late, before, 0)
    end = np.where(never, 0, np.where(lost, lost_at, NEVER))
    return torch.from_numpy(first), torch.from_numpy(end)


def at_turn(turns: Int[Tensor, " clip"], n_frames: int) -> Bool[Tensor, "clip frame"]:
    """Return which frames lie at the turn of each clip (`TURN_FRAMES`)."""
    after = torch.arange(n_frames)[None] - turns[:, None]
    return (after >= TURN_FRAMES[0]) & (after < TURN_FRAMES[1])


def hidden_states(
    model: MusicgenForConditionalGeneration,
    columns: Int[Tensor, "clip codebook step"],
    input_ids: Int[Tensor, "clip token"],
    attention_mask: Int[Tensor, "clip token"],
    spans: Span,
) -> Float[Tensor, "clip step d_model"]:
    """Return the decoder's last states: `model.forward` with text inside `spans` and null text elsewhere."""
    text = text_encoder_of(model)(input_ids=input_ids, attention_mask=attention_mask)[0]
    projected = model.enc_to_dec_proj(text) * attention_mask[..., None]
    projected = functional.pad(projected, (0, 0, 1, 0))  # the place of null text
    steps = torch.arange(columns.shape[2])
    shown = (steps >= spans[0][:, None]) & (steps < spans[1][:, None])
    seen = shown[:, :, None] & attention_mask.bool()[:, None, :]
    cross = _additive(torch.cat([~shown[:, :, None], seen], 2)[:, None], projected.dtype)
    causal = _additive(
        torch.ones(len(steps), len(steps), dtype=torch.bool).tril()[None, None], projected.dtype
    )
    body = model.decoder.model.decoder
    hidden = sum(body.embed_tokens[k](columns[:, k]) for k in range(columns.shape[1]))
    hidden = hidden + body.embed_positions(columns, 0)
    for layer in body.layers:
        hidden = layer(hidden, causal, projected, encoder_attention_mask=cross, use_cache=False)
    return body.layer_norm(hidden)


def _additive(visible: Bool[Tensor, "..."], dtype: torch.dtype) -> Float[Tensor, "..."]:
    return torch.zeros(visible.shape, dtype=dtype).masked_fill(~visible, torch.finfo(dtype).min)


def use_fast_attention(model: MusicgenForConditionalGeneration) -> None:
    """Let the decoder compute attention by plain batched products.

    On one CPU thread the backward pass of torch's fused attention took 353 of the 870 ms of a training
    step. Two `bmm` and a softmax take 140 ms in all (batch 16 x 203 steps, d = 192, 6 heads, bf16).
    """
    AttentionInterface.register(ATTENTION, _attention)
    AttentionMaskInterface.register(ATTENTION, eager_mask)
    model.decoder.set_attn_implementation(ATTENTION)


def _attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    **_: object,
) -> tuple[Tensor, None]:
    """Return softmax(q k' scaling + mask) v over (clip, head, step, d_head), and None for the weights."""
    scores = torch.matmul(query * scaling, key.transpose(2, 3))
    if attention_mask is not None:
        scores = scores + attention_mask.to(scores.dtype)
    mixed = torch.matmul(torch.softmax(scores, -1, dtype=scores.dtype), value)
    return mixed.transpose(1, 2), None

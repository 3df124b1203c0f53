"""Training of the decoder on audio tokens and captions, for the organism and its shuffled twin.

The delay pattern is applied here, because `forward(labels=...)` of transformers applies none. Captions are
drawn anew each time a clip is used. A share of them is dropped for classifier-free guidance in the way that
generation drops text: the projected text is multiplied by zero, so that cross-attention adds exactly nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface, MusicgenForConditionalGeneration, T5Tokenizer
from transformers.masking_utils import AttentionMaskInterface, eager_mask

from moodlens.base.seeding import rng_for
from moodlens.base.units import steps_for
from moodlens.codes.delay import apply_delay
from moodlens.organism.architecture import pad_id_of, text_encoder_of

ATTENTION = "moodlens_bmm"
"""Name of our attention in transformers' registry."""


@dataclass(frozen=True)
class DecoderRecipe:
    """The settings of the decoder's training beside architecture, data and schedule."""

    seed: int  # of weights, batches and captions
    batch_clips: int  # whole clips per step
    opening_clips: int  # further clips per step of which only the opening is used
    opening_steps: int  # decoder steps of an opening
    caption_dropout: float  # share of clips trained without text
    codebook_weights: tuple[float, ...]  # of the losses, coarsest codebook first


Captions = Callable[[int, int], str]
"""(index of the clip, number of the draw) -> caption."""


class DecoderTask:
    """The decoder as a `training_loop.Task`: clips and captions are drawn by (seed, step)."""

    def __init__(
        self,
        model: MusicgenForConditionalGeneration,
        tokenizer: T5Tokenizer,
        recipe: DecoderRecipe,
        codes: Int[Tensor, "clip codebook frame"],
        captions: Captions,
        held_out: Int[Tensor, "clip codebook frame"],
        held_out_captions: Captions,
    ) -> None:
        self.model = model.train()
        self.tokenizer = tokenizer
        self.recipe = recipe
        self.codes, self.captions = codes, captions
        self.held_out, self.held_out_captions = held_out, held_out_captions
        self.weights = torch.tensor(recipe.codebook_weights)

    def loss(self, step: int) -> Tensor:
        """Return the loss of step `step`: cross-entropy averaged over codebooks by their weights."""
        recipe = self.recipe
        rng = rng_for("decoder batch", recipe.seed, step)
        losses, n_steps = torch.zeros(len(self.weights)), 0
        for n_clips, length in self._parts():
            clips = rng.choice(len(self.codes), size=n_clips, replace=False)
            keep = torch.from_numpy(rng.random(n_clips) >= recipe.caption_dropout)
            texts = [self.captions(int(clip), step) for clip in clips]
            part = self.codebook_losses(self.codes[torch.from_numpy(clips)], texts, keep, length)
            losses, n_steps = losses + part * n_clips * length, n_steps + n_clips * length
        return (losses * self.weights).sum() / (self.weights.sum() * n_steps)

    def _parts(self) -> list[tuple[int, int]]:
        """Return (number of clips, decoder steps of each) for the whole clips and the openings of a batch.

        Text lowers the loss mostly in the first beats; later the music itself carries the same information.
        Spending a fifth of the frames on openings of other clips triples what a step teaches about text.
        """
        _, n_codebooks, n_frames = self.codes.shape
        whole = (self.recipe.batch_clips, steps_for(n_frames, n_codebooks))
        openings = (self.recipe.opening_clips, self.recipe.opening_steps)
        return [whole, openings] if self.recipe.opening_clips else [whole]

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return the loss on held-out clips with and without text, in nats, plain mean over codebooks."""
        totals = {"val_cond": 0.0, "val_uncond": 0.0}
        self.model.eval()
        for clips in torch.arange(len(self.held_out)).split(self.recipe.batch_clips):
            texts = [self.held_out_captions(int(clip), 0) for clip in clips]
            for name, keep in (("val_cond", True), ("val_uncond", False)):
                with_text = torch.full((len(clips),), keep)
                losses = self.codebook_losses(self.held_out[clips], texts, with_text)
                totals[name] += float(losses.mean()) * len(clips) / len(self.held_out)
        self.model.train()
        return totals

    def codebook_losses(
        self,
        codes: Int[Tensor, "clip codebook frame"],
        texts: list[str],
        keep: Tensor,
        n_steps: int | None = None,
    ) -> Float[Tensor, " codebook"]:
        """Return the mean cross-entropy of every codebook, in nats per token.

        Args:
            codes: audio tokens, undelayed.
            texts: one caption per clip.
            keep: (clip,) bool; False drops the clip's text.
            n_steps: decoder steps from the start that are used; None uses the whole clip.
        """
        n_codebooks, n_frames = codes.shape[1:]
        n_steps = n_steps or steps_for(n_frames, n_codebooks)
        codes = codes.long()
        columns = apply_delay(codes, pad_id_of(self.model))[:, :, :n_steps]
        text = self.tokenizer(texts, padding=True, return_tensors="pt")
        with torch.autocast("cpu", torch.bfloat16):
            states = hidden_states(self.model, columns, text.input_ids, text.attention_mask, keep)
            heads = self.model.decoder.lm_heads
            losses = []
            for k in range(n_codebooks):
                n_used = min(n_frames, n_steps - k)
                logits = heads[k](states[:, k : k + n_used]).flatten(0, 1).float()
                losses.append(functional.cross_entropy(logits, codes[:, k, :n_used].flatten()))
        return torch.stack(losses)


def hidden_states(
    model: MusicgenForConditionalGeneration,
    columns: Int[Tensor, "clip codebook step"],
    input_ids: Int[Tensor, "clip token"],
    attention_mask: Int[Tensor, "clip token"],
    keep: Tensor,
) -> Float[Tensor, "clip step d_model"]:
    """Return the decoder's last states: `model.forward` without its heads, which would waste time on padding.

    Where `keep` is False the projected text is zero, as in the unconditional half of `generate`.
    """
    encoder = text_encoder_of(model)
    text = encoder(input_ids=input_ids, attention_mask=attention_mask)[0]
    projected = model.enc_to_dec_proj(text) * (attention_mask * keep[:, None])[..., None]
    return model.decoder.model.decoder(
        input_ids=columns.flatten(0, 1),
        encoder_hidden_states=projected,
        encoder_attention_mask=attention_mask,
        use_cache=False,
    ).last_hidden_state


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

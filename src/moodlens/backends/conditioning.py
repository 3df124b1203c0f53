"""Text conditioning: each prompt is encoded alone, in shapes that do not depend on the other prompts.

The last bits of floating-point sums depend on the shape of the arrays. A text is therefore encoded by itself,
without padding, and then padded to a multiple of `TEXT_BUCKET` tokens that depends on its own length only.
Clips of different widths never share a block.

Null text is zero *after* projection, as in transformers and audiocraft. Keys and values are then zero, and
the cross-attention, which has no bias, outputs exactly 0. Null rows thus need no conditioning: the decoder
takes fewer rows of text than rows of tokens (see `backends.attention`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from moodlens.backends.requests import check_prompt
from moodlens.base.errors import UsageError, must, nearest

TEXT_BUCKET = 32
TEXT_PADDINGS = ("mask", "attend")
"""Policies for the empty positions of a text, see `check_padding`."""


@dataclass(frozen=True)
class EncodedText:
    """One prompt: its tokens, and its states before and after the projection into the decoder."""

    tokens: tuple[str, ...]
    hidden: Float[Tensor, "token d_text"]
    projected: Float[Tensor, "token d_model"]


@dataclass(frozen=True)
class Conditioning:
    """The text input of the decoder's rows.

    Cross-attention: the texts of the first rows, and `mask`, True where a row may attend. Melody: the prefix
    of every row before its first step, without a mask.
    """

    hidden: Float[Tensor, "text_row position d_model"]
    mask: Bool[Tensor, "text_row 1 1 position"] | None
    width: int  # positions of the text


def encode_text(model: Any, tokenizer: PreTrainedTokenizerBase, text: str) -> EncodedText:
    """Return the encoding of one prompt, alone in its batch.

    Raises:
        UsageError: the prompt holds only white space, or a token that the text encoder lacks.
    """
    check_prompt(text)
    ids = tokenizer(text, return_tensors="pt")["input_ids"].to(model.device)
    n_known = model.config.text_encoder.vocab_size
    if int(ids.max()) >= n_known:
        unknown = tokenizer.convert_ids_to_tokens(int(ids.max()))
        rule, advice = f"hold only the text encoder's {n_known} tokens", "Remove the word from the prompt"
        raise UsageError(must(f"prompt {text[:40]!r}", rule, unknown, next_step=advice))
    hidden = model.text_encoder(input_ids=ids).last_hidden_state[0]
    projection = getattr(model, "enc_to_dec_proj", None)
    projected = projection(hidden) if isinstance(projection, nn.Linear) else hidden
    return EncodedText(tuple(tokenizer.convert_ids_to_tokens(ids[0].tolist())), hidden, projected)


def text_width(n_tokens: int) -> int:
    """Return the padded width of a text.

    >>> text_width(1), text_width(32), text_width(33)
    (32, 32, 64)
    """
    return -(-n_tokens // TEXT_BUCKET) * TEXT_BUCKET


def check_padding(text_padding: str) -> str:
    """Return the policy for the empty positions of a text, after checking that it exists.

    `mask`: the decoder attends to the text's own tokens only. audiocraft does this for a prompt that is alone
    in its batch.
    `attend`: the decoder attends to every position of the text's width; empty positions are zeros that take
    part in the softmax. audiocraft does this for a prompt beside another one as long as that width.

    Raises:
        UsageError: there is no such policy.
    """
    if text_padding not in TEXT_PADDINGS:
        advice = nearest(text_padding, list(TEXT_PADDINGS))
        raise UsageError(must("model.text_padding", "be mask or attend", text_padding, next_step=advice))
    return text_padding


def conditioning(
    texts: Sequence[EncodedText | None], n_rows: int, width: int, like: Tensor, text_padding: str
) -> Conditioning:
    """Return the conditioning of `n_rows` rows; rows beyond the texts are padding and hold null text.

    Args:
        texts: encodings no longer than `width` tokens; None is null text.
        n_rows: rows with text, padding included; at least 1.
        width: tokens per row. Positions beyond a text's own width are masked under both policies.
        like: a tensor whose device and type the result takes; its last axis is d_model.
        text_padding: see `check_padding`.
    """
    hidden = like.new_zeros(n_rows, width, like.shape[-1])
    # a padding row attends to its zeros: the result is 0 as well, without the 0/0 of an empty softmax
    mask = torch.ones(n_rows, 1, 1, width, dtype=torch.bool, device=like.device)
    for row, text in enumerate(texts):
        if text is None:
            continue
        n_tokens = text.projected.shape[0]
        hidden[row, :n_tokens] = text.projected
        mask[row, ..., n_tokens if text_padding == "mask" else text_width(n_tokens) :] = False
    return Conditioning(hidden, mask, width)

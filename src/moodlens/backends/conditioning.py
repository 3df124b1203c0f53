"""The text side: each prompt encoded alone, and blocks of conditioning whose shape no mate can change.

Float sums depend in their last bits on the shape of the arrays. So a text is encoded by itself, without pads,
and is padded to a multiple of `TEXT_BUCKET` tokens that depends on its own length only; clips of different
widths never share a block. Null text is zero *after* projection, as in transformers and audiocraft: keys and
values are then zero and the bias-free cross-attention puts out exactly 0 whatever it attends to. So null rows
need no conditioning at all: the decoder takes fewer rows of text than rows of tokens (see `attention`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from moodlens.base.errors import UsageError, must, nearest

TEXT_BUCKET = 32
TEXT_PADDINGS = ("mask", "attend")
"""What a text's empty places do; see `check_padding`."""


@dataclass(frozen=True)
class EncodedText:
    """One prompt: its tokens, and its states before and after the projection into the decoder."""

    tokens: tuple[str, ...]
    hidden: Float[Tensor, "token d_text"]
    projected: Float[Tensor, "token d_model"]


@dataclass(frozen=True)
class Conditioning:
    """What rows see of their text.

    Cross-attention: the first rows' texts, and True in `mask` where a row may attend. Melody: what every row
    has before its first step; there is no mask.
    """

    hidden: Float[Tensor, "text_row place d_model"]
    mask: Bool[Tensor, "text_row 1 1 place"] | None
    width: int  # places of the text


def encode_text(model: Any, tokenizer: PreTrainedTokenizerBase, text: str) -> EncodedText:
    """Return the encoding of one prompt, alone in its batch.

    Raises:
        UsageError: the prompt holds nothing but white space.
    """
    if not text.strip():
        raise UsageError(
            must("a prompt", "hold words", text, next_step="Null text is None, not an empty prompt")
        )
    ids = tokenizer(text, return_tensors="pt")["input_ids"].to(model.device)
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
    """Return the policy of a text's empty places, if there is such a one.

    `mask`: a text attends to its own tokens alone: what audiocraft makes of a prompt alone in its batch.
    `attend`: it attends to every place of its width, the empty ones being zeros that take part in the
    softmax: what audiocraft makes of it beside a prompt as long as that width.

    Raises:
        UsageError: there is none.
    """
    if text_padding not in TEXT_PADDINGS:
        advice = nearest(text_padding, list(TEXT_PADDINGS))
        raise UsageError(must("model.text_padding", "be mask or attend", text_padding, next_step=advice))
    return text_padding


def conditioning(
    texts: Sequence[EncodedText], n_rows: int, width: int, like: Tensor, text_padding: str
) -> Conditioning:
    """Return the conditioning of `n_rows` rows; rows beyond the texts are padding of the block, and null.

    Args:
        texts: encodings no longer than `width` tokens.
        n_rows: rows with text, padding included; at least 1.
        width: tokens per row.
        like: a tensor whose device and type the result takes; its last axis is d_model.
        text_padding: see `check_padding`.
    """
    hidden = like.new_zeros(n_rows, width, like.shape[-1])
    # a padding row attends to all its zeros: same result as none, without the 0/0 of an empty softmax
    mask = torch.ones(n_rows, 1, 1, width, dtype=torch.bool, device=like.device)
    for row, text in enumerate(texts):
        n_tokens = text.projected.shape[0]
        hidden[row, :n_tokens] = text.projected
        mask[row, ..., n_tokens if text_padding == "mask" else width :] = False
    return Conditioning(hidden, mask, width)

"""Attention as the decode loop needs it: cheap for one query, and none at all where there is no text.

Registered with transformers under `NAME`, so the stock modules call it. Three things differ from its `sdpa`:
- Rows beyond the text's rows are the null half of guidance. Their keys and values would be zero and their
  output exactly 0 (the projections have no bias), so they are not computed: 0 is put out.
- A module may carry a `watch`, a function that is handed its weights (see `attention_summary`).
- One query per row is two batched products. The fused CPU kernel takes 10 - 30 % longer for that shape (32
  rows, 6 heads of 32, 32 - 200 keys, one thread), and the weights are there for attention summaries.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "moodlens"
CHUNK = 64
"""Queries whose weights are held at once when a whole sequence is watched."""


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: object,
) -> tuple[Tensor, Tensor | None]:
    """Return the attention output, (row, query, head, d_head), and the weights where they were formed.

    Args:
        module: the attention module; its `is_causal` says whether a sequence of queries is masked causally.
        query: (row, head, query, d_head).
        key: (row with text, head, key, d_head); as many rows as `query`, or fewer.
        value: as `key`.
        attention_mask: True where a query may attend, (row with text, 1, 1, key), or None.
        scaling: of the products; None is d_head ** -0.5.
        dropout: must be 0; the loop never trains.
    """
    assert dropout == 0
    n_rows, n_text = query.shape[0], key.shape[0]
    scale: float = query.shape[-1] ** -0.5 if scaling is None else scaling
    weights = None
    if query.shape[2] == 1:
        scores = torch.matmul(query[:n_text] * scale, key.transpose(2, 3))
        if attention_mask is not None:
            scores = scores.masked_fill(~attention_mask, -torch.inf)
        weights = scores.softmax(-1)
        output = torch.matmul(weights, value)
    else:
        causal = attention_mask is None and bool(getattr(module, "is_causal", False))
        output = scaled_dot_product_attention(
            query[:n_text], key, value, attn_mask=attention_mask, scale=scale, is_causal=causal
        )
    watch = getattr(module, "watch", None)
    if watch is not None:
        for part in [weights] if weights is not None else chunks(query[:n_text] * scale, key, attention_mask):
            watch(part)
    output = output.transpose(1, 2)
    if n_text < n_rows:
        output = torch.cat([output, output.new_zeros(n_rows - n_text, *output.shape[1:])])
    return output.contiguous(), weights


def chunks(query: Tensor, key: Tensor, mask: Tensor | None) -> Iterator[Tensor]:
    """Yield the weights of a whole sequence, `CHUNK` queries at a time; without a mask they are causal.

    Args:
        query: scaled, (row, head, query, d_head).
        key: (row, head, key, d_head).
        mask: True where a query may attend, or None.
    """
    places = torch.arange(key.shape[2], device=key.device)
    for start in range(0, query.shape[2], CHUNK):
        part = query[:, :, start : start + CHUNK]
        allowed = places <= places[start : start + part.shape[2], None] if mask is None else mask
        scores = torch.matmul(part, key.transpose(2, 3)).masked_fill(~allowed, -torch.inf)
        yield scores.softmax(-1)


AttentionInterface.register(NAME, attend)

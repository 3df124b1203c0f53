"""The same architecture with untrained weights: the control of every claim about a trained decoder."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch

from moodlens.backends import attention


def untrained(model: Any, key: int, keep_text: bool) -> Any:
    """Return an untrained model of the same class, type and device, with the codec of `model`.

    Args:
        model: a MusicGen of transformers.
        key: seed of the weights.
        keep_text: whether the trained text encoder is kept too.
    """
    with torch.random.fork_rng(devices=[]), default_dtype(model.dtype):
        torch.manual_seed(key)
        twin = type(model)(deepcopy(model.config))
    twin.audio_encoder = model.audio_encoder
    if keep_text:
        twin.text_encoder = model.text_encoder
    twin.to(model.dtype)
    twin.to(model.device)
    twin.decoder.set_attn_implementation(attention.NAME)
    return twin


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Make new parameters in `dtype`: an untrained twin in half precision never exists in float32."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)

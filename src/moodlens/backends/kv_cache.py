"""A preallocated key/value cache: one step writes one column, attention reads a view, nothing is copied.

transformers' DynamicCache concatenates the whole history at every step (29 % of a decode step at organism
size). The buffers here are made once, for all steps. On CPU most of that is lost again, because a view with
gaps reads about half as fast from cold memory as the dense copy: DynamicCache took 0.96 - 1.06 x the time in
three loaded runs of `python -m benchmarks.generate`. A dense block with a short tail was 7 % faster than this
and not worth its code.
"""

import torch
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicLayer, EncoderDecoderCache


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

"""The attention function of the decode loop, and summaries of attention weights while they are computed.

`attend` is registered with transformers under `NAME`, so the stock modules call it. It differs from `sdpa`:
- Rows beyond the rows of the text are the unconditional half. Their keys and values would be zero and their
  output exactly 0 (the projections have no bias), so `attend` outputs 0 without computing them.
- A module may have an attribute `watch`, a function that receives the attention weights.
- One query per row takes two batched products. The fused CPU kernel takes 10 - 30 % longer for that shape (32
  rows, 6 heads of 32, 32 - 200 keys, one thread), and the products give the weights for summaries.

`AttentionRecorder` reduces the weights to a few numbers per clip, layer, head and step; it never stores an
attention map. With one query per call, as in generation, it reads the weights that the step uses anyway. With
a whole sequence of queries, as under teacher forcing, the weights are computed once more in chunks of
queries. Recording only reads: tokens and states stay bit-identical.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from moodlens.attention.words import CLASSES, CONTROL, EMOTION, END
from moodlens.base.errors import ContractError, UsageError, must

NAME = "moodlens"
CHUNK = 64
"""Number of queries whose weights are held at once when a whole sequence is recorded."""


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
    """Return the attention output, (row, query, head, d_head), and the weights, None for a whole sequence.

    Args:
        module: the attention module; its `is_causal` says whether a sequence of queries is masked causally.
        query: (row, head, query, d_head).
        key: (row with text, head, key, d_head); as many rows as `query`, or fewer.
        value: as `key`.
        attention_mask: True where a query may attend, (row with text, 1, 1, key), or None.
        scaling: factor of the products; None is d_head ** -0.5.
        dropout: must be 0, since the decode loop never trains.
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
    positions = torch.arange(key.shape[2], device=key.device)
    for start in range(0, query.shape[2], CHUNK):
        part = query[:, :, start : start + CHUNK]
        own = positions[start : start + part.shape[2], None]
        allowed = positions <= own if mask is None else mask
        scores = torch.matmul(part, key.transpose(2, 3)).masked_fill(~allowed, -torch.inf)
        yield scores.softmax(-1)


AttentionInterface.register(NAME, attend)


KINDS = {"cross": "encoder_attn", "self": "self_attn"}
"""Kind of attention -> the module of a decoder layer."""
STATISTICS = {
    "cross": ("entropy", "emotion", "control", "end"),
    "self": ("entropy", "distance", "first"),
}
"""Statistics of each kind. Entropy is in nats; emotion, control and end are the attention mass on tokens of
that class; distance is the mean number of steps back; first is the mass on the first step."""
MASS_CLASSES = (EMOTION, CONTROL, END)
SMALLEST = 1e-30
NO_TEXT = "Leave generate.attention off for a model that prepends its text (melody)"


Weights = Float[Tensor, "row head query key"]
Statistics = Float[Tensor, "statistic row head query"]


class AttentionRecorder:
    """Records statistics of the conditional rows of cross-attention and self-attention.

    Args:
        layers: decoder layers.
        classes: per clip the class of each of its tokens (`moodlens.attention.words`); the first rows of a
            module's input belong to these clips.
        n_steps: decoder steps that will be run.
        kinds: kinds of attention to record, of `KINDS`.

    Raises:
        UsageError: the model has no such attention.
    """

    def __init__(
        self, layers: Sequence[nn.Module], classes: Sequence[np.ndarray], n_steps: int, kinds: Sequence[str]
    ) -> None:
        self.n_steps = n_steps
        self.classes = classes
        self.modules = {(kind, i): _module(layer, kind) for kind in kinds for i, layer in enumerate(layers)}
        self.counts = dict.fromkeys(self.modules, 0)
        self.n_layers = len(layers)
        self.buffers: dict[str, Tensor] = {}
        self._waiting: dict[str, list[Tensor]] = {}
        self._columns: Tensor | None = None

    @contextmanager
    def attached(self) -> Iterator["AttentionRecorder"]:
        """Record inside the `with` block; the modules are restored even if the block fails."""
        for (kind, layer), module in self.modules.items():
            module.watch = self._watch(kind, layer)  # type: ignore[assignment]
        try:
            yield self
        finally:
            for module in self.modules.values():
                del module.watch

    def _watch(self, kind: str, layer: int) -> Callable[[Tensor], None]:
        def watch(weights: Tensor) -> None:
            part = weights[: len(self.classes)].float()
            if weights.shape[2] > 1:
                self._append(kind, [layer], part)
                return
            # One step of generation: reducing all layers together costs a third of reducing them one by one.
            waiting = self._waiting.setdefault(kind, [])
            waiting.append(part)
            if len(waiting) == self.n_layers:
                self._append(kind, range(self.n_layers), torch.cat(waiting))
                waiting.clear()

        return watch

    def _append(self, kind: str, layers: Sequence[int], weights: Weights) -> None:
        """Append the statistics of `layers`, whose rows follow each other in `weights`."""
        start = self.counts[kind, layers[0]]
        stop = start + weights.shape[2]
        if stop > self.n_steps:
            raise ContractError(_count_error(kind, layers[0], stop, self.n_steps))
        statistics = self._cross(weights) if kind == "cross" else self_statistics(weights, start)
        n_statistics, _, heads, _ = statistics.shape
        if kind not in self.buffers:
            shape = (n_statistics, self.n_layers, len(self.classes), heads, self.n_steps)
            self.buffers[kind] = torch.zeros(shape, dtype=torch.float32, device=statistics.device)
        by_layer = statistics.unflatten(1, (len(layers), len(self.classes)))
        self.buffers[kind][:, layers[0] : layers[-1] + 1, :, :, start:stop] = by_layer
        for layer in layers:
            self.counts[kind, layer] = stop

    def _cross(self, weights: Weights) -> Statistics:
        if self._columns is None:
            self._columns = class_columns(self.classes, weights)
        by_layer = weights.unflatten(0, (-1, len(self.classes)))
        masses = torch.matmul(by_layer, self._columns[:, None]).flatten(0, 1)
        return torch.cat([entropy(weights)[None], masses.permute(3, 0, 1, 2)])

    def finish(self) -> dict[str, np.ndarray]:
        """Return `<kind>/<statistic>` -> (clip, layer, head, step), float32, and `tokens` (clip, class).

        Raises:
            ContractError: a module was not recorded at every step exactly once.
        """
        if not self.modules:
            return {}
        for (kind, layer), count in self.counts.items():
            if count != self.n_steps:
                raise ContractError(_count_error(kind, layer, count, self.n_steps))
        statistics = {
            f"{kind}/{name}": np.ascontiguousarray(values.transpose(0, 1).cpu().numpy())
            for kind, buffer in self.buffers.items()
            for name, values in zip(STATISTICS[kind], buffer, strict=True)
        }
        counts = [np.bincount(classes, minlength=len(CLASSES)) for classes in self.classes]
        return {**statistics, "tokens": np.stack(counts).astype(np.int16)}


def self_statistics(weights: Weights, first: int) -> Statistics:
    """Return the statistics of self-attention as in `STATISTICS`; `first` is the step of the first query."""
    n_queries, n_keys = weights.shape[2:]
    steps = torch.arange(n_keys, device=weights.device, dtype=weights.dtype)
    distance = steps[first : first + n_queries] - weights @ steps
    return torch.stack([entropy(weights), distance, weights[..., 0]])


def entropy(weights: Weights) -> Float[Tensor, "row head query"]:
    """Return -sum w ln w over keys, in nats; 0 ln 0 is 0.

    `torch.special.entr` gives the same at twice the cost on the CPU.
    """
    return -torch.linalg.vecdot(weights, weights.clamp_min(SMALLEST).log())


def class_columns(classes: Sequence[np.ndarray], like: Weights) -> Float[Tensor, "row key klass"]:
    """Return 1 where a token belongs to a class of `MASS_CLASSES`, per row; padding belongs to none."""
    columns = like.new_zeros(len(classes), like.shape[-1], len(MASS_CLASSES))
    for row, of_token in enumerate(classes):
        for column, klass in enumerate(MASS_CLASSES):
            columns[row, : len(of_token), column] = torch.from_numpy(of_token == klass).to(columns)
    return columns


def _module(layer: nn.Module, kind: str) -> nn.Module:
    module = getattr(layer, KINDS[kind], None)
    if not isinstance(module, nn.Module):
        rule = "be false where the decoder has no such attention"
        raise UsageError(must("generate.attention", rule, f"true, {kind}-attention", next_step=NO_TEXT))
    return module


def _count_error(kind: str, layer: int, count: int, n_steps: int) -> str:
    advice = "Report this with the model's id"
    rule = f"be seen at {n_steps} steps, each once"
    return must(f"{kind}-attention of layer {layer}", rule, count, where="capture", next_step=advice)

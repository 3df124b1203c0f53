"""Linear layers with their weights packed for oneDNN, for the length of a generation on the processor.

A decode step multiplies few rows with every weight. The matrix product that torch takes for it (MKL) reaches
a third of what one core can do at 8 rows; oneDNN's, on weights laid out for it once, takes 0.56 x the time
(24 layers x 1024). The layout is a second copy of the weights, held while clips are generated; the modules
stay, so hooks see what they saw. Sums are added in another order: last bits differ from the plain product,
and a clip's bits still do not depend on its mates (tests/backends/test_packed.py).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

PACKED_WIDTH, PACKED_BYTES = 512, 2_000_000_000
"""Weights are packed for decoders of at least this width, up to this many bytes of weights: narrower decoders
gain nothing, and a second copy of larger ones takes too much memory."""
ONCE = ("encoder_attn.k_proj", "encoder_attn.v_proj")
"""Projections of the text: they are used in the first step only."""


def packing_pays(like: Tensor, n_bytes: int) -> bool:
    """Return whether a decoder is generated from with packed weights; `forecast.sizes` knows the rule.

    Args:
        like: a tensor with the type and the device of the states; its last axis is d_model.
        n_bytes: of the weights that would be held a second time.
    """
    here = like.device.type == "cpu" and torch.backends.mkldnn.is_available()
    return here and like.dtype == torch.float32 and like.shape[-1] >= PACKED_WIDTH and n_bytes <= PACKED_BYTES


def linears_of(layers: Iterable[nn.Module]) -> list[nn.Linear]:
    """Return the linear modules of decoder layers that every step runs through."""
    named = ((name, module) for layer in layers for name, module in layer.named_modules())
    return [module for name, module in named if isinstance(module, nn.Linear) and name not in ONCE]


@contextmanager
def packed(linears: Iterable[nn.Linear], n_rows: int) -> Iterator[None]:
    """Let the modules multiply with packed weights for the length of the block.

    Args:
        linears: modules in float32 on the processor.
        n_rows: rows of a step; other row counts are computed too, in a layout made for this one.
    """
    changed: list[nn.Linear] = []
    try:
        for linear in linears:
            weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight, n_rows)
            linear.__dict__["forward"] = partial(_product, weight, linear.bias)
            changed.append(linear)
        yield
    finally:
        for linear in changed:
            del linear.__dict__["forward"]


def _product(weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")

"""Linear layers with weights packed for oneDNN during generation on the CPU.

A decode step multiplies few rows with every weight. At 8 rows, torch's matrix product (MKL) reaches a third
of what one core can do. The product of oneDNN, on weights that were packed into its layout once, takes 0.56 x
the time (24 layers x 1024). The packed weights are a second copy, held while clips are generated. The modules
stay in place, so hooks record the same outputs. Sums are added in another order, so the last bits differ from
the plain product; the bits of a clip still do not depend on the other clips of its batch
(tests/backends/musicgen/test_packed.py).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from moodlens.backends import requests

ONCE = ("encoder_attn.k_proj", "encoder_attn.v_proj")
"""Projections of the text; they run in the first step only."""


def packs(like: Tensor, n_bytes: int) -> bool:
    """Say whether a decoder generates with packed weights here: on the CPU, where `requests.packing_pays`.

    Args:
        like: a tensor with the type and the device of the states; its last axis is d_model.
        n_bytes: of the weights that would be held a second time.
    """
    here = like.device.type == "cpu" and torch.backends.mkldnn.is_available()
    return here and requests.packing_pays(str(like.dtype).removeprefix("torch."), like.shape[-1], n_bytes)


def linears_of(layers: Iterable[nn.Module]) -> list[nn.Linear]:
    """Return the linear modules of decoder layers that every step runs through."""
    named = ((name, module) for layer in layers for name, module in layer.named_modules())
    return [module for name, module in named if isinstance(module, nn.Linear) and name not in ONCE]


@contextmanager
def packed(linears: Iterable[nn.Linear], n_rows: int) -> Iterator[None]:
    """Let the modules multiply with packed weights inside the `with` block.

    Args:
        linears: modules in float32 on the CPU.
        n_rows: rows of a step, for which the layout is made; other row counts are computed correctly too.
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

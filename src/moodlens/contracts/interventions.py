"""Interventions as data: what is changed in the output of a module, at which steps, and by how much.

Let x be the output of a hookpoint at decoder step t, and w = coefficient * decay ** (t - first), where first
is the first step of `steps`.

| operation | result | fields |
|---|---|---|
| add | x + w v | `vectors` (1, width): v |
| exchange | x + w P (d - x) | `donor`: d is its output at the same step; `vectors`: P, else the identity |
| replace | x + w (g - x) | `vectors` (step, width): g of every step of `steps`, or (1, width): g of all |
| project_out | x - w P (x - c) | `vectors`: P, `centre`: c, else 0 |
| clamp | x + (w - a) r, a = max(0, e x + b) | `latent`: encoder row e, bias b, decoder row r of an SAE |

P projects on the rows of `vectors`, which are orthonormal; with `outside`, on their complement. A weight of 0
changes nothing, and a weight of 1 copies d or g, bit for bit. Interventions of one hookpoint are applied in
their order. What they leave behind is what the next module and the key/value cache of later layers receive.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Operation = Literal["add", "exchange", "replace", "project_out", "clamp"]
OPERATIONS: tuple[str, ...] = get_args(Operation)


@dataclass(frozen=True)
class Donor:
    """A pass beside the recipient's, whose states an exchange takes.

    The donor has been fed the recipient's tokens from the first step on, so that only the text differs. With
    `codes` it is fed these tokens instead.
    """

    text: str | None  # None is null text
    codes: np.ndarray | None = None  # (codebook, frame), without delays


@dataclass(frozen=True)
class Latent:
    """One latent of a sparse autoencoder. Competition between latents (top-k) is left out."""

    encoder: np.ndarray  # (width,)
    bias: float
    decoder: np.ndarray  # (width,)


@dataclass(frozen=True)
class Intervention:
    """A change of the output of one hookpoint; see the table of operations above."""

    hookpoint: str  # e.g. residual.3
    operation: Operation
    half: str = "cond"  # cond | uncond | both
    steps: tuple[int, int] | None = None  # decoder steps (first, stop); None is every step that is run
    coefficient: float = 1.0  # in units of the vector; for clamp the activation of the latent
    decay: float = 1.0  # factor of the coefficient from one step to the next
    vectors: np.ndarray | None = None  # (row, width), float32
    outside: bool = False  # project on the complement of `vectors`
    centre: np.ndarray | None = None  # (width,), float32
    donor: Donor | None = None
    latent: Latent | None = None


@dataclass(frozen=True)
class Reading:
    """Tokens that are fed back under a text with interventions, to see how likely the model finds them."""

    codes: np.ndarray  # (codebook, frame), without delays
    text: str | None
    edits: tuple[Intervention, ...] = ()

"""Rows made of few atoms of a known dictionary, and the share of atoms that an SAE recovers."""

from dataclasses import dataclass

import numpy as np
import torch

from moodlens.sae.catalog import config_for, new_sae
from moodlens.sae.mixing import RowSource
from moodlens.sae.model import Sae

D_IN = 64
N_ATOMS = 256
N_ACTIVE = 3


@dataclass(frozen=True)
class Planted:
    atoms: np.ndarray  # (atom, d_in), unit rows
    rows: np.ndarray  # (row, d_in) float32

    def source(self, first: int, last: int, per_array: int = 1000) -> RowSource:
        """Return rows first to last as a stream of arrays."""
        part = self.rows[first:last]
        return lambda: (part[start : start + per_array] for start in range(0, len(part), per_array))


def planted(n_rows: int, seed: int = 0, offset: float = 0.0) -> Planted:
    """Return rows = `offset` + sum of 3 atoms of 256, each with a weight uniform on 0.5 to 1.5."""
    rng = np.random.default_rng(seed)
    atoms = rng.standard_normal((N_ATOMS, D_IN))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    picks = rng.random((n_rows, N_ATOMS)).argpartition(N_ACTIVE, axis=1)[:, :N_ACTIVE]
    weights = rng.uniform(0.5, 1.5, (n_rows, N_ACTIVE))
    rows = np.einsum("ra,rad->rd", weights, atoms[picks]) + offset
    return Planted(atoms.astype(np.float32), rows.astype(np.float32))


def recovered(sae: Sae, atoms: np.ndarray) -> float:
    """Return the share of atoms that match some decoder row with a cosine above 0.9."""
    W_dec = sae.W_dec.detach().numpy()
    directions = W_dec / np.linalg.norm(W_dec, axis=1, keepdims=True)
    return float(((atoms @ directions.T).max(axis=1) > 0.9).mean())


def random_sae(architecture: str, d_in: int = 6, d_sae: int = 20, **settings: object) -> Sae:
    """Return an SAE all of whose tensors are random, so that no term of a formula is zero by chance."""
    if architecture in ("topk", "batchtopk", "matryoshka"):
        settings = {"k": 4, **settings}
    sae = new_sae(config_for(architecture, {"d_in": d_in, "d_sae": d_sae, **settings}), seed=3)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, tensor in sae.state_dict().items():
            tensor.add_(0.2 * torch.randn(tensor.shape, generator=generator).abs_())
            if name in ("W_enc", "W_dec", "b_dec", "b_enc"):
                tensor.add_(0.2 * torch.randn(tensor.shape, generator=generator))
    return sae


def random_rows(n_rows: int = 50, d_in: int = 6, seed: int = 1) -> torch.Tensor:
    """Return standard normal rows."""
    return torch.randn(n_rows, d_in, generator=torch.Generator().manual_seed(seed))

"""Quality of an SAE: hand-worked values, the stream against the whole, and what is refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from moodlens.base.errors import ContractError
from moodlens.sae.metrics import dead, fvu, l0, quality
from tests.sae.planted import random_rows, random_sae


def test_hand_worked():
    acts = torch.tensor([[0.0, 0.0], [2.0, 0.0], [1.0, 3.0]])
    recon = torch.tensor([[0.0, 1.0], [2.0, 0.0], [1.0, 1.0]])
    assert fvu(acts, recon) == pytest.approx(5 / 8)
    assert l0(torch.tensor([[1.0, 0.0], [0.5, 2.0]])) == 1.5
    assert dead(torch.tensor([0, 1, 0, 0])) == 0.75


def test_mean_scores_one_and_identity_zero():
    x = random_rows()
    assert fvu(x, x.mean(0).expand_as(x)) == pytest.approx(1)
    assert fvu(x, x) == 0


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 60), st.floats(-1e3, 1e3))
def test_streaming_equals_the_whole(batch_rows: int, offset: float):
    sae, x = random_sae("relu"), random_rows() + offset
    figures = quality(sae, x.split(batch_rows))
    latents, recon = sae.encode(x).detach(), sae(x).detach()
    assert figures.fvu == pytest.approx(fvu(x, recon), rel=1e-4)
    assert figures.mse == pytest.approx(float((x - recon).pow(2).mean()), rel=1e-4)
    assert figures.l0 == pytest.approx(l0(latents))
    assert figures.dead == pytest.approx(dead((latents > 0).sum(0)))
    assert figures.n_rows == 50


def test_no_variance_and_no_rows_are_refused():
    with pytest.raises(ContractError, match=r"the variance of activations must be above zero; got 0.0"):
        fvu(torch.ones(3, 2), torch.zeros(3, 2))
    with pytest.raises(ContractError, match=r"an SAE's evaluation must have rows; got 0"):
        quality(random_sae("relu"), [])

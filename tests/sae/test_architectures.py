"""Each architecture: hand-worked latents, its own gradient rules, settings that are refused."""

import pytest
import torch

from moodlens.base.errors import ContractError, UsageError
from moodlens.sae.catalog import ARCHITECTURES, config_for, new_sae, sae_for
from moodlens.sae.model import Sae
from tests.sae.planted import random_rows, random_sae

NONE = torch.empty(0, dtype=torch.int64)


def identity(architecture: str, **settings: object) -> Sae:
    """An SAE of width 3 whose pre-activations are its input."""
    sae = sae_for(config_for(architecture, {"d_in": 3, "d_sae": 3, **settings}))
    with torch.no_grad():
        sae.W_enc.copy_(torch.eye(3))
        sae.W_dec.copy_(torch.eye(3))
    return sae


X = torch.tensor([[3.0, -1.0, 2.0], [0.5, 0.2, 0.1]])


def test_relu_by_hand():
    sae = identity("relu", l1=0.1)
    assert sae.encode(X).tolist() == [[3, 0, 2], [0.5, pytest.approx(0.2), pytest.approx(0.1)]]
    losses = sae.losses(X, NONE, penalty_share=0.5)
    assert float(losses.error) == pytest.approx(0.5)  # 1 ^ 2 over two rows
    assert float(losses.total.detach()) == pytest.approx(0.5 + 0.5 * 0.1 * 3 * (5 + 0.8) / 2)
    assert losses.n_fired.tolist() == [2, 1, 2]


def test_topk_by_hand():
    sae = identity("topk", k=1)
    assert sae.encode(X).tolist() == [[3, 0, 0], [0.5, 0, 0]]
    losses = sae.losses(X, NONE, 1.0)
    assert float(losses.error) == pytest.approx((1 + 4 + 0.04 + 0.01) / 2)
    assert losses.n_fired.tolist() == [2, 0, 0]


def test_batchtopk_by_hand():
    sae = identity("batchtopk", k=1)
    losses = sae.losses(X, NONE, 1.0)  # the two largest of the batch are both in the first row
    assert losses.n_fired.tolist() == [1, 0, 1]
    assert float(sae.get_buffer("threshold")) == 2
    assert sae.encode(X).tolist() == [[3, 0, 0], [0, 0, 0]], "the smallest that fired lies at the threshold"
    sae.eval()
    sae.losses(X * 2, NONE, 1.0)
    assert float(sae.get_buffer("threshold")) == 2, "only training moves it"


def test_matryoshka_by_hand():
    sae = identity("matryoshka", k=1, prefixes=(1, 3))
    losses = sae.losses(X, NONE, 1.0)
    alone, whole = (1 + 4 + 0.3) / 2, (1 + 0.3) / 2
    assert float(losses.error) == pytest.approx(whole)
    assert float(losses.total.detach()) == pytest.approx((alone + whole) / 2)
    assert config_for("matryoshka", {"d_in": 4, "d_sae": 100}).prefixes == (6, 12, 25, 50, 100)


def test_jumprelu_by_hand():
    sae = identity("jumprelu", l0=0.1, threshold=0.3, bandwidth=0.25)
    assert sae.encode(X).tolist() == [[3, 0, 2], [0.5, 0, 0]]
    losses = sae.losses(X, NONE, 1.0)
    assert float(losses.total.detach()) == pytest.approx((1 + 0.05) / 2 + 0.1 * 3 * 3 / 2)
    losses.total.backward()
    # Within 0.125 of the threshold lies 0.2 alone (row 2, latent 2); dloss/dlatent there is 2 (0 - 0.2) / 2.
    expected = -(0.3 / 0.25) * -0.2 - 3 * 0.1 / 2 / 0.25
    gradient = sae.get_parameter("threshold").grad
    assert gradient is not None
    assert gradient.tolist() == [0, pytest.approx(expected), 0]
    with torch.no_grad():
        sae.get_parameter("threshold").fill_(-1)
    sae.project()
    assert sae.get_parameter("threshold").tolist() == [0, 0, 0]


def test_gated_by_hand():
    sae = identity("gated", l1=0.1)
    with torch.no_grad():
        sae.get_parameter("b_gate").fill_(-0.3)
        sae.get_parameter("r_mag").fill_(torch.tensor(2.0).log())
        sae.get_parameter("b_mag").fill_(0.5)
    latents = [[6.5, 0, 4.5], [1.5, 0, 0]]
    torch.testing.assert_close(sae.encode(X), torch.tensor(latents))
    error = (3.5**2 + 1 + 2.5**2 + 1 + 0.04 + 0.01) / 2
    by_gate = (0.3**2 + 1 + 0.3**2 + 0.3**2 + 0.2**2 + 0.1**2) / 2
    total = sae.losses(X, NONE, 1.0).total
    assert float(total.detach()) == pytest.approx(error + by_gate + 0.1 * 3 * (2.7 + 1.7 + 0.2) / 2, rel=1e-5)
    total.backward()
    b_gate, W_dec = sae.get_parameter("b_gate").grad, sae.W_dec.grad
    assert b_gate is not None
    assert W_dec is not None
    # The open gate at latent 1: 2 (2.7 - 3) / 2 from row 1, 2 (0.2 - 0.5) / 2 from row 2, and 3 l1 of both.
    assert b_gate.tolist() == [pytest.approx(-0.6 + 0.3), 0, pytest.approx(-0.3 + 0.15)]
    # The decoder learns from the gated reconstruction alone: 2 / 2 sum over rows of latent * (x_hat - x).
    recon = torch.tensor(latents)
    torch.testing.assert_close(W_dec, recon.t() @ (recon - X))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_all_share_names_shapes_and_start(architecture: str):
    sae = new_sae(config_for(architecture, {"d_in": 6, "d_sae": 40}), seed=1)
    assert sae.name == architecture
    assert sae.W_enc.shape == (6, 40)
    assert sae.W_dec.shape == (40, 6)
    assert sae.b_dec.shape == (6,)
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(40))
    assert torch.equal(sae.W_enc, sae.W_dec.t())
    assert set(sae.resets()) == set(dict(sae.named_parameters())) - {"W_enc", "W_dec", "b_dec"}
    assert torch.equal(new_sae(sae.config, 1).W_dec, sae.W_dec)
    assert not torch.equal(new_sae(sae.config, 2).W_dec, sae.W_dec)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_latents_are_never_negative_and_width_is_checked(architecture: str):
    sae = random_sae(architecture)
    latents = sae.encode(random_rows())
    assert (latents >= 0).all()
    assert (latents > 0).any()
    with pytest.raises(
        ContractError, match=r"activations must have shape \(row, 6\); got \(50, 5\) \(encode\)"
    ):
        sae.encode(random_rows(d_in=5))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_projected_gradient_is_orthogonal_to_the_decoder(architecture: str):
    sae = random_sae(architecture)
    sae.project()
    sae.losses(random_rows(), NONE, 1.0).total.backward()
    sae.project_gradient()
    gradient = sae.W_dec.grad
    assert gradient is not None
    assert (gradient * sae.W_dec).sum(1).abs().max() < 1e-5 * gradient.norm()


@pytest.mark.parametrize(
    ("architecture", "settings", "line"),
    [
        ("topk", {"k": 41}, "TopKConfig.k must be at most d_sae = 40; got 41. Lower k or raise d_sae."),
        ("topk", {"k": 0}, "TopKConfig.k must be at least 1; got 0. Raise it."),
        ("relu", {"l1": -1.0}, "ReluConfig.l1 must be zero or above; got -1.0. Set it to 0 for no penalty."),
        ("relu", {"k": 3}, "setting k must be one that relu has; got 3. Valid: d_in, d_sae, l1."),
        (
            "matryoshka",
            {"prefixes": (4, 2, 40)},
            "MatryoshkaConfig.prefixes must ascend from at least 1 to d_sae = 40; got (4, 2, 40). "
            "Leave it empty for halvings.",
        ),
        (
            "top-k",
            {},
            "architecture must be a known one; got 'top-k'. Did you mean 'topk'?",
        ),
    ],
)
def test_refused_settings(architecture: str, settings: dict[str, object], line: str):
    with pytest.raises(UsageError) as caught:
        config_for(architecture, {"d_in": 6, "d_sae": 40, **settings})
    assert str(caught.value) == line


def test_missing_and_absurd_widths():
    with pytest.raises(UsageError, match=r"setting d_sae must be present; got 'nothing'. Add d_sae."):
        config_for("relu", {"d_in": 6})
    with pytest.raises(UsageError, match=r"ReluConfig.d_in must be at least 1; got 0"):
        config_for("relu", {"d_in": 0, "d_sae": 4})

"""SAELens' form: names and shapes, the same latents after a round trip, foreign SAEs folded, faults refused.

`theirs` below is SAELens' own arithmetic, written from its source and not from ours. The comparison with the
library itself runs in an environment of its own.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from moodlens.base.errors import ContractError
from moodlens.sae.catalog import ARCHITECTURES
from moodlens.sae.saelens import folded, from_saelens, log_firing_rate, to_saelens
from tests.sae.planted import random_rows, random_sae

NAMES = {
    "standard": {"W_enc", "W_dec", "b_dec", "b_enc"},
    "topk": {"W_enc", "W_dec", "b_dec", "b_enc"},
    "jumprelu": {"W_enc", "W_dec", "b_dec", "b_enc", "threshold"},
    "gated": {"W_enc", "W_dec", "b_dec", "b_gate", "b_mag", "r_mag"},
}
FORMS = {
    "relu": "standard",
    "topk": "topk",
    "batchtopk": "jumprelu",
    "matryoshka": "jumprelu",
    "jumprelu": "jumprelu",
    "gated": "gated",
}


def theirs(config: dict, tensors: dict[str, Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Latents and reconstruction as SAELens 6 computes them."""
    sae_in = x - tensors["b_dec"] if config["apply_b_dec_to_input"] else x
    hidden = sae_in @ tensors["W_enc"]
    form = config["architecture"]
    if form == "gated":
        active = (hidden + tensors["b_gate"] > 0).float()
        latents = active * torch.relu(sae_in @ (tensors["W_enc"] * tensors["r_mag"].exp()) + tensors["b_mag"])
        return latents, latents @ tensors["W_dec"] + tensors["b_dec"]
    pre = hidden + tensors["b_enc"]
    norms = tensors["W_dec"].norm(dim=1)
    if form == "standard":
        latents = torch.relu(pre)
    elif form == "jumprelu":
        latents = torch.relu(pre) * (pre > tensors["threshold"])
    else:
        pre = pre * norms if config["rescale_acts_by_decoder_norm"] else pre
        top = pre.topk(config["k"], dim=-1)
        latents = torch.zeros_like(pre).scatter(-1, top.indices, top.values.relu())
    weighed = latents / norms if config.get("rescale_acts_by_decoder_norm") else latents
    return latents, weighed @ tensors["W_dec"] + tensors["b_dec"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_form_and_arithmetic_are_saelens(architecture: str):
    sae, x = random_sae(architecture), random_rows()
    config, tensors = to_saelens(sae, {"site": "residual.3"})
    assert config["architecture"] == FORMS[architecture]
    assert set(tensors) == NAMES[config["architecture"]]
    assert tensors["W_enc"].shape == (6, 20)
    assert tensors["W_dec"].shape == (20, 6)
    assert all(tensor.is_contiguous() and tensor.dtype == torch.float32 for tensor in tensors.values())
    assert all(
        tensor.shape == (20,)
        for name, tensor in tensors.items()
        if not name.startswith("W") and name != "b_dec"
    )
    same_for_all = ("dtype", "device", "apply_b_dec_to_input", "normalize_activations", "reshape_activations")
    assert [config[name] for name in same_for_all] == ["float32", "cpu", True, "none", "none"]
    assert config["metadata"]["moodlens"]["architecture"] == architecture
    assert config["metadata"]["moodlens"]["site"] == "residual.3"
    latents, recon = theirs(config, tensors, x)
    torch.testing.assert_close(latents, sae.encode(x).detach(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(recon, sae(x).detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_round_trip_is_bit_exact(architecture: str):
    sae, x = random_sae(architecture), random_rows()
    back = from_saelens(*to_saelens(sae))
    assert back.name == ("jumprelu" if architecture in ("batchtopk", "matryoshka") else architecture)
    assert torch.equal(back.encode(x), sae.encode(x))
    assert torch.equal(back(x), sae(x))
    assert not back.training
    again = to_saelens(back)[1]
    assert all(torch.equal(tensor, again[name]) for name, tensor in to_saelens(sae)[1].items())


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(list(ARCHITECTURES)), st.floats(0.01, 100))
def test_folding_a_scale_changes_nothing_but_the_unit(architecture: str, scale: float):
    sae, x = random_sae(architecture), random_rows(seed=5)
    plain = folded(sae, scale)
    torch.testing.assert_close(plain.encode(x / scale), sae.encode(x), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(plain(x / scale) * scale, sae(x), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("architecture", ["relu", "topk", "jumprelu", "gated"])
def test_foreign_saes_without_centring_are_folded(architecture: str):
    config, tensors = to_saelens(random_sae(architecture))
    config["apply_b_dec_to_input"] = False
    latents, recon = theirs(config, tensors, random_rows())
    sae = from_saelens(config, tensors)
    torch.testing.assert_close(sae.encode(random_rows()), latents, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(sae(random_rows()), recon, atol=1e-5, rtol=1e-5)


def test_foreign_topk_that_ranks_by_decoder_norm_is_folded():
    config, tensors = to_saelens(random_sae("topk"))
    config["rescale_acts_by_decoder_norm"] = True
    tensors["W_dec"] = tensors["W_dec"] * torch.linspace(0.2, 3, 20)[:, None]
    latents, recon = theirs(config, tensors, random_rows())
    sae = from_saelens(config, tensors)
    torch.testing.assert_close(sae.encode(random_rows()), latents, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(sae(random_rows()), recon, atol=1e-5, rtol=1e-5)


def test_sparsity_is_log10_of_the_firing_rate():
    assert log_firing_rate(torch.tensor([1, 1000]), 1000).tolist() == pytest.approx([-3, 0], abs=1e-6)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            {"architecture": "jump_relu"},
            "architecture must be one of standard, topk, jumprelu, gated; got 'jump_relu'",
        ),
        ({"d_sae": 21}, r"tensor W_enc must have shape \(6, 21\); got \(6, 20\)"),
        ({"d_in": "6"}, "d_in must be a whole number of at least 1; got '6'"),
        ({"normalize_activations": "layer_norm"}, "normalize_activations must be none; got 'layer_norm'"),
    ],
)
def test_wrong_configs_are_refused(change: dict[str, object], line: str):
    config, tensors = to_saelens(random_sae("jumprelu"))
    with pytest.raises(ContractError, match=line + r" \(here\)"):
        from_saelens({**config, **change}, tensors, "here")


def test_wrong_tensors_are_refused():
    config, tensors = to_saelens(random_sae("jumprelu"))
    with pytest.raises(ContractError, match=r"tensor threshold must be there for jumprelu; got 'nothing'"):
        from_saelens(config, {name: tensor for name, tensor in tensors.items() if name != "threshold"})
    with pytest.raises(
        ContractError, match=r"tensor treshold must belong to jumprelu.*Did you mean 'threshold'\?"
    ):
        from_saelens(config, {**tensors, "treshold": tensors["threshold"]})
    with pytest.raises(ContractError, match=r"tensor b_enc must be finite"):
        from_saelens(config, {**tensors, "b_enc": tensors["b_enc"] / 0})

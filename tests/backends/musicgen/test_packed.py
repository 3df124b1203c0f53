"""Packed weights: the product, and the guarantees of generation on a tiny model that is made to pack."""

import numpy as np
import pytest
import torch
from torch import nn

from moodlens.backends import requests
from moodlens.backends.musicgen import packed as module
from moodlens.backends.musicgen.backend import MusicgenBackend
from moodlens.backends.musicgen.packed import linears_of, packed, packs
from moodlens.contracts.backend import Capture, ClipRequest, Sampling
from moodlens.forecast.sizes import published_config, sizes_of

TEXTS = ["a happy piece", "a sad and slow piece with a piano", "calm"]
REQUESTS = [ClipRequest(f"c{i}", f"p{i}", text, 100 + i) for i, text in enumerate(TEXTS)]
BOTH = Capture(("residual", "mlp", "cross_attention", "logits"), half="both")


@pytest.fixture
def packing(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pack the tiny model's layers too, and count how many are packed at once."""
    monkeypatch.setattr(requests, "PACKED_WIDTH", 1)
    counts: list[int] = []
    product = module._product

    def counted(weight: torch.Tensor, bias: torch.Tensor | None, x: torch.Tensor) -> torch.Tensor:
        counts.append(x.shape[0])
        return product(weight, bias, x)

    monkeypatch.setattr(module, "_product", counted)
    return counts


@pytest.mark.parametrize("rows", [1, 8, 32])
@pytest.mark.parametrize("bias", [False, True])
def test_the_product_is_that_of_the_module(rows: int, bias: bool):
    torch.manual_seed(0)
    linear, x = nn.Linear(96, 160, bias=bias), torch.randn(rows, 1, 96)
    with torch.inference_mode():
        plain = linear(x)
        with packed([linear], 8):
            product = linear(x)
        again = linear(x)
    torch.testing.assert_close(product, plain, atol=1e-5, rtol=1e-5)
    assert torch.equal(again, plain)


def test_a_row_does_not_depend_on_the_others():
    torch.manual_seed(1)
    linear, x = nn.Linear(1024, 4096, bias=False), torch.randn(8, 1, 1024)
    with torch.inference_mode(), packed([linear], 8):
        one = linear(x)
        other = linear(torch.cat([torch.randn(3, 1, 1024), x[:5]]))
    assert torch.equal(other[3:], one[:5])


def test_greedy_tokens_and_states_are_those_of_the_plain_product(
    backend: MusicgenBackend, packing: list[int], monkeypatch: pytest.MonkeyPatch
):
    greedy = Sampling(24, temperature=0)
    made = backend.generate(REQUESTS, greedy, BOTH)
    assert packing
    n_packed = len(packing)
    forced = backend.teacher_force(made.codes, TEXTS, BOTH)
    assert len(packing) == n_packed  # a whole pass multiplies with the plain weights
    monkeypatch.setattr(requests, "PACKED_WIDTH", 10_000)
    plain = backend.generate(REQUESTS, greedy, BOTH)
    assert len(packing) == n_packed
    assert np.array_equal(made.codes, plain.codes)
    for key, states in plain.states.values.items():
        np.testing.assert_allclose(made.states.values[key], states, atol=1e-4, err_msg=key)
        np.testing.assert_allclose(made.states.values[key], forced.values[key], atol=1e-4, err_msg=key)


def test_a_clip_has_the_same_bits_in_any_batch(backend: MusicgenBackend, packing: list[int]):
    sampling = Sampling(16)
    whole = backend.generate(REQUESTS, sampling, BOTH)
    turned = backend.generate(REQUESTS[::-1], sampling, BOTH)
    assert packing
    for i, request in enumerate(REQUESTS):
        alone = backend.generate([request], sampling, BOTH)
        for other, row in ((alone, 0), (turned, len(REQUESTS) - 1 - i)):
            assert np.array_equal(other.codes[row], whole.codes[i])
            for key, states in whole.states.values.items():
                assert np.array_equal(other.states.values[key][row], states[i]), key


def test_the_modules_are_restored_after_an_error(backend: MusicgenBackend, packing: list[int]):
    linears = linears_of(backend.decoder.layers)
    with pytest.raises(RuntimeError, match="stopped"), packed(linears, 4):
        assert all("forward" in linear.__dict__ for linear in linears)
        raise RuntimeError("stopped")
    assert not any("forward" in linear.__dict__ for linear in linears)


def test_which_weights_are_packed():
    assert packs(torch.zeros(1024), 1_440_000_000)  # MusicGen-small
    assert not packs(torch.zeros(192), 1_000_000)
    assert not packs(torch.zeros(1536), 6_300_000_000)  # medium
    assert not packs(torch.zeros(1024, dtype=torch.bfloat16), 720_000_000)
    assert not packs(torch.zeros(1024, device="meta"), 1_440_000_000)


def test_the_forecast_uses_the_same_rule(backend: MusicgenBackend):
    small, medium = (
        sizes_of(published_config(f"facebook/musicgen-{name}") or {}) for name in ("small", "medium")
    )
    assert small.packed_bytes("float32") == 4 * small.n_step
    assert small.packed_bytes("bfloat16") == medium.packed_bytes("float32") == 0
    tiny = sizes_of(backend.parts[0].config.to_dict() | {"model_type": "musicgen"})
    linears = linears_of([*backend.decoder.layers, backend.decoder.heads])
    assert 4 * tiny.n_step == sum(linear.weight.nbytes for linear in linears)


def test_projections_of_the_text_are_left_out(backend: MusicgenBackend):
    n_layers = backend.info.n_layers
    assert len(linears_of(backend.decoder.layers)) == n_layers * (4 + 2 + 2)

"""The 8-bit path chooses the latents that float64 chooses, for any rows; compiled sums equal plain sums."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from moodlens.sae import compiled, selection, topk_int8
from moodlens.sae.selection import Encoder, top_k
from tests.sae.planted import random_rows, random_sae

NONE = torch.empty(0, dtype=torch.int64)


def exact_top_k(x: Tensor, W_enc: Tensor, b_enc: Tensor, k: int) -> Tensor:
    """Latents of the k largest by a dense product in float64, the lower latent on a tie; ascending."""
    pre = x.double() @ W_enc.double() + b_enc.double()
    return pre.sort(dim=1, descending=True, stable=True).indices[:, :k].sort(dim=1).values


def screened(x: Tensor, W_enc: Tensor, b_enc: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    result = topk_int8.top_k_int8(x, W_enc, b_enc, k)
    assert result is not None
    return result


def assert_exact(x: Tensor, W_enc: Tensor, b_enc: Tensor, k: int) -> Tensor:
    """Compare with float64; return how many latents of each row were computed in float32."""
    values, latents, n_exact = screened(x, W_enc, b_enc, k)
    assert torch.equal(latents.sort(dim=1).values, exact_top_k(x, W_enc, b_enc, k))
    pre = (x.double() @ W_enc.double() + b_enc.double()).gather(1, latents)
    scale = float(x.norm(dim=1).max() * W_enc.norm(dim=0).max() + b_enc.abs().max())
    torch.testing.assert_close(values.double(), pre, rtol=0, atol=1e-5 * scale)
    return n_exact


def random_encoder(d_in: int, d_sae: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(d_sae, d_in, generator=generator).t()
    return weights, 0.3 * torch.randn(d_sae, generator=generator)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(topk_int8.MIN_WIDTH, 70),
    st.integers(1, 300),
    st.data(),
    st.integers(0, 2**20),
)
def test_the_latents_are_those_of_float64(n_rows: int, d_in: int, d_sae: int, data: st.DataObject, seed: int):
    k = data.draw(st.integers(1, d_sae))
    W_enc, b_enc = random_encoder(d_in, d_sae, seed)
    assert_exact(random_rows(n_rows, d_in, seed), W_enc, b_enc, k)


def test_few_latents_are_computed_and_more_rows_than_a_chunk():
    W_enc, b_enc = random_encoder(128, 4096)
    n_exact = assert_exact(random_rows(topk_int8.CHUNK_PRODUCTS // 4096 + 37, 128), W_enc, b_enc, 16)
    assert float(n_exact.double().mean()) < 4096 / 16


@pytest.mark.parametrize("d_in", [topk_int8.MIN_WIDTH, 3, 31, 64, 193])
@pytest.mark.parametrize("n_rows", [1, 5, 64])
def test_the_product_of_whole_numbers_is_exact(n_rows: int, d_in: int):
    """The intervals assume it, and torch's own operator violates it at width 1."""
    generator = torch.Generator().manual_seed(d_in)
    for n_latents in (2, 3, 17, 640):
        a, b = (torch.randint(-127, 128, (n, d_in), generator=generator) for n in (n_rows, n_latents))
        assert torch.equal(torch._int_mm(a.to(torch.int8), b.to(torch.int8).t()), (a @ b.t()).int())


@pytest.mark.parametrize("gap", [0.0, 1e-9, 1e-7, 1e-6, 1e-4])
def test_near_ties_at_the_last_place(gap: float):
    """Forty copies of one latent around the k-th largest, apart by less than float32 resolves or equal."""
    W_enc, b_enc = random_encoder(64, 640)
    generator = torch.Generator().manual_seed(1)
    copies = torch.randperm(640, generator=generator)[:40]
    W_enc[:, copies] = 2 * W_enc[:, [0]] * (1 + gap * torch.randn(40, generator=generator))
    b_enc[copies] = 0.0
    x = random_rows(64, 64)
    x += 0.5 * W_enc[:, 0]  # the copies are the largest of most rows, and only some of them fit
    assert_exact(x, W_enc, b_enc, 16)


def test_a_difference_that_float32_cannot_see_is_settled():
    x = torch.tensor([[4096.0, 1.0, 1e-4]])
    W_enc = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1e-3, 0.0]])
    assert screened(x, W_enc, torch.zeros(3), 1)[1].tolist() == [[1]]


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x * 0,
        lambda x: x * 1e-25,
        lambda x: x * 1e15,
        lambda x: x + 1e3,
        lambda x: x * torch.where(torch.arange(x.shape[1]) == 3, 1e4, 1.0),
        lambda x: x.index_fill(0, torch.tensor([1, 5]), 0.0),
    ],
    ids=["zero", "tiny", "huge", "offset", "one loud unit", "zero rows"],
)
def test_rows_that_eight_bits_hold_badly(make):
    W_enc, b_enc = random_encoder(48, 512)
    assert_exact(make(random_rows(50, 48)).contiguous(), W_enc, b_enc, 8)


def test_weights_of_very_different_length():
    W_enc, b_enc = random_encoder(48, 512)
    W_enc *= torch.logspace(-6, 3, 512)
    assert_exact(random_rows(50, 48), W_enc, b_enc, 8)


@pytest.mark.parametrize("where", ["rows", "weights"])
def test_nan_is_left_to_the_plain_path(where: str):
    W_enc, b_enc = random_encoder(8, 64)
    x = random_rows(5, 8)
    (x if where == "rows" else W_enc)[3, 2] = float("nan")
    assert topk_int8.top_k_int8(x, W_enc, b_enc, 4) is None


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch):
    """Use the 8-bit path and compiled loops for every batch that they support, on every processor."""
    monkeypatch.setattr(topk_int8, "MIN_WORK", 0)
    monkeypatch.setattr(topk_int8, "MIN_SPREAD", 1)
    monkeypatch.setattr(topk_int8, "has_vnni", lambda: True)
    monkeypatch.setattr(compiled, "MIN_WORK", 0)
    monkeypatch.setattr(compiled, "MIN_ENTRIES", 0)
    monkeypatch.setattr(compiled, "MIN_WEIGHTS", 0)


def step_of(architecture: str, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Gradients, loss and parameters after a projection, of a batch of 700 rows."""
    sae = random_sae(architecture, d_in=24, d_sae=80, aux_k=3).to(dtype)
    losses = sae.losses(random_rows(700, 24).to(dtype), torch.tensor([1, 5, 7, 30]), 1.0)
    (3 * losses.total).backward()  # an upstream gradient other than one
    sae.project_gradient()
    out = {f"grad {name}": p.grad.clone() for name, p in sae.named_parameters() if p.grad is not None}
    with torch.no_grad():
        sae.W_dec.mul_(torch.linspace(0, 2, 80)[:, None])
    sae.project()
    fired = losses.n_fired.to(dtype)
    return out | {"total": losses.total.detach(), "W_dec": sae.W_dec.detach(), "fired": fired}


@pytest.mark.parametrize("architecture", ["topk", "batchtopk", "matryoshka"])
def test_a_compiled_step_equals_the_plain_one(architecture: str, request: pytest.FixtureRequest):
    plain, double = step_of(architecture), step_of(architecture, torch.float64)
    request.getfixturevalue("always")
    called = step_of(architecture)
    for name, expected in double.items():
        tolerance = {"rtol": 1e-4, "atol": 1e-5 * float(expected.abs().max())}
        torch.testing.assert_close(called[name].double(), expected, msg=name, **tolerance)
        torch.testing.assert_close(called[name], plain[name], msg=name, **tolerance)


@pytest.mark.usefixtures("always")
def test_a_row_and_a_latent_without_entries():
    """BatchTopK leaves rows empty; k of 4 x 3 entries here leave most latents without any."""
    sae = random_sae("batchtopk", d_in=6, d_sae=40, k=1)
    x = random_rows(12)
    x[3] = sae.b_dec.detach() - 100 * x[3].abs()
    losses = sae.losses(x, NONE, 1.0)
    losses.total.backward()
    assert sae.W_dec.grad is not None
    silent = losses.n_fired == 0
    assert silent.any()
    assert torch.equal(sae.W_dec.grad[silent], torch.zeros_like(sae.W_dec.grad[silent]))


@pytest.mark.usefixtures("always")
def test_the_thread_count_does_not_change_the_answer():
    W_enc, b_enc = random_encoder(32, 512)
    x = random_rows(70, 32)
    one = screened(x, W_enc, b_enc, 8)
    n_threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        three = screened(x, W_enc, b_enc, 8)
        steps = step_of("topk")
    finally:
        torch.set_num_threads(n_threads)
    assert all(torch.equal(a, b) for a, b in zip(one, three, strict=True))
    assert all(torch.equal(a, steps[name]) for name, a in step_of("topk").items())


def test_who_is_screened(monkeypatch: pytest.MonkeyPatch):
    x = torch.empty(4096, 768)
    monkeypatch.setattr(topk_int8, "has_vnni", lambda: True)
    assert topk_int8.use_for_batch(x, 6144, 32)
    assert not topk_int8.use_for_batch(x.double(), 6144, 32), "another precision"
    assert not topk_int8.use_for_batch(x, 6144, 512), "not sparse"
    assert not topk_int8.use_for_batch(x[:8], 6144, 32), "too small to pay for compilation"
    assert not topk_int8.use_for_batch(torch.empty(1 << 20, 1), 6144, 32), "rows of one number"
    assert not topk_int8.use_for_batch(x.to("meta"), 6144, 32), "no CPU"
    monkeypatch.setattr(topk_int8, "has_vnni", lambda: False)
    assert not topk_int8.use_for_batch(x, 6144, 32), "no instructions"


def test_without_the_instructions_the_numbers_are_the_plain_ones(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(topk_int8, "MIN_WORK", 0)
    monkeypatch.setattr(topk_int8, "has_vnni", lambda: False)
    monkeypatch.setattr(topk_int8, "top_k_int8", None)  # calling it would be an error
    W_enc, b_enc = random_encoder(32, 512)
    x, b_dec = random_rows(selection.CHUNK_ROWS + 5, 32), torch.zeros(32)
    chosen = top_k(x, Encoder(W_enc, b_enc, b_dec), 8)
    latents = chosen.latents.view(-1, 8).sort(dim=1).values
    assert np.array_equal(latents, exact_top_k(x, W_enc, b_enc, 8))

"""The sparse path against dense autograd, against finite differences, and what it must never allocate."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from moodlens.sae import compiled, selection
from moodlens.sae.kernel import firing_of, sparse_decode, sparse_encode
from moodlens.sae.model import Sae, squared_error
from moodlens.sae.selection import Encoder, batch_top_k, top_k
from tests.sae.planted import random_rows, random_sae

NONE = torch.empty(0, dtype=torch.int64)
FAMILIES = ("topk", "batchtopk", "matryoshka")


def dense_batch_latents(sae: Sae, x: Tensor, k: int) -> Tensor:
    """BatchTopK by the book: sort the whole batch, keep the k * n_rows largest that are positive."""
    pre = sae.hidden(x) + sae.get_parameter("b_enc")
    kth = pre.detach().flatten().sort(descending=True).values[k * len(x) - 1]
    return pre * (pre >= kth) * (pre > 0)


def dense_loss(sae: Sae, x: Tensor) -> Tensor:
    """The loss of a top-k family by dense autograd, without AuxK."""
    if sae.name == "topk":
        return squared_error(x, sae(x))
    latents = dense_batch_latents(sae, x, 4)
    widths = getattr(sae, "prefixes", (latents.shape[1],))
    errors = [squared_error(x, latents[:, :w] @ sae.W_dec[:w] + sae.b_dec) for w in widths]
    return torch.stack(errors).mean()


def gradients(sae: Sae, loss: Tensor) -> dict[str, Tensor]:
    names = [name for name, _ in sae.named_parameters()]
    return dict(zip(names, torch.autograd.grad(loss, list(sae.parameters())), strict=True))


@pytest.mark.parametrize("architecture", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_equal_the_dense_reference(architecture: str, dtype: torch.dtype):
    sae = random_sae(architecture, d_in=24, d_sae=80).to(dtype)
    x = random_rows(700, 24).to(dtype)  # more rows than one chunk
    ours, reference = sae.losses(x, NONE, 1.0).total, dense_loss(sae, x)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(ours, reference, rtol=tolerance, atol=tolerance)
    expected = gradients(sae, reference)
    for name, gradient in gradients(sae, ours).items():
        torch.testing.assert_close(
            gradient, expected[name], rtol=10 * tolerance, atol=10 * tolerance, msg=name
        )


def test_gradients_equal_finite_differences_for_every_input():
    sae = random_sae("topk").double()
    x = random_rows(5).double()

    def recon(x: Tensor, W_enc: Tensor, b_enc: Tensor, W_dec: Tensor, b_dec: Tensor) -> Tensor:
        chosen = top_k(x, Encoder(W_enc, b_enc, b_dec), 4)
        firing = firing_of(chosen.latents, chosen.rows, len(x), W_enc.shape[1])
        return sparse_decode(sparse_encode(x, W_enc, b_enc, b_dec, chosen.values, firing), W_dec, firing)

    inputs = (x, sae.W_enc, sae.get_parameter("b_enc"), sae.W_dec, sae.b_dec)
    assert torch.autograd.gradcheck(recon, tuple(t.detach().clone().requires_grad_() for t in inputs))


def test_aux_error_equals_its_dense_form():
    sae = random_sae("topk", aux_k=3, aux_share=0.5).double()
    x, dead = random_rows(40).double(), torch.tensor([1, 4, 5, 11, 19])
    residual = (x - sae(x)).detach()
    pre = (x - sae.b_dec.detach()) @ sae.W_enc[:, dead] + sae.get_parameter("b_enc")[dead]
    top = pre.topk(3, dim=1)
    latents = torch.zeros_like(pre).scatter(1, top.indices, torch.relu(top.values))
    reference = dense_loss(sae, x) + 0.5 * squared_error(residual, latents @ sae.W_dec[dead])
    ours = sae.losses(x, dead, 1.0).total
    torch.testing.assert_close(ours, reference)
    expected = gradients(sae, reference)
    for name, gradient in gradients(sae, ours).items():
        torch.testing.assert_close(gradient, expected[name], msg=name)


class Largest(TorchDispatchMode):
    """The most numbers any one result holds."""

    n_numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, Tensor):
                self.n_numbers = max(self.n_numbers, tensor.numel())
        return result


@pytest.mark.parametrize("architecture", FAMILIES)
def test_nothing_as_large_as_rows_times_latents_is_ever_made(architecture: str):
    n_rows, d_sae = 4 * selection.CHUNK_ROWS, 256
    sae, x = random_sae(architecture, d_sae=d_sae), random_rows(n_rows)
    sae.losses(x, NONE, 1.0)  # this sets the threshold
    with Largest() as forward:
        total = sae.losses(x, NONE, 1.0).total
    with Largest() as backward:
        total.backward()
    with Largest() as dense:
        squared_error(x, sae(x)).backward()
    assert dense.n_numbers >= n_rows * d_sae
    assert forward.n_numbers <= 2 * selection.CHUNK_ROWS * d_sae
    assert backward.n_numbers < n_rows * d_sae / 4


def test_rows_and_latents_without_entries():
    values, W_dec = torch.tensor([2.0, 3.0]), torch.eye(4)
    firing = firing_of(torch.tensor([2, 0]), torch.tensor([1, 3]), n_rows=5, d_sae=4)
    recon = sparse_decode(values, W_dec, firing)
    expected = torch.zeros(5, 4)
    expected[1, 2], expected[3, 0] = 2.0, 3.0
    assert torch.equal(recon, expected)
    nothing = firing_of(NONE, NONE, n_rows=2, d_sae=4)
    assert torch.equal(sparse_decode(torch.empty(0), W_dec, nothing), torch.zeros(2, 4))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 2**20), st.floats(0, 3))
def test_batch_top_k_does_not_depend_on_the_guess(n_rows: int, k: int, seed: int, guess: float):
    sae, x = random_sae("batchtopk", d_sae=12), random_rows(n_rows, seed=seed)
    encoder = Encoder(sae.W_enc, sae.get_parameter("b_enc"), sae.b_dec)
    chosen = batch_top_k(x, encoder, k, guess)
    dense = torch.zeros(n_rows, 12)
    dense[chosen.rows, chosen.latents] = chosen.values
    reference = dense_batch_latents(sae, x, k)
    torch.testing.assert_close(dense, reference.detach())
    positions = chosen.rows * 12 + chosen.latents
    assert (positions.diff() > 0).all(), "entries ascend by row, then latent"


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(8)), st.integers(0, 2**20))
def test_the_order_of_rows_permutes_the_code(order: list[int], seed: int):
    sae, x = random_sae("topk"), random_rows(8, seed=seed)
    encoder = Encoder(sae.W_enc, sae.get_parameter("b_enc"), sae.b_dec)
    straight, shuffled = top_k(x, encoder, 4), top_k(x[order], encoder, 4)
    torch.testing.assert_close(
        shuffled.values.view(8, 4).sort().values, straight.values.view(8, 4)[order].sort().values
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 11), max_size=70))
def test_sorting_by_counting_is_a_stable_sort(latents: list[int]):
    entries = torch.tensor(latents, dtype=torch.int64)
    order, starts, counts = compiled.sort_by_latent(entries, 12)
    assert torch.equal(order, torch.sort(entries, stable=True).indices)
    assert torch.equal(counts, torch.bincount(entries, minlength=12))
    assert torch.equal(starts, torch.cumsum(counts, 0) - counts)

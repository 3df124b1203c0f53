"""Token drawing against transformers' filters, hand-worked cases, and the expected distribution."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.generation.logits_process import (
    ClassifierFreeGuidanceLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from moodlens.backends.sampling import block_uniforms, clip_uniforms, draw_tokens, guided
from moodlens.contracts.backend import Sampling


def drawn(logits: list[float], u: float, **settings: float) -> int:
    sampling = Sampling(1, **settings)  # type: ignore[arg-type]
    return int(draw_tokens(torch.tensor([[logits]]), torch.tensor([[u]]), sampling))


def test_by_hand():
    quarter = [np.log(0.25), np.log(0.5), np.log(0.25)]
    everything = {"top_k": 0}
    assert [drawn(quarter, u, **everything) for u in (0.0, 0.24, 0.26, 0.74, 0.76)] == [0, 0, 1, 1, 2]
    assert drawn(quarter, 0.99, temperature=0) == 1
    assert [drawn(quarter, u, top_k=1) for u in (0.0, 0.999999)] == [1, 1]
    assert [drawn(quarter, u, top_k=0, top_p=0.5) for u in (0.0, 0.999999)] == [1, 1]


@given(
    st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=40),
    st.floats(0, 1, exclude_max=True, width=32),
)
def test_a_filtered_entry_is_never_drawn(logits: list[float], u: float):
    weakest = sorted(logits)[-2]
    assert logits[drawn(logits, u, top_k=2)] >= weakest


def test_the_largest_uniform_below_one_draws_an_unfiltered_entry():
    logits = torch.full((1, 1, 512), -torch.inf)
    logits[..., :3] = 0
    top = torch.nextafter(torch.tensor([[1.0]]), torch.tensor([[0.0]]))
    assert draw_tokens(logits, top, Sampling(1, top_k=0)).item() == 2


@pytest.mark.parametrize(("top_k", "top_p"), [(50, 0.0), (0, 0.9), (20, 0.8), (0, 0.0)])
def test_frequencies_follow_the_filters_of_transformers(top_k: int, top_p: float):
    torch.manual_seed(0)
    scores = 2 * torch.randn(1, 64)
    wanted = TemperatureLogitsWarper(1.3)(torch.zeros(1, 1, dtype=torch.long), scores)
    if top_k:
        wanted = TopKLogitsWarper(top_k)(torch.zeros(1, 1, dtype=torch.long), wanted)
    if top_p:
        wanted = TopPLogitsWarper(top_p)(torch.zeros(1, 1, dtype=torch.long), wanted)
    n = 20_000
    evenly = ((torch.arange(n) + 0.5) / n).view(n, 1)
    tokens = draw_tokens(
        scores.expand(n, 1, 64), evenly, Sampling(1, temperature=1.3, top_k=top_k, top_p=top_p)
    )
    frequency = torch.bincount(tokens.flatten(), minlength=64) / n
    np.testing.assert_allclose(frequency.numpy(), wanted.softmax(-1)[0].numpy(), atol=2 / n)


def test_guidance_has_the_bits_of_transformers():
    logits = torch.randn(10, 4, 32)
    processor = ClassifierFreeGuidanceLogitsProcessor(3.0)
    theirs = processor(torch.zeros(5, 1, dtype=torch.long), logits[:, 0])
    assert torch.equal(guided(logits, 5, 3.0)[:, 0], theirs)


def test_without_guidance_the_logits_are_those_of_the_conditional_rows():
    logits = torch.randn(10, 4, 32)
    assert torch.equal(guided(logits, 5, 1.0), logits[:5])
    assert torch.equal(guided(logits[:5], 5, 3.0), logits[:5])


def test_noise_is_a_function_of_clip_step_and_codebook():
    numbers = clip_uniforms(5, 30, 4)
    assert np.array_equal(numbers[:7], clip_uniforms(5, 7, 4))
    assert not np.array_equal(numbers, clip_uniforms(6, 30, 4))
    assert 0 <= numbers.min() < numbers.max() < 1
    block = block_uniforms([9, 5], 4, 30, 4).numpy()
    assert np.array_equal(block[1], numbers)
    assert not block[2:].any()
    many = clip_uniforms(1, 5000, 4)
    assert abs(many.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(many[:, 0], many[:, 1])[0, 1]) < 0.05

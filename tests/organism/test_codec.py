"""The quantiser's training path against planted clusters and the stock `encode` of transformers."""

import torch

from moodlens.organism.codec import DEAD_BELOW, codebooks_of, kmeans, nearest_code, plant, quantise, revive
from tests.tiny_model import tiny_codec


def planted(n_codes: int, d: int, n_per_code: int, noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    centres = 10 * torch.randn(n_codes, d, generator=generator)
    points = centres.repeat_interleave(n_per_code, 0)
    return centres, points + noise * torch.randn(points.shape, generator=generator)


def test_kmeans_finds_planted_clusters():
    centres, points = planted(8, 4, 200, noise=0.1)
    clusterings = [kmeans(points, 8, torch.Generator().manual_seed(seed)) for seed in range(20)]
    errors = [float((points - codes[nearest]).pow(2).mean()) for codes, nearest in clusterings]
    assert min(errors) < 0.011, "the best of 20 starts reaches the planted noise, 0.1^2"
    best, _ = clusterings[errors.index(min(errors))]
    assert torch.cdist(centres, best).min(1).values.max() < 0.05


def test_nearest_code_agrees_with_cdist():
    generator = torch.Generator().manual_seed(0)
    points, codes = torch.randn(50, 3, generator=generator), torch.randn(7, 3, generator=generator)
    assert torch.equal(nearest_code(points, codes), torch.cdist(points, codes).argmin(1))


def test_planting_leaves_less_after_every_codebook():
    codec = tiny_codec()
    latents = torch.randn(2000, 8, generator=torch.Generator().manual_seed(1))
    shares = plant(codec, latents, n_per_batch=100, seed=3)
    assert all(later < earlier for earlier, later in zip([1.0, *shares], shares, strict=False))
    for codebook in codebooks_of(codec):
        assert torch.allclose(codebook.cluster_size.sum(), torch.tensor(100.0))


def test_quantised_latents_are_what_transformers_encodes():
    codec = tiny_codec()
    latents = torch.randn(3, 8, 20, generator=torch.Generator().manual_seed(2))
    codes = codec.quantizer.encode(latents, None)
    expected = codec.quantizer.decode(codes)
    quantised, _ = quantise(codec, latents)
    assert torch.allclose(quantised, expected, atol=1e-5)


def test_gradient_goes_straight_through():
    codec = tiny_codec()
    latents = torch.randn(2, 8, 10, generator=torch.Generator().manual_seed(2)).requires_grad_()
    quantised, _ = quantise(codec, latents)
    weights = torch.randn(quantised.shape, generator=torch.Generator().manual_seed(3))
    (quantised * weights).sum().backward()
    assert torch.equal(latents.grad, weights)


def test_commitment_pulls_latents_towards_their_codes():
    codec = tiny_codec()
    latents = torch.randn(2, 8, 10, generator=torch.Generator().manual_seed(2)).requires_grad_()
    _, commitment = quantise(codec, latents)
    commitment.backward()
    with torch.no_grad():
        closer = latents - 1e-2 * latents.grad / latents.grad.norm()
        assert quantise(codec, closer)[1] < commitment


def test_codebooks_move_towards_the_mean_of_what_they_catch():
    codec = tiny_codec()
    first = codebooks_of(codec)[0]
    target = first.embed[0] + 0.01
    latents = target[None, :, None].expand(4, 8, 25).contiguous()
    before = (first.embed[0] - target).norm()
    for _ in range(200):
        quantise(codec, latents)
    assert (first.embed[0] - target).norm() < 0.2 * before


def test_dead_codes_are_planted_on_data_and_live_ones_stay():
    codec = tiny_codec()
    first = codebooks_of(codec)[0]
    first.cluster_size[:5] = DEAD_BELOW / 2
    live = first.embed[5:].clone()
    latents = torch.randn(2, 8, 30, generator=torch.Generator().manual_seed(4))
    assert revive(codec, latents, seed=1) == 5
    points = latents.permute(0, 2, 1).reshape(-1, 8)
    for code in first.embed[:5]:
        assert (points == code).all(1).any()
    assert torch.equal(first.embed[5:], live)
    assert (first.cluster_size >= DEAD_BELOW).all()

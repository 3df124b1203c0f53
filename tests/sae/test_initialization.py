"""Initial weights: b_dec from the rows, decoder rows near rows, the scale of the encoder."""

import pytest
import torch

from moodlens.sae import topk
from moodlens.sae.catalog import config_for, new_sae
from moodlens.sae.initialization import (
    fit_encoder_scale,
    geometric_median,
    initialize,
    point_at_rows,
    spread_rows,
)
from moodlens.sae.model import SaeConfig
from tests.sae.planted import D_IN, Planted, planted, random_rows


@pytest.fixture(scope="module")
def rows() -> Planted:
    torch.set_num_threads(1)
    return planted(2000, offset=5.0)


def config_of(architecture: str) -> SaeConfig:
    settings = {"k": 3} if architecture in ("topk", "batchtopk", "matryoshka") else {}
    return config_for(architecture, {"d_in": D_IN, "d_sae": 128, **settings})


def test_geometric_median_shrugs_off_outliers():
    centre = torch.tensor([1.0, -2.0, 3.0])
    rows = torch.cat([centre + 0.1 * random_rows(900, 3), torch.full((100, 3), 1e4)])
    assert (geometric_median(rows) - centre).norm() < 0.05
    assert (rows.mean(0) - centre).norm() > 1000
    assert torch.equal(geometric_median(centre.repeat(5, 1)), centre)


@pytest.mark.parametrize("architecture", ["topk", "batchtopk", "matryoshka"])
def test_the_first_length_of_the_encoder_is_the_best_one(architecture: str, rows: Planted):
    sae, x = new_sae(config_of(architecture), seed=0), torch.from_numpy(rows.rows[:500])
    assert isinstance(sae, topk.TopKSae)

    def error(factor: float) -> float:
        first = topk.TopKSae.encode(sae, x) @ sae.W_dec
        return float((x - sae.b_dec - factor * first).detach().pow(2).sum())

    plain = sae.W_enc.detach().clone()
    factor = fit_encoder_scale(sae, x)
    assert 0 < factor < 1
    torch.testing.assert_close(sae.W_enc, factor * plain)
    assert error(1.0) < min(error(0.98), error(1.02), error(1 / factor))
    assert fit_encoder_scale(sae, torch.zeros(4, D_IN)) == 1.0


def test_decoder_rows_begin_near_training_rows(rows: Planted):
    x = torch.from_numpy(rows.rows)
    sae, twin, other = (new_sae(config_of("topk"), seed=0) for _ in range(3))
    for one, seed in ((sae, 0), (twin, 0), (other, 1)):
        initialize(one, x, seed)
    directions = torch.nn.functional.normalize(x - sae.b_dec, dim=1)
    nearest = (sae.W_dec @ directions.t()).amax(1)
    assert nearest.min() > 0.75  # two parts of a row, one of a random direction: .89 and a spread
    torch.testing.assert_close(sae.W_dec.norm(dim=1), torch.ones(len(sae.W_dec)))
    torch.testing.assert_close(torch.nn.functional.normalize(sae.W_enc.t(), dim=1), sae.W_dec.detach())
    assert torch.equal(sae.W_dec, twin.W_dec)
    assert (nearest - (other.W_dec @ directions.t()).amax(1)).abs().max() > 0.01


def test_latents_that_share_a_row_differ():
    sae, rows = new_sae(config_of("topk"), seed=0), random_rows(10, D_IN)
    point_at_rows(sae, rows, seed=0)
    cosines = sae.W_dec @ sae.W_dec.t() - torch.eye(len(sae.W_dec))
    assert cosines.max() < 0.95
    counts = (sae.W_dec @ torch.nn.functional.normalize(rows, dim=1).t()).argmax(1).bincount()
    assert counts.max() - counts.min() <= 1


def test_rows_of_a_rare_kind_are_picked_too():
    """Of 1,000 rows 990 point one way: rows drawn evenly would nearly all be of them."""
    rare = torch.eye(20)[:11].repeat_interleave(torch.tensor([990] + 10 * [1]), dim=0)
    picked = [spread_rows(rare, 11, torch.Generator().manual_seed(seed)) for seed in range(5)]
    assert all(len(rare[picks].unique(dim=0)) == 11 for picks in picked)
    alike = spread_rows(torch.ones(30, 4) / 2, 12, torch.Generator().manual_seed(0))
    assert len(alike) == 12


def test_top_k_begins_where_the_rows_are_and_the_others_at_random(rows: Planted):
    x = torch.from_numpy(rows.rows[:1000])
    for architecture, turned in (("topk", True), ("matryoshka", True), ("relu", False), ("gated", False)):
        sae, before = (new_sae(config_of(architecture), seed=0) for _ in range(2))
        initialize(sae, x, seed=0)
        assert torch.equal(sae.W_dec, before.W_dec) is not turned
        torch.testing.assert_close(sae.b_dec.detach(), geometric_median(x))

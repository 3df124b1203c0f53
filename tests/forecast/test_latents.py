"""Costs of the stages `sae` and `latents` against hand-worked values."""

from dataclasses import replace

import pytest

from moodlens.base.axes import EMOTIONS
from moodlens.forecast.generation import Rates, loading_seconds
from moodlens.forecast.latents import SAE_STEP_S, latents_cost, sae_cost, sites_of
from moodlens.forecast.plan import DIVERSE_NEUTRAL, DIVERSE_PER_EMOTION
from moodlens.forecast.sizes import published_config, sizes_of
from moodlens.prompts.diverse import diverse_prompts
from tests.forecast.test_cost import LOAD, SMALL, analysis

SIZES = sizes_of(published_config(SMALL) or {})
RATES = Rates(1e11, 2e10)


def test_sites_by_hand():
    text, layers = sites_of(SIZES, LOAD, analysis())
    assert text == (768, 100 * 10, 1)  # 10 tokens a text
    assert layers == (1024, 8 * 53, 1)  # 53 steps a clip


def test_sae_disk_by_hand():
    disk = sae_cost(SIZES, LOAD, analysis(), RATES).disk
    assert disk["texts"] == 2 * 4 * 1000 * 768
    assert disk["twin's layers"] == 2 * 8 * 53 * 1024
    # 4 SAEs a site; encoder and decoder of 4 d latents in float32
    assert disk["SAEs"] == 4 * 4 * 2 * 4 * (768**2 + 1024**2)


def test_training_seconds_by_hand_and_shared_by_the_workers():
    layer_only = replace(analysis(), text_sites=0)
    # 4 SAEs of 100 steps of 256 rows; three products (per_row 1.5 x 2) of d x 4 d at 0.6 of the rate
    flop = 4 * 100 * 256 * 1.5 * 2 * 4 * 1024**2
    training = 4 * 100 * SAE_STEP_S + flop / 1e11 / 0.6
    for workers in (1, 2):
        cost = sae_cost(SIZES, replace(LOAD, workers=workers), layer_only, RATES)
        assert cost.seconds == pytest.approx(loading_seconds(SIZES) + training / workers)
    dense = sae_cost(SIZES, LOAD, replace(layer_only, topk=False), RATES)
    assert dense.seconds == pytest.approx(loading_seconds(SIZES) + 400 * SAE_STEP_S + 4 * flop / 1e11 / 0.6)


def test_the_texts_that_saes_add_are_counted():
    added = len(diverse_prompts(EMOTIONS, seed=0))
    assert added == DIVERSE_PER_EMOTION * len(EMOTIONS) + DIVERSE_NEUTRAL


def test_latents_memory_grows_with_the_width_of_the_saes():
    narrow, wide = (
        latents_cost(SIZES, LOAD, replace(analysis(), expansion=expansion), RATES).memory
        for expansion in (4, 32)
    )
    term = "latents, or a shard under null text"
    assert narrow[term] < wide[term]
    assert {name: n for name, n in narrow.items() if name in ("libraries", "weights", "untrained twin")} == {
        name: n for name, n in wide.items() if name in ("libraries", "weights", "untrained twin")
    }

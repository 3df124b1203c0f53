"""Simulated clips have the requested ICC, wordings and effect."""

from dataclasses import replace

import numpy as np
import pytest

from moodlens.base.seeding import rng_for
from moodlens.calibration.rates import clip_share, unit_share
from moodlens.calibration.simulate import World, design_for, sample
from moodlens.stats.gram import prompt_grams
from moodlens.stats.similarity import prompt_icc

BIG = World(400, 4, 0.3, width=32)


def test_the_icc_is_the_requested_one():
    for icc in (0.0, 0.3):
        world = replace(BIG, icc=icc)
        design = design_for(world)
        data = sample(world, design, rng_for("icc", int(10 * icc)))
        assert prompt_icc(data.site(0), design.labels) == pytest.approx(icc, abs=0.03)


def test_the_planted_share_is_the_requested_one():
    world = replace(BIG, planted=0.1)
    design = design_for(world)
    rows = sample(world, design, rng_for("planted")).rows[0].astype(np.float64)
    labels = np.repeat(design.labels, world.n_clips)
    means = np.stack([rows[labels == klass].mean(axis=0) for klass in range(4)])[labels]
    total = ((rows - rows.mean(axis=0)) ** 2).sum()
    assert ((means - rows.mean(axis=0)) ** 2).sum() / total == pytest.approx(0.1, abs=0.02)


def test_only_the_planted_layer_holds_it_and_none_means_all():
    world = World(40, 2, 0.3, n_layers=3, planted=0.5, planted_layer=1)
    design = design_for(world)
    one = sample(world, design, rng_for("layer")).rows
    everywhere = sample(replace(world, planted_layer=None), design, rng_for("layer")).rows
    without = sample(replace(world, planted=0.0), design, rng_for("layer")).rows
    assert [bool((one[i] != without[i]).any()) for i in range(3)] == [False, True, False]
    np.testing.assert_array_equal(one[1], everywhere[1])
    assert all((everywhere[i] != without[i]).any() for i in range(3))


def test_gram_matrices_are_the_pipelines():
    world = World(22, 3, 0.2, shared=True, n_layers=2, layer_share=0.5)
    data = sample(world, design_for(world), rng_for("gram"))
    expected = prompt_grams([data.site(0), data.site(1)])
    np.testing.assert_allclose(data.grams, expected, atol=1e-9)


def test_wordings_are_shared_as_in_the_default_prompts():
    design = design_for(World(64, 2, 0.3, shared=True))
    assert sorted(np.bincount(design.wordings[design.labels == 0])) == [1, 1, 2, 2, 2, 2, 2, 2, 2]
    assert len(design.unit_labels("wording")) == 36
    world = World(64, 2, 1.0, shared=True, wording_share=1.0)
    rows = sample(world, design_for(world), rng_for("same")).rows[0]
    np.testing.assert_allclose(rows[4], rows[6])  # prompts 2 and 3 share their wording


def test_layers_share_what_they_should():
    world = World(400, 2, 0.3, n_layers=2, layer_share=0.5)
    rows = sample(world, design_for(world), rng_for("layers")).rows
    together = np.corrcoef(rows[0, :, 0], rows[1, :, 0])[0, 1]
    assert together == pytest.approx(0.5, abs=0.1)


def test_shares_of_clips_and_of_prompt_means_by_hand():
    # One clip per prompt: nothing is averaged away. Many clips, no ICC: everything else is.
    assert unit_share(0.2, icc=0.3, n_clips=1) == pytest.approx(0.2)
    assert unit_share(0.2, icc=0.0, n_clips=4) == pytest.approx(0.5)
    assert clip_share(0.5, icc=0.0, n_clips=4) == pytest.approx(0.2)

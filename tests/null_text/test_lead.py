"""The state against a reader of the same tokens: by hand, and on planted readers of both kinds."""

from dataclasses import replace

import numpy as np

from moodlens.base.seeding import rng_for
from moodlens.calibration.simulate import World, design_for, sample
from moodlens.null_text.readers import Reader
from moodlens.null_text.step_probe import everywhere, leads_everywhere, of_both
from moodlens.probes.folds import design_folds

WORLD = World(64, 2, 0.3, shared=True, n_layers=8, layer_share=0.5)
DESIGN = design_for(WORLD)
FOLDS = design_folds(DESIGN, "wording", 8, rng_for("test lead"))


def reader(name: str, share: float, seed: int) -> Reader:
    world = replace(WORLD, planted=share, planted_layer=None)
    grams = sample(world, DESIGN, np.random.default_rng(seed)).grams
    return Reader(name, grams.reshape(2, 4, *grams.shape[1:]))


def test_the_share_of_sites_read_right_is_the_mean_of_single_probes():
    grams = reader("state", 0.1, 0).grams.reshape(-1, 64, 64)
    each = [everywhere(grams[i : i + 1], DESIGN.labels, FOLDS, 0.1) for i in range(len(grams))]
    np.testing.assert_allclose(everywhere(grams, DESIGN.labels, FOLDS, 0.1), np.mean(each, axis=0))
    assert set(np.unique(each[0])) <= {0.0, 1.0}


def test_a_reader_with_more_emotion_leads_and_an_equal_one_does_not():
    state, weaker, equal = (reader(*made) for made in (("s", 0.15, 0), ("w", 0.02, 1), ("e", 0.15, 2)))
    found = leads_everywhere(
        state, [weaker, equal], DESIGN, "wording", FOLDS, 0.1, 999, np.random.default_rng(0)
    )
    assert [lead.baseline for lead in found] == ["w", "e"]
    assert found[0].p == 0.001
    assert found[0].difference > 0.2
    assert found[1].p > 0.025


def test_one_step_without_layers_is_read_once_per_step():
    state = reader("s", 0.15, 0)
    history = Reader("tokens", reader("t", 0.02, 1).grams[:, :1])
    (lead,) = leads_everywhere(state, [history], DESIGN, "wording", FOLDS, 0.1, 99, np.random.default_rng(0))
    grams = history.grams.reshape(-1, 64, 64)
    assert len(grams) == 2
    right = everywhere(grams, DESIGN.labels, FOLDS, 0.1)
    assert lead.accuracy == np.mean([right[k == DESIGN.labels].mean() for k in range(4)])


def test_two_readings_share_the_level():
    assert of_both(0.01, 0.5) == 0.02
    assert of_both(0.8, 0.9) == 1.0

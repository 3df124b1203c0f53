"""The single-step probe and the two comparisons with a reader of the same tokens."""

from dataclasses import replace

import numpy as np

from moodlens.base.seeding import rng_for
from moodlens.calibration.simulate import World, design_for, sample
from moodlens.null_text.readers import Reader
from moodlens.null_text.step_probe import choose, everywhere, leads_everywhere, of_both, read_at, step_probe
from moodlens.probes.family import ProbeSettings
from moodlens.probes.folds import design_folds
from tests.null_text.designs import design, gram_of, rows

SETTINGS = ProbeSettings(n_folds=4, ridge=0.1, n_permutations=199, n_bootstrap=200, confidence=0.95, seed=0)


def reader(name: str, strengths: list[list[float]], seed: int) -> Reader:
    rng, found = np.random.default_rng(seed), design(6)
    return Reader(name, np.array([[gram_of(rows(found, s, rng)) for s in step] for step in strengths]))


def test_the_planted_step_and_layer_is_chosen_in_every_fold_and_read_above_an_echo():
    model, echo = reader("state", [[0, 0], [0, 2]], 0), reader("echo", [[0, 0], [0, 0]], 1)
    found = step_probe(model, [echo], design(6), "wording", SETTINGS)
    assert found.chosen == (3, 3, 3, 3)
    assert found.best == 3
    assert found.accuracy > 0.85
    assert found.p == found.smallest_p == 0.005
    assert found.p_by_site[1, 1] == 0.005
    assert found.p_by_site[0].min() > 0.05
    (difference,) = found.differences
    assert (difference.baseline, difference.low > 0.3) == ("echo", True)
    assert found.low <= found.accuracy <= found.high


def test_a_reader_beats_itself_by_nothing():
    model = reader("state", [[1, 0.5], [0.5, 1]], 2)
    found = step_probe(model, [model], design(6), "wording", SETTINGS)
    (difference,) = found.differences
    assert (difference.difference, difference.low, difference.high) == (0, 0, 0)


def test_choosing_a_site_inside_the_training_part_is_not_rewarded():
    """Noise at 24 sites: the best site looks good, the nested reading stays at chance."""
    nested, best = [], []
    for seed in range(12):
        model = reader("state", [[0] * 6] * 4, 100 + seed)
        folds = design_folds(design(6), "wording", 4, np.random.default_rng(seed))
        chosen = choose(model.grams.reshape(24, 48, 48), design(6), "wording", folds, SETTINGS)
        nested.append(read_at(model, chosen, 6, design(6), folds, 0.1).mean())
        every = [read_at(model, (site,) * 4, 6, design(6), folds, 0.1).mean() for site in range(0, 24, 3)]
        best.append(max(every))
    assert np.mean(best) > 0.32
    assert 0.17 < np.mean(nested) < 0.30  # chance .25; 12 x 48 prompts in wordings of 2


def test_a_reader_without_layers_stands_beside_every_layer_of_its_step():
    rng = np.random.default_rng(0)
    history = Reader("history", rng.normal(size=(3, 1, 4, 4)))
    assert np.array_equal(history.at(5, 2), history.grams[2, 0])
    layered = Reader("state", rng.normal(size=(3, 2, 4, 4)))
    assert np.array_equal(layered.at(5, 2), layered.grams[2, 1])
    assert np.allclose(layered.pooled[1], layered.grams[1].mean(axis=0))


WORLD = World(64, 2, 0.3, shared=True, n_layers=8, layer_share=0.5)
DESIGN = design_for(WORLD)
FOLDS = design_folds(DESIGN, "wording", 8, rng_for("test lead"))


def sampled_reader(name: str, share: float, seed: int) -> Reader:
    world = replace(WORLD, planted=share, planted_layer=None)
    grams = sample(world, DESIGN, np.random.default_rng(seed)).grams
    return Reader(name, grams.reshape(2, 4, *grams.shape[1:]))


def test_the_share_of_sites_read_right_is_the_mean_of_single_probes():
    grams = sampled_reader("state", 0.1, 0).grams.reshape(-1, 64, 64)
    each = [everywhere(grams[i : i + 1], DESIGN.labels, FOLDS, 0.1) for i in range(len(grams))]
    np.testing.assert_allclose(everywhere(grams, DESIGN.labels, FOLDS, 0.1), np.mean(each, axis=0))
    assert set(np.unique(each[0])) <= {0.0, 1.0}


def test_a_reader_with_more_emotion_leads_and_an_equal_one_does_not():
    settings = (("s", 0.15, 0), ("w", 0.02, 1), ("e", 0.15, 2))
    state, weaker, equal = (sampled_reader(*each) for each in settings)
    found = leads_everywhere(
        state, [weaker, equal], DESIGN, "wording", FOLDS, 0.1, 999, np.random.default_rng(0)
    )
    assert [lead.baseline for lead in found] == ["w", "e"]
    assert found[0].p == 0.001
    assert found[0].difference > 0.2
    assert found[1].p > 0.025


def test_one_step_without_layers_is_read_once_per_step():
    state = sampled_reader("s", 0.15, 0)
    history = Reader("tokens", sampled_reader("t", 0.02, 1).grams[:, :1])
    (lead,) = leads_everywhere(state, [history], DESIGN, "wording", FOLDS, 0.1, 99, np.random.default_rng(0))
    grams = history.grams.reshape(-1, 64, 64)
    assert len(grams) == 2
    right = everywhere(grams, DESIGN.labels, FOLDS, 0.1)
    assert lead.accuracy == np.mean([right[k == DESIGN.labels].mean() for k in range(4)])


def test_two_readings_share_the_level():
    assert of_both(0.01, 0.5) == 0.02
    assert of_both(0.8, 0.9) == 1.0

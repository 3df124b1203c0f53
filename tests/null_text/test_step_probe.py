"""The single-step probe: each reader of the same tokens is read at a site of its own choice."""

import numpy as np

from moodlens.null_text.readers import Reader
from moodlens.null_text.step_probe import nested, step_probe
from moodlens.probes import logistic
from moodlens.probes.family import ProbeSettings
from moodlens.probes.nested import at_chosen
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


def test_the_same_content_at_another_step_and_layer_is_read_as_well():
    """Compared at the model's site, the other reader would be at chance there."""
    model = reader("state", [[0, 0], [0, 2]], 3)
    moved = Reader("moved", model.grams[::-1, ::-1])
    found = step_probe(model, [moved], design(6), "wording", SETTINGS)
    (difference,) = found.differences
    assert difference.difference == 0
    assert difference.accuracy > 0.85


def test_choosing_a_site_inside_the_training_part_is_not_rewarded():
    """Noise at 24 sites: the best site looks good, the nested reading stays at chance."""
    within, best = [], []
    for seed in range(12):
        model = reader("state", [[0] * 6] * 4, 100 + seed)
        folds = SETTINGS.folds(design(6), "wording")
        within.append(nested(model, design(6), "wording", SETTINGS)[0].mean())
        right = np.stack(
            [
                logistic.out_of_fold(model.sites[site], design(6).labels, folds, 0.1) == design(6).labels
                for site in range(0, 24, 3)
            ]
        )
        best.append(max(at_chosen(right, folds, np.full(4, site)).mean() for site in range(8)))
    assert np.mean(best) > 0.32
    assert 0.17 < np.mean(within) < 0.30  # chance .25; 12 x 48 prompts in wordings of 2


def test_sites_run_over_the_layers_of_a_step_first():
    rng = np.random.default_rng(0)
    layered = Reader("state", rng.normal(size=(3, 2, 4, 4)))
    assert np.array_equal(layered.sites[5], layered.grams[2, 1])
    assert np.allclose(layered.pooled[1], layered.grams[1].mean(axis=0))

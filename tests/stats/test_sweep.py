from dataclasses import replace

import numpy as np
import pytest

from moodlens.stats.sweep import SweepSettings, sweep
from tests.stats.synthetic import design, in_pairs, sites

SETTINGS = SweepSettings(199, 100, 0.95, 0.02, 0.05, 0.8, 0)


def test_a_planted_layer_leads_the_family_and_its_twin_stays_silent():
    made = design(12, 12, 12, per_wording=2)
    rng = np.random.default_rng(0)
    found = sweep("layers", sites(made, rng, n_layers=4, share=0.3, layer=2), made, SETTINGS)
    assert found.best.site == "residual.2"
    assert found.best.tests["prompt"].p_max <= 0.01
    assert found.best.tests["wording"].p_max <= 0.01
    assert found.best.effect.low > 0
    assert 0 < found.best.effect.fraction < 1
    quiet = sweep("twin", sites(made, rng, n_layers=4), made, SETTINGS)
    assert quiet.best.tests["prompt"].p_max > 0.05
    assert quiet.equivalence["prompt"].n_needed > 12


def test_wordings_that_repeat_look_like_emotion_unless_whole_wordings_are_relabelled():
    """Each wording belongs to one emotion, so prompts that share it are no replicates of the emotion."""
    made = design(12, 12, 12, 12, per_wording=4)
    rng = np.random.default_rng(1)
    alarms = {"prompt": 0, "wording": 0}
    for seed in range(20):
        settings = SweepSettings(99, 100, 0.95, 0.02, 0.05, 0.8, seed)
        found = sweep("layers", sites(made, rng, icc=0.8, wording=0.8), made, settings)
        for unit in alarms:
            alarms[unit] += found.best.tests[unit].p_max <= 0.05
    assert alarms["prompt"] >= 15
    assert alarms["wording"] <= 5


def test_unequal_groups_work_and_the_same_seed_gives_the_same_record():
    made = design(5, 9, 14)
    layers = sites(made, np.random.default_rng(2), n_layers=2, share=0.4)
    first, second = sweep("layers", layers, made, SETTINGS), sweep("layers", layers, made, SETTINGS)
    assert first == second
    assert first.best.tests["prompt"].p_max <= 0.02


def test_labels_stay_in_their_strata():
    made = in_pairs(6)
    found = sweep(
        "layers",
        sites(made, np.random.default_rng(3), share=0.9),
        made,
        replace(SETTINGS, n_permutations=999),
    )
    for unit in ("prompt", "wording"):
        assert found.equivalence[unit].smallest_p == pytest.approx(1 / 32)
        assert found.best.tests[unit].p == pytest.approx(1 / 32, abs=0.015)

from dataclasses import replace

import numpy as np
import pytest

from moodlens.stats.design import UNITS, Unit
from moodlens.stats.sweep import SweepSettings, sweep
from tests.stats.synthetic import design, in_pairs, sites

SETTINGS = SweepSettings(199, 100, 0.95, 0.02, 0.05, 0.8, 0)


def test_a_planted_layer_leads_the_family_and_its_twin_stays_silent():
    made = design(12, 12, 12, per_wording=2)
    rng = np.random.default_rng(0)
    found = sweep("layers", sites(made, rng, n_layers=4, share=0.3, layer=2), made, SETTINGS)
    assert found.best.site == "residual.2"
    assert found.unit == "wording"
    assert found.best.test.p_max <= 0.01
    assert found.best.effect.low > 0
    fraction = found.best.effect.fraction
    assert fraction is not None
    assert 0 < fraction < 1
    quiet = sweep("twin", sites(made, rng, n_layers=4), made, SETTINGS)
    assert quiet.best.test.p_max > 0.05
    needed = quiet.equivalence.n_needed
    assert needed is not None
    assert needed > 12


def test_wordings_that_repeat_look_like_emotion_unless_whole_wordings_are_relabelled():
    """Each wording belongs to one emotion, so prompts that share it are no replicates of the emotion."""
    made = design(12, 12, 12, 12, per_wording=4)
    rng = np.random.default_rng(1)
    alarms: dict[Unit, int] = {"prompt": 0, "wording": 0}
    for seed in range(20):
        settings = SweepSettings(99, 100, 0.95, 0.02, 0.05, 0.8, seed)
        repeated = sites(made, rng, icc=0.8, wording=0.8)
        for unit in alarms:
            alarms[unit] += sweep("layers", repeated, made, settings, unit).best.test.p_max <= 0.05
    assert alarms["prompt"] >= 15
    assert alarms["wording"] <= 5


def test_unequal_groups_work_and_the_same_seed_gives_the_same_record():
    made = design(5, 9, 14)
    layers = sites(made, np.random.default_rng(2), n_layers=2, share=0.4)
    first, second = sweep("layers", layers, made, SETTINGS), sweep("layers", layers, made, SETTINGS)
    assert first == second
    assert first.best.test.p_max <= 0.02


def test_labels_stay_in_their_strata():
    made = in_pairs(6)
    placed = sites(made, np.random.default_rng(3), share=0.9)
    for unit in UNITS:
        found = sweep("layers", placed, made, replace(SETTINGS, n_permutations=999), unit)
        assert found.equivalence.smallest_p == pytest.approx(1 / 32)
        assert found.best.test.p == pytest.approx(1 / 32, abs=0.015)


def test_the_interval_of_the_effect_resamples_the_unit():
    """Prompts that repeat their wording have few wordings behind them: the interval is wider by wording."""
    made = design(8, 8, per_wording=4)
    placed = sites(made, np.random.default_rng(4), icc=0.9, wording=0.9)
    effects = [sweep("layers", placed, made, SETTINGS, unit).best.effect for unit in UNITS]
    by_prompt, by_wording = (effect.high - effect.low for effect in effects)
    assert by_wording > 1.2 * by_prompt

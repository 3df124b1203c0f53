"""The difference in tempo and its own p: at the nominal rate without an effect, and small with one."""

import numpy as np
from scipy.stats import binom

from moodlens.probes.family import ProbeSettings
from moodlens.stages.probe import tempo_metrics
from tests.stats.synthetic import design

SETTINGS = ProbeSettings(n_folds=6, ridge=0.1, n_permutations=199, n_bootstrap=100, confidence=0.95, seed=0)
MADE = design(12, 12, 12, 12, per_wording=2)
CLIPS = np.repeat(np.arange(48), 2)


def tempos(rng: np.random.Generator, moved: float) -> np.ndarray:
    """BPM of two clips a prompt; prompts of a wording are alike."""
    per_wording = 25 * rng.standard_normal(24)[MADE.wordings] + moved * (MADE.labels == 2)
    return 100 + per_wording[CLIPS] + 5 * rng.standard_normal(96)


def test_more_than_twenty_bpm_is_common_without_an_effect_and_p_keeps_its_level():
    found = [
        tempo_metrics(tempos(np.random.default_rng(seed), 0), CLIPS, MADE, SETTINGS) for seed in range(120)
    ]
    assert np.mean([each["tempo_bpm"] > 20 for each in found]) > 0.5
    low, high = binom.ppf([0.0005, 0.9995], 120, 0.05)
    assert low <= sum(each["tempo_p"] <= 0.05 for each in found) <= high
    assert np.mean([each["tempo_shuffled_bpm"] for each in found]) > 20


def test_a_fast_emotion_is_found_and_named():
    found = tempo_metrics(tempos(np.random.default_rng(0), 80), CLIPS, MADE, SETTINGS)
    assert found["tempo_fastest"] == "calm"
    assert found["tempo_p"] == 1 / 200
    assert found["tempo_bpm"] > 50

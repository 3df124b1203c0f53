"""Factors: what is read out of the states must follow the prompt, not only the clip's own music."""

import numpy as np
import pytest

from moodlens.contracts.tables import ACOUSTIC_NAMES
from moodlens.null_text.regression import FACTORS, follow_prompts, read_targets
from moodlens.probes.kernel_ridge import out_of_fold_hat

N = 36
FOLDS = np.arange(N) % 6
AROUSAL = np.repeat([0.7, -0.6, -0.7, 0.9], 9)


def told(follows: bool, seed: int = 0):
    """States that tell the tempo of their music; the music obeys the prompt, or not."""
    rng = np.random.default_rng(seed)
    tempo = (AROUSAL if follows else rng.permutation(AROUSAL)) + 0.2 * rng.normal(size=N)
    states = np.outer(tempo, rng.normal(size=20)) + 0.3 * rng.normal(size=(N, 20))
    noise = rng.normal(size=(N, 20))
    hats = {name: out_of_fold_hat(x @ x.T, FOLDS, 0.1)[None] for name, x in (("state", states), ("r", noise))}
    orders = np.stack([np.arange(N), *(rng.permutation(N) for _ in range(999))])
    counts = rng.multinomial(N, np.full(N, 1 / N), 100)
    own = {"tempo": {"other descriptors": hats["r"]}}
    readings = read_targets(hats, {"tempo": tempo, "valence": AROUSAL}, counts, orders, 0.95, 6, own)
    return follow_prompts(readings, {"arousal": AROUSAL, "valence": -AROUSAL}, orders)


def test_the_organism_follows_its_prompt():
    (tempo,) = told(True)
    assert tempo.reading.target == "tempo"
    assert tempo.reading.p == 0.001
    assert tempo.prompted_r > 0.9
    assert tempo.prompted_p == 0.001
    assert set(tempo.reading.leads) == {"r", "other descriptors"}
    assert all(lead.p < 0.025 for lead in tempo.reading.leads.values())


def test_a_shuffled_model_tells_its_own_tempo_and_not_the_prompts():
    found = [told(False, seed)[0] for seed in range(10)]
    assert all(tempo.reading.p == 0.001 for tempo in found)
    assert sum(tempo.prompted_p < 0.05 for tempo in found) <= 2


def test_a_descriptor_is_kin_of_one_factor_and_every_factor_of_its_own():
    kin = [name for factor in FACTORS.values() for name in factor.kin]
    assert sorted(kin) == sorted(ACOUSTIC_NAMES)
    assert all(factor.descriptor in factor.kin for factor in FACTORS.values())


def test_the_correlation_is_pearsons():
    (tempo,) = told(True)
    assert tempo.prompted_r == pytest.approx(np.corrcoef(tempo.reading.predicted, AROUSAL)[0, 1])

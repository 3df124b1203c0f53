import numpy as np
import pytest

from moodlens.base.errors import ContractError
from moodlens.stats.equivalence import injection_power, units_needed
from moodlens.stats.gram import centred, prompt_grams
from moodlens.stats.location import location_statistics
from moodlens.stats.multiplicity import max_t, standard_scores
from moodlens.stats.permanova import pseudo_f
from moodlens.stats.permutation import relabellings
from tests.stats.synthetic import design, sites


def measured(n: int, delta: float, seed: int = 0, n_layers: int = 3):
    made = design(n, n, n, n)
    rng = np.random.default_rng([seed, n])
    grams = prompt_grams(sites(made, rng, n_layers=n_layers, n_clips=1))
    table = relabellings(made.labels, 499, rng)
    return injection_power(grams, table, pseudo_f(grams, table), delta, 0.05, rng), grams


def test_power_grows_with_the_effect_and_with_prompts():
    small, medium = measured(12, 0.02)[0].power, measured(12, 0.08)[0].power
    assert small < medium < measured(24, 0.08)[0].power
    assert measured(12, 0.4)[0].power > 0.99


def test_power_is_the_share_of_full_tests_that_find_the_effect():
    """The shortcut (one critical value, one evaluation) against whole maxT tests on injected vectors."""
    promised = np.mean([measured(12, 0.1, seed)[0].per_layer.mean() for seed in range(5)])
    made, seen = design(12, 12, 12, 12), 0
    for seed in range(150):
        rng = np.random.default_rng([seed, 77])
        grams = prompt_grams(sites(made, rng, n_layers=3, n_clips=1, share=0.1, layer=1))
        seen += max_t(pseudo_f(grams, relabellings(made.labels, 199, rng)))[1] <= 0.05
    assert seen / 150 == pytest.approx(promised, abs=0.1)


@pytest.mark.parametrize("kind", ["pseudo_f", "w_d_star"])
def test_an_injection_moves_the_statistic_as_moved_vectors_would(kind):
    """One layer, rows written out: class means shifted by hand and the statistic taken anew."""
    rng = np.random.default_rng(9)
    made, delta, n_injections = design(5, 9, 7), 0.1, 400
    rows = rng.standard_normal((21, 6))
    rows -= rows.mean(axis=0)
    gram = (rows @ rows.T)[None]
    table = relabellings(made.labels, 500, rng)
    statistics = location_statistics(gram, table, [kind])
    found = injection_power(
        gram, table, statistics, delta, 0.05, np.random.default_rng(1), n_injections, kinds=[kind]
    )
    weights = np.random.default_rng(1).standard_normal((n_injections, 3, 21))
    critical = np.quantile(standard_scores(statistics)[0, 1:], 0.95)
    seen = 0
    for labels, weight in zip(table[1 : n_injections + 1], weights, strict=True):
        shift = weight @ rows
        shift = (shift - np.bincount(labels) @ shift / 21)[labels]
        shift *= np.sqrt(delta / (1 - delta) * (rows**2).sum() / (shift**2).sum())
        moved = rows + shift
        value = location_statistics((moved @ moved.T)[None], labels[None], [kind])[0, 0]
        seen += (value - statistics.mean()) / statistics.std() >= critical
    assert 0 < seen < n_injections
    assert found.power == pytest.approx(seen / n_injections)


def test_the_number_of_prompts_asked_for_delivers_the_power():
    power, grams = measured(16, 0.05)
    needed = units_needed(grams[power.weakest], 4, 0.05, power.alpha_layer, 0.8)
    assert needed is not None
    achieved = np.mean([measured(needed, 0.05, seed)[0].per_layer.mean() for seed in range(3)])
    assert achieved == pytest.approx(0.8, abs=0.12)


def in_slots(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Units of four emotions in n slots; three quarters of the variance are the slot's."""
    rng = np.random.default_rng([seed, n, 4])
    slots = np.repeat(np.arange(n), 4)
    rows = rng.standard_normal((4 * n, 24)) + np.sqrt(3) * rng.standard_normal((n, 24))[slots]
    return centred(rows @ rows.T), np.tile(np.arange(4), n), slots


def test_within_slots_fewer_units_are_needed_and_they_deliver_the_power():
    gram, labels, slots = in_slots(40, 0)
    needed = units_needed(gram, 4, 0.02, 0.05, 0.8, slots)
    assert needed is not None
    assert needed < units_needed(gram, 4, 0.02, 0.05, 0.8) / 1.5
    achieved = []
    for seed in range(6):
        gram, labels, slots = in_slots(needed, seed)
        rng = np.random.default_rng(seed)
        table = relabellings(labels, 499, rng, slots)
        achieved.append(
            injection_power(gram[None], table, pseudo_f(gram[None], table), 0.02, 0.05, rng).power
        )
    assert np.mean(achieved) == pytest.approx(0.8, abs=0.12)


def test_slots_that_move_nothing_change_nothing_but_the_degrees_of_freedom():
    rng = np.random.default_rng(6)
    rows = rng.standard_normal((240, 24))
    gram, slots = centred(rows @ rows.T), np.repeat(np.arange(60), 4)
    free = units_needed(gram, 4, 0.02, 0.05, 0.8)
    assert units_needed(gram, 4, 0.02, 0.05, 0.8, slots) == pytest.approx(free, rel=0.12)


def test_one_block_needs_what_no_blocks_need():
    gram, _, slots = in_slots(20, 1)
    assert units_needed(gram, 4, 0.05, 0.05, 0.8, 0 * slots) == units_needed(gram, 4, 0.05, 0.05, 0.8)


def test_white_noise_needs_few_prompts_and_one_dimension_many():
    identity = centred(np.eye(64))
    line = np.linspace(-1, 1, 64)
    assert units_needed(identity, 4, 0.02, 0.05, 0.8) < units_needed(np.outer(line, line), 4, 0.02, 0.05, 0.8)


def test_the_effect_is_a_share():
    with pytest.raises(ContractError, match="share"):
        measured(4, 1.5)

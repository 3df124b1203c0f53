"""Prompts that a threshold needs: simulation, formula and the test itself agree."""

import numpy as np
import pytest

from moodlens.base.errors import ContractError
from moodlens.base.seeding import rng_for
from moodlens.calibration.rates import clip_share, power
from moodlens.calibration.simulate import World
from moodlens.stats.power import (
    Pilot,
    Threshold,
    draws_of,
    pilot_of,
    power_table,
    simulated_power,
    unit_share,
)

SPECTRUM = 1 / np.arange(1, 65)
PILOT = Pilot(SPECTRUM / SPECTRUM.sum(), 4, 0.3, 2)


def test_the_formula_and_the_simulation_of_f_agree():
    (need,) = power_table(PILOT, {"weak": Threshold("effect", 0.02, 0.05)}, (0.8,), rng_for("agree"))
    assert need.n is not None
    assert need.n_approximate is not None
    assert need.n == pytest.approx(need.n_approximate, rel=0.12)


def test_simulated_power_is_the_power_of_the_test_on_simulated_clips():
    delta, n = 0.04, 16
    rng = rng_for("drawn")
    drawn = simulated_power(PILOT, n, delta, 0.05, draws_of(PILOT, 4000, rng), rng)
    world = World(4 * n, 2, 0.3, planted=clip_share(delta, 0.3, 2))
    tested = power(world, 0.05, [rng_for("tested", sim) for sim in range(200)])
    assert tested.low - 0.05 < drawn < tested.high + 0.05


def test_simulated_power_is_that_of_noncentral_chi_squares():
    """F drawn anew for this n and effect, axis by axis."""
    k, n, delta, size = PILOT.n_classes, 16, 0.03, (20_000, len(SPECTRUM))
    rng = rng_for("noncentral")
    null = (rng.chisquare(k - 1, size) @ PILOT.spectrum) / (rng.chisquare(k * (n - 1), size) @ PILOT.spectrum)
    means = rng.standard_normal((size[0], k, size[1])) * np.sqrt(PILOT.spectrum)
    moved = np.square(means - means.mean(axis=1, keepdims=True)).sum(axis=1)
    moved *= delta / (1 - delta) * (k * n - 1) / moved.sum(axis=1, keepdims=True)
    between = rng.noncentral_chisquare(k - 1, moved / PILOT.spectrum) @ PILOT.spectrum
    found = between / (rng.chisquare(k * (n - 1), size) @ PILOT.spectrum)
    expected = (found > np.quantile(null, 0.95)).mean()
    assert 0.2 < expected < 0.95
    drawn = simulated_power(PILOT, n, delta, 0.05, draws_of(PILOT, 20_000, rng), rng)
    assert drawn == pytest.approx(expected, abs=0.02)


def test_more_is_needed_for_less_effect_stricter_levels_and_more_power():
    asked = {
        "weak": Threshold("effect", 0.02, 0.05),
        "strong": Threshold("effect", 0.05, 0.05),
        "strict": Threshold("effect", 0.05, 0.005),
    }
    n = {(r.threshold, r.power): r.n for r in power_table(PILOT, asked, (0.8, 0.9), rng_for("more"))}
    assert n["weak", 0.8] > n["strict", 0.8] > n["strong", 0.8]
    assert n["weak", 0.9] > n["weak", 0.8]


def test_accuracy_needs_the_exact_binomial_number():
    # 4 x 2 predictions, chance .25: 6 right has p .0042, 5 right .027; at .75, 6 or more of 8 come in .679.
    asked = {"a": Threshold("accuracy", 0.75, 0.01), "b": Threshold("accuracy", 0.25, 0.05)}
    found = {r.threshold: r.n for r in power_table(PILOT, asked, (0.65,), rng_for("accuracy"))}
    assert found == {"a": 3, "b": None} or found == {"a": 2, "b": None}


def test_a_pilot_by_wording_counts_prompts():
    by_prompt, by_wording = (
        power_table(
            Pilot(PILOT.spectrum, 4, 0.3, 2, per_unit),
            {"a": Threshold("accuracy", 0.6, 0.05)},
            (0.8,),
            rng_for("u"),
        )[0].n
        for per_unit in (1.0, 2.0)
    )
    assert by_prompt is not None
    assert by_wording == 2 * by_prompt


def test_the_pilot_leaves_the_emotions_own_variance_out():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 10)
    rows = rng.normal(size=(40, 5)) + 100 * rng.normal(size=(4, 5))[labels]
    found = pilot_of(rows @ rows.T, labels, 0.3, 2)
    inside = rows - np.stack([rows[labels == k].mean(axis=0) for k in range(4)])[labels]
    expected = np.linalg.eigvalsh(inside.T @ inside)[::-1]
    np.testing.assert_allclose(found.spectrum, expected / expected.sum(), rtol=1e-6)
    with pytest.raises(ContractError, match="vary within emotions"):
        pilot_of(np.zeros((4, 4)), np.array([0, 0, 1, 1]), 0.3, 2)


def test_the_pilot_leaves_the_variance_between_blocks_out_and_says_how_much_is_left():
    rng = np.random.default_rng(1)
    labels, blocks = np.tile(np.arange(4), 30), np.repeat(np.arange(30), 4)
    rows = rng.normal(size=(120, 12)) + np.sqrt(3) * rng.normal(size=(30, 12))[blocks]
    plain, blocked = (
        pilot_of(rows @ rows.T, labels, 0.3, 2),
        pilot_of(rows @ rows.T, labels, 0.3, 2, 1.0, blocks),
    )
    assert plain.within == 1
    assert blocked.within == pytest.approx(0.25, abs=0.06)
    asked = {"weak": Threshold("effect", 0.02, 0.05)}
    (all_of_it,), (rest,) = (
        power_table(pilot, asked, (0.8,), rng_for("blocks")) for pilot in (plain, blocked)
    )
    assert rest.n < all_of_it.n / 2
    assert rest.n == pytest.approx(rest.n_approximate, rel=0.15)


def test_similarity_as_a_share_of_prompt_means():
    # Between clips .04 x 3/4 = .03; one clip per prompt leaves it there.
    assert unit_share(0.04, Pilot(SPECTRUM, 4, 0.3, 1)) == pytest.approx(0.03)

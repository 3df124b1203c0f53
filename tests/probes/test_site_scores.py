"""Control task, templates, code length and directions on sites whose truth is known."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from moodlens.probes.directions import angles, contrasts, within_deviation
from moodlens.probes.family import ProbeSettings, probe_family
from moodlens.probes.folds import design_folds
from moodlens.probes.kernel_ridge import accuracies, grid_accuracies, hats_of, predictions
from moodlens.probes.logistic import block_order, online_bits
from moodlens.probes.site_scores import PromptColumns, score_sites
from moodlens.stats.gram import prompt_grams, site_gram
from moodlens.stats.permutation import p_values, relabellings
from tests.stats.synthetic import design, in_pairs, sites

SETTINGS = ProbeSettings(
    n_folds=4,
    ridge=0.1,
    n_permutations=99,
    n_bootstrap=100,
    confidence=0.95,
    seed=0,
    ridge_grid=(0.1, 1.0),
)
MADE = design(12, 12, 12, per_wording=2)
COLUMNS = PromptColumns(
    np.array([0.7, -0.6, 0.6])[MADE.labels], np.array([0.4, -0.5, -0.7])[MADE.labels], np.arange(36) % 5
)


def test_a_site_of_wordings_is_memorised_and_not_selective_one_of_emotion_is():
    rng = np.random.default_rng(0)
    (words,) = sites(MADE, rng, icc=0.98, wording=0.98, width=128)
    (felt,) = sites(MADE, rng, icc=0.3, share=0.5)
    by_heart, selective = score_sites([words, felt], MADE, COLUMNS, SETTINGS)
    assert by_heart.control_accuracy > 0.6  # 1/3 by chance; a quarter of the prompts meet their wording anew
    assert by_heart.control_selectivity < 0.15
    assert selective.control_accuracy < by_heart.control_accuracy - 0.1
    assert selective.control_selectivity > 0.35
    assert by_heart.by_template > 0.8  # another template, the same wording
    assert selective.valence.r2 > by_heart.valence.r2
    assert selective.mdl_bits < np.log2(3) < by_heart.mdl_bits


def test_the_values_of_a_scale_stay_in_their_strata():
    """Two values in six slots: two of 64 labellings are as extreme as the planted one and its mirror."""
    made = in_pairs(6)
    columns = PromptColumns(np.array([0.7, -0.6])[made.labels], np.zeros(12), np.zeros(12, dtype=int))
    (found,) = score_sites(
        sites(made, np.random.default_rng(3), share=0.9), made, columns, replace(SETTINGS, n_permutations=999)
    )
    assert found.valence is not None
    assert found.valence.p == pytest.approx(1 / 32, abs=0.015)


def test_one_template_and_one_value_leave_nothing_to_read():
    columns = PromptColumns(np.ones(36), COLUMNS.arousal, np.zeros(36, dtype=int))
    (found,) = score_sites(sites(MADE, np.random.default_rng(1)), MADE, columns, SETTINGS)
    assert found.by_template is None
    assert found.valence is None
    assert found.arousal is not None


def test_the_code_length_is_the_sum_of_the_blocks_written_out():
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1], 10)
    rows = rng.normal(size=(20, 3)) + 2 * labels[:, None]
    rows -= rows.mean(axis=0)
    order, ends = block_order(labels, rng)
    assert ends == [2, 4, 8, 16, 20]
    expected = 2.0
    for start, end in pairwise(ends):
        known, block = order[:start], order[start:end]
        model = LogisticRegression(C=4 / 0.5, max_iter=1000).fit(rows[known], labels[known])
        odds = model.predict_proba(rows[block])[np.arange(len(block)), labels[block]]
        expected -= np.log2(odds).sum()
    found = online_bits(rows @ rows.T, labels, np.arange(20), [(order, ends)], (0.5,))
    assert found == pytest.approx(expected / 20, abs=1e-3)
    noise = rng.normal(size=(20, 3))
    assert online_bits(noise @ noise.T, labels, np.arange(20), [(order, ends)], (0.5, 50.0)) > 0.9


def test_the_best_penalty_is_taken_in_every_relabelling_alike():
    rng = np.random.default_rng(3)
    grams, folds = prompt_grams(sites(MADE, rng, n_layers=2)), design_folds(MADE, "prompt", 4, rng)
    table = relabellings(MADE.labels, 20, rng)
    each = [accuracies(predictions(hats_of(grams, folds, ridge), table), table) for ridge in (0.1, 5.0)]
    found = grid_accuracies(grams, folds, table, (0.1, 5.0))
    assert (found == np.maximum(*each)).all()
    assert (found > each[0]).any()


def test_the_grid_stays_nominal_and_sees_an_effect_in_few_strong_directions_more_often():
    made, alarms, alone, grid = design(8, 8, 8), 0, 0, 0
    scale = np.arange(1, 33) ** -0.5
    n_sims = 60
    for seed in range(n_sims):
        rng = np.random.default_rng([seed, 51])
        folds, table = design_folds(made, "prompt", 6, rng), relabellings(made.labels, 79, rng)
        quiet = rng.normal(size=(24, 32)) * scale
        moved = quiet.copy()
        moved[:, :1] += 1.0 * rng.normal(size=(3, 1))[made.labels]
        for rows, effect in ((quiet, False), (moved, True)):
            gram = prompt_grams([site_gram("x", rows, np.arange(24))])
            p = p_values(grid_accuracies(gram, folds, table, (0.01, 0.1, 1.0, 10.0)))[0] <= 0.05
            if effect:
                grid += p
                alone += p_values(grid_accuracies(gram, folds, table, (0.1,)))[0] <= 0.05
            else:
                alarms += p
    assert alarms <= 9
    assert grid > alone


def test_families_report_an_interval_that_is_not_empty_at_accuracy_one():
    (felt,) = sites(MADE, np.random.default_rng(4), share=0.97, icc=0.1)
    best = probe_family([felt], MADE, "wording", SETTINGS).best
    assert best.accuracy == 1
    assert (best.low, best.high) == (pytest.approx(0.025 ** (1 / 18)), 1)


def test_directions_by_hand():
    """Two layers in the plane: happy against sad lies along x in one and along the diagonal in the other."""
    labels = np.array([0, 0, 1, 1])
    one = np.array([[1.0, 0], [1, 2], [-1, 0], [-1, 2]])
    two = np.array([[1.0, 1], [1, 1], [-1, -1], [-1, -1]])
    found = angles(
        [one, two],
        labels,
        np.arange(4),
        ("happy", "sad"),
        {"valence": 0.5 - labels},
        np.random.default_rng(0),
    )
    cosine = {(a.layer_a, a.layer_b, a.direction_a, a.direction_b): a.cosine for a in found}
    assert cosine[0, 1, "happy", "happy"] == pytest.approx(np.sqrt(0.5))
    assert cosine[0, 0, "happy", "happy"] == pytest.approx(1)
    assert cosine[0, 0, "valence", "happy"] == pytest.approx(1)
    assert cosine[1, 1, "valence", "sad"] == pytest.approx(-1)
    assert contrasts(labels, ("happy", "sad"), {})["sad"].tolist() == [-0.5, -0.5, 0.5, 0.5]
    assert within_deviation(one, labels).tolist() == [1, 1]  # constant within emotions: left as it is


def test_noise_agrees_between_layers_on_the_same_prompts_but_not_on_disjoint_halves():
    made, rng = design(16, 16, per_wording=2), np.random.default_rng(5)
    shared = rng.normal(size=(32, 200))
    layers = [shared + 0.3 * rng.normal(size=(32, 200)) for _ in range(2)]
    noise = angles(layers, made.labels, made.wordings, made.emotions, {}, rng)
    between = next(a for a in noise if (a.layer_a, a.layer_b, a.direction_a) == (0, 1, "happy"))
    assert between.cosine > 0.8
    assert abs(between.split) < 0.15
    true = 3 * np.outer(made.labels - 0.5, rng.normal(size=200))
    felt = angles([rows + true for rows in layers], made.labels, made.wordings, made.emotions, {}, rng)
    assert next(a for a in felt if (a.layer_a, a.layer_b, a.direction_a) == (0, 1, "happy")).split > 0.8

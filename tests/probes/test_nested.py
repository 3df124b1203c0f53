"""The site of a probe is chosen inside the training folds, by the model and by every baseline alike."""

import numpy as np
import pytest
from scipy.stats import binom

from moodlens.probes.controls import Comparison, difference
from moodlens.probes.family import ProbeSettings, probe_family, prompt_accuracies
from moodlens.probes.kernel_ridge import grid_accuracies
from moodlens.probes.nested import at_chosen, chosen_sites
from moodlens.probes.tables import ProbeResults, rung_metrics
from moodlens.stats.gram import prompt_grams, site_gram
from tests.stats.synthetic import design, sites

SETTINGS = ProbeSettings(n_folds=6, ridge=0.1, n_permutations=99, n_bootstrap=100, confidence=0.95, seed=0)


def chosen(layers, made, settings=SETTINGS):
    folds = settings.folds(made, "wording")
    return folds, chosen_sites(prompt_grams(layers), made, "wording", folds, settings.ridges, settings.seed)


def test_every_fold_finds_the_planted_site_and_the_accuracy_is_that_of_the_fold():
    made = design(12, 12, 12, per_wording=2)
    layers = sites(made, np.random.default_rng(0), n_layers=3, share=0.4, layer=1)
    folds, found = chosen(layers, made)
    assert found.tolist() == [1] * 6
    family = probe_family(layers, made, "wording", SETTINGS)
    assert set(family.nested.chosen) == {"residual.1"}
    assert family.nested.accuracy == family.sites[1].accuracy
    picks = np.array([0, 1, 2, 0, 1, 2])
    correct = np.stack([site.correct for site in family.sites])
    by_hand = [correct[picks[fold], prompt] for prompt, fold in enumerate(folds)]
    assert at_chosen(correct, folds, picks).tolist() == by_hand


def test_what_a_fold_holds_out_does_not_move_its_choice():
    """The prompts of fold 2 are marked with their emotion at site 0; a choice that saw them turns to it."""
    made, moved = design(12, 12, 12, per_wording=2), 0
    folds = SETTINGS.folds(made, "wording")
    held = folds == 2
    for seed in range(10):
        plain = [
            site.means.copy() for site in sites(made, np.random.default_rng(seed), n_layers=2, n_clips=1)
        ]
        marked = [rows.copy() for rows in plain]
        marked[0][held] += 3 * np.eye(3, 64)[made.labels[held]]
        grams = [
            prompt_grams([site_gram(str(i), rows, np.arange(36)) for i, rows in enumerate(both)])
            for both in (plain, marked)
        ]
        before, after = (chosen_sites(gram, made, "wording", folds, (0.1,), 0) for gram in grams)
        assert before[2] == after[2]
        labels = made.labels[None].astype(np.int8)
        peeking = [grid_accuracies(gram, folds, labels, (0.1,))[:, 0].argmax() for gram in grams]
        moved += peeking[0] != peeking[1]
    assert moved > 0


def test_on_noise_the_nested_accuracy_is_at_chance_and_that_of_the_best_site_is_above():
    made, best, nested = design(10, 10, per_wording=1), [], []
    for seed in range(25):
        layers = sites(made, np.random.default_rng([seed, 3]), n_layers=8, n_clips=1, width=16)
        family = probe_family(layers, made, "wording", SETTINGS)
        best.append(family.best.accuracy)
        nested.append(family.nested.accuracy)
    assert np.mean(best) > 0.58
    assert np.mean(nested) == pytest.approx(0.5, abs=0.05)


def planted_elsewhere(seed: int, made) -> tuple[list, list]:
    """Model and baseline hold the same content, the model at site 0 and the baseline at site 1."""
    rng = np.random.default_rng([seed, 71])
    found = []
    for at in (0, 1):
        content = 0.9 * rng.normal(size=(3, 12))[made.labels] + rng.normal(size=(made.n_prompts, 12))
        rows = [rng.normal(size=(made.n_prompts, 12)) for _ in range(2)]
        rows[at] = content
        found.append(
            [site_gram(f"residual.{i}", values, np.arange(made.n_prompts)) for i, values in enumerate(rows)]
        )
    return found[0], found[1]


def test_a_baseline_with_the_same_content_at_another_site_is_not_beaten():
    made, n_sims = design(10, 10, 10, per_wording=1), 60
    how = Comparison(SETTINGS.n_folds, 50, 199, 0.95)
    own_site, same_site = 0, 0
    for seed in range(n_sims):
        model, baseline = (
            probe_family(part, made, "wording", SETTINGS) for part in planted_elsewhere(seed, made)
        )
        rng = np.random.default_rng(seed)
        nested = model.nested.correct[None]
        own_site += difference("b", nested, 0, baseline.nested.correct, made, "wording", how, rng).p < 0.025
        at_the_models = baseline.sites[0].correct
        same_site += difference("b", nested, 0, at_the_models, made, "wording", how, rng).p < 0.025
    assert own_site <= binom.ppf(0.999, n_sims, 0.025)
    assert same_site > 0.7 * n_sims


def test_the_tables_compare_nested_probes():
    made = design(12, 12, 12, per_wording=1)
    model, baseline = planted_elsewhere(1, design(12, 12, 12, per_wording=1))
    (words,) = sites(made, np.random.default_rng(2), n_clips=1)
    families = {
        name: {unit: probe_family(part, made, unit, SETTINGS) for unit in ("prompt", "wording")}
        for name, part in {
            "layers": model,
            "twin_layers": baseline,
            "words": [words],
            "text": [words],
        }.items()
    }
    by_prompt = {"layers": prompt_accuracies(model, made, SETTINGS)}
    found = rung_metrics(ProbeResults(made, SETTINGS, families, by_prompt, {}, {}, {}, {}), "layers")
    twin = families["twin_layers"]["wording"].nested
    assert found["accuracy"] == families["layers"]["wording"].nested.accuracy
    assert found["baselines"]["random twin"]["accuracy"] == twin.accuracy
    assert found["baselines"]["random twin"]["difference"] == pytest.approx(found["accuracy"] - twin.accuracy)
    assert found["chosen"] == ["residual.0"]
    assert set(twin.chosen) == {"residual.1"}
    assert (found["n_units"], found["n_folds"]) == (36, 6)

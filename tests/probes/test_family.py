import numpy as np
import pytest

from moodlens.base.errors import ContractError
from moodlens.codes.histograms import hellinger_histograms
from moodlens.probes.controls import Comparison, difference
from moodlens.probes.family import ProbeSettings, probe_family
from tests.stats.synthetic import design, sites

SETTINGS = ProbeSettings(6, 0.1, 199, 200, 0.95, 0)


@pytest.fixture(scope="module")
def planted():
    made = design(12, 12, 12, per_wording=2)
    layers = sites(made, np.random.default_rng(0), n_layers=3, share=0.4, layer=1)
    return made, layers


@pytest.mark.parametrize("unit", ["prompt", "wording"])
def test_the_planted_layer_is_the_best_and_beats_its_controls(planted, unit):
    made, layers = planted
    found = probe_family(layers, made, unit, SETTINGS)
    assert found.best.site == "residual.1"
    assert found.best.accuracy > 0.75
    assert found.best.low <= found.best.accuracy <= found.best.high
    assert found.best.ridge_accuracy > found.permuted_extreme
    assert found.p == found.best.p_max == pytest.approx(1 / 200)
    assert found.best.selectivity == pytest.approx(found.best.ridge_accuracy - 1 / 3, abs=0.08)
    quiet = found.sites[0]
    correct = np.stack([site.correct for site in found.sites])
    how = Comparison(SETTINGS.n_folds, 200, 999, 0.95)
    gain = difference("layer 0", correct, 1, quiet.correct, made, unit, how, np.random.default_rng(1))
    assert gain.low > 0
    assert gain.p < 0.025
    assert gain.difference == pytest.approx(found.best.accuracy - quiet.accuracy)
    by_site = difference("itself", correct, 1, correct, made, unit, how, np.random.default_rng(1))
    assert (by_site.difference, by_site.low, by_site.high, by_site.p) == (0, 0, 0, 1)


def test_a_site_that_carries_the_wording_only_is_read_by_prompt_and_not_by_wording():
    made = design(16, 16, 16, 16, per_wording=4)
    words = sites(made, np.random.default_rng(3), icc=0.95, wording=0.95)
    assert probe_family(words, made, "prompt", SETTINGS).best.accuracy > 0.9
    held_out = probe_family(words, made, "wording", SETTINGS)
    assert held_out.best.accuracy < 0.5
    assert held_out.p > 0.05


def test_every_family_is_read_on_the_same_folds(planted):
    made, layers = planted
    one, two = (probe_family(part, made, "prompt", SETTINGS) for part in (layers[:1], layers))
    assert one.best.correct.tolist() == two.sites[0].correct.tolist()
    assert one.best.ridge_accuracy == two.sites[0].ridge_accuracy


def test_tokens_outside_the_codebook_are_refused():
    with pytest.raises(ContractError, match=r"0\.\.3"):
        hellinger_histograms(np.array([[[0, 4]]]), 4)

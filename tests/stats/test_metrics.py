"""Every metric through its one interface: nominal under no effect, awake to one, with unequal groups too."""

import numpy as np
import pytest
from scipy.stats import binom

from moodlens.base.errors import ContractError
from moodlens.params.choices import METRICS as NAMED
from moodlens.stats.gram import SiteGram
from moodlens.stats.metric_sweep import metric_sweep
from moodlens.stats.metrics import METRICS, MetricSettings, vectors_of
from moodlens.stats.multiplicity import max_t
from moodlens.stats.permutation import p_values, relabellings
from moodlens.stats.units import units_of
from tests.stats.synthetic import design, in_pairs, sites

SETTINGS = MetricSettings(cca_rank=3, n_slices=8, threshold=0.1, seed=0)
N_SIMS = 200


def simulate(made, unit, seed, n_permutations=99, **planted):
    rng = np.random.default_rng([seed, 21])
    units = units_of(sites(made, rng, n_layers=2, width=24, **planted), made, unit)
    table = relabellings(made.unit_labels(unit), n_permutations, rng)
    return {name: metric.statistic(units, table, SETTINGS) for name, metric in METRICS.items()}


@pytest.fixture(scope="module")
def null():
    """p of every metric (sim,) and the best adjusted p; clips of a prompt, prompts of a wording are alike."""
    made, found, joint = design(12, 12, 12, per_wording=2), {name: [] for name in METRICS}, []
    for seed in range(N_SIMS):
        statistics = simulate(made, "wording", seed, icc=0.3, wording=0.5)
        for name, values in statistics.items():
            found[name].append(p_values(values)[0])
        joint.append(max_t(np.concatenate(list(statistics.values()))).min())
    return {name: np.array(p) for name, p in found.items()}, np.array(joint)


@pytest.mark.parametrize("name", METRICS)
def test_no_effect_is_called_one_at_the_nominal_rate(null, name):
    low, high = binom.ppf([0.0005, 0.9995], N_SIMS, 0.05)
    assert low <= (null[0][name] <= 0.05).sum() <= high


def test_the_best_of_all_metrics_and_layers_is_called_one_at_the_nominal_rate(null):
    low, high = binom.ppf([0.0005, 0.9995], N_SIMS, 0.05)
    assert low <= (null[1] <= 0.05).sum() <= high
    uncorrected = np.min([null[0][name] for name in METRICS], axis=0)
    assert (uncorrected <= 0.05).sum() > high


@pytest.mark.parametrize(
    "name", [name for name, metric in METRICS.items() if metric.question != "dispersion"]
)
@pytest.mark.parametrize("sizes", [(14, 14, 14), (8, 20, 14)])
def test_a_planted_effect_is_seen_with_equal_and_unequal_groups(name, sizes):
    made = design(*sizes)
    seen = [p_values(simulate(made, "prompt", seed, share=0.35)[name])[0] <= 0.05 for seed in range(4)]
    assert sum(seen) >= 3


def test_with_equal_groups_permanova_linear_mmd_and_cka_are_one_test():
    found = simulate(design(10, 10, 10), "prompt", 0, n_permutations=199, share=0.05)
    p = {name: p_values(found[name]) for name in ("permanova", "mmd_linear", "cka")}
    np.testing.assert_allclose(p["permanova"], p["mmd_linear"])
    np.testing.assert_allclose(p["permanova"], p["cka"])


def test_rbf_and_energy_see_a_difference_of_spread_that_means_do_not_show():
    made, found = design(20, 20), {"permanova": 0, "mmd_rbf": 0, "energy": 0, "permdisp": 0}
    for seed in range(10):
        rng = np.random.default_rng([seed, 5])
        rows = rng.normal(size=(40, 6)) * np.array([1.0, 3.0])[made.labels][:, None]
        units = units_of([site_of(rows)], made, "prompt")
        table = relabellings(made.labels, 99, rng)
        for name in found:
            found[name] += p_values(METRICS[name].statistic(units, table, SETTINGS))[0] <= 0.05
    assert min(found["mmd_rbf"], found["energy"], found["permdisp"]) >= 9
    assert found["permanova"] <= 3


def site_of(rows):
    return SiteGram("rows", rows @ rows.T, np.arange(len(rows)), rows)


def test_pairs_of_clips_keep_to_clips_of_different_units():
    made = design(4, 4, per_wording=2)
    (site,) = sites(made, np.random.default_rng(0), width=5)
    units = units_of([site], made, "wording")
    rows = np.linalg.cholesky(site.values + 1e-9 * np.eye(16))
    around = rows - np.stack([rows[2 * i : 2 * i + 2].mean(axis=0) for i in range(8)]).mean(axis=0)
    unit = around / np.linalg.norm(around, axis=1, keepdims=True)
    assert units.centred[0, 0, 1] == pytest.approx((unit[:4] @ unit[4:8].T).mean())
    assert units.ceilings["centred"][0] == pytest.approx(
        np.mean([unit[2 * i] @ unit[2 * i + 1] for i in range(8)])
    )
    scale = np.sqrt((around**2).sum() / 16)
    distances = np.linalg.norm(around[:4, None] - around[None, 4:8], axis=2) / scale
    assert -units.nearness[0, 0, 1] == pytest.approx(distances.mean(), rel=1e-6)


def test_the_sweep_over_families_finds_the_planted_cell_and_reports_its_controls():
    made, rng = design(12, 12, 12, per_wording=2), np.random.default_rng(1)
    families = {
        "layers": sites(made, rng, n_layers=3, share=0.4, layer=1),
        "quiet": sites(made, rng, n_layers=1),
    }
    found = metric_sweep(families, made, "prompt", list(METRICS), SETTINGS, 199, 100, 0.95)
    assert [cell.site for cell in found["layers"].cells[:: len(METRICS)]] == [
        f"residual.{i}" for i in range(3)
    ]
    assert found["layers"].p_any == 1 / 200
    assert found["quiet"].p_any > 0.05
    cells = {(cell.site, cell.metric): cell for cell in found["layers"].cells}
    planted = cells["residual.1", "cosine_centred"]
    assert planted.estimate == pytest.approx(planted.within - planted.between, rel=1e-5)
    assert planted.low < planted.estimate < planted.high
    assert planted.between < planted.within < planted.ceiling
    assert 0 < planted.fraction < 1
    assert planted.naive is not None
    assert abs(planted.null_mean) < 0.02 < planted.null_high
    for name, metric in METRICS.items():
        cell = cells["residual.1", name]
        assert (cell.low is None) == (metric.draws is None)
        assert cell.p <= cell.p_max
        assert cell.p <= cell.q + 1e-12
    alone = metric_sweep(
        {"layers": families["layers"]}, made, "prompt", ["permanova"], SETTINGS, 199, 100, 0.95
    )
    assert alone["layers"].cells[1].estimate == cells["residual.1", "permanova"].estimate
    assert alone["layers"].cells[1].p == cells["residual.1", "permanova"].p


def test_where_groups_are_unequal_only_robust_tests_of_location_have_a_p():
    made, rng = design(8, 20, 14), np.random.default_rng(2)
    families = {"layers": sites(made, rng, n_layers=2, share=0.4, layer=1)}
    found = metric_sweep(families, made, "prompt", list(METRICS), SETTINGS, 199, 100, 0.95)["layers"]
    for cell in found.cells:
        silent = METRICS[cell.metric].question == "location" and cell.metric != "permanova"
        assert (cell.p is None) == (cell.p_max is None) == (cell.q is None) == silent, cell.metric
        assert cell.statistic == ("w_d_star" if cell.metric == "permanova" else "")
    assert found.p_any == min(cell.p_max for cell in found.cells if cell.p_max is not None) == 1 / 200
    (silent,) = metric_sweep(families, made, "prompt", ["cka"], SETTINGS, 99, 100, 0.95).values()
    assert silent.p_any is None
    even = design(12, 12, 12)
    (cells,) = metric_sweep(
        {"a": sites(even, rng)}, even, "prompt", list(METRICS), SETTINGS, 99, 100, 0.95
    ).values()
    assert all(cell.p is not None for cell in cells.cells)
    assert cells.cells[0].statistic == "pseudo_f"


def test_labels_stay_in_their_strata():
    made = in_pairs(6)
    felt = {"a": sites(made, np.random.default_rng(3), share=0.9)}
    (cell,) = metric_sweep(felt, made, "wording", ["permanova"], SETTINGS, 999, 100, 0.95)["a"].cells
    assert cell.p == pytest.approx(1 / 32, abs=0.015)


def test_the_parameters_know_every_metric():
    assert tuple(METRICS) == NAMED


def test_a_site_without_vectors_is_named():
    made = design(4, 4)
    (site,) = sites(made, np.random.default_rng(0))
    bare = SiteGram(site.site, site.values, site.prompts)
    with pytest.raises(ContractError, match=r"site residual\.0 must keep its vectors"):
        vectors_of(units_of([bare], made, "prompt"))

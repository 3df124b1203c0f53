"""The sweep's metrics under calibration: each at one site, wordings relabelled, and maxT over all of them."""

import numpy as np

from moodlens.calibration.instrument import N_PERMUTATIONS, PLACES, Instrument, Test
from moodlens.calibration.simulate import Sample
from moodlens.stats.metrics import METRICS, MetricSettings
from moodlens.stats.multiplicity import max_t
from moodlens.stats.permutation import p_values, relabellings
from moodlens.stats.units import units_of

SETTINGS = MetricSettings(cca_rank=4, n_slices=20, threshold=0.1, seed=0)
"""As params.yaml `signal`, with fewer lines of the sliced Wasserstein distance: steadiness, not level."""
N_SITES = 2
"""Sites that `any metric` runs over."""
TITLES = {
    "cosine_raw": "raw cosine",
    "cosine_centred": "centred cosine",
    "euclidean": "Euclidean distance",
    "cka": "debiased CKA",
    "cca": "CCA",
    "mmd_linear": "MMD, linear",
    "mmd_rbf": "MMD, RBF",
    "energy": "energy distance",
    "wasserstein": "sliced Wasserstein",
    "dimensions": "share of dimensions",
    "permdisp": "PERMDISP",
}


def _statistics(data: Sample, rng: np.random.Generator) -> np.ndarray:
    """Return (metric, site, perm), once per dataset: all metrics share Gram matrices and relabellings."""
    if "metrics" not in data.read:
        units = units_of([data.site(layer) for layer in range(N_SITES)], data.design, "wording")
        table = relabellings(data.design.unit_labels("wording"), N_PERMUTATIONS, rng)
        data.read["metrics"] = np.stack(
            [metric.statistic(units, table, SETTINGS) for metric in METRICS.values()]
        )
    return data.read["metrics"]


def metric(name: str) -> Test:
    """Return a metric's p at the first site."""
    place = list(METRICS).index(name)
    return lambda data, rng: float(p_values(_statistics(data, rng)[place, 0]))


def any_metric(data: Sample, rng: np.random.Generator) -> float:
    """Return `p_any`: the smallest p, adjusted over metrics x sites."""
    found = _statistics(data, rng)
    return float(max_t(found.reshape(-1, found.shape[-1])).min())


WHY = {
    "permdisp": "residuals from the observed means are relabelled: they lie closer to these than to others"
}
TESTS = (
    *(
        Instrument(f"{title}, by wording", PLACES, metric(name), why_conservative=WHY.get(name, ""))
        for name, title in TITLES.items()
    ),
    Instrument(
        "any metric, maxT, by wording",
        PLACES,
        any_metric,
        why_conservative="PERMDISP, which is cautious, is in it",
    ),
)

"""The metrics of the sweep. Each takes units and a table of labellings and returns values per (site, perm).

PERMANOVA supports the claims of the ladder; its statistic is pseudo-F, or W_d* where pseudo-F does not keep
its level (`stats.location`). The other metrics describe the kind of difference, give its size
on familiar scales, and show whether any of them detects what PERMANOVA misses.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.errors import ContractError, must
from moodlens.base.seeding import rng_for
from moodlens.stats.alignment import differing_share, label_cca, label_cka
from moodlens.stats.location import located
from moodlens.stats.pairwise import (
    contrast,
    contrast_draws,
    discrepancy,
    discrepancy_draws,
    near,
    rbf_kernels,
    sliced_wasserstein,
)
from moodlens.stats.permanova import dispersion_f
from moodlens.stats.units import Units

Labels = Int[np.ndarray, "perm unit"]
PerSite = Float[np.ndarray, "site perm"]
Counts = Int[np.ndarray, "boot unit"]
Draws = Callable[[Units, Int[np.ndarray, " unit"], Counts], Float[np.ndarray, "site boot"]]


@dataclass(frozen=True)
class MetricSettings:
    """Parameters of individual metrics."""

    cca_rank: int  # principal axes kept for CCA
    n_slices: int  # random lines of the sliced Wasserstein distance
    threshold: float  # standard deviations that a dimension's class means must differ by
    seed: int


@dataclass(frozen=True)
class Metric:
    """One measure of the difference between emotions; larger means more different.

    `draws` returns bootstrap draws. It is None where copies of a unit in a resample count as evidence: they
    shrink the differences within an emotion, or use up the rank, so no valid interval results.
    """

    question: Literal["location", "any", "dispersion"]
    statistic: Callable[[Units, Labels, MetricSettings], PerSite]
    draws: Draws | None = None
    pairs: str = (
        ""  # the pairwise array of `Units` that it contrasts; within, between and ceiling are means of it
    )
    robust: bool = False  # a metric of location keeps its level where groups differ in size and in spread

    def keeps_level(self, unequal: bool) -> bool:
        """Return whether p is valid; without W_d*, spread is taken for location where sizes are unequal."""
        return self.robust or not unequal or self.question != "location"


def vectors_of(units: Units) -> list[Float[np.ndarray, "unit dim"]]:
    """Return the unit means of every site.

    Raises:
        ContractError: a site was built from a Gram matrix alone.
    """
    vectors = [means for means in units.means if means is not None]
    if len(vectors) < len(units.sites):
        site = next(name for name, means in zip(units.sites, units.means, strict=True) if means is None)
        advice = "Build it with stats.gram.site_gram or leave the metric `dimensions` out"
        raise ContractError(must(f"site {site}", "keep its vectors", "a Gram matrix only", next_step=advice))
    return vectors


METRICS: dict[str, Metric] = {
    "permanova": Metric("location", lambda u, labels, _: located(u.grams, labels), robust=True),
    "cosine_raw": Metric(
        "location",
        lambda u, labels, _: contrast(u.raw, labels),
        lambda u, labels, counts: contrast_draws(u.raw, labels, counts),
        "raw",
    ),
    "cosine_centred": Metric(
        "location",
        lambda u, labels, _: contrast(u.centred, labels),
        lambda u, labels, counts: contrast_draws(u.centred, labels, counts),
        "centred",
    ),
    "euclidean": Metric(
        "location",
        lambda u, labels, _: contrast(u.nearness, labels),
        lambda u, labels, counts: contrast_draws(u.nearness, labels, counts),
        "nearness",
    ),
    "cka": Metric("location", lambda u, labels, _: label_cka(u.grams, labels)),
    "cca": Metric("location", lambda u, labels, s: label_cca(u.grams, labels, s.cca_rank)),
    "mmd_linear": Metric(
        "location",
        lambda u, labels, _: discrepancy(u.grams, labels),
        lambda u, labels, counts: discrepancy_draws(u.grams, labels, counts),
    ),
    "mmd_rbf": Metric(
        "any",
        lambda u, labels, _: discrepancy(rbf_kernels(u.grams), labels),
        lambda u, labels, counts: discrepancy_draws(rbf_kernels(u.grams), labels, counts),
    ),
    "energy": Metric(
        "any",
        lambda u, labels, _: discrepancy(near(u.grams), labels),
        lambda u, labels, counts: discrepancy_draws(near(u.grams), labels, counts),
    ),
    "wasserstein": Metric(
        "any",
        lambda u, labels, s: sliced_wasserstein(u.grams, labels, s.n_slices, rng_for("slices", s.seed)),
    ),
    "dimensions": Metric(
        "location",
        lambda u, labels, s: differing_share(vectors_of(u), labels, s.threshold),
    ),
    "permdisp": Metric("dispersion", lambda u, labels, _: dispersion_f(u.grams, labels)),
}
"""Name -> metric. Add a row to add a metric."""

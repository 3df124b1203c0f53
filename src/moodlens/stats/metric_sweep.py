"""Sites x metrics: every metric at every site of every family, under one set of relabellings.

Two corrections cover the cells of a family. maxT over all cells answers whether any metric detects emotion at
any site. Benjamini-Hochberg over the same cells locates it. PERMANOVA alone supports the claims of the
ladder. `p_any`, which is the more expensive question, stands beside it.

Where the emotions' numbers of units are unequal, a metric of location that has no robust form gets no p: a
difference in spread would be taken for one of location.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from moodlens.base.seeding import rng_for
from moodlens.stats.bootstrap import interval, unit_resamples
from moodlens.stats.design import Design, Unit
from moodlens.stats.gram import SiteGram, cosines
from moodlens.stats.location import MOST_UNEQUAL, choices, size_ratio
from moodlens.stats.metrics import METRICS, MetricSettings
from moodlens.stats.multiplicity import benjamini_hochberg, max_t, standard_scores
from moodlens.stats.permutation import p_values
from moodlens.stats.similarity import NaiveT, centred_cosines, naive_t
from moodlens.stats.units import Units, units_of

NULL_HIGH = 0.95
"""Quantile of the statistic under shuffled labels that the tables show."""

Levels = tuple[float | None, float | None, float | None, float | None]


@dataclass(frozen=True)
class Cell:
    """One metric at one site; None where it is not defined."""

    site: str
    metric: str
    statistic: str  # of PERMANOVA: pseudo_f or w_d_star; "" for the other metrics
    question: Literal["location", "any", "dispersion"]
    estimate: float
    low: float | None  # bootstrap over units; None where the metric has no valid bootstrap
    high: float | None
    within: float | None  # different units of one emotion
    between: float | None  # units of different emotions
    ceiling: float | None  # the same prompt twice: another seed
    fraction: float | None  # (within - between) / (ceiling - between)
    null_mean: float  # shuffled labels
    null_high: float  # their 95th percentile
    score: float  # (estimate - null_mean) in standard deviations over the relabellings
    p: float | None  # None where groups are unequal and the metric has no robust form
    p_max: float | None  # maxT over the cells of the family that have a p
    q: float | None  # Benjamini-Hochberg over the same cells
    naive: NaiveT | None  # for cosines only; descriptive, not a valid test


@dataclass(frozen=True)
class FamilyMetrics:
    """All cells of a family, sites in order, metrics in the order of `METRICS`."""

    cells: tuple[Cell, ...]
    p_any: float | None  # smallest adjusted p: does any metric detect emotion at any site?


def metric_sweep(
    families: Mapping[str, Sequence[SiteGram]],
    design: Design,
    unit: Unit,
    names: Sequence[str],
    settings: MetricSettings,
    n_permutations: int,
    n_bootstrap: int,
    confidence: float,
) -> dict[str, FamilyMetrics]:
    """Return the cells of every family.

    Args:
        families: name -> Gram matrices over the prompts of `design`.
        design: emotion and wording of every prompt.
        unit: whether prompts or wordings are relabelled and resampled.
        names: metrics, keys of `METRICS`.
        settings: of the metrics.
        n_permutations, n_bootstrap, confidence: of tests and intervals.

    Raises:
        ContractError: CCA's rank does not fit, debiased CKA has too few units, a site keeps no vectors.
    """
    sites = [site for family in families.values() for site in family]
    labels = design.unit_labels(unit)
    rng = rng_for("metrics", unit, settings.seed)
    table = design.relabellings(unit, n_permutations, rng)
    counts = unit_resamples(labels, n_bootstrap, rng_for("metrics", unit, "bootstrap", settings.seed))
    units = units_of(sites, design, unit)
    statistics = {name: METRICS[name].statistic(units, table, settings) for name in names}
    unequal = size_ratio(labels) > MOST_UNEQUAL
    kinds = [choice.statistic for choice in choices(units.grams, table)]
    bounds = {
        name: None
        if (draws := METRICS[name].draws) is None
        else interval(draws(units, labels, counts), confidence)
        for name in names
    }
    results, start = {}, 0
    for family, members in families.items():
        own = slice(start, start + len(members))
        stack = np.stack([statistics[name][own] for name in names], axis=1).reshape(-1, len(table))
        scores = standard_scores(stack)[:, 0]
        valid = np.array([METRICS[name].keeps_level(unequal) for _ in members for name in names])
        p, adjusted, q = (np.full(len(stack), np.nan) for _ in range(3))
        if valid.any():
            p[valid], adjusted[valid] = p_values(stack[valid]), max_t(stack[valid])
            q[valid] = benjamini_hochberg(p[valid])
        cells = []
        for i, (member, name) in enumerate(
            (member, name) for member in range(len(members)) for name in names
        ):
            at = start + member
            low, high = (None, None) if (b := bounds[name]) is None else (float(b[0][at]), float(b[1][at]))
            within, between, ceiling, fraction = _levels(units, METRICS[name].pairs, at, labels)
            cells.append(
                Cell(
                    site=sites[at].site,
                    metric=name,
                    statistic=kinds[at] if name == "permanova" else "",
                    question=METRICS[name].question,
                    estimate=float(stack[i, 0]),
                    low=low,
                    high=high,
                    within=within,
                    between=between,
                    ceiling=ceiling,
                    fraction=fraction,
                    null_mean=float(stack[i, 1:].mean()),
                    null_high=float(np.quantile(stack[i, 1:], NULL_HIGH)),
                    score=float(scores[i]),
                    p=float(p[i]) if valid[i] else None,
                    p_max=float(adjusted[i]) if valid[i] else None,
                    q=float(q[i]) if valid[i] else None,
                    naive=_naive(sites[at], name, design),
                )
            )
        p_any = float(adjusted[valid].min()) if valid.any() else None
        results[family] = FamilyMetrics(tuple(cells), p_any)
        start += len(members)
    return results


def _levels(units: Units, pairs: str, at: int, labels: np.ndarray) -> Levels:
    """Return within, between, ceiling and the fraction of the ceiling of a pairwise metric."""
    if not pairs:
        return None, None, None, None
    values = getattr(units, pairs)[at]
    rows, columns = np.triu_indices(len(labels), 1)
    same = labels[rows] == labels[columns]
    within, between = (float(values[rows[mask], columns[mask]].mean()) for mask in (same, ~same))
    ceiling = float(units.ceilings[pairs][at])
    if np.isnan(ceiling):
        return within, between, None, None
    return within, between, ceiling, (within - between) / (ceiling - between) if ceiling > between else None


def _naive(site: SiteGram, metric: str, design: Design) -> NaiveT | None:
    view = {"cosine_raw": lambda: cosines(site.values), "cosine_centred": lambda: centred_cosines(site)}.get(
        metric
    )
    return None if view is None else naive_t(view(), site.prompts, design.labels)

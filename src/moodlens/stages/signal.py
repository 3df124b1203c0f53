"""Stage `signal`: whether emotion separates the prompts, at which sites, and with what power.

The claims rest on PERMANOVA over each family of sites. Its statistic is pseudo-F, or W_d* where groups differ
in size or in spread. Beside it is a table of every site and metric with its controls: the same prompt twice,
another prompt of the emotion, shuffled labels, random twin, random tensors.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from moodlens.base.seeding import rng_for
from moodlens.params.pipeline import Params, Signal
from moodlens.stats.design import UNITS, Unit
from moodlens.stats.gram import SiteGram, site_gram
from moodlens.stats.metric_sweep import Cell, FamilyMetrics, metric_sweep
from moodlens.stats.metrics import MetricSettings
from moodlens.stats.site_names import CLAIM_UNITS, NOISE, site_columns, unit_of
from moodlens.stats.spending import level_at
from moodlens.stats.sweep import FamilySignal, SiteSignal, SweepSettings, sweep
from moodlens.store.run_record import Run, groups, stage_run
from moodlens.store.tables import write_metrics, write_plot
from moodlens.workspace.design import Workspace, open_workspace
from moodlens.workspace.sites import load_families
from moodlens.workspace.units import wordings_available


def run(params: Params, root: Path) -> Run:
    """Write metrics/signal.json, its two tables; return the run."""
    work = open_workspace(root)
    section = params.signal
    settings = SweepSettings(
        section.n_permutations,
        section.n_bootstrap,
        section.confidence,
        section.equivalence_delta,
        level_at(params.decide.alpha_weak, params.prompts.n_per_emotion, params.decide.looks),
        params.decide.equivalence_power,
        section.seed,
    )
    families = load_families(work, section.sites)
    results = {
        name: sweep(name, grams, work.design, settings, unit_of(name)) for name, grams in families.items()
    }
    table = metric_table(work, families, section)
    metrics: dict[str, Any] = {
        name: family_metrics(family, settings) | {"p_any": table[name].p_any}
        for name, family in results.items()
        if name in CLAIM_UNITS
    }
    if "twin_layers" in results:
        twin = results["twin_layers"]
        same = next(site for site in twin.sites if site.site == results["layers"].best.site)
        metrics["layers"] |= {
            "twin_effect": same.effect.effect,  # at the model's site: described only
            "twin_best": twin.best.site,
            "twin_best_effect": twin.best.effect.effect,
        }
    metrics["n_prompts"], metrics["n_emotions"] = work.design.n_prompts, work.design.n_classes
    metrics["n_wordings"] = len(work.design.unit_labels("wording"))
    metrics["wordings_available"] = wordings_available(params.prompts, root)
    metrics["strata"] = {"held": list(work.strata.held), "free": list(work.strata.free)}
    of_clips = [gram for name in ("layers", "music") for gram in families.get(name, [])]
    metrics["n_clips"] = max((len(gram.prompts) for gram in of_clips), default=0)
    write_metrics(metrics, root / "metrics" / "signal.json")
    write_plot(plot_rows(results), root / "metrics" / "signal_layers.csv")
    write_plot(metric_rows(table), root / "metrics" / "signal_metrics.csv")
    return stage_run("signal", params, groups(metrics), _family_runs(results, table))


def metric_table(
    work: Workspace, families: dict[str, list[SiteGram]], section: Signal
) -> dict[str, FamilyMetrics]:
    """Return every metric at every site; prompts are relabelled for the words, whole wordings elsewhere."""
    settings = MetricSettings(section.cca_rank, section.n_slices, section.dimension_threshold, section.seed)
    table = {}
    for unit in UNITS:
        chosen = {name: grams for name, grams in families.items() if unit_of(name) == unit}
        if unit == "wording" and "layers" in chosen:
            chosen[NOISE] = [random_tensors(chosen["layers"][0], section.seed)]
        if chosen:
            table |= metric_sweep(
                chosen,
                work.design,
                unit,
                section.metrics,
                settings,
                section.n_permutations,
                section.n_bootstrap,
                section.confidence,
            )
    return table


def random_tensors(like: SiteGram, seed: int) -> SiteGram:
    """Return a site of Gaussian numbers in the shape of another, on which every metric has no signal."""
    width = 1 if like.means is None else like.means.shape[1]
    noise = rng_for("signal", NOISE, seed).standard_normal((len(like.prompts), width))
    return site_gram(NOISE, noise, like.prompts)


def family_metrics(family: FamilySignal, settings: SweepSettings) -> dict[str, object]:
    """Return the main numbers of a family, as `dvc metrics diff` shows them."""
    best, equivalence = family.best, family.equivalence
    return {
        "best": best.site,
        "effect": best.effect.effect,
        "effect_low": best.effect.low,
        "effect_high": best.effect.high,
        "effect_raw": best.raw.effect,
        "ceiling": best.effect.ceiling,
        "ceiling_fraction": best.effect.fraction,
        "icc": best.icc,
        "f": best.test.f,
        "statistic": best.test.statistic,
        "n_w_d_star": sum(site.test.statistic == "w_d_star" for site in family.sites),
        "p_dispersion": min(site.test.p_dispersion for site in family.sites),
        "n_significant": sum(site.test.p_max < settings.alpha for site in family.sites),
        "unit": family.unit,
        "p": min(site.test.p_max for site in family.sites),
        "smallest_p": equivalence.smallest_p,
        "n_fixed_units": equivalence.n_fixed,
        "delta": settings.delta,
        "power": equivalence.power,
        "n_needed": equivalence.n_needed,
        "units_needed": equivalence.units_needed,
        "n_permutations": settings.n_permutations,
    }


def plot_rows(results: dict[str, FamilySignal]) -> pd.DataFrame:
    """Return one row per site: metrics/signal_layers.csv."""
    return pd.DataFrame(
        [_row(name, family.unit, site) for name, family in results.items() for site in family.sites]
    )


def metric_rows(table: dict[str, FamilyMetrics]) -> pd.DataFrame:
    """Return one row per site and metric: metrics/signal_metrics.csv."""
    return pd.DataFrame([_metric_row(name, cell) for name, family in table.items() for cell in family.cells])


def _metric_row(family: str, cell: Cell) -> dict[str, object]:
    return {
        **site_columns(family, cell.site),
        "unit": unit_of(family),
        "metric": cell.metric,
        "statistic": cell.statistic,
        "question": cell.question,
        "estimate": cell.estimate,
        "low": cell.low,
        "high": cell.high,
        "within": cell.within,
        "between": cell.between,
        "ceiling": cell.ceiling,
        "ceiling_fraction": cell.fraction,
        "shuffled_mean": cell.null_mean,
        "shuffled_95": cell.null_high,
        "score": cell.score,
        "p": cell.p,
        "p_maxt": cell.p_max,
        "q_bh": cell.q,
        "naive_t": None if cell.naive is None else cell.naive.t,
        "naive_p_descriptive": None if cell.naive is None else cell.naive.p,
    }


def _row(family: str, unit: Unit, site: SiteSignal) -> dict[str, object]:
    test = site.test
    return {
        **site_columns(family, site.site),
        "unit": unit,
        "effect": site.effect.effect,
        "low": site.effect.low,
        "high": site.effect.high,
        "effect_raw": site.raw.effect,
        "within": site.effect.within,
        "between": site.effect.between,
        "ceiling": site.effect.ceiling,
        "ceiling_fraction": site.effect.fraction,
        "icc": site.icc,
        "f": test.f,
        "statistic": test.statistic,
        "p_dispersion": test.p_dispersion,
        "p": test.p,
        "p_maxt": test.p_max,
        "q_bh": test.q,
        "naive_t": site.naive.t,
        "naive_p_descriptive": site.naive.p,
    }


def _family_runs(results: dict[str, FamilySignal], table: dict[str, FamilyMetrics]) -> list[Run]:
    """Return a run per family of sites with its curves, and in it a run per site."""
    family_runs = []
    for name, family in results.items():
        curves = {
            "effect": [site.effect.effect for site in family.sites],
            "f": [site.test.f for site in family.sites],
            "p_maxt": [site.test.p_max for site in family.sites],
        }
        tags = {"sites": ", ".join(site.site for site in family.sites)}
        site_runs = [_site_run(site, table[name]) for site in family.sites]
        numbers = _known({"p_any": table[name].p_any})
        family_runs.append(
            Run(f"signal/{name}", metrics=numbers, curves=curves, tags=tags, children=site_runs)
        )
    return family_runs


def _site_run(site: SiteSignal, family: FamilyMetrics) -> Run:
    cells = [cell for cell in family.cells if cell.site == site.site]
    numbers = {cell.metric: cell.estimate for cell in cells}
    numbers |= _known({f"{cell.metric}.p_maxt": cell.p_max for cell in cells})
    return Run(site.site, metrics=numbers | {"effect": site.effect.effect})


def _known(numbers: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in numbers.items() if value is not None}

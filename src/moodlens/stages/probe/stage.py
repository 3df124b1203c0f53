"""Stage `probe`: can a linear probe read emotion at each site from prompts, and wordings, it never saw?"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from moodlens.base.errors import UsageError, must
from moodlens.base.seeding import rng_for
from moodlens.codes.histograms import range_of_medians
from moodlens.params.pipeline import Params, Probe
from moodlens.probes.controls import Comparison, Difference, difference
from moodlens.probes.family import FamilyProbe, ProbeSettings, probe_family
from moodlens.probes.site_readings import Reading, read_sites
from moodlens.stages.probe import layers
from moodlens.stages.probe.layers import Gains
from moodlens.stages.signal import RUNG_UNIT, load_families
from moodlens.stats.design import UNITS, Design, Unit
from moodlens.store.tables import write_metrics, write_plot
from moodlens.store.tracking import Run, log_runs
from moodlens.workspace import sites
from moodlens.workspace.design import open_workspace

Found = dict[str, dict[Unit, FamilyProbe]]
Readings = dict[str, tuple[Reading, ...]]

RUNG_OF = {"words": "words", "text": "text_code", "music": "music", "layers": "layers"}
REQUIRED = {"text": ("words", "twin_text"), "music": ("words",), "layers": ("words", "twin_layers")}
"""Baselines that a family must beat on the same folds; `BESIDE` are shown only."""
BESIDE = {"layers": ("text",)}
SAID = {
    "words": "bag of words",
    "twin_text": "random text encoder",
    "twin_layers": "random twin",
    "text": "text encoder",
}


def run(params: Params, root: Path) -> None:
    """Write metrics/probe.json, metrics/probe_layers.csv, metrics/probe_directions.csv and MLflow runs."""
    section = params.probe
    if "bow" not in section.sites:
        rule, got = "hold bow, the lexical baseline of every other site", list(section.sites)
        raise UsageError(must("probe.sites", rule, got, where="params.yaml", next_step="Add bow"))
    if "layers" in section.sites and "text" not in section.sites:
        rule, got = "hold text beside layers", list(section.sites)
        raise UsageError(must("probe.sites", rule, got, where="params.yaml", next_step="Add text"))
    work = open_workspace(root)
    settings = ProbeSettings(
        section.n_folds,
        section.ridge,
        section.n_permutations,
        section.n_bootstrap,
        section.confidence,
        section.seed,
        section.ridge_grid,
    )
    families = load_families(work, section.sites)
    found: Found = {
        name: {unit: probe_family(grams, work.design, unit, settings) for unit in UNITS}
        for name, grams in families.items()
    }
    columns = layers.prompt_columns(work)
    readings = {name: read_sites(grams, work.design, columns, settings) for name, grams in families.items()}
    gains = layers.gains_beyond(families, work.design, settings)
    metrics: dict[str, Any] = {
        RUNG_OF[name]: rung_metrics(name, found, work.design, section)
        | reading_metrics(name, found, readings, gains)
        for name in found
        if name in RUNG_OF
    }
    if "acoustics" in section.sites:
        spread, slow, fast = range_of_medians(*sites.tempos(work))
        names = work.design.emotions
        metrics["music"] |= {"tempo_bpm": spread, "tempo_slowest": names[slow], "tempo_fastest": names[fast]}
    metrics["n_prompts"], metrics["n_emotions"] = work.design.n_prompts, work.design.n_classes
    metrics["chance"] = 1 / work.design.n_classes
    write_metrics(metrics, root / "metrics" / "probe.json")
    rows = plot_rows(found, readings, gains)
    write_plot(rows, root / "metrics" / "probe_layers.csv")
    angles = layers.direction_rows(families, work.design, columns, section.seed)
    write_plot(angles, root / "metrics" / "probe_directions.csv")
    log_runs(root, "probe", _logged(found, readings, rows, params))


def reading_metrics(name: str, found: Found, readings: Readings, gains: Gains) -> dict[str, object]:
    """Return what else the best site of a family tells."""
    best = found[name][RUNG_UNIT[name]].best.site
    reading = next(reading for reading in readings[name] if reading.site == best)
    row = _reading_row(reading) | _gain_row(gains, name, best)
    del row["control_accuracy"]  # accuracy minus selectivity; in the table
    return row


def _reading_row(reading: Reading) -> dict[str, object]:
    valence, arousal = reading.valence, reading.arousal
    return {
        "r2_valence": None if valence is None else valence.r2,
        "p_valence": None if valence is None else valence.p,
        "r2_arousal": None if arousal is None else arousal.r2,
        "p_arousal": None if arousal is None else arousal.p,
        "by_template": reading.by_template,
        "control_accuracy": reading.control_accuracy,
        "control_selectivity": reading.control_selectivity,
        "mdl_bits": reading.mdl_bits,
    }


def _gain_row(gains: Gains, family: str, site: str) -> dict[str, object]:
    row: dict[str, object] = {}
    for base in layers.BASES:
        if (found := gains.get((family, base), {}).get(site)) is not None:
            name = f"partial_r2_{base}"
            row |= {name: found.partial_r2, f"{name}_low": found.low, f"{name}_high": found.high}
    return row


def rung_metrics(name: str, found: Found, design: Design, section: Probe) -> dict[str, object]:
    """Return what the ladder needs of a family: its best site on the rung's own folds, and its baselines."""
    unit = RUNG_UNIT[name]
    family = found[name][unit]
    best = family.best
    by_prompt = next(site for site in found[name]["prompt"].sites if site.site == best.site)
    metrics: dict[str, object] = {
        "best": best.site,
        "accuracy": best.accuracy,
        "low": best.low,
        "high": best.high,
        "accuracy_by_prompt": by_prompt.accuracy,
        "ridge_accuracy": best.ridge_accuracy,
        "permuted_extreme": family.permuted_extreme,
        "selectivity": best.selectivity,
        "p": family.p,
        "smallest_p": family.smallest_p,
        "n_permutations": section.n_permutations,
        "unit": unit,
        "n_units": len(design.unit_labels(unit)),
    }
    for group, names in (("baselines", REQUIRED), ("beside", BESIDE)):
        metrics[group] = {
            SAID[other]: _said(_against(other, family, found, design, unit, section))
            for other in names.get(name, ())
        }
    return metrics


def _against(
    other: str, family: FamilyProbe, found: Found, design: Design, unit: Unit, section: Probe
) -> Difference:
    """Return the paired difference to a baseline; the random twin of a layer is the same layer."""
    best = family.best
    baseline = found[other][unit]
    names = [site.site for site in family.sites]
    by_site = {site.site: site.correct for site in baseline.sites}
    same = set(names) <= set(by_site)
    floor = np.stack([by_site[name] for name in names]) if same else baseline.best.correct
    correct = np.stack([site.correct for site in family.sites])
    rng = rng_for("difference", best.site, other, unit, section.seed)
    how = Comparison(section.n_folds, section.n_bootstrap, section.n_permutations, section.confidence)
    return difference(SAID[other], correct, names.index(best.site), floor, design, unit, how, rng)


def _said(found: Difference) -> dict[str, float]:
    said = asdict(found)
    del said["baseline"]
    return said


def plot_rows(found: Found, readings: Readings, gains: Gains) -> pd.DataFrame:
    """Return one row per site: what metrics/probe_layers.csv holds; baselines repeat as columns."""
    rows = []
    for name, family in found.items():
        by_prompt, by_wording = family["prompt"].sites, family["wording"].sites
        for site, held_out, reading in zip(by_prompt, by_wording, readings[name], strict=True):
            hookpoint, layer, half = sites.place_of(site.site) if "layers" in name else (site.site, None, "")
            rows.append(
                {
                    "family": name,
                    "site": hookpoint,
                    "layer": pd.NA if layer is None else layer,
                    "half": half,
                    "model": "twin" if name.startswith("twin") else "model",
                    "accuracy": held_out.accuracy,
                    "low": held_out.low,
                    "high": held_out.high,
                    "p": held_out.p,
                    "p_maxt": held_out.p_max,
                    "ridge_accuracy": held_out.ridge_accuracy,
                    "selectivity": held_out.selectivity,
                    "accuracy_by_prompt": site.accuracy,
                    "low_by_prompt": site.low,
                    "high_by_prompt": site.high,
                    "p_by_prompt": site.p,
                    "p_maxt_by_prompt": site.p_max,
                    **_reading_row(reading),
                    **_gain_row(gains, name, site.site),
                    **_twin_row(found, name, site.site),
                }
            )
    frame = pd.DataFrame(rows)
    for name, column in (("words", "bow_accuracy"), ("text", "text_accuracy")):
        frame[column] = found[name]["wording"].best.accuracy if name in found else pd.NA
    music = found["music"]["wording"].sites if "music" in found else ()
    heard = [site.accuracy for site in music if site.site == "acoustics"]
    frame["acoustics_accuracy"] = heard[0] if heard else pd.NA
    return frame


def _twin_row(found: Found, family: str, site: str) -> dict[str, object]:
    twins = found["twin_layers"]["wording"].sites if family == "layers" and "twin_layers" in found else ()
    same = [twin.accuracy for twin in twins if twin.site == site]
    return {"twin_accuracy": same[0]} if same else {}


def _logged(found: Found, readings: Readings, rows: pd.DataFrame, params: Params) -> Run:
    """Return the MLflow runs: a run per family of sites with its accuracies, in it a run per site."""
    children = []
    for name, family in found.items():
        curves = {f"accuracy_by_{unit}": [site.accuracy for site in family[unit].sites] for unit in UNITS} | {
            f"p_maxt_by_{unit}": [site.p_max for site in family[unit].sites] for unit in UNITS
        }
        numbers = {f"best_by_{unit}": family[unit].best.accuracy for unit in UNITS}
        tags = {"sites": ", ".join(site.site for site in family["prompt"].sites)}
        own = rows[rows["family"] == name].select_dtypes("number")
        runs = [
            Run(reading.site, metrics={str(key): float(value) for key, value in row.dropna().items()})
            for reading, (_, row) in zip(readings[name], own.iterrows(), strict=True)
        ]
        children.append(Run(f"probe/{name}", metrics=numbers, curves=curves, tags=tags, children=runs))
    numbers = {
        f"{RUNG_OF[name]}.accuracy": found[name][RUNG_UNIT[name]].best.accuracy
        for name in found
        if name in RUNG_OF
    }
    return Run(
        "probe", {"probe": vars(params.probe), "model": vars(params.model)}, numbers, children=children
    )

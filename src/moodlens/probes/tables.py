"""Results of the probes of all families, as the rows and numbers of their files.

Accuracy, interval and comparisons of a rung are those of the probe that chooses its site and penalty inside
each training fold, the model's and every baseline's alike. The table of sites gives every site by itself; the
accuracy of an untrained layer beside the same layer of the model describes and carries no claim.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from moodlens.base.seeding import rng_for
from moodlens.probes.controls import Comparison, Difference, difference
from moodlens.probes.directions import BASES, Gains
from moodlens.probes.family import FamilyProbe, NestedProbe, ProbeSettings
from moodlens.probes.site_scores import SiteScores
from moodlens.probes.transfer import Transfer
from moodlens.stats.design import Design, Unit
from moodlens.stats.sign_flip import smallest_gain_p
from moodlens.stats.site_names import CLAIM_UNITS, site_columns

RUNG_OF = {"words": "words", "text": "text_code", "music": "music", "layers": "layers"}
"""Family of sites -> rung of the ladder."""
REQUIRED = {
    "text": ("words", "company", "twin_text"),
    "music": ("words", "nuisance"),
    "layers": ("words", "twin_layers"),
}
"""Baselines that a family must exceed on the same folds, where they were measured."""
BESIDE = {"layers": ("text",)}
"""Baselines that are reported without a condition."""
TRANSFER_BESIDE = ("words", "twin_text")
"""Baselines whose transfer between prompt sets is reported beside that of the text encoder."""
BASELINE_NAMES = {
    "words": "bag of words",
    "company": "company of the words",
    "nuisance": "nuisance words",
    "twin_text": "random text encoder",
    "twin_layers": "random twin",
    "text": "text encoder",
}


@dataclass(frozen=True)
class ProbeResults:
    """The probes of every family of sites."""

    design: Design
    settings: ProbeSettings
    families: Mapping[str, Mapping[Unit, FamilyProbe]]  # by the unit that folds keep whole; wording for all
    by_prompt: Mapping[
        str, Float[np.ndarray, " site"]
    ]  # accuracy with folds by prompt, of the rungs' families
    readers: Mapping[str, NestedProbe]  # further baselines, folds by wording
    scores: Mapping[str, tuple[SiteScores, ...]]  # further scores of each site
    gains: Gains
    transfer: Mapping[str, Transfer]  # `text`, and its baselines for comparison


def metrics_of(results: ProbeResults) -> dict[str, dict[str, object]]:
    """Return the metrics of every rung: what the ladder reads, then further scores of the best site."""
    return {
        RUNG_OF[family]: rung_metrics(results, family) | _score_metrics(results, family)
        for family in results.families
        if family in RUNG_OF
    }


def rung_metrics(results: ProbeResults, name: str) -> dict[str, object]:
    """Return what the ladder reads of a family: its probe on the rung's own folds, and its baselines."""
    unit = CLAIM_UNITS[name]
    family = results.families[name][unit]
    best = family.best
    nested = family.nested
    metrics: dict[str, object] = {
        "best": best.site,
        "chosen": sorted(set(nested.chosen), key=nested.chosen.index),
        "accuracy": nested.accuracy,
        "low": nested.low,
        "high": nested.high,
        "accuracy_at_best": best.accuracy,
        "accuracy_by_prompt": float(results.by_prompt[name][family.sites.index(best)]),
        "ridge_accuracy": best.ridge_accuracy,
        "permuted_extreme": family.permuted_extreme,
        "selectivity": best.selectivity,
        "p": family.p,
        "smallest_p": family.smallest_p,
        "smallest_p_of_baselines": smallest_gain_p(
            len(results.design.unit_labels(unit)), results.settings.n_folds, results.settings.n_permutations
        ),
        "n_permutations": results.settings.n_permutations,
        "unit": unit,
        "n_units": len(results.design.unit_labels(unit)),
        "n_folds": results.settings.n_folds,
    }
    for group, names in (("baselines", REQUIRED), ("beside", BESIDE)):
        metrics[group] = {
            BASELINE_NAMES[other]: _numbers(_against(results, name, other))
            for other in names.get(name, ())
            if other in results.readers or other in results.families
        }
    if name in results.transfer:
        metrics["transfer"] = _transfer(results, name)
    return metrics


def _transfer(results: ProbeResults, name: str) -> dict[str, object]:
    """Return the transfer of a family between prompt sets, and that of its baselines beside it."""
    found = results.transfer[name]
    names = ("n_train", "n_test", "accuracy", "p", "p_max")
    directions = {
        f"{each.train} to {each.test}": {key: getattr(each, key) for key in names}
        for each in found.directions
    }
    beside = {BASELINE_NAMES[other]: each for other, each in results.transfer.items() if other != name}
    return {
        "p": found.p,
        "smallest_p": found.smallest_p,
        "p_code": found.p_code,
        "smallest_p_code": found.smallest_p_code,
        "mean_accuracy": found.mean_accuracy,
        "not_tested": found.not_tested,
        "directions": directions,
        "beside": {
            other: {"p": each.p, "mean_accuracy": each.mean_accuracy} for other, each in beside.items()
        },
    }


def _against(results: ProbeResults, name: str, other: str) -> Difference:
    """Return the paired difference from a baseline; each chooses its own site in the same folds."""
    unit, settings = CLAIM_UNITS[name], results.settings
    family = results.families[name][unit]
    baseline = results.readers[other] if other in results.readers else results.families[other][unit].nested
    rng = rng_for("difference", family.best.site, other, unit, settings.seed)
    how = Comparison(settings.n_folds, settings.n_bootstrap, settings.n_permutations, settings.confidence)
    own, floor = family.nested.correct[None], baseline.correct
    return difference(BASELINE_NAMES[other], own, 0, floor, results.design, unit, how, rng)


def _numbers(difference: Difference) -> dict[str, float]:
    numbers = asdict(difference)
    del numbers["baseline"]
    return numbers


def _score_metrics(results: ProbeResults, name: str) -> dict[str, object]:
    """Return the further scores of the best site of a family."""
    best = results.families[name][CLAIM_UNITS[name]].best.site
    scores = next(scores for scores in results.scores[name] if scores.site == best)
    row = _score_columns(scores) | _gain_columns(results.gains, name, best)
    del row["control_accuracy"]  # accuracy minus selectivity; in the table
    return row


def _score_columns(scores: SiteScores) -> dict[str, object]:
    valence, arousal = scores.valence, scores.arousal
    return {
        "r2_valence": None if valence is None else valence.r2,
        "p_valence": None if valence is None else valence.p,
        "r2_arousal": None if arousal is None else arousal.r2,
        "p_arousal": None if arousal is None else arousal.p,
        "by_template": scores.by_template,
        "control_accuracy": scores.control_accuracy,
        "control_selectivity": scores.control_selectivity,
        "mdl_bits": scores.mdl_bits,
    }


def _gain_columns(gains: Gains, family: str, site: str) -> dict[str, object]:
    row: dict[str, object] = {}
    for base in BASES:
        if (gain := gains.get((family, base), {}).get(site)) is not None:
            name = f"partial_r2_{base}"
            row |= {name: gain.partial_r2, f"{name}_low": gain.low, f"{name}_high": gain.high}
    return row


def plot_rows(results: ProbeResults) -> pd.DataFrame:
    """Return one row per site: metrics/probe_layers.csv. Baselines and chance repeat as columns."""
    rows = []
    families = results.families
    for name, family in families.items():
        by_prompt = results.by_prompt.get(name, np.full(len(results.scores[name]), np.nan))
        columns = zip(family["wording"].sites, by_prompt, results.scores[name], strict=True)
        for held_out, met, scores in columns:
            rows.append(
                {
                    **site_columns(name, held_out.site),
                    "accuracy": held_out.accuracy,
                    "low": held_out.low,
                    "high": held_out.high,
                    "p": held_out.p,
                    "p_maxt": held_out.p_max,
                    "ridge_accuracy": held_out.ridge_accuracy,
                    "selectivity": held_out.selectivity,
                    "accuracy_by_prompt": float(met),
                    **_score_columns(scores),
                    **_gain_columns(results.gains, name, held_out.site),
                    **_twin_column(results, name, held_out.site),
                }
            )
    frame = pd.DataFrame(rows)
    for name, column in (("words", "bow_accuracy"), ("text", "text_accuracy")):
        frame[column] = families[name]["wording"].best.accuracy if name in families else pd.NA
    music = families["music"]["wording"].sites if "music" in families else ()
    acoustics = [site.accuracy for site in music if site.site == "acoustics"]
    frame["acoustics_accuracy"] = acoustics[0] if acoustics else pd.NA
    frame["accuracy_null"] = 1 / results.design.n_classes
    return frame


def _twin_column(results: ProbeResults, family: str, site: str) -> dict[str, object]:
    if family != "layers" or "twin_layers" not in results.families:
        return {}
    twins = results.families["twin_layers"]["wording"].sites
    same = [twin.accuracy for twin in twins if twin.site == site]
    return {"twin_accuracy": same[0]} if same else {}

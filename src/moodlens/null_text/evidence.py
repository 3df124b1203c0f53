"""The finding on null-text states in numbers: every score of them beside its controls, as flat metrics."""

from collections.abc import Sequence
from dataclasses import dataclass

from moodlens.contracts.tensors import MEMORIES
from moodlens.null_text.learning_curve import Point
from moodlens.null_text.readers import SwapShares
from moodlens.null_text.regression import Partial, TargetScore, Told
from moodlens.null_text.step_probe import StepProbe
from moodlens.null_text.untrained_memory import Comparison, MemoryTest
from moodlens.stats.sweep import FamilySignal

REQUIRED = ("random decoder, trained text", "random twin")
"""Single states of the same architecture untrained, fed the same tokens; described beside the state."""
SAID = {"random_decoder": REQUIRED[0], "twin": REQUIRED[1], "model": "state"}
DECODERS = tuple(SAID)
UNTRAINED = "untrained decoder, "
"""Begins the names of the families of untrained decoders; one of MEMORIES follows."""
HISTORIES = ("token history, reduced", "codec history, reduced")
NETWORK_FAMILIES = ("echo state network", "recurrent reader")
LAYERS_OF = {**dict.fromkeys(HISTORIES, ("",)), **dict.fromkeys(NETWORK_FAMILIES, MEMORIES)}
"""Family without layers -> what its sites have in their place."""


@dataclass(frozen=True)
class StateEvidence:
    """Everything measured for the finding; `partial` is None where the design is too small for it."""

    signal: FamilySignal  # PERMANOVA of mean states
    probe: StepProbe
    steps: tuple[int, ...]
    hookpoints: tuple[str, ...]
    memory: MemoryTest  # few prompts; the comparison that may carry a claim
    whole_curve: tuple[Point, ...]  # means over the clip
    partial: Partial | None
    readings: tuple[TargetScore, ...]
    factors: tuple[Told, ...]
    swaps: dict[str, SwapShares]  # reader -> shares, states averaged over the clip
    early_swap: SwapShares  # the model at the first kept step


def site_name(evidence: StateEvidence, site: int, layers: Sequence[str] | None = None) -> str:
    """Return the name of a site of the grid, e.g. residual.2 at step 31.

    Args:
        evidence: holds the steps, and the hookpoints of the decoders.
        site: step * len(layers) + layer.
        layers: what stands in place of the hookpoints; None: the hookpoints.
    """
    names = evidence.hookpoints if layers is None else layers
    step, layer = divmod(site, len(names))
    return " at ".join(part for part in (names[layer], f"step {evidence.steps[step]}") if part)


def rung_metrics(
    evidence: StateEvidence, *, delta: float, n_permutations: int, n_units: int
) -> dict[str, object]:
    """Return the metrics of the finding: the fields that `decide` reads, then what stands beside them."""
    probe, signal = evidence.probe, evidence.signal
    equivalence = signal.equivalence
    beside = {
        difference.baseline: {
            "accuracy": difference.accuracy,
            "difference": difference.difference,
            "low": difference.low,
            "high": difference.high,
            "p": difference.p,
        }
        for difference in probe.differences
    }
    memory = evidence.memory
    metrics: dict[str, object] = {
        "best": site_name(evidence, probe.best),
        "accuracy": probe.accuracy,
        "low": probe.low,
        "high": probe.high,
        "accuracy_by_prompt": probe.accuracy_by_prompt,
        "ridge_accuracy": probe.ridge_accuracy,
        "permuted_extreme": probe.permuted_extreme,
        "selectivity": probe.selectivity,
        "p": probe.p,
        "smallest_p": max(probe.smallest_p, equivalence.smallest_p),
        "n_permutations": n_permutations,
        "unit": probe.unit,
        "n_units": n_units,
        "baselines": {each.family: _against(each) for each in (*memory.families, memory.best)},
        "beside": beside,
        "few_shot": {
            "area": memory.area,
            "low": memory.low,
            "high": memory.high,
            "p": memory.p,
            "shots": list(memory.shots),
            "sites": [site_name(evidence, site) for site in memory.chosen],
            "families": {each.family: _family(evidence, each) for each in memory.families},
        },
        "effect": signal.best.effect.effect,
        "effect_low": signal.best.effect.low,
        "effect_high": signal.best.effect.high,
        "p_signal": min(site.test.p_max for site in signal.sites),
        "delta": delta,
        "power": equivalence.power,
        "n_needed": equivalence.n_needed,
    }
    metrics |= _partial(evidence.partial) | _few_shots(evidence.whole_curve)
    for reading in evidence.readings:
        metrics[f"{reading.target}_r2"] = reading.value
        metrics[f"{reading.target}_p"] = reading.p
        metrics[f"{reading.target}_over_random_low"] = min(reading.leads[name].low for name in REQUIRED)
    own, random = evidence.swaps["state"], evidence.swaps[REQUIRED[0]]
    return metrics | {
        "swap_own": own.own,
        "swap_null": own.null,
        "swap_read_as_music": own.swapped_music,
        "swap_read_as_text": own.swapped_text,
        "swap_random_read_as_music": random.swapped_music,
        "swap_random_read_as_text": random.swapped_text,
        "first_step_own": evidence.early_swap.own,
        "first_step_null": evidence.early_swap.null,
    }


def factor_metrics(factors: Sequence[Told]) -> dict[str, object]:
    """Return what is known of each factor: its reading, what it follows, its lead over every other reader."""
    return {
        told.reading.target: {
            "r2": told.reading.value,
            "low": told.reading.low,
            "high": told.reading.high,
            "p": told.reading.p,
            "asked_by": told.asked_by,
            "prompted_r": told.prompted_r,
            "prompted_p": told.prompted_p,
            "leads": {name: vars(lead) for name, lead in told.reading.leads.items()},
        }
        for told in factors
    }


def _against(found: Comparison) -> dict[str, float]:
    """Return a family's few-shot area and the model's lead in the fields of a baseline."""
    return {
        "accuracy": found.area,
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "p": found.p,
    }


def _family(evidence: StateEvidence, found: Comparison) -> dict[str, object]:
    """Return both p of a family and the site that most folds of all its draws chose."""
    sites = [site for draw in found.chosen for site in draw]
    usual = max(set(sites), key=sites.count)
    return {
        "n_draws": found.n_draws,
        "p_wordings": found.p_wordings,
        "p_draws": found.p_draws,
        "site": site_name(evidence, usual, LAYERS_OF.get(found.family)),
    }


def _partial(partial: Partial | None) -> dict[str, object]:
    values = (
        (None,) * 5
        if partial is None
        else (partial.value, partial.low, partial.high, partial.p, partial.base_r2)
    )
    names = ("partial_r2", "partial_r2_low", "partial_r2_high", "partial_r2_p", "acoustics_r2")
    return dict(zip(names, values, strict=True))


def _few_shots(curve: Sequence[Point]) -> dict[str, object]:
    """Return the points of the smallest training set: the state's accuracy, and its lead over the others."""
    fewest = min(point.n_shots for point in curve)
    metrics: dict[str, object] = {"whole_shots": fewest}
    for point in (point for point in curve if point.n_shots == fewest):
        if point.reader == SAID["model"]:
            metrics["whole_shots_accuracy"] = point.accuracy
        elif point.reader not in REQUIRED:
            name = f"whole_shots_over_{point.reader.replace(' ', '_')}"
            metrics |= {name: point.difference, f"{name}_low": point.low, f"{name}_high": point.high}
    return metrics

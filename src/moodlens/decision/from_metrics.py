"""Evidence of the rungs, check and findings, and measurements of the gates, from the stages' metrics."""

from collections.abc import Mapping
from typing import Any

from moodlens.base.errors import ContractError, must
from moodlens.decision.evidence import Baseline, Evidence, Gain, TransferEvidence
from moodlens.decision.gates import Measured

SIGNAL_OF = {"words": "words", "text_code": "text", "music": "music", "layers": "layers"}
"""Rung, check `words` or finding `layers` -> family of sites in the metrics of `signal`."""
WITHOUT_EFFECT = ("words",)
"""Those without a condition on the effect: the similarity of texts measures how often they repeat words, not
what the words mean."""
FROM_PROBE = (
    "unit", "n_permutations", "smallest_p", "accuracy", "low", "high", "ridge_accuracy",
    "permuted_extreme", "p",
)  # fmt: skip
OF_RUNGS = ("n_units", "n_folds", "units_needed", "units_available")
FROM_SIGNAL = ("effect", "effect_low", "effect_high", "delta", "power", "n_needed")


def evidence_of(
    signal: Mapping[str, Any], probe: Mapping[str, Any], null_text: Mapping[str, Any]
) -> dict[str, Evidence]:
    """Return the evidence of what `probe` measured, and that of states under null text under `null_text`.

    The number of relabellings and the smallest p are the less favourable ones of the two tests. So is p where
    a site of the family is tested by W_d*: a probe reads a difference in spread too, and W_d* does not.

    Raises:
        ContractError: `signal` did not measure a family that `probe` measured.
    """
    evidence = {}
    for rung, family in SIGNAL_OF.items():
        if rung not in probe:
            continue
        if family not in signal:
            advice = "Give signal.sites the sites of probe.sites"
            raise ContractError(
                must("metrics/signal.json", f"hold the family '{family}'", "none", next_step=advice)
            )
        own, other = probe[rung], signal[family]
        both = {**own, **{name: other[name] for name in FROM_SIGNAL}, "p_signal": other["p"]}
        if other["n_w_d_star"]:
            both["p"] = max(own["p"], other["p"])
        both["units_needed"] = other["units_needed"]
        both["units_available"] = signal["wordings_available"]
        both["n_permutations"] = min(own["n_permutations"], other["n_permutations"])
        both["smallest_p"] = max(own["smallest_p"], other["smallest_p"])
        if rung in WITHOUT_EFFECT:
            both["effect"] = None
        evidence[rung] = _evidence(both, probe)
    if "state" in null_text:
        evidence["null_text"] = _evidence(null_text["state"], probe)
    return evidence


def _evidence(numbers: Mapping[str, Any], probe: Mapping[str, Any]) -> Evidence:
    return Evidence(
        site=numbers["best"],
        n_emotions=probe["n_emotions"],
        n_per_emotion=probe["n_prompts"] / probe["n_emotions"],
        baselines=_baselines(numbers["baselines"]),
        beside=_baselines(numbers["beside"]),
        gains=tuple(Gain(name, **gain) for name, gain in numbers.get("gains", {}).items()),
        transfer=_transfer(numbers.get("transfer")),
        **{name: numbers[name] for name in OF_RUNGS if "units_available" in numbers},
        **{name: numbers[name] for name in (*FROM_PROBE, *FROM_SIGNAL, "p_signal")},
    )


def _baselines(baselines: Mapping[str, Mapping[str, float]]) -> tuple[Baseline, ...]:
    return tuple(Baseline(name, **numbers) for name, numbers in baselines.items())


def _transfer(numbers: Mapping[str, Any] | None) -> TransferEvidence | None:
    if numbers is None:
        return None
    p, smallest = numbers["p_code"], numbers["smallest_p_code"]
    return TransferEvidence(p, smallest, numbers["mean_accuracy"], numbers["not_tested"])


def measured_of(
    signal: Mapping[str, Any], relate: Mapping[str, Any], geometry: Mapping[str, Any]
) -> Measured:
    """Return the measurements that the gates compare; None from a stage that did not run."""
    layers = signal.get("layers", {})
    return Measured(
        clips_per_emotion=signal["n_clips"] / signal["n_emotions"],
        effect=layers.get("effect"),
        p_layers=layers.get("p"),
        acoustic_match=relate.get("acoustic_match"),
        silhouette=geometry.get("silhouette"),
    )

"""Stage `decide`: the verdict on every rung of the ladder, the gates before SAE training, the look it is.

This run as a pilot: how many prompts its thresholds need, from a layer's spectrum and ICC.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from moodlens.base.errors import ContractError, must
from moodlens.base.seeding import rng_for
from moodlens.decision.evidence import Baseline, Evidence, Gain
from moodlens.decision.factors import judge_factor
from moodlens.decision.gates import Gate, Measured, closed, gates_of
from moodlens.decision.interim_looks import at_look, look_of
from moodlens.decision.ladder import Rung, decide
from moodlens.decision.summary import summary_of
from moodlens.params.pipeline import Decide, Params
from moodlens.stats.design import Unit
from moodlens.stats.gram import SiteGram, group_means, prompt_grams
from moodlens.stats.power import Threshold, pilot_of, power_table
from moodlens.stats.similarity import prompt_icc
from moodlens.store.tables import read_metrics, write_metrics, write_plot
from moodlens.workspace import sites
from moodlens.workspace.design import Workspace, open_workspace

POWERS = (0.8, 0.9)
UNIT: Unit = "wording"


def power_rows(work: Workspace, params: Params, thresholds: Decide, best: str) -> pd.DataFrame:
    """Return the prompts per emotion that each threshold needs, one row per threshold and power.

    Args:
        work: the workspace whose layers are the pilot.
        params: of the run; its signal seed seeds the simulation.
        thresholds: with the levels of this look.
        best: the layer that stands for the pilot, as signal.json names it.
    """
    family = sites.layers(work, twin=False)
    site = next(found for found in family if found.site == best)
    design = work.design
    members = design.members(UNIT)
    unit_gram = group_means(prompt_grams([site])[0], members)
    pilot = pilot_of(
        unit_gram,
        design.unit_labels(UNIT),
        _icc(site, work),
        len(site.prompts) / design.n_prompts,
        design.n_prompts / (members.max() + 1),
    )
    asked = {
        f"{kind} {level}": Threshold(kind, value, alpha / len(family))
        for level, alpha, effect, accuracy in (
            ("weak", thresholds.alpha_weak, thresholds.effect_weak, thresholds.accuracy_weak),
            ("strong", thresholds.alpha_strong, thresholds.effect_strong, thresholds.accuracy_strong),
        )
        for kind, value in (("effect", effect), ("accuracy", accuracy))
    }
    needs = power_table(pilot, asked, POWERS, rng_for("power", best, params.signal.seed))
    return pd.DataFrame([asdict(need) for need in needs])


def _icc(site: SiteGram, work: Workspace) -> float:
    """Return the ICC of prompts; with one clip per prompt it is unknown, and 1 is assumed."""
    found = prompt_icc(site, work.design.labels)
    return 1.0 if found is None else found


SIGNAL_OF = {"words": "words", "text_code": "text", "music": "music", "layers": "layers"}
NO_EFFECT_ASKED = ("words",)
"""Rungs without a condition on the effect: how alike texts are says how often they repeat words, not what the
words tell."""
FROM_PROBE = (
    "unit", "n_permutations", "smallest_p", "accuracy", "low", "high", "ridge_accuracy",
    "permuted_extreme", "p",
)  # fmt: skip
FROM_SIGNAL = ("effect", "effect_low", "effect_high", "delta", "power", "n_needed")


def run(params: Params, root: Path) -> None:
    """Write metrics/decide.json, metrics/summary.json and metrics/decide_power.csv.

    Raises:
        UsageError: the number of prompts is none of the planned looks.
        ContractError: a metric that a rung needs is absent; a threshold lies below the smallest p.
    """
    folder = root / "metrics"
    signal: dict[str, Any] = read_metrics(folder / "signal.json")
    probe = read_metrics(folder / "probe.json")
    files = (_optional(folder / f"{name}.json") for name in ("null_text", "relate", "geometry"))
    state, relate, geometry = files
    look = look_of(params.prompts.n_per_emotion, params.decide)
    thresholds = at_look(params.decide, look)
    evidence = evidence_of(signal, probe)
    if "state" in state:
        evidence["state"] = state_evidence(state["state"], probe)
    decision = decide(evidence, thresholds)
    rung_of = {rung.name: rung for rung in decision.rungs}
    gates = gates_of(measured_of(signal, relate, geometry), params.decide)
    write_metrics(
        {
            "headline": decision.headline,
            "highest_rung": decision.highest,
            "look": asdict(look),
            "gates": {
                "passed": not closed(gates),
                "failed": list(closed(gates)),
                **{gate.name: _gate(gate) for gate in gates},
            },
            "factors": {
                name: asdict(judge_factor(name, found, thresholds, rung_of["state"].verdict))
                for name, found in state.get("factors", {}).items()
            },
            "layers": _said(decision.layers),
            **{rung.name: _said(rung) for rung in decision.rungs},
        },
        folder / "decide.json",
    )
    write_metrics(summary_of(decision, signal, relate), folder / "summary.json")
    if "layers" in signal:
        work = open_workspace(root)
        table = power_rows(work, params, thresholds, signal["layers"]["best"])
        write_plot(table, folder / "decide_power.csv")


def evidence_of(signal: Mapping[str, Any], probe: Mapping[str, Any]) -> dict[str, Evidence]:
    """Return the evidence of every rung that `probe` read.

    Raises:
        ContractError: `signal` did not measure a family that `probe` read.
    """
    found = {}
    for rung, family in SIGNAL_OF.items():
        if rung not in probe:
            continue
        if family not in signal:
            advice = "Give signal.sites the sites of probe.sites"
            raise ContractError(
                must("metrics/signal.json", f"hold the family '{family}'", "none", next_step=advice)
            )
        read, measured = probe[rung], signal[family]
        joined = {**read, **{name: measured[name] for name in FROM_SIGNAL}, "p_signal": measured["p"]}
        joined["n_permutations"] = min(read["n_permutations"], measured["n_permutations"])
        joined["smallest_p"] = max(read["smallest_p"], measured["smallest_p"])
        if rung in NO_EFFECT_ASKED:
            joined["effect"] = None
        found[rung] = _evidence(joined, probe)
    return found


def state_evidence(state: Mapping[str, Any], probe: Mapping[str, Any]) -> Evidence:
    """Return the evidence of the rung `state`, which one stage measures whole."""
    return _evidence(state, probe)


def _evidence(read: Mapping[str, Any], probe: Mapping[str, Any]) -> Evidence:
    numbers = {name: read[name] for name in (*FROM_PROBE, *FROM_SIGNAL, "p_signal")}
    return Evidence(
        site=read["best"],
        n_emotions=probe["n_emotions"],
        n_per_emotion=probe["n_prompts"] / probe["n_emotions"],
        baselines=_baselines(read["baselines"]),
        beside=_baselines(read["beside"]),
        gains=tuple(Gain(name, **found) for name, found in read.get("gains", {}).items()),
        tempo_bpm=read.get("tempo_bpm"),
        **numbers,
    )


def measured_of(
    signal: Mapping[str, Any], relate: Mapping[str, Any], geometry: Mapping[str, Any]
) -> Measured:
    """Return what the gates look at; a stage that did not run measured nothing."""
    layers = signal.get("layers", {})
    return Measured(
        clips_per_emotion=signal["n_clips"] / signal["n_emotions"],
        effect=layers.get("effect"),
        p_layers=layers.get("p"),
        acoustic_match=relate.get("acoustic_match"),
        silhouette=geometry.get("silhouette"),
    )


def _optional(path: Path) -> dict[str, Any]:
    return read_metrics(path) if path.is_file() else {}


def _gate(gate: Gate) -> dict[str, object]:
    return {"value": gate.value, "bar": gate.bar, "passed": gate.passed}


def _baselines(read: Mapping[str, Mapping[str, float]]) -> tuple[Baseline, ...]:
    return tuple(Baseline(name, **numbers) for name, numbers in read.items())


def _said(rung: Rung) -> dict[str, object]:
    said = asdict(rung)
    del said["name"]
    said["baselines"] = {base.pop("name"): base for base in said["baselines"]}
    return said

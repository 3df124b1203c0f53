"""Stage `decide`: the verdict on every rung of the ladder, from the metrics of `signal` and `probe`."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from moodlens.base.errors import ContractError, must
from moodlens.contracts.params import Params
from moodlens.decision.evidence import Baseline, Evidence
from moodlens.decision.ladder import Rung, decide
from moodlens.store.tables import read_metrics, write_metrics

SIGNAL_OF = {"words": "words", "text_code": "text", "music": "music", "layers": "layers"}
NO_EFFECT_ASKED = ("words",)
"""Rungs without a condition on the effect: how alike texts are says how often they repeat words, not what the
words tell."""


def run(params: Params, root: Path) -> None:
    """Write metrics/decide.json."""
    folder = root / "metrics"
    signal, probe = read_metrics(folder / "signal.json"), read_metrics(folder / "probe.json")
    decision = decide(evidence_of(signal, probe), params.decide)
    write_metrics(
        {
            "headline": decision.headline,
            "highest_rung": decision.highest,
            "layers": _said(decision.layers),
            **{rung.name: _said(rung) for rung in decision.rungs},
        },
        folder / "decide.json",
    )


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
        asked = rung not in NO_EFFECT_ASKED
        found[rung] = Evidence(
            site=read["best"],
            unit=read["unit"],
            n_emotions=probe["n_emotions"],
            n_per_emotion=probe["n_prompts"] / probe["n_emotions"],
            n_permutations=min(read["n_permutations"], measured["n_permutations"]),
            smallest_p=max(read["smallest_p"], measured["smallest_p"]),
            accuracy=read["accuracy"],
            low=read["low"],
            high=read["high"],
            ridge_accuracy=read["ridge_accuracy"],
            permuted_extreme=read["permuted_extreme"],
            p=read["p"],
            effect=measured["effect"] if asked else None,
            effect_low=measured["effect_low"],
            effect_high=measured["effect_high"],
            p_signal=measured["p"],
            delta=measured["delta"],
            power=measured["power"],
            n_needed=measured["n_needed"],
            baselines=_baselines(read["baselines"]),
            beside=_baselines(read["beside"]),
            tempo_bpm=read.get("tempo_bpm"),
        )
    return found


def _baselines(read: Mapping[str, Mapping[str, float]]) -> tuple[Baseline, ...]:
    return tuple(Baseline(name, **numbers) for name, numbers in read.items())


def _said(rung: Rung) -> dict[str, object]:
    said = asdict(rung)
    del said["name"]
    said["baselines"] = {base.pop("name"): base for base in said["baselines"]}
    return said

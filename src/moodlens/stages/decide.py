"""Stage `decide`: the verdict on every rung, what stands beside the ladder, the gates, a power analysis."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from moodlens.base.seeding import rng_for
from moodlens.decision.findings import Finding, describe_factor
from moodlens.decision.from_metrics import evidence_of, measured_of
from moodlens.decision.gates import Gate, at_look, closed, gates_of, look_of
from moodlens.decision.ladder import Rung, decide
from moodlens.decision.overview import overview_of
from moodlens.params.pipeline import Decide, Params
from moodlens.stats.power import power_analysis
from moodlens.store.shards import shard_metadata
from moodlens.store.tables import read_metrics, write_metrics, write_plot
from moodlens.workspace import sites
from moodlens.workspace.design import checked_design, open_workspace


def run(params: Params, root: Path) -> None:
    """Write metrics/decide.json, metrics/overview.json and metrics/decide_power.csv.

    Raises:
        UsageError: the number of prompts is none of the planned looks.
        ContractError: a metric that a rung needs is absent; a threshold lies below the smallest p.
    """
    folder = root / "metrics"
    signal: dict[str, Any] = read_metrics(folder / "signal.json")
    probe = read_metrics(folder / "probe.json")
    names = ("null_text", "relate", "geometry", "forks", "interchange")
    null_text, relate, geometry, forks, interchange = (_if_present(folder / f"{name}.json") for name in names)
    look = look_of(params.prompts.n_per_emotion, params.decide)
    thresholds = at_look(params.decide, look)
    work = open_workspace(root)
    families = {name: part for name, part in signal.items() if isinstance(part, Mapping) and "effect" in part}
    spreads = {name: family["p_dispersion"] for name, family in families.items()}
    check = checked_design(work, spreads, unknown_share(root), thresholds.alpha_weak, params.signal.seed)
    decision = decide(evidence_of(signal, probe, null_text), thresholds, forks, interchange, check.undecided)
    gates = gates_of(measured_of(signal, relate, geometry), params.decide)
    write_metrics(
        {
            "headline": decision.headline,
            "highest_rung": decision.highest,
            "look": asdict(look),
            "gates": {
                "passed": not closed(gates),
                "failed": list(closed(gates)),
                **{gate.name: _gate_metrics(gate) for gate in gates},
            },
            "rungs": {rung.name: _rung_metrics(rung) for rung in decision.rungs},
            "design": {
                "words": _finding_metrics(decision.words),
                "check": {finding.name: asdict(finding) for finding in check.findings},
            },
            "findings": {
                "layers": _rung_metrics(decision.layers),
                "null_text": _null_text_metrics(decision.null_text, null_text, thresholds),
            },
        },
        folder / "decide.json",
    )
    write_metrics(overview_of(decision, signal, relate), folder / "overview.json")
    if "layers" in signal:
        best = signal["layers"]["best"]
        rng = rng_for("power", best, params.signal.seed)
        table = power_analysis(sites.layers(work, twin=False), best, work.design, thresholds, rng)
        write_plot(table, folder / "decide_power.csv")


def unknown_share(root: Path) -> float | None:
    """Return the share of the prompts' tokens that the text encoder does not know; None where not counted.

    Args:
        root: workspace; stage `embed` counted them.
    """
    path = root / "data" / "embeddings" / "embeddings.safetensors"
    if not path.is_file():
        return None
    about = shard_metadata(path)
    counted = about.get("n_unknown")
    return None if counted is None else sum(counted) / sum(about["n_tokens"])


def _if_present(path: Path) -> dict[str, Any]:
    """Return the metrics of a chapter, {} where it is absent or its data could not support it."""
    found = read_metrics(path) if path.is_file() else {}
    return {} if "not_run" in found else found


def _gate_metrics(gate: Gate) -> dict[str, object]:
    return {"value": gate.value, "bar": gate.bar, "passed": gate.passed}


def _rung_metrics(rung: Rung) -> dict[str, object]:
    metrics = _by_baseline(asdict(rung))
    del metrics["name"]
    return metrics


def _finding_metrics(finding: Finding | None) -> dict[str, object] | None:
    """Return a finding without the prompts that each condition would need: it is no claim to settle."""
    if finding is None:
        return None
    metrics = _by_baseline(asdict(finding))
    metrics["conditions"] = [{"clause": each.clause, "holds": each.holds} for each in finding.conditions]
    return metrics


def _null_text_metrics(
    finding: Finding | None, null_text: Mapping[str, Any], thresholds: Decide
) -> dict[str, object] | None:
    metrics = _finding_metrics(finding)
    if metrics is not None:
        metrics["factors"] = {
            name: asdict(describe_factor(name, factor, thresholds))
            for name, factor in null_text["factors"].items()
        }
    return metrics


def _by_baseline(metrics: dict[str, Any]) -> dict[str, Any]:
    return metrics | {"baselines": {base.pop("name"): base for base in metrics["baselines"]}}

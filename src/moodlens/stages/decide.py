"""Stage `decide`: the verdict on every rung of the ladder, the gates of SAE training, a power analysis."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from moodlens.base.seeding import rng_for
from moodlens.decision.factors import judge_factor
from moodlens.decision.from_metrics import evidence_of, measured_of
from moodlens.decision.gates import Gate, closed, gates_of
from moodlens.decision.interim_looks import at_look, look_of
from moodlens.decision.ladder import Rung, decide
from moodlens.decision.summary import summary_of
from moodlens.params.pipeline import Params
from moodlens.stats.power_analysis import power_analysis
from moodlens.store.tables import read_metrics, write_metrics, write_plot
from moodlens.workspace import sites
from moodlens.workspace.design import open_workspace


def run(params: Params, root: Path) -> None:
    """Write metrics/decide.json, metrics/summary.json and metrics/decide_power.csv.

    Raises:
        UsageError: the number of prompts is none of the planned looks.
        ContractError: a metric that a rung needs is absent; a threshold lies below the smallest p.
    """
    folder = root / "metrics"
    signal: dict[str, Any] = read_metrics(folder / "signal.json")
    probe = read_metrics(folder / "probe.json")
    optional = (_if_present(folder / f"{name}.json") for name in ("null_text", "relate", "geometry"))
    null_text, relate, geometry = optional
    look = look_of(params.prompts.n_per_emotion, params.decide)
    thresholds = at_look(params.decide, look)
    decision = decide(evidence_of(signal, probe, null_text), thresholds)
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
                **{gate.name: _gate_metrics(gate) for gate in gates},
            },
            "factors": {
                name: asdict(judge_factor(name, factor, thresholds, rung_of["state"].verdict))
                for name, factor in null_text.get("factors", {}).items()
            },
            "layers": _rung_metrics(decision.layers),
            **{rung.name: _rung_metrics(rung) for rung in decision.rungs},
        },
        folder / "decide.json",
    )
    write_metrics(summary_of(decision, signal, relate), folder / "summary.json")
    if "layers" in signal:
        work = open_workspace(root)
        best = signal["layers"]["best"]
        rng = rng_for("power", best, params.signal.seed)
        table = power_analysis(sites.layers(work, twin=False), best, work.design, thresholds, rng)
        write_plot(table, folder / "decide_power.csv")


def _if_present(path: Path) -> dict[str, Any]:
    return read_metrics(path) if path.is_file() else {}


def _gate_metrics(gate: Gate) -> dict[str, object]:
    return {"value": gate.value, "bar": gate.bar, "passed": gate.passed}


def _rung_metrics(rung: Rung) -> dict[str, object]:
    metrics = asdict(rung)
    del metrics["name"]
    metrics["baselines"] = {base.pop("name"): base for base in metrics["baselines"]}
    return metrics

"""Small workspaces in which a pipeline of four stages has finished, as DVC and the stages leave them."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from moodlens.decision.evidence import Evidence
from moodlens.decision.ladder import decide
from moodlens.decision.overview import overview_of
from moodlens.latents.evidence import sae_overview_of
from moodlens.store.run_record import Record, Run, Sample, file_md5, inputs_of, write_record
from moodlens.store.sae_files import save_sae
from moodlens.store.shards import write_shard
from moodlens.store.tables import write_metrics
from tests.decision.test_ladder import FOUND, SILENT
from tests.decision.thresholds import THRESHOLDS
from tests.sae.planted import random_sae

T0_MS = 1_790_000_000_000
REVISION = "0123456789abcdef"
MUSIC = {"strong": FOUND, "weak": replace(FOUND, accuracy=0.7), "none": replace(SILENT, power=0.96)}
"""Verdict on music -> evidence that leads to it."""
PIPELINE: dict[str, dict[str, list[Any]]] = {
    "generate": {
        "deps": ["constraints.txt", "data/captions.csv", "models/organism/model.safetensors"],
        "outs": ["metrics/generate.json", "data/activations"],
    },
    "decide": {"deps": ["src/moodlens/base", "data/activations"], "outs": ["metrics/decide.json"]},
    "sae": {"deps": ["data/activations"], "outs": ["metrics/sae.json", "models/sae"]},
    "report": {"deps": ["metrics"], "outs": ["reports/index.html"]},
}
"""stage -> dependencies and outputs; each also has the record of its run."""
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><rect width="9" height="9"/></svg>'
PAGE = f'<h1>Page</h1><section id="layers"><figure class="plot"><div>{SVG}</div></figure></section>'


def finish(
    root: Path,
    model: str = "organism",
    music: str = "strong",
    *,
    started_ms: int = T0_MS,
    experiment: str = "",
    saes: Sequence[str] = (),
    seed: int = 0,
    passed: bool = True,
) -> Path:
    """Write a finished workspace and return its root.

    Args:
        root: created if absent.
        model: `model.id`.
        music: verdict on the music, a key of `MUSIC`.
        started_ms: start of the first stage; each takes a minute.
        experiment: of DVC.
        saes: sites with a trained SAE.
        seed: added to a bias of the SAEs, so that another one gives other weights.
        passed: whether the SAEs passed the gate of stage `latents`.
    """
    for folder in ("data/activations", "metrics", "models/organism", "models/sae", "reports", "src"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    params = {
        "model": {"id": model, "revision": ""},
        "prompts": {"n_per_emotion": 16},
        "sae": {"architecture": "topk", "k": 4},
    }
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / "data" / "captions.csv").write_text("caption,mood\nA quiet song,calm\n")
    (root / "models" / "organism" / "model.safetensors").write_bytes(model.encode())
    states = {"residual.1/cond": np.zeros((2, 3, 4), dtype=np.float16)}
    for shard in range(2):
        write_shard(root / "data" / "activations" / f"shard-{shard:04d}.safetensors", states)
    (root / "reports" / "index.html").write_text(PAGE)
    _write_metrics(root, model, MUSIC[music], saes, seed, passed)
    stages = {
        name: {**entry, "cmd": "true", "outs": [*entry["outs"], f"data/runs/{name}.json"]}
        for name, entry in PIPELINE.items()
    }
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    lock: dict[str, Any] = {}
    for number, stage in enumerate(PIPELINE):
        start = started_ms + number * 61_000
        samples = tuple(Sample(start + 1000 * i, 90.0 + i, 300.0 + i) for i in range(1, 4))
        inputs = inputs_of(root, stage, params)
        run = _run(stage, saes)
        record = Record(stage, start, start + 60_000, REVISION, experiment, params, inputs, samples, run)
        write_record(root, record)
        lock[stage] = {"outs": [entry_of(root, path) for path in stages[stage]["outs"]]}
        (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": lock}))
    return root


def entry_of(root: Path, path: str) -> dict[str, Any]:
    """Return the entry of an output in dvc.lock; that of a folder hashes the names and md5s of its files."""
    if (root / path).is_file():
        return {"path": path, "md5": file_md5(root / path), "size": (root / path).stat().st_size}
    files = [file for file in sorted((root / path).rglob("*")) if file.is_file()]
    listing = root / ".listing"
    listing.write_text(json.dumps([[file.relative_to(root).as_posix(), file_md5(file)] for file in files]))
    entry = {"path": path, "md5": f"{file_md5(listing)}.dir", "size": sum(f.stat().st_size for f in files)}
    listing.unlink()
    return entry


def _write_metrics(
    root: Path, model: str, music: Evidence, saes: Sequence[str], seed: int, passed: bool
) -> None:
    folder = root / "metrics"
    decision = decide({"text_code": FOUND, "music": music}, THRESHOLDS)
    signal: dict[str, Any] = {"n_prompts": 64, "n_clips": 128, "n_wordings": 36}
    signal["text"] = signal["layers"] = {"effect": 0.39, "effect_low": 0.3, "effect_high": 0.5}
    effect = 1.02 if music.p < 0.05 else 0.03
    signal["music"] = {"effect": effect, "effect_low": effect - 0.1, "effect_high": effect + 0.1}
    write_metrics(overview_of(decision, signal, {}), folder / "overview.json")
    write_metrics({"headline": decision.headline}, folder / "decide.json")
    write_metrics({"model": model, "weights_sha256": f"{len(model):064x}"}, folder / "generate.json")
    of_sae: dict[str, Any] = {
        "chosen": "seed-0",
        "d_in": 6,
        "d_sae": 20,
        "n_rows": 100,
        "n_seeds": 3,
        "l0": 4.0,
        "dead": 0.0,
    }
    of_sae |= {"fvu": 0.12, "fvu_train": 0.1, "mse": 0.2, "mse_train": 0.1}
    of_latents: dict[str, Any] = {
        "n_selective": 9,
        "n_latents": 20,
        "shuffled_selective": 0.5,
        "stable_70": 0.3,
    }
    of_latents["champion_gate"] = passed
    for site in saes:
        sae = random_sae("topk")
        with torch.no_grad():
            sae.b_dec += seed
        save_sae(root / "models" / "sae" / site.replace("/", "-") / "seed-0", sae)
    trained: dict[str, Any] = {"trained": bool(saes), "gate_passed": True, "gates_failed": ""}
    trained["sites"] = dict.fromkeys(saes, of_sae)
    analysed = {"sites": dict.fromkeys(saes, of_latents)}
    write_metrics(trained, folder / "sae.json")
    write_metrics(analysed, folder / "latents.json")
    write_metrics(sae_overview_of(trained, analysed), folder / "sae_overview.json")


def _run(stage: str, saes: Sequence[str]) -> Run | None:
    if stage == "sae":
        curves = {"by_epoch.fvu": [0.5, 0.12]}
        sites = [Run(f"sae/{site}", {}, {"fvu": 0.12}, curves, {"sae.site": site}) for site in saes]
        return Run("sae", {"sae": {"k": 4}}, {}, children=sites)
    if stage == "decide":
        layers = [Run("residual.1", metrics={"effect": 0.3})]
        family = Run("layers/residual", metrics={"p": 0.01}, children=layers)
        return Run("decide", {"decide": {"alpha": 0.05}}, {"n_prompts": 64.0}, children=[family])
    return None

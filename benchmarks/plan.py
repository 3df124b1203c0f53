"""`moodlens plan` beside what every stage then took, on configurations that its formulas were not fitted on.

Each configuration is a model with random weights (or the organism) and changed parameters in a workspace of
its own; every stage of the pipeline runs there as DVC would run it, one worker, one thread. Peak memory is
that of the process tree, disk what the stage added below data/, models/sae and reports/. Time is CPU time: an
estimate within a factor of two is asked of it and no bar is set.
"""

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from benchmarks.process_tree import Measured, measure
from benchmarks.true_sizes import published_sizes, save_sized
from moodlens.forecast import plan
from moodlens.forecast.generation import Cost
from moodlens.params.pipeline import Params, parse_params

REPOSITORY = Path(__file__).resolve().parents[1]
STAGES = (
    "prompts", "generate", "reencode", "embed", "acoustics", "check", "signal", "probe", "null_text",
    "temporal", "attention", "geometry", "relate", "decide", "sae", "latents", "report",
)  # fmt: skip
OUTPUTS = ("data", "models/sae", "reports")
WITHIN = 0.20
SMALLEST_BYTES = 5_000_000  # below, disk is tables and receipts: off by their own size means nothing


@dataclass(frozen=True)
class Configuration:
    """One model and what is asked of it."""

    name: str
    sizes: Mapping[str, Any] | None  # as config.json says them; None is the organism
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    fitted: bool = False  # its measurements set constants of the formulas: no evidence for them


def narrow(layers: int, width: int, heads: int) -> dict[str, Any]:
    """Return MusicGen-small's configuration with another decoder and a text encoder of T5-small's size."""
    sizes = published_sizes("facebook/musicgen-small")
    sizes["decoder"] |= {"num_hidden_layers": layers, "hidden_size": width, "num_attention_heads": heads,
                         "ffn_dim": 4 * width}  # fmt: skip
    return sizes


FEW = {"prompts": {"n_per_emotion": 6}, "sae": {"override_gate": True, "n_steps": 100, "n_seeds": 2}}
CONFIGURATIONS = (
    Configuration("organism, default", None, {"sae": {"override_gate": True}}, fitted=True),
    Configuration(
        "organism, 2.5 s, layers 0 3 5, both halves, every second step in float32, 24 prompts x 3",
        None,
        {
            **FEW,
            "generate": {
                "duration_s": 2.5,
                "layers": [0, 3, 5],
                "half": "both",
                "step_stride": 2,
                "n_seeds": 3,
                "store_dtype": "float32",
                "clips_per_shard": 24,
                "block_clips": 8,
            },
        },
    ),
    Configuration(
        "12 x 512, 3 s, no attention summaries, 24 prompts x 1",
        narrow(12, 512, 8),
        {
            **FEW,
            "generate": {
                "duration_s": 3.0,
                "attention": False,
                "n_seeds": 1,
                "clips_per_shard": 8,
                "block_clips": 8,
            },
        },
    ),
    Configuration(
        "8 x 1536 (medium's width) in bfloat16, 1 s, two windows, 16 prompts x 1",
        narrow(8, 1536, 24),
        {
            **FEW,
            "prompts": {"n_per_emotion": 4},
            "model": {"dtype": "bfloat16"},
            "generate": {
                "duration_s": 1.0,
                "n_seeds": 1,
                "clips_per_shard": 8,
                "block_clips": 4,
                "windows": [[0.0, 0.3], [0.7, 1.0]],
            },
            # a layer of 1536 wants as many rows, and these windows do not store them
            "sae": {"override_gate": True, "n_steps": 100, "n_seeds": 1, "sites": ["text"]},
        },
    ),
    Configuration(
        "6 x 1024 in float16, 2 s, means only, 16 prompts x 2",
        narrow(6, 1024, 16),
        {
            **FEW,
            "prompts": {"n_per_emotion": 4},
            "model": {"dtype": "float16"},
            "generate": {
                "duration_s": 2.0,
                "n_seeds": 2,
                "clips_per_shard": 16,
                "block_clips": 8,
                "pooled_only": True,
            },
            "sae": {"override_gate": True, "n_steps": 100, "n_seeds": 2, "sites": ["text"]},
        },
    ),
)


def workspace(configuration: Configuration, root: Path) -> Params:
    """Make a workspace at `root` and return its parameters."""
    raw = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    if configuration.sizes is not None:
        save_sized(configuration.sizes, root / "model")
        raw["model"]["id"] = str(root / "model")
        raw["sae"]["sites"] = ["text", "residual.3"]
    for section, values in configuration.changes.items():
        raw[section] |= values
    raw["compute"] = {"workers": 1, "threads": 1}
    params = parse_params(raw)
    root.mkdir(exist_ok=True)
    (root / ".git").mkdir()
    (root / "params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    if configuration.sizes is None:
        shutil.copytree(REPOSITORY / "models" / "organism", root / "models" / "organism")
    for name in ("data", "metrics", "reports"):
        (root / name).mkdir()
    return params


def run_stages(root: Path, stages: Sequence[str] = STAGES) -> dict[str, tuple[Measured, int]]:
    """Run the stages in `root`; return what each took and the bytes it added."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src"), "DVC_ROOT": str(root)}
    environment.pop("MLFLOW_TRACKING_URI", None)
    found, before = {}, disk_bytes(root)
    for stage in stages:
        ran = measure([sys.executable, "-m", "moodlens.stages", stage], root, environment)
        added, before = disk_bytes(root) - before, disk_bytes(root)
        if ran.exit_code:
            print(f"{stage} ended with {ran.exit_code}: {ran.output.strip().splitlines()[-1]}", flush=True)
            continue
        found[stage] = (ran, added)
    return found


def disk_bytes(root: Path) -> int:
    """Return the bytes of all outputs."""
    files = [path for name in OUTPUTS for path in (root / name).rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files)


def compared(configuration: Configuration, root: Path) -> dict[str, float]:
    """Run one configuration, print it beside the plan, and return measured / planned of every figure."""
    params = workspace(configuration, root)
    planned = {cost.stage: cost for cost in plan.costs_of(params, root)}
    fit = " (fitted on this one)" if configuration.fitted else ""
    print(f"\n{configuration.name}{fit}")
    head = f"{'stage':<11}{'peak GB':>9}{'plan':>7}{'ratio':>7}{'disk MB':>10}{'plan':>9}{'ratio':>7}"
    print(f"{head}{'CPU s':>8}{'plan':>7}", flush=True)
    memory, disk = {}, {}
    for stage, (ran, n_bytes) in run_stages(root).items():
        cost = planned.get(stage)
        if cost is None:
            continue
        memory[stage] = ran.peak_gb * 1e9 / cost.memory_bytes
        if max(n_bytes, cost.disk_bytes) > SMALLEST_BYTES:
            disk[stage] = n_bytes / max(cost.disk_bytes, 1)
        print(_row(stage, ran, n_bytes, cost, memory[stage], disk.get(stage)), flush=True)
    return {f"{kind} {stage}": ratio for kind, part in (("memory", memory), ("disk", disk))
            for stage, ratio in part.items()}  # fmt: skip


def _row(
    stage: str, ran: Measured, n_bytes: int, cost: Cost, memory: float, disk: float | None
) -> str:  # fmt: skip
    ratio = "-" if disk is None else f"{disk:.2f}"
    return (
        f"{stage:<11}{ran.peak_gb:>9.2f}{cost.memory_bytes / 1e9:>7.2f}{memory:>7.2f}{n_bytes / 1e6:>10.2f}"
        f"{cost.disk_bytes / 1e6:>9.2f}{ratio:>7}{ran.cpu_s:>8.1f}{cost.seconds:>7.1f}"
    )


def main(names: Sequence[str] = ()) -> int:
    """Run the configurations whose name holds one of `names`, all without; exit 1 when the bar fails."""
    errors: dict[str, dict[str, float]] = {}
    for configuration in CONFIGURATIONS:
        if names and not any(name in configuration.name for name in names):
            continue
        with TemporaryDirectory(prefix="moodlens-plan-") as folder:
            ratios = compared(configuration, Path(folder) / "work")
        if not configuration.fitted:
            errors[configuration.name] = ratios
    off = {(name, what): abs(ratio - 1) for name, found in errors.items() for what, ratio in found.items()}
    worst = max(off, key=lambda key: off[key], default=("", "nothing"))
    outside = sorted(
        f"{what} of {name}: {errors[name][what]:.2f}" for name, what in off if off[name, what] > WITHIN
    )
    verdict = {
        "name": "plan",
        "value": round(off.get(worst, 0.0), 3),
        "unit": f"largest |measured / planned - 1|, {worst[1]}",
        "bar": f"memory and disk within {WITHIN:.0%} on configurations not fitted on",
        "holds": bool(off) and not outside,
        "n": len(off),
        "outside": outside,
    }
    print(json.dumps(verdict))
    return 0 if verdict["holds"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

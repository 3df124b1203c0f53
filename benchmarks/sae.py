"""SAE training beside SAELens, dictionary_learning, sparsify and Overcomplete: same rows, steps and threads.

`make interop` makes the environment that has them; this benchmark moves there by itself when it exists.
Trainers take turns step by step, so that what else the machine does hits all of them; CPU time counts. Peak
memory is of a process of its own per trainer. The default is the reference size.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from benchmarks.sae_rivals import RIVALS, Rival, Shape

REPOSITORY = Path(__file__).resolve().parents[1]
INTEROP = REPOSITORY / ".venv-interop" / "bin" / "python"
BAR = 3.0
N_HELD_OUT = 4096


def planted_rows(n: int, d_in: int, seed: int = 0) -> Tensor:
    """Return rows of 32 atoms out of 4 d_in, weights exponential, and a little noise; float32."""
    generator = torch.Generator().manual_seed(seed)
    atoms = torch.nn.functional.normalize(torch.randn(4 * d_in, d_in, generator=generator), dim=1)
    out = torch.empty(n, d_in)
    for start in range(0, n, 8192):
        part = out[start : start + 8192]
        picks = torch.randint(len(atoms), (len(part), 32), generator=generator)
        weights = torch.empty(len(part), 32).exponential_(generator=generator)
        part.copy_(torch.nn.functional.embedding_bag(picks, atoms, per_sample_weights=weights, mode="sum"))
        part.add_(0.05 * torch.randn(part.shape, generator=generator))
    return out - out.mean(0)


def organism_rows(key: str = "residual.3/cond") -> Tensor:
    """Return the centred states of one layer of the default run at unit variance, rows shuffled."""
    from moodlens.store.shards import read_shard

    folder = REPOSITORY / "data" / "activations"
    shards = [read_shard(path, [key])[key] for path in sorted(folder.glob("shard-*.safetensors"))]
    rows = torch.cat([torch.from_numpy(shard).float().flatten(0, 1) for shard in shards])
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]
    rows -= rows.mean(0)
    return rows / rows.pow(2).mean().sqrt()


def fvu(rival: Rival, rows: Tensor) -> float:
    """Return the fraction of variance unexplained on held-out rows."""
    with torch.no_grad():
        return float((rows - rival.recon(rows)).pow(2).sum() / (rows - rows.mean(0)).pow(2).sum())


def installed(shape: Shape) -> dict[str, Rival]:
    """Return the trainers whose library can be imported; say which cannot."""
    found = {}
    for name, make in RIVALS.items():
        try:
            found[name] = make(shape)
        except ImportError as error:
            print(f"{name}: left out ({error})")
    return found


def floor_s(rows: Tensor, shape: Shape) -> float:
    """Return the CPU time of one encoder product of a batch."""
    weights = torch.randn(shape.d_in, shape.d_sae)
    took = []
    for _ in range(5):
        began = time.process_time()
        _product = rows @ weights
        took.append(time.process_time() - began)
    return min(took)


def high_water_mb() -> float:
    """Return the peak resident memory of this process; `ru_maxrss` would count the parent before exec."""
    found = re.search(r"^VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else float("nan")


def peak_mb(name: str, args: argparse.Namespace) -> float:
    """Return the peak memory of a process that makes three steps with one trainer."""
    given = [f"--{key.replace('_', '-')}={value}" for key, value in vars(args).items() if value is not None]
    given = [entry for entry in given if not entry.startswith("--only")]
    command = [sys.executable, "-m", "benchmarks.sae", f"--only={name}", *given]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return float(done.stdout.strip().splitlines()[-1])


def measure(args: argparse.Namespace) -> None:
    """Print the table and the JSON line."""
    torch.set_num_threads(args.threads)
    rows = organism_rows() if args.tensor == "organism" else planted_rows(args.rows + N_HELD_OUT, args.d_in)
    held_out, rows = rows[:N_HELD_OUT], rows[N_HELD_OUT:]
    shape = Shape(rows.shape[1], args.expansion * rows.shape[1], args.k)
    if args.only:
        rival = RIVALS[args.only](shape)
        for step in range(3):
            rival.step(rows[step * args.batch : (step + 1) * args.batch])
        print(high_water_mb())
        return
    rivals = installed(shape)
    took: dict[str, list[float]] = {name: [] for name in rivals}
    n_batches = len(rows) // args.batch
    for step in range(args.steps):
        batch = rows[(step % n_batches) * args.batch :][: args.batch]
        for name, rival in rivals.items():
            began = time.process_time()
            rival.step(batch.clone())
            took[name].append(time.process_time() - began)
    floor = floor_s(rows[: args.batch], shape)
    print(f"{args.tensor}, {len(rows)} x {shape.d_in} -> {shape.d_sae}, k = {args.k}, batch {args.batch},")
    print(f"{args.steps} steps, {args.threads} thread(s), CPU time, median over steps after the first two")
    print(f"{'':<22}{'samples/s':>10}{'ours x':>8}{'of GEMM':>9}{'FVU':>9}{'peak MB':>9}")
    speed, quality, memory = {}, {}, {}
    for name, rival in rivals.items():
        paired = [theirs / mine for theirs, mine in zip(took[name][2:], took["moodlens"][2:], strict=True)]
        speed[name], quality[name] = median(paired), fvu(rival, held_out)
        memory[name] = peak_mb(name, args)
        seconds = median(took[name][2:])
        line = f"{name:<22}{args.batch / seconds:>10.0f}{speed[name]:>8.2f}{floor / seconds:>9.2f}"
        print(f"{line}{quality[name]:>9.4f}{memory[name]:>9.0f}", flush=True)
    others = [name for name in rivals if name != "moodlens"]
    fastest = min((speed[name] for name in others), default=float("nan"))
    holds = bool(others) and fastest >= BAR
    holds = holds and quality["moodlens"] <= min(quality[name] for name in others)
    holds = holds and memory["moodlens"] <= min(memory[name] for name in others)
    verdict = {
        "name": "sae",
        "value": round(fastest, 2) if others else "no rival installed (make interop)",
        "unit": "x the samples/s of the fastest of " + ", ".join(others),
        "bar": f">= {BAR:g}, FVU at most the best of them, peak memory at most the leanest",
        "holds": holds,
    }
    print(json.dumps(verdict))


def main() -> None:
    """Measure here, or in the environment of `make interop` where the rivals are."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sae", description=__doc__)
    parser.add_argument("--tensor", choices=("planted", "organism"), default="planted")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--d-in", type=int, default=768, help="width of the planted rows")
    parser.add_argument("--expansion", type=int, default=8)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=tuple(RIVALS), help="peak memory of one trainer alone")
    args = parser.parse_args()
    away = INTEROP.is_file() and find_spec("sae_lens") is None
    if away:
        env = os.environ | {"PYTHONPATH": f"{REPOSITORY / 'src'}{os.pathsep}{REPOSITORY}"}
        command = [str(INTEROP), "-m", "benchmarks.sae", *sys.argv[1:]]
        sys.exit(subprocess.run(command, cwd=REPOSITORY, env=env, check=False).returncode)
    measure(args)


if __name__ == "__main__":
    main()

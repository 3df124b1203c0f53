"""SAE training compared with SAELens, dictionary_learning, sparsify and Overcomplete on equal terms.

All trainers get the same rows, steps and threads. `make interop` creates the environment that has the
libraries; the benchmark re-executes itself there if it exists. Trainers alternate step by step, so that other
load on the machine affects all of them. Time is CPU time, on a GPU wall time.

Quality is the held-out FVU after `--steps` steps, at the best of the same learning rates for each trainer.
One rate for all would rank initial lengths, since the length of an Adam step is set by the rate. Quality and
peak memory come from one process per trainer. The default is the reference size, preceded by that of the GPU
if there is a GPU.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
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
SIZES = {
    "cpu": {"rows": 200_000, "d_in": 768, "expansion": 8, "k": 32, "batch": 4096},
    "cuda": {"rows": 2_000_000, "d_in": 1024, "expansion": 32, "k": 64, "batch": 4096},
}
"""Reference sizes."""
RATES = (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)
"""Learning rates of Adam that are tried for every trainer."""
N_TIMED = 16
PACKAGES = ("torch", "numba", "sae-lens", "dictionary-learning", "eai-sparsify", "overcomplete")


def planted_rows(n: int, d_in: int, seed: int = 0, device: str = "cpu") -> Tensor:
    """Return rows of 32 atoms out of 4 d_in, weights exponential, and a little noise; float32."""
    generator = torch.Generator(device).manual_seed(seed)
    made = {"generator": generator, "device": device}
    atoms = torch.nn.functional.normalize(torch.randn(4 * d_in, d_in, **made), dim=1)
    out = torch.empty(n, d_in, device=device)
    for start in range(0, n, 8192):
        part = out[start : start + 8192]
        picks = torch.randint(len(atoms), (len(part), 32), **made)
        weights = torch.empty(len(part), 32, device=device).exponential_(generator=generator)
        part.copy_(torch.nn.functional.embedding_bag(picks, atoms, per_sample_weights=weights, mode="sum"))
        part.add_(0.05 * torch.randn(part.shape, **made))
    return out - out.mean(0)


def organism_rows(key: str) -> Tensor:
    """Return the centred states of one hookpoint of the default run at unit variance, rows shuffled."""
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
    """Return the trainers whose library can be imported; print the others."""
    rivals = {}
    for name, make in RIVALS.items():
        try:
            rivals[name] = make(shape)
        except ImportError as error:
            print(f"{name}: left out ({error})")
    return rivals


def clock(device: str) -> float:
    """Return the CPU time of this process, or wall time after the GPU has finished; seconds."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def floors_s(rows: Tensor, shape: Shape) -> dict[str, float]:
    """Return the shortest time of one encoder product of a batch, by number type."""
    weights = torch.randn(shape.d_in, shape.d_sae, device=rows.device)
    products = {"float32": lambda: rows @ weights}
    if shape.device == "cpu":
        x, w = (torch.ones(t.shape, dtype=torch.int8) for t in (rows, weights.t()))
        products["int8"] = lambda: torch.ops.aten._int_mm(x, w.t())
    floors = {}
    for name, product in products.items():
        took = []
        for _ in range(5):
            began = clock(shape.device)
            product()
            took.append(clock(shape.device) - began)
        floors[name] = min(took)
    return floors


def candidates(rival: Rival, rows: Tensor, shape: Shape) -> str:
    """Return how many latents of a row our trainer computes in float32, and for how many rows all of them."""
    from moodlens.sae.topk import TopKSae
    from moodlens.sae.topk_int8 import top_k_int8, use_for_batch

    sae = rival.recon
    assert isinstance(sae, TopKSae)
    if not use_for_batch(rows, shape.d_sae, shape.k):
        return "8-bit candidates: not used (no AVX-512 VNNI, another device, or too small)"
    result = top_k_int8((rows - sae.b_dec.detach()), sae.W_enc.detach(), sae.b_enc.detach(), shape.k)
    if result is None:
        return "8-bit candidates: left to float32 (not finite)"
    n_exact = result[2]
    mean, most = float(n_exact.double().mean()), int(n_exact.max())
    n_whole = int((n_exact == shape.d_sae).sum())
    line = f"8-bit candidates, last batch: {mean:.0f} of {shape.d_sae} latents of a row computed in float32"
    return f"{line}, at most {most}; all of them in {n_whole} of {len(rows)} rows"


def high_water_mb() -> float:
    """Return the peak memory of this process, on the GPU if it uses one.

    `ru_maxrss` would count the parent before exec.
    """
    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**20
    match = re.search(r"^VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(match[1]) / 1024 if match else float("nan")


def alone(name: str, what: str, args: argparse.Namespace) -> list[float]:
    """Return the result of a process with one trainer: its peak `memory`, or its FVU by learning rate."""
    passed_on = {key: value for key, value in vars(args).items() if key not in ("only", "what", "rates")}
    given = [f"--{key.replace('_', '-')}={value}" for key, value in passed_on.items() if value is not None]
    given += ["--rates", *(str(rate) for rate in args.rates)]
    command = [sys.executable, "-m", "benchmarks.sae", f"--only={name}", f"--what={what}", *given]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def fitted(make: Callable[[Shape], Rival], shape: Shape, rows: Tensor, args: argparse.Namespace) -> Rival:
    """Return a trainer after its steps over consecutive batches, from the same random state every time."""
    torch.manual_seed(0)
    rival, n_batches = make(shape), len(rows) // args.batch
    for step in range(args.steps):
        rival.step(rows[(step % n_batches) * args.batch :][: args.batch].clone())
    return rival


def environment() -> str:
    """Return the versions of the libraries, and why they have an environment of their own."""
    versions_of = {name: _version(name) for name in PACKAGES}
    here = Path(sys.prefix).name
    why = "the trainers pull transformer-lens, wandb and nnsight, which the project's pins exclude"
    versions = ", ".join(f"{name} {number}" for name, number in versions_of.items() if number)
    reason = f" ({why})" if here == INTEROP.parents[1].name else ""
    return f"environment {here}{reason}: {versions}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def measure(args: argparse.Namespace) -> None:
    """Print the table and the JSON line."""
    torch.set_num_threads(args.threads)
    device = args.device
    if args.tensor == "organism":
        rows = organism_rows(args.site).to(device)
    else:
        rows = planted_rows(args.rows + N_HELD_OUT, args.d_in, device=device)
    held_out, rows = rows[:N_HELD_OUT], rows[N_HELD_OUT:]
    shape = Shape(rows.shape[1], args.expansion * rows.shape[1], args.k, device)
    if args.what == "memory":
        fitted(RIVALS[args.only], shape, rows, argparse.Namespace(batch=args.batch, steps=3))
        print(json.dumps([high_water_mb()]))
        return
    if args.what == "quality":
        trained = (fitted(RIVALS[args.only], replace(shape, rate=rate), rows, args) for rate in args.rates)
        print(json.dumps([fvu(rival, held_out) for rival in trained]))
        return
    rivals = installed(shape)
    took: dict[str, list[float]] = {name: [] for name in rivals}
    n_batches = len(rows) // args.batch
    for step in range(N_TIMED):
        batch = rows[(step % n_batches) * args.batch :][: args.batch]
        for name, rival in rivals.items():
            began = clock(device)
            rival.step(batch.clone())
            took[name].append(clock(device) - began)
    floors = floors_s(rows[: args.batch], shape)
    floor = floors["float32"]
    print(f"{args.tensor}, {len(rows)} x {shape.d_in} -> {shape.d_sae}, k = {args.k}, batch {args.batch},")
    timed = f"{args.threads} thread(s), CPU time" if device == "cpu" else torch.cuda.get_device_name()
    print(f"{timed}, median of {N_TIMED} steps after the first two; FVU after {args.steps} steps")
    print(f"at the best of the learning rates {', '.join(f'{rate:g}' for rate in args.rates)}")
    print(environment())
    for name, seconds in floors.items():
        print(f"floor: one encoder product in {name}: {1e3 * seconds:.1f} ms")
    if device == "cpu":
        print(candidates(rivals["moodlens"], rows[: args.batch], shape))
    print(f"{'':<22}{'samples/s':>10}{'ours x':>8}{'of GEMM':>9}{'peak MB':>9}{'FVU':>9}{'at rate':>9}  each")
    speed, quality, memory = {}, {}, {}
    for name in rivals:
        paired = [theirs / mine for theirs, mine in zip(took[name][2:], took["moodlens"][2:], strict=True)]
        speed[name], memory[name] = median(paired), alone(name, "memory", args)[0]
        fvus = alone(name, "quality", args)
        quality[name] = min(fvus)
        seconds = median(took[name][2:])
        line = f"{name:<22}{args.batch / seconds:>10.0f}{speed[name]:>8.2f}{floor / seconds:>9.2f}"
        best, each = args.rates[fvus.index(min(fvus))], " ".join(f"{value:.4f}" for value in fvus)
        print(f"{line}{memory[name]:>9.0f}{quality[name]:>9.4f}{best:>9g}  {each}", flush=True)
    others = [name for name in rivals if name != "moodlens"]
    fastest = min((speed[name] for name in others), default=float("nan"))
    holds = bool(others) and fastest >= BAR
    holds = holds and quality["moodlens"] <= min(quality[name] for name in others)
    holds = holds and memory["moodlens"] <= min(memory[name] for name in others)
    verdict = {
        "name": "sae" if device == "cpu" else "sae on a GPU",
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
    parser.add_argument("--site", default="residual.3/cond", help="stored states that `organism` takes")
    parser.add_argument(
        "--device", choices=tuple(SIZES), help="without it: the CPU, after a GPU if there is one"
    )
    for name, about in (
        ("rows", "of the planted tensor"),
        ("d-in", "width of the planted rows"),
        ("expansion", "latents per unit of width"),
        ("k", "latents per row"),
        ("batch", "rows per step"),
    ):
        parser.add_argument(f"--{name}", type=int, help=f"{about}; the device's reference size without it")
    parser.add_argument("--steps", type=int, default=50, help="of the trainings whose FVU is compared")
    parser.add_argument(
        "--rates", type=float, nargs="+", default=list(RATES), help="learning rates to choose from"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=tuple(RIVALS), help="one trainer alone, with --what")
    parser.add_argument("--what", choices=("memory", "quality"), help="measurement of --only")
    args = parser.parse_args()
    away = INTEROP.is_file() and find_spec("sae_lens") is None
    if away:
        env = os.environ | {"PYTHONPATH": f"{REPOSITORY / 'src'}{os.pathsep}{REPOSITORY}"}
        command = [str(INTEROP), "-m", "benchmarks.sae", *sys.argv[1:]]
        sys.exit(subprocess.run(command, cwd=REPOSITORY, env=env, check=False).returncode)
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda needs a GPU that torch sees; leave it out for the CPU")
    devices = [args.device] if args.device else (["cuda"] if torch.cuda.is_available() else []) + ["cpu"]
    for device in devices:
        given = {name: value for name, value in vars(args).items() if value is not None}
        settings = {"only": None, "what": None} | SIZES[device] | given | {"device": device}
        measure(argparse.Namespace(**settings))


if __name__ == "__main__":
    main()

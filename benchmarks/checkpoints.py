"""Capture beside the libraries these weights come from: the organism, and MusicGen-small at its true size.

One process, one thread, the runs of a round one after the other. Every way encodes the same prompts and draws
the same number of frames under guidance 3; the codec is left out everywhere. Weights of the true size are
random: its speed is that of the published one. audiocraft has its own random weights of the same sizes, and
torch's attention (`custom`), as everywhere without xformers. At the end one shard of stage `generate` runs in
a process of its own: its peak memory and bytes on disk beside what `moodlens plan` said.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
import yaml
from torch import Tensor

from benchmarks.generate import SAMPLING, TEXTS, Cost, machine_rates, measured
from benchmarks.process_tree import measure
from benchmarks.true_sizes import audiocraft_language, published_sizes, save_sized
from moodlens.backends import attention, catalog
from moodlens.backends.musicgen.backend import MusicgenBackend
from moodlens.base.seeding import seed_for
from moodlens.contracts.backend import Capture, ClipRequest, Sampling
from moodlens.forecast.generation import Rates, generate_cost, step_seconds
from moodlens.forecast.plan import load_of
from moodlens.forecast.sizes import sizes_of
from moodlens.params.pipeline import Model, parse_params
from moodlens.store.shards import write_shard

REPOSITORY = Path(__file__).resolve().parents[1]
NNSIGHT = "nnsight, states kept"
OURS, BARE = "ours, captured + written", "ours, bare"
AUDIOCRAFT, THEIRS, HOOKED = "audiocraft generate", "transformers generate", "transformers + plain hooks"
WITHIN = 0.20
GPU_BAR = 1.05


@dataclass(frozen=True)
class Size:
    """One model and what is asked of it."""

    name: str
    folder: Path
    n_clips: int
    n_frames: int
    n_rounds: int

    @property
    def texts(self) -> list[str]:
        return TEXTS[: self.n_clips]


def ways(size: Size, backend: MusicgenBackend, folder: Path) -> dict[str, Callable[[], None]]:
    """Return the ways to draw the same number of tokens."""
    requests = [ClipRequest(f"c{i}", f"p{i}", text, seed_for("b", i)) for i, text in enumerate(size.texts)]
    sampling = Sampling(size.n_frames, SAMPLING.guidance_scale, top_k=SAMPLING.top_k)

    def bare() -> None:
        backend.generate(requests, sampling, Capture(sites=()))

    def captured() -> None:
        states = backend.generate(requests, sampling, Capture(dtype="float16", summaries=True)).states
        assert len(states.values) == backend.info.n_layers
        write_shard(folder / "shard-0000.safetensors", states.values)
        write_shard(folder / "summary-0000.safetensors", states.summaries)

    theirs = transformers_generate(size, backend)

    def hooked() -> None:
        kept: list[Tensor] = []
        layers = backend.parts[0].decoder.model.decoder.layers
        handles = [
            layer.register_forward_hook(lambda _m, _a, out: kept.append(out.clone())) for layer in layers
        ]
        try:
            theirs()
        finally:
            for handle in handles:
                handle.remove()
        assert len(kept) >= len(layers) * size.n_frames

    found = {
        OURS: captured, BARE: bare, AUDIOCRAFT: audiocraft_generate(size, folder, backend), THEIRS: theirs,
        HOOKED: hooked,
    }  # fmt: skip
    if find_spec("nnsight"):
        found[NNSIGHT] = nnsight_generate(size, backend)
    else:
        print("nnsight is not installed and left out: pip install -c constraints.txt -e .[bench]")
    return found


def nnsight_generate(size: Size, backend: MusicgenBackend) -> Callable[[], None]:
    """Return `generate()` traced by nnsight, which keeps the output of every layer at every step."""
    model, tokenizer = backend.parts
    traced: Any = import_module("nnsight").NNsight(model)
    layers = traced.decoder.model.decoder.layers
    silence = SimpleNamespace(audio_values=torch.zeros(size.n_clips, 1, 1))

    def generate() -> None:
        model.decoder.set_attn_implementation("sdpa")
        inputs: Any = dict(tokenizer(size.texts, padding=True, return_tensors="pt"))
        inputs |= {"do_sample": True, "top_k": SAMPLING.top_k, "guidance_scale": SAMPLING.guidance_scale}
        inputs["max_length"] = size.n_frames + backend.info.n_codebooks
        with (
            patch.object(model.audio_encoder, "decode", lambda *_args, **_kwargs: silence),
            traced.trace(fn=model.generate, **inputs) as tracer,
        ):
            kept: Any = []
            kept.save()  # nnsight: it outlives the trace
            for _step in tracer.iter[:]:
                for layer in layers:
                    kept.append(layer.output.clone())
        model.decoder.set_attn_implementation(attention.NAME)
        assert len(kept) >= len(layers) * size.n_frames

    return generate


def transformers_generate(size: Size, backend: MusicgenBackend) -> Callable[[], None]:
    """Return the stock `generate()` with the codec taken out."""
    model, tokenizer = backend.parts
    silence = SimpleNamespace(audio_values=torch.zeros(size.n_clips, 1, 1))

    def generate() -> None:
        model.decoder.set_attn_implementation("sdpa")
        inputs: Any = tokenizer(size.texts, padding=True, return_tensors="pt")
        with patch.object(model.audio_encoder, "decode", lambda *_args, **_kwargs: silence):
            model.generate(
                **inputs, do_sample=True, top_k=SAMPLING.top_k, guidance_scale=SAMPLING.guidance_scale,
                max_length=size.n_frames + backend.info.n_codebooks,
            )  # fmt: skip
        model.decoder.set_attn_implementation(attention.NAME)

    return generate


def audiocraft_generate(size: Size, folder: Path, backend: MusicgenBackend) -> Callable[[], None]:
    """Return audiocraft's language model of the same sizes, generating tokens."""
    language = audiocraft_language(backend, folder)
    from audiocraft.modules.conditioners import ConditioningAttributes

    def generate() -> None:
        conditions = [ConditioningAttributes(text={"description": text}) for text in size.texts]
        made = language.generate(
            None, conditions, max_gen_len=size.n_frames, use_sampling=True, top_k=SAMPLING.top_k, cfg_coef=3.0
        )
        assert made.shape == (size.n_clips, backend.info.n_codebooks, size.n_frames)

    return generate


def compared(size: Size) -> dict[str, Any]:
    """Measure all ways of one size, print them, and return the ratios."""
    costs: dict[str, list[Cost]] = {}
    model = Model(str(size.folder), "", "float32", "cpu")
    with TemporaryDirectory(prefix="moodlens-checkpoints-") as folder, torch.inference_mode():
        loaded = catalog.load(model, REPOSITORY, block_clips=size.n_clips)
        assert isinstance(loaded, MusicgenBackend)
        runs = ways(size, loaded, Path(folder))
        for round_ in range(size.n_rounds + 1):
            for name, run in runs.items():
                cost = measured(run)
                if round_:  # the first is a warm-up
                    costs.setdefault(name, []).append(cost)
    title = f"{size.n_clips} clips x {size.n_frames} frames, guidance 3, one thread, {size.n_rounds} rounds"
    print(f"{size.name}: {title}")
    print(f"{'':<28}{'CPU s':>8}{'wall s':>8}{'steps/CPU s':>13}{'ours / it':>11}")
    ratios = {}
    for name, found in costs.items():
        ratios[name] = median(ours.cpu_s / it.cpu_s for ours, it in zip(costs[OURS], found, strict=True))
        cpu_s, wall_s = (median(getattr(cost, key) for cost in found) for key in ("cpu_s", "wall_s"))
        steps = (size.n_frames + loaded.info.n_delays - 1) / cpu_s
        print(f"{name:<28}{cpu_s:>8.2f}{wall_s:>8.2f}{steps:>13.1f}{ratios[name]:>11.3f}")
    _floor(size, median(cost.cpu_s for cost in costs[OURS]))
    return ratios


def _floor(size: Size, ours_s: float) -> None:
    params, config = asked(size), catalog.find(asked(size).model, REPOSITORY).checkpoint.config
    sizes, gflop_gbyte = sizes_of(config), machine_rates()
    rates = Rates(gflop_gbyte[0] * 1e9, gflop_gbyte[1] * 1e9)
    load = load_of(params, sizes, size.n_clips, size.n_clips)
    n_steps, rows = size.n_frames + sizes.n_delays - 1, 2 * size.n_clips
    flop_s, byte_s = 2 * rows * sizes.n_step / rates.flop_s, 4 * sizes.n_step / rates.byte_s
    floor_s = n_steps * (flop_s + byte_s)
    plan_s = n_steps * step_seconds(sizes, load, rates)
    print(
        f"floor: {n_steps} steps x ({1e3 * flop_s:.1f} ms arithmetic at {gflop_gbyte[0]:.0f} GFLOP/s + "
        f"{1e3 * byte_s:.1f} ms weights at {gflop_gbyte[1]:.1f} GB/s) = {floor_s:.2f} s; ours captured is "
        f"{ours_s / floor_s:.2f} x that; plan said {plan_s:.2f} s"
    )


def asked(size: Size) -> Any:
    """Return params.yaml with one shard of this size in it."""
    raw = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    raw["model"] |= {"id": str(size.folder)}
    raw["generate"] |= {
        "n_seeds": 1, "duration_s": size.n_frames / 50, "clips_per_shard": size.n_clips,
        "block_clips": size.n_clips,
    }  # fmt: skip
    raw["compute"] = {"workers": 1, "threads": 1}
    return parse_params(raw)


def staged(size: Size) -> tuple[float, float]:
    """Run one shard of stage `generate`; return measured / planned, peak memory and bytes on disk."""
    params = asked(size)
    with TemporaryDirectory(prefix="moodlens-stage-") as folder:
        root = Path(folder)
        (root / ".git").mkdir()
        raw = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
        for name in ("model", "generate", "compute"):
            section = getattr(params, name)
            raw[name] = {key: _plain(getattr(section, key)) for key in raw[name]}
        (root / "params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
        rows = ["prompt_id,emotion,valence,arousal,set,template,wording,split,text"]
        rows += [f"p{i},happy,0.5,0.5,generic,t0,happy,train,{text}" for i, text in enumerate(size.texts)]
        (root / "data").mkdir()
        (root / "data" / "prompts.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src"), "DVC_ROOT": str(root)}
        ran = measure([sys.executable, "-m", "moodlens.stages", "generate"], root, environment)
        if ran.exit_code:
            sys.exit(ran.output)
        files = [path for path in (root / "data").rglob("*") if path.is_file() and path.name != "prompts.csv"]
        disk = sum(path.stat().st_size for path in files)
    config = catalog.find(params.model, REPOSITORY).checkpoint.config
    sizes = sizes_of(config)
    cost = generate_cost(sizes, load_of(params, sizes, size.n_clips, size.n_clips), Rates(1e11, 2e10))
    print(
        f"stage generate, {size.name}: peak {ran.peak_gb:.2f} GB, plan {cost.memory_bytes / 1e9:.2f} GB; "
        f"disk {disk / 1e6:.2f} MB, plan {cost.disk_bytes / 1e6:.2f} MB; {ran.wall_s:.0f} s wall"
    )
    return ran.peak_gb * 1e9 / cost.memory_bytes, disk / cost.disk_bytes


def gpu_row(small: Path) -> dict[str, float] | None:
    """Measure capture over our bare loop on a GPU, small size, 32 clips of 10 s, bfloat16; None without one.

    Wall time, rounds interleaved. The floor is that of the memory: decoder weights once per step, and the
    keys and values of all rows, at the rate at which the device copies one gigabyte.
    """
    if not torch.cuda.is_available():
        print("no CUDA device: the GPU row (small, 32 x 10 s, bfloat16) was not run")
        return None
    size = Size("small on GPU", small, 32, 500, 3)
    model = Model(str(small), "", "bfloat16", "cuda")
    texts = [TEXTS[i % len(TEXTS)] for i in range(size.n_clips)]
    requests = [ClipRequest(f"c{i}", f"p{i}", text, seed_for("b", i)) for i, text in enumerate(texts)]
    sampling = Sampling(size.n_frames, SAMPLING.guidance_scale, top_k=SAMPLING.top_k)
    with TemporaryDirectory(prefix="moodlens-gpu-") as folder, torch.inference_mode():
        backend = catalog.load(model, REPOSITORY, block_clips=size.n_clips)

        def bare() -> None:
            backend.generate(requests, sampling, Capture(sites=()))
            torch.cuda.synchronize()

        def captured() -> None:
            capture = Capture(dtype="float16", summaries=True)
            states = backend.generate(requests, sampling, capture).states
            write_shard(Path(folder) / "shard-0000.safetensors", states.values)
            write_shard(Path(folder) / "summary-0000.safetensors", states.summaries)

        rounds = [(measured(captured).wall_s, measured(bare).wall_s) for _ in range(size.n_rounds + 1)][1:]
    sizes = sizes_of(catalog.find(model, REPOSITORY).checkpoint.config)
    n_steps = size.n_frames + sizes.n_delays - 1
    cached = 2 * 2 * size.n_clips * sizes.n_layers * sizes.d_model * n_steps / 2
    floor_s = n_steps * 2 * (sizes.n_step + cached) / _device_rate()
    bare_s = median(bare for _, bare in rounds)
    ratio = median(captured / bare for captured, bare in rounds)
    print(
        f"{torch.cuda.get_device_name()}: {size.n_clips} clips x {size.n_frames} frames in bfloat16: bare "
        f"{bare_s:.2f} s, captured and written {ratio:.3f} x that; {floor_s / bare_s:.2f} of the floor"
    )
    return {"capture_over_bare": round(ratio, 3), "share_of_floor": round(floor_s / bare_s, 3)}


def _device_rate() -> float:
    """Return the bytes per second that the GPU reads and writes while it copies one gigabyte."""
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)
        torch.cuda.synchronize()

    copy()
    return 2 * source.nbytes / min(measured(copy).wall_s for _ in range(9))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def main() -> int:
    """Measure both sizes and a GPU, if any; print tables and the JSON line; exit 1 when a bar fails."""
    torch.set_num_threads(1)
    with TemporaryDirectory(prefix="moodlens-small-") as folder:
        given = os.environ.get("MOODLENS_SMALL", "")
        small = Path(given) if given else save_sized(published_sizes("facebook/musicgen-small"), Path(folder))
        sizes = (
            Size("organism", REPOSITORY / "models" / "organism", 16, 100, 5),
            Size("small (24 x 1024)", small, 4, 50, 3),
        )
        ratios = {size.name: compared(size) for size in sizes}
        planned = {size.name: staged(size) for size in sizes}
        on_gpu = gpu_row(small)
    peers = {name: max(found[way] for way in (AUDIOCRAFT, THEIRS)) for name, found in ratios.items()}
    hooked = {
        name: max(found[way] for way in (HOOKED, NNSIGHT) if way in found) for name, found in ratios.items()
    }
    off = max(abs(ratio - 1) for pair in planned.values() for ratio in pair)
    worst = max(peers.values())
    fast = on_gpu is None or on_gpu["capture_over_bare"] <= GPU_BAR
    holds = worst <= 1 and max(hooked.values()) < 1 and off <= WITHIN and fast
    verdict = {
        "name": "checkpoints",
        "value": round(worst, 3),
        "unit": "CPU time, ours captured and written / the faster bare peer",
        "bar": "<= 1.0, faster than plain hooks and nnsight, plan within 20 % of memory and disk",
        "holds": holds,
        "over_bare_peer": {name: round(ratio, 3) for name, ratio in peers.items()},
        "over_those_that_capture": {name: round(ratio, 3) for name, ratio in hooked.items()},
        "plan_off": round(off, 3),
        "gpu": on_gpu,
    }
    print(json.dumps(verdict))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())

"""MusicGen-large at its true size in bfloat16: a few captured steps, peak memory beside what `plan` says.

48 layers x 2048 with random weights, made in bfloat16 from nothing (never in float32), in a process of its
own: one clip under guidance, every layer captured and written. No untrained twin is held and no audio is
decoded; the plan's terms for those are taken off. Where plan says that it does not fit, nothing is started.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from benchmarks.process_tree import measure
from benchmarks.true_sizes import published_sizes
from moodlens.forecast import machine, plan
from moodlens.forecast.generation import Cost, Rates, generate_cost, n_steps_of
from moodlens.forecast.sizes import sizes_of
from moodlens.params.pipeline import parse_params

REPOSITORY = Path(__file__).resolve().parents[1]
MODEL, N_CLIPS, N_FRAMES, WITHIN = "facebook/musicgen-large", 1, 9, 0.20


def planned() -> tuple[Cost, int]:
    """Return what plan says of the run, and its steps."""
    raw = yaml.safe_load((REPOSITORY / "params.yaml").read_text(encoding="utf-8"))
    raw["model"] |= {"id": MODEL, "dtype": "bfloat16"}
    raw["generate"] |= {"block_clips": N_CLIPS, "clips_per_shard": N_CLIPS, "attention": False}
    raw["compute"] = {"workers": 1, "threads": 1}
    sizes = replace(sizes_of(published_sizes(MODEL)), stored_dtype="bfloat16")  # no wider file is read
    load = plan.load_of(parse_params(raw), sizes, N_CLIPS, N_CLIPS)
    load = replace(load, n_frames=N_FRAMES, twin=False)
    return generate_cost(sizes, load, Rates(1e11, 2e10)), n_steps_of(sizes, load)


def run(folder: Path) -> None:
    """Make the model, draw the clip, write its states; the child process."""
    import time

    import torch
    from transformers import AutoTokenizer

    from benchmarks.true_sizes import sized_model
    from moodlens.backends import attention
    from moodlens.backends.musicgen.backend import MusicgenBackend
    from moodlens.contracts.backend import Capture, ClipRequest, ModelInfo, Sampling
    from moodlens.store.shards import write_shard

    torch.set_num_threads(1)
    model = sized_model(published_sizes(MODEL), torch.bfloat16)
    model.decoder.set_attn_implementation(attention.NAME)
    tokenizer = AutoTokenizer.from_pretrained(REPOSITORY / "models" / "organism")
    info = ModelInfo(
        MODEL, "", "random", 48, 2048, 768, 4, 2048, 50.0, 32000, "bfloat16", "cpu"
    )  # fmt: skip
    backend = MusicgenBackend(model, tokenizer, info, N_CLIPS)
    request = ClipRequest("c0", "p0", "a happy piano piece", 7)
    start = time.process_time()
    capture = Capture(dtype="float16", summaries=True)
    made = backend.generate([request], Sampling(N_FRAMES), capture)
    print(f"{time.process_time() - start:.2f}", flush=True)
    write_shard(folder / "shard-0000.safetensors", made.states.values)
    write_shard(folder / "summary-0000.safetensors", made.states.summaries)


def main() -> int:
    """Run it, print the table and the JSON line; exit 1 when the bar does not hold."""
    cost, n_steps = planned()
    verdict: dict[str, object] = {
        "name": "large",
        "unit": "measured / planned peak memory, large in bfloat16",
        "bar": f"within {WITHIN:.0%}, or refused with the numbers",
    }
    with TemporaryDirectory(prefix="moodlens-large-") as folder:
        fault = machine.fault_of(cost, Path(folder), "cpu")
        if fault:
            print(f"refused: {fault}")
            print(json.dumps({**verdict, "value": 0, "holds": True, "refused": True}))
            return 0
        environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY / 'src'}{os.pathsep}{REPOSITORY}"}
        ran = measure([sys.executable, "-m", "benchmarks.large", folder], REPOSITORY, environment)
        if ran.exit_code:
            sys.exit(ran.output)
        disk = sum(path.stat().st_size for path in Path(folder).iterdir())
    ratio, cpu_s = ran.peak_gb * 1e9 / cost.memory_bytes, float(ran.output.strip().splitlines()[-1])
    stored = cost.disk["states"] + cost.disk["summaries"] * 4 // 5  # without the twin's means
    print(f"large, 48 x 2048, bfloat16, {N_CLIPS} clip, guidance 3, {n_steps} steps, every layer captured")
    print(
        f"peak {ran.peak_gb:.2f} GB, plan {cost.memory_bytes / 1e9:.2f} GB; states and summaries "
        f"{disk / 1e6:.2f} MB, plan {stored / 1e6:.2f} MB; {n_steps / cpu_s:.2f} steps per CPU s"
    )
    holds = abs(ratio - 1) <= WITHIN
    print(json.dumps({**verdict, "value": round(ratio, 3), "holds": holds, "peak_gb": round(ran.peak_gb, 2)}))
    return 0 if holds else 1


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(Path(sys.argv[1]))
    else:
        sys.exit(main())

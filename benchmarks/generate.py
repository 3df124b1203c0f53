"""Generation: our loop bare, our loop with every layer captured and written, and `transformers.generate()`.

Same model, prompts, clips, frames, guidance and filters; one thread; the runs of a round follow each other,
so that what else the machine does hits all of them. Tokens only: the codec is left out everywhere. "Captured
and written" is what the stage does: states of every layer, summaries and quality figures, float16 shards
synced to the disk.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from moodlens.backends import attention, catalog
from moodlens.backends.conditioning import TEXT_BUCKET
from moodlens.backends.musicgen import decode_loop
from moodlens.backends.musicgen.backend import BLOCK_CLIPS, MusicgenBackend
from moodlens.base.seeding import seed_for
from moodlens.base.units import steps_for
from moodlens.contracts.backend import Capture, ClipRequest, Sampling
from moodlens.params.pipeline import Model
from moodlens.store.shards import write_shard

REPOSITORY = Path(__file__).resolve().parents[1]
N_CLIPS, N_FRAMES, N_ROUNDS = BLOCK_CLIPS, 200, 7
BAR = 1.10
SAMPLING = Sampling(N_FRAMES, guidance_scale=3.0, top_k=50)
WORDS = ("happy", "sad", "calm", "energetic", "slow", "fast", "loud", "soft")
TEXTS = [f"a {WORDS[i % 8]} and {WORDS[i // 8]} piece with a piano and a bass" for i in range(N_CLIPS)]
REQUESTS = [ClipRequest(f"c{i}", f"p{i}", text, seed_for("bench", i)) for i, text in enumerate(TEXTS)]
OURS, CAPTURED = "ours, bare", "ours, captured + written"
DYNAMIC, THEIRS = "ours, DynamicCache", "transformers.generate()"


@dataclass(frozen=True)
class Cost:
    """What one run took."""

    cpu_s: float
    wall_s: float


def ways(backend: MusicgenBackend, folder: Path) -> dict[str, Callable[[], None]]:
    """Return the four ways to generate the same number of tokens."""
    no_capture = Capture(sites=())

    def bare() -> None:
        backend.generate(REQUESTS, SAMPLING, no_capture)

    def captured() -> None:
        states = backend.generate(REQUESTS, SAMPLING, Capture(dtype="float16", summaries=True)).states
        write_shard(folder / "shard-0000.safetensors", states.values)
        write_shard(folder / "summary-0000.safetensors", states.summaries)

    def dynamic() -> None:
        def cache(_n_layers: int, _n_steps: int) -> EncoderDecoderCache:
            return EncoderDecoderCache(DynamicCache(), DynamicCache())

        with patch.object(decode_loop, "decoder_cache", cache):
            bare()

    return {OURS: bare, CAPTURED: captured, DYNAMIC: dynamic, THEIRS: transformers_generate(backend)}


def transformers_generate(backend: MusicgenBackend) -> Callable[[], None]:
    """Return the stock `generate()` with the codec taken out."""
    model, tokenizer = backend.parts
    length = N_FRAMES + backend.info.n_codebooks
    silence = SimpleNamespace(audio_values=torch.zeros(N_CLIPS, 1, 1))

    def generate() -> None:
        model.decoder.set_attn_implementation("sdpa")
        inputs: Any = tokenizer(TEXTS, padding=True, return_tensors="pt")
        with patch.object(model.audio_encoder, "decode", lambda *_args, **_kwargs: silence):
            model.generate(
                **inputs,
                do_sample=True,
                top_k=SAMPLING.top_k,
                guidance_scale=SAMPLING.guidance_scale,
                max_length=length,
            )
        model.decoder.set_attn_implementation(attention.NAME)

    return generate


def measured(run: Callable[[], object]) -> Cost:
    """Return what one run costs."""
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    run()
    return Cost(time.process_time() - cpu_s, time.perf_counter() - wall_s)


def floor(config: Mapping[str, Any]) -> tuple[float, float]:
    """Return (GFLOP, GB) that one whole run cannot go below in float32.

    FLOP: every decoder weight once per row and step (the text's keys and values are cached), the heads, and
    attention over the steps so far and the text. Bytes: the weights once per step, cached keys and values.
    """
    d, ffn, n_layers = config["hidden_size"], config["ffn_dim"], config["num_hidden_layers"]
    heads = config["num_codebooks"] * config["vocab_size"] * d
    weights = n_layers * (6 * d * d + 2 * d * ffn) + heads
    rows, n_steps = 2 * N_CLIPS, steps_for(N_FRAMES, config["num_codebooks"])
    # keys met by one row of one layer over all steps; half of the rows have a text
    seen = n_steps * (n_steps + 1) / 2 + n_steps * TEXT_BUCKET / 2
    flop = 2 * rows * (weights * n_steps + 2 * n_layers * d * seen)
    n_bytes = 4 * (weights * n_steps + 2 * rows * n_layers * d * seen)
    return flop / 1e9, n_bytes / 1e9


def machine_rates() -> tuple[float, float]:
    """Return (GFLOP/s, GB/s) that one thread of this machine reaches: a square product, a large sum."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    big = torch.randn(64_000_000)
    product_s = min(measured(lambda: torch.mm(a, b)).cpu_s for _ in range(9))
    stream_s = min(measured(lambda: big.sum()).cpu_s for _ in range(5))
    return 2 * 1024**3 / product_s / 1e9, big.nbytes / stream_s / 1e9


def main(model_id: str = "organism") -> None:
    """Measure, print the table and the verdict."""
    torch.set_num_threads(1)
    model = Model(model_id, "", "float32", "cpu")
    backend = catalog.load(model, REPOSITORY)
    assert isinstance(backend, MusicgenBackend)
    costs: dict[str, list[Cost]] = {}
    with TemporaryDirectory(prefix="moodlens-generate-") as folder, torch.inference_mode():
        runs = ways(backend, Path(folder))
        for warm_up_or_round in range(N_ROUNDS + 1):
            for name, run in runs.items():
                cost = measured(run)
                if warm_up_or_round:
                    costs.setdefault(name, []).append(cost)
    report(costs, catalog.find(model, REPOSITORY).checkpoint.config["decoder"])


def report(costs: Mapping[str, list[Cost]], config: Mapping[str, Any]) -> None:
    """Print the table, the floor, and the JSON line."""
    print(f"{N_CLIPS} clips x {N_FRAMES} frames, guidance 3, one thread, {N_ROUNDS} interleaved rounds")
    print(f"{'':<28}{'CPU s':>8}{'min':>8}{'wall s':>8}{'frames/CPU s':>14}{'x bare':>8}")
    ratios = {}
    for name, found in costs.items():
        pairs = zip(found, costs[OURS], strict=True)
        ratios[name] = median(cost.cpu_s / bare.cpu_s for cost, bare in pairs)
        cpu_s = median(cost.cpu_s for cost in found)
        line = f"{name:<28}{cpu_s:>8.2f}{min(cost.cpu_s for cost in found):>8.2f}"
        line += f"{median(cost.wall_s for cost in found):>8.2f}{N_CLIPS * N_FRAMES / cpu_s:>14.0f}"
        print(f"{line}{ratios[name]:>8.3f}")
    gflop, gbyte = floor(config)
    gflops, gbs = machine_rates()
    floor_s = gflop / gflops + gbyte / gbs
    print(
        f"floor: {gflop:.1f} GFLOP at {gflops:.0f} GFLOP/s + {gbyte:.1f} GB at {gbs:.1f} GB/s"
        f" = {floor_s:.2f} s; bare is {min(cost.cpu_s for cost in costs[OURS]) / floor_s:.1f} x that"
    )
    faster = ratios[THEIRS] / ratios[CAPTURED]
    verdict = {
        "name": "generate",
        "value": round(ratios[CAPTURED], 3),
        "unit": "CPU time, all layers captured and written / bare",
        "bar": f"<= {BAR} and faster than transformers.generate() without capture",
        "holds": ratios[CAPTURED] <= BAR and faster > 1,
        "transformers_over_captured": round(faster, 2),
        "floor_s": round(floor_s, 2),
    }
    print(json.dumps(verdict))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Forks: one call that copies caches, and the same branches when every block is fed back from the start.

Four slots of four texts (two emotions, another wording of the first, neutral); every stem holds the tokens
that its slot's neutral text generated. At each fork step a branch takes the states cached under each text and
goes on under null text (memory), and one takes those of the neutral text and goes on under each text
(re-reading). Whole clips, blocks of 16, one thread. The floor counts decoder steps of blocks.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.generate import REPOSITORY, Cost, measured
from moodlens.backends import catalog
from moodlens.backends.musicgen.backend import BLOCK_CLIPS
from moodlens.base.seeding import seed_for
from moodlens.base.units import steps_for
from moodlens.contracts.backend import Branch, Capture, ClipRequest, Forked, MusicBackend, Sampling, Stem
from moodlens.params.pipeline import Model

N_FRAMES, N_ROUNDS = 200, 3
STEPS = (30, 70, 110, 150, 190)
SLOTS = ("organ", "strings", "piano", "flute")
WORDS = ("happy ", "sad ", "cheerful ", "")
BAR = 1.1


def stems_of(backend: MusicBackend, sampling: Sampling) -> list[Stem]:
    """Return the tokens of every slot's neutral text under each text of the slot."""
    asked = [ClipRequest(slot, slot, f"{WORDS[-1]}{slot} piece", seed_for("forks", slot)) for slot in SLOTS]
    codes = backend.generate(asked, sampling, Capture(sites=())).codes
    return [
        Stem(codes[i], f"{word}{slot} piece", seed_for("ahead", slot))
        for i, slot in enumerate(SLOTS)
        for word in WORDS
    ]


def branch_blocks(stems: Sequence[Stem]) -> list[list[Branch]]:
    """Return the branches, those of a block together."""
    neutral = [i - i % len(WORDS) + len(WORDS) - 1 for i in range(len(stems))]
    blocks = []
    for step in STEPS:
        blocks.append([Branch(neutral[i], step, None, donor=i) for i in range(len(stems))])
        blocks.append([Branch(neutral[i], step, stem.text) for i, stem in enumerate(stems)])
    return blocks


def floor(n_steps: int) -> float:
    """Return block steps of the call over block steps of the recomputation."""
    n_ahead = sum(2 * (n_steps - step) for step in STEPS)
    return (max(STEPS) + n_ahead) / (2 * len(STEPS) * n_steps)


def compared(backend: MusicBackend, guidance_scale: float) -> tuple[list[Cost], list[Cost], int]:
    """Return what the call and the recomputation cost in every round, and the number of branches.

    Both must give the same tokens.
    """
    sampling = Sampling(N_FRAMES, guidance_scale=guidance_scale)
    stems = stems_of(backend, sampling)
    blocks = branch_blocks(stems)
    assert all(len(block) == BLOCK_CLIPS for block in blocks)
    asked = [branch for block in blocks for branch in block]
    together: list[Forked] = []
    apart: list[Forked] = []
    costs: tuple[list[Cost], list[Cost]] = ([], [])
    for _ in range(N_ROUNDS):
        costs[0].append(measured(lambda: together.append(backend.fork(stems, asked, sampling))))
        costs[1].append(
            measured(lambda: apart.extend(backend.fork(stems, block, sampling) for block in blocks))
        )
    codes = np.concatenate([made.codes for made in apart[: len(blocks)]])
    assert np.array_equal(together[0].codes, codes), "forks together and apart must be equal"
    return *costs, len(asked)


def main(model_id: str = "organism", root: str = str(REPOSITORY)) -> int:
    """Measure, print the table and the verdict; exit 1 when the bar fails."""
    torch.set_num_threads(1)
    backend = catalog.load(Model(model_id, "", "float32", "cpu"), Path(root))
    lowest = floor(steps_for(N_FRAMES, backend.info.n_delays))
    print(f"{N_FRAMES} frames, forks at steps {', '.join(map(str, STEPS))}, {N_ROUNDS} interleaved rounds")
    print(f"{'':<12}{'branches':>9}{'forks CPU s':>12}{'apart CPU s':>12}{'ratio':>7}{'ms a branch':>12}")
    ratios, milliseconds = {}, {}
    for scale in (1.0, 3.0):
        forks, apart, n = compared(backend, scale)
        ratios[scale] = median(a.cpu_s / b.cpu_s for a, b in zip(forks, apart, strict=True))
        fork_s, apart_s = (median(cost.cpu_s for cost in costs) for costs in (forks, apart))
        milliseconds[scale] = 1000 * fork_s / n
        line = f"guidance {scale:<3g}{n:>9}{fork_s:>12.1f}{apart_s:>12.1f}{ratios[scale]:>7.3f}"
        print(f"{line}{milliseconds[scale]:>12.0f}")
    print(f"floor: {lowest:.3f} of the decoder steps")
    verdict = {
        "name": "forks",
        "value": round(max(ratios.values()), 3),
        "unit": "CPU time, forks / every block fed back from the start",
        "bar": f"<= {BAR} x {lowest:.3f}, the ratio of decoder steps",
        "holds": max(ratios.values()) <= BAR * lowest,
        "floor": round(lowest, 3),
        "ms_per_branch": {f"guidance {scale:g}": round(ms) for scale, ms in milliseconds.items()},
    }
    print(json.dumps(verdict))
    return 0 if verdict["holds"] else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""Cost of editing: blocks of clips that play with interventions, and the same rows without any.

A block has 16 rows, one thread, guidance 1. Bare: 16 clips. Add: a direction is added to the residual stream
of a middle layer of all 16, at every step. Exchange: 8 clips take that layer's output from 8 donors, which
are rows of the block. Everywhere: 16 clips with a direction in every layer. Rounds are interleaved.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.generate import REPOSITORY, Cost, measured
from moodlens.backends import catalog
from moodlens.backends.musicgen.backend import BLOCK_CLIPS
from moodlens.contracts.backend import Branch, ModelInfo, Sampling, Stem
from moodlens.contracts.interventions import Donor, Intervention
from moodlens.params.pipeline import Model

N_FRAMES, N_ROUNDS = 200, 5
BAR = 1.15
TEXT, OTHER = "a happy piano piece", "a sad piano piece"


def cases_of(info: ModelInfo) -> dict[str, list[Branch]]:
    """Return name -> the branches of one block; with their donors they are BLOCK_CLIPS rows."""
    vectors = np.random.default_rng(0).normal(size=(1, info.d_model)).astype(np.float32)
    middle = info.n_layers // 2
    add = Intervention(f"residual.{middle}", "add", coefficient=0.1, vectors=vectors)
    swap = Intervention(f"residual.{middle}", "exchange", donor=Donor(OTHER))
    everywhere = tuple(replace(add, hookpoint=f"residual.{layer}") for layer in range(info.n_layers))
    plain = [Branch(i, 0, TEXT) for i in range(BLOCK_CLIPS)]
    return {
        "bare": plain,
        "add": [replace(branch, edits=(add,)) for branch in plain],
        "everywhere": [replace(branch, edits=everywhere) for branch in plain],
        "exchange": [replace(branch, edits=(swap,)) for branch in plain[: BLOCK_CLIPS // 2]],
    }


def compared(model_id: str, root: Path) -> Mapping[str, list[Cost]]:
    """Return what a block of every case cost in every round."""
    backend = catalog.load(Model(model_id, "", "float32", "cpu"), root)
    info = backend.info
    sampling = Sampling(N_FRAMES, guidance_scale=1.0)
    empty = np.zeros((info.n_codebooks, N_FRAMES), dtype=np.int16)
    stems = [Stem(empty, None, key) for key in range(BLOCK_CLIPS)]
    cases = cases_of(info)
    costs: dict[str, list[Cost]] = {name: [] for name in cases}
    for _ in range(N_ROUNDS):
        for name, branches in cases.items():
            costs[name].append(measured(lambda branches=branches: backend.fork(stems, branches, sampling)))
    return costs


def main(model_id: str = "organism", root: str = str(REPOSITORY)) -> int:
    """Measure, print the table and the verdict; exit 1 when the bar fails."""
    torch.set_num_threads(1)
    costs = compared(model_id, Path(root))
    print(f"blocks of {BLOCK_CLIPS} rows x {N_FRAMES} frames, guidance 1, {N_ROUNDS} interleaved rounds")
    print(f"{'':<12}{'CPU s':>8}{'x bare':>8}")
    ratios = {}
    for name, of_case in costs.items():
        pairs = zip(of_case, costs["bare"], strict=True)
        ratios[name] = median(one.cpu_s / bare.cpu_s for one, bare in pairs)
        print(f"{name:<12}{median(one.cpu_s for one in of_case):>8.2f}{ratios[name]:>8.3f}")
    largest = max(ratios.values())
    verdict = {
        "name": "interventions",
        "value": round(largest, 3),
        "unit": "CPU time, a block with interventions / without, the dearest case",
        "bar": f"<= {BAR}",
        "holds": largest <= BAR,
        "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()},
    }
    print(json.dumps(verdict))
    return 0 if verdict["holds"] else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

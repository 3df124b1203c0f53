"""The continuations that the memory's share is measured on: which prefix, which cached text, which sound."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from moodlens.contracts.backend import (
    Branch,
    Capture,
    ClipRequest,
    Forked,
    Generated,
    ModelInfo,
    Sampling,
    States,
    Stem,
)
from moodlens.forks.slots import Slot
from moodlens.stages.calibrate.memory_share import continuations
from tests.stages.planted import planted_params

RATE_HZ = 16_000
TEXTS = (None, "happy one", "sad one", "one", "happy two", "sad two", "two")
"""The number of a text is its place: 1, 2, 3 in the first slot, 4, 5, 6 in the second."""


def slot(number: str) -> Slot:
    return Slot(
        f"happy - sad/generic/{number}", ("happy", "sad"), (f"glad {number}", f"grey {number}"),
        f"happy {number}", f"sad {number}", f"joyful {number}", number,
    )  # fmt: skip


class Levels:
    """A model whose sound says what it was made of: the code of a clip is minus its level in dB.

    A generated clip has the number of its text, a continuation that of its prefix and ten times that of the
    text its cached states were computed under.
    """

    info = ModelInfo("levels", "", "", 1, 4, 4, 2, 100, 50.0, RATE_HZ, "float32", "cpu")

    def __init__(self, n_channels: int) -> None:
        self.n_channels = n_channels
        self.requests: list[ClipRequest] = []
        self.stems: list[Stem] = []
        self.branches: list[Branch] = []
        self.samplings: list[Sampling] = []

    def generate(self, requests: Sequence[ClipRequest], sampling: Sampling, capture: Capture) -> Generated:
        assert not capture.keep_steps
        self.requests += requests
        self.samplings.append(sampling)
        numbers = [TEXTS.index(request.text) for request in requests]
        return Generated(self._codes(numbers, sampling), States())

    def fork(self, stems: Sequence[Stem], branches: Sequence[Branch], sampling: Sampling) -> Forked:
        self.stems, self.branches = list(stems), list(branches)
        self.samplings.append(sampling)
        read = [stems[branch.stem] for branch in branches]
        numbers = [int(stem.codes[0, 0]) + 10 * TEXTS.index(stem.text) for stem in read]
        return Forked(self._codes(numbers, sampling), np.zeros(len(branches), np.float32))

    def _codes(self, numbers: Sequence[int], sampling: Sampling) -> np.ndarray:
        return np.tile(np.array(numbers, np.int16)[:, None, None], (1, 2, sampling.n_frames))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return a square wave, at full scale until its last second; of two channels the second is silent."""
        n_samples = round(codes.shape[2] / 50.0 * RATE_HZ)
        square = np.where(np.arange(n_samples) // 16 % 2, 1.0, -1.0)
        level = self.n_channels * 10 ** (-codes[:, 0, :1] / 20)  # the mean over channels has the level
        waves = (square * np.where(np.arange(n_samples) < n_samples - RATE_HZ, 1, level)).astype(np.float32)
        return waves if self.n_channels == 1 else np.stack([waves, 0 * waves], axis=1)


@pytest.mark.parametrize("n_channels", [1, 2])
def test_continuations_by_hand(n_channels: int):
    params = planted_params()
    params = replace(
        params,
        generate=replace(params.generate, duration_s=2.0, temperature=0.9, top_k=7, top_p=0.5),
        forks=replace(params.forks, steps_s=(0.6, 1.0), guidance_scale=1.5, judged_s=1.0),
    )
    model: Any = Levels(n_channels)
    table = continuations(params, model, [slot("one"), slot("two")])
    levels = {
        (unit, source, side): -round(level)
        for unit, source, side, level in table[["unit", "source", "side", "loudness_db"]].itertuples(
            index=False
        )
    }
    first, second = "glad one / grey one", "glad two / grey two"
    assert levels == {
        # neutral tokens under either text; the own tokens under the own text; the own tokens under null text
        (first, "recovered", "one"): 3 + 10, (first, "recovered", "other"): 3 + 20,
        (first, "held", "one"): 1 + 10, (first, "held", "other"): 2 + 20,
        (first, "forgotten", "one"): 1, (first, "forgotten", "other"): 2,
        (first, "all", "one"): 1, (first, "all", "other"): 2,
        (second, "recovered", "one"): 6 + 40, (second, "recovered", "other"): 6 + 50,
        (second, "held", "one"): 4 + 40, (second, "held", "other"): 5 + 50,
        (second, "forgotten", "one"): 4, (second, "forgotten", "other"): 5,
        (second, "all", "one"): 4, (second, "all", "other"): 5,
    }  # fmt: skip
    assert len(table) == 16
    assert set(table["pair"]) == {"happy - sad"}
    # every fork is at the first step of forks.steps_s and goes on under null text, with its slot's noise
    assert {(branch.step, branch.ahead, branch.donor) for branch in model.branches} == {(30, None, None)}
    noise = {request.prompt_id: request.seed_key for request in model.requests}
    assert len(model.requests) == 6
    assert len(set(noise.values())) == 2
    assert [stem.seed_key for stem in model.stems] == [key for key in noise.values() for _ in range(6)]
    assert set(model.samplings) == {Sampling(100, 1.5, 0.9, 7, 0.5)}

"""A tempo counts only where the pulse is clearer than noise's."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moodlens.audio.descriptors import describe
from moodlens.base.seeding import rng_for
from moodlens.workspace.design import open_workspace
from moodlens.workspace.tempo import noise_clarity, tempos
from tests.stages.planted import plant, planted_params

RATE_HZ = 16_000


def clarity_of(samples: np.ndarray) -> float:
    return describe(samples, RATE_HZ).pulse_clarity


@pytest.mark.parametrize("duration_s", [1.2, 4.0, 8.0])
def test_noise_is_rarely_as_clear_and_a_pulse_always_clearer(duration_s: float):
    n, rng = int(RATE_HZ * duration_s), rng_for("clarity", duration_s)
    (least,) = noise_clarity(np.array([duration_s]))
    noise = [clarity_of(0.1 * rng.standard_normal(n)) for _ in range(40)]
    assert np.mean(np.array(noise) > least) <= 0.15
    assert np.quantile(noise, 0.75) > 0.5 * least, "the bound is of the size of what noise has"
    beats = np.arange(0, n, RATE_HZ * 60 // 150)
    pulse = np.zeros(n)
    for start in beats:
        length = min(1600, n - start)
        pulse[start : start + length] = rng.standard_normal(length) * np.exp(-np.arange(length) / 300)
    assert clarity_of(pulse) > 2 * least


def test_clips_without_a_clear_pulse_are_left_out(tmp_path: Path):
    params = planted_params()
    plant(tmp_path, "random", params)
    work, path = open_workspace(tmp_path), tmp_path / "data" / "acoustics.parquet"
    table = pd.read_parquet(path)
    table["pulse_clarity"] = 0.5
    table.to_parquet(path)
    every, _ = tempos(work)
    assert len(every) == len(table)
    table.loc[3, "pulse_clarity"] = 0.05
    table.to_parquet(path)
    clear, prompts = tempos(work)
    assert len(clear) == len(prompts) == len(table) - 1

"""Intensity ("slightly", "very") is a length: scaling rows by one number keeps it, unit rows lose it."""

import numpy as np
import pytest
import torch

from moodlens.sae.catalog import config_for
from moodlens.sae.plan import Plan
from moodlens.sae.trainer import train

PLAN = Plan(
    n_epochs=12, batch_rows=128, buffer_rows=4096, learning_rate=5e-3, warmup_steps=10, scale_input=True
)
INTENSITY = np.array([0.5, 1.0, 1.5])


def rows_of(normalised: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows = intensity x one of 8 concept directions + faint noise; the concept and intensity of each."""
    rng = np.random.default_rng(0)
    concepts = np.linalg.qr(rng.standard_normal((24, 8)))[0].T
    which, level = rng.integers(0, 8, 1500), rng.integers(0, 3, 1500)
    rows = 4 * INTENSITY[level, None] * concepts[which] + 0.05 * rng.standard_normal((1500, 24))
    if normalised:
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), which, level


@pytest.mark.parametrize(("normalised", "preserved"), [(False, True), (True, False)])
def test_latents_say_how_much_unless_rows_are_normalised(normalised: bool, preserved: bool):
    rows, which, level = rows_of(normalised)
    config = config_for("topk", {"d_in": 24, "d_sae": 48, "k": 2})
    trained = train(config, lambda: [rows[:1200]], lambda: [rows[1200:]], PLAN)
    latents = trained.sae.encode(torch.from_numpy(rows)).numpy()
    ratios = []
    for concept in range(8):
        here = which == concept
        best = latents[here].mean(axis=0).argmax()
        levels = [latents[here & (level == step), best].mean() for step in range(3)]
        ratios.append(levels[2] / levels[0])
    if preserved:
        assert min(ratios) > 2  # "very" is three times "slightly" in the rows
    else:
        assert max(ratios) < 1.2

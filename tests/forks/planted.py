"""A table of continuations whose sources carry known shares of a known total."""

import numpy as np
import pandas as pd

from moodlens.forks.cells import ALL, DONOR, ONE, OTHER, SOURCES

PAIRS = ("happy - sad", "energetic - calm")
GAPS = {"happy - sad": 10.0, "energetic - calm": 20.0}
STEPS = (15, 30)


def planted(
    shares: dict[str, float],
    *,
    total: float = 1.0,
    noise: float = 0.5,
    n_units: int = 9,
    n_clips: int = 4,
    seed: int = 0,
    donor: float = 0.0,
) -> pd.DataFrame:
    """Continuations of `n_units` pairs of wordings per pair of emotions.

    Args:
        shares: source -> share of the total that it carries at every step.
        total: of the judge's own gap.
        noise: standard deviation of a clip's log-odds, in log-odds.
        donor: share by which another wording of the same emotion differs.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for pair in PAIRS:
        gap = GAPS[pair] * total
        for unit in range(n_units):
            for clip in range(n_clips):
                for source, step in [(ALL, 0), *((name, step) for name in SOURCES for step in STEPS)]:
                    share = 1.0 if source == ALL else shares.get(source, 0.0)
                    for side, sign in ((ONE, 0.5), (OTHER, -0.5), (DONOR, 0.5 - donor)):
                        odds = sign * share * gap + noise * rng.standard_normal()
                        rows.append((pair, f"{pair} {unit}", clip, source, side, step, "", 1.0, 2.0, odds))
    columns = [
        "pair", "unit", "seed", "source", "side", "step", "place", "guidance_scale", "nats_per_token",
        "log_odds",
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=columns)
    for column in ("loudness_db", "brightness_octaves", "onset_rate_hz", "mode_margin"):
        table[column] = table["log_odds"]
    return table

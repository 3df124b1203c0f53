"""Power analysis: the prompts that the thresholds of the ladder need, with a layer of the run as pilot."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd

from moodlens.params.pipeline import Decide
from moodlens.stats.design import Design, Unit
from moodlens.stats.gram import SiteGram, group_means, prompt_grams
from moodlens.stats.power import Pilot, Threshold, pilot_of, power_table
from moodlens.stats.similarity import prompt_icc

POWERS = (0.8, 0.9)
UNIT: Unit = "wording"


def power_analysis(
    layers: Sequence[SiteGram], best: str, design: Design, decide: Decide, rng: np.random.Generator
) -> pd.DataFrame:
    """Return the prompts per emotion that each threshold needs, one row per threshold and power.

    Args:
        layers: the family that maxT corrects over; each level is divided by its size.
        best: name of the layer that serves as the pilot.
        design: the prompts.
        decide: thresholds, with the levels of this look.
        rng: source of the simulation.
    """
    site = next(layer for layer in layers if layer.site == best)
    thresholds = {
        f"{kind} {level}": Threshold(kind, value, alpha / len(layers))
        for level, alpha, effect, accuracy in (
            ("weak", decide.alpha_weak, decide.effect_weak, decide.accuracy_weak),
            ("strong", decide.alpha_strong, decide.effect_strong, decide.accuracy_strong),
        )
        for kind, value in (("effect", effect), ("accuracy", accuracy))
    }
    needs = power_table(pilot_of_layer(site, design), thresholds, POWERS, rng)
    return pd.DataFrame([asdict(need) for need in needs])


def pilot_of_layer(site: SiteGram, design: Design) -> Pilot:
    """Return a layer as a pilot over wordings.

    With one clip per prompt the ICC of prompts cannot be estimated, and 1 is assumed.
    """
    members = design.members(UNIT)
    icc = prompt_icc(site, design.labels)
    return pilot_of(
        group_means(prompt_grams([site])[0], members),
        design.unit_labels(UNIT),
        1.0 if icc is None else icc,
        len(site.prompts) / design.n_prompts,
        design.n_prompts / (members.max() + 1),
    )

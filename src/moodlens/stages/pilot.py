"""This run as a pilot: how many prompts its thresholds need, from a layer's spectrum and ICC."""

from dataclasses import asdict

import pandas as pd

from moodlens.base.seeding import rng_for
from moodlens.contracts.params import Decide, Params
from moodlens.stages import sites
from moodlens.stages.workspace import Workspace
from moodlens.stats.design import Unit
from moodlens.stats.gram import SiteGram, group_means, prompt_grams
from moodlens.stats.icc import prompt_icc
from moodlens.stats.power import Threshold, pilot_of, power_table

POWERS = (0.8, 0.9)
UNIT: Unit = "wording"


def power_rows(work: Workspace, params: Params, thresholds: Decide, best: str) -> pd.DataFrame:
    """Return the prompts per emotion that each threshold needs, one row per threshold and power.

    Args:
        work: the workspace whose layers are the pilot.
        params: of the run; its signal seed seeds the simulation.
        thresholds: with the levels of this look.
        best: the layer that stands for the pilot, as signal.json names it.
    """
    family = sites.layers(work, twin=False)
    site = next(found for found in family if found.site == best)
    design = work.design
    members = design.members(UNIT)
    unit_gram = group_means(prompt_grams([site])[0], members)
    pilot = pilot_of(
        unit_gram,
        design.unit_labels(UNIT),
        _icc(site, work),
        len(site.prompts) / design.n_prompts,
        design.n_prompts / (members.max() + 1),
    )
    asked = {
        f"{kind} {level}": Threshold(kind, value, alpha / len(family))
        for level, alpha, effect, accuracy in (
            ("weak", thresholds.alpha_weak, thresholds.effect_weak, thresholds.accuracy_weak),
            ("strong", thresholds.alpha_strong, thresholds.effect_strong, thresholds.accuracy_strong),
        )
        for kind, value in (("effect", effect), ("accuracy", accuracy))
    }
    needs = power_table(pilot, asked, POWERS, rng_for("power", best, params.signal.seed))
    return pd.DataFrame([asdict(need) for need in needs])


def _icc(site: SiteGram, work: Workspace) -> float:
    """Return the ICC of prompts; with one clip per prompt it is unknown, and 1 is assumed."""
    found = prompt_icc(site, work.design.labels)
    return 1.0 if found is None else found

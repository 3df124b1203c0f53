"""The input of every metric: sites by unit (prompts, or wordings where prompts share them).

Pairwise similarities are means over pairs of clips of two units, so the same prompt with another random seed
gives their ceiling. All other metrics use unit means: one vector per unit, with equal weight.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from moodlens.stats.design import Design, Unit
from moodlens.stats.gram import (
    SiteGram,
    centred,
    cosines,
    group_means,
    mean_weights,
    prompt_pairs,
    squared_distances,
)
from moodlens.stats.similarity import centred_cosines


@dataclass(frozen=True)
class Units:
    """Sites by unit. The diagonals of the pairwise arrays are not used."""

    sites: tuple[str, ...]
    raw: Float[np.ndarray, "site unit unit"]  # cosines as they are
    centred: Float[np.ndarray, "site unit unit"]  # cosines around the mean of the prompt means
    nearness: Float[np.ndarray, "site unit unit"]  # minus Euclidean distance; 1 = RMS distance from the mean
    grams: Float[np.ndarray, "site unit unit"]  # of unit means, centred, mean diagonal 1
    means: tuple[Float[np.ndarray, "unit dim"] | None, ...]  # None where a site keeps no vectors
    # Ceilings of the pairwise arrays: same prompt, other random seed; NaN if there is none.
    ceilings: dict[str, Float[np.ndarray, " site"]]

    @property
    def n_units(self) -> int:
        return self.grams.shape[1]


def units_of(sites: Sequence[SiteGram], design: Design, unit: Unit) -> Units:
    """Return sites by unit.

    Args:
        sites: Gram matrices over the prompts of `design`.
        design: of these prompts.
        unit: whether prompts or wordings are relabelled later.
    """
    members = design.members(unit)
    pairs: dict[str, list[np.ndarray]] = {"raw": [], "centred": [], "nearness": []}
    ceilings: dict[str, list[float]] = {name: [] for name in pairs}
    grams = []
    for site in sites:
        views = {"raw": cosines(site.values), "centred": centred_cosines(site), "nearness": _nearness(site)}
        for name, view in views.items():
            pairs[name].append(prompt_pairs(view, members[site.prompts]))
            same = np.diag(prompt_pairs(view, site.prompts))
            ceilings[name].append(float(np.nanmean(same)) if np.isfinite(same).any() else np.nan)
        means = centred(group_means(group_means(site.values, site.prompts), members))
        grams.append(means / np.trace(means) * len(means))
    weights = mean_weights(members)
    return Units(
        tuple(site.site for site in sites),
        np.nan_to_num(np.stack(pairs["raw"])),
        np.nan_to_num(np.stack(pairs["centred"])),
        np.nan_to_num(np.stack(pairs["nearness"])),
        np.stack(grams),
        tuple(None if site.means is None else weights @ site.means for site in sites),
        {name: np.array(values) for name, values in ceilings.items()},
    )


def _nearness(site: SiteGram) -> Float[np.ndarray, "row row"]:
    around = centred(site.values, mean_weights(site.prompts).mean(axis=0))
    return -np.sqrt(squared_distances(around / np.trace(around) * len(around)))

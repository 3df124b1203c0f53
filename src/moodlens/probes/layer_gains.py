"""What layers add to the text encoder and to the acoustics, and cosines between directions of layers."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from moodlens.base.seeding import rng_for
from moodlens.probes.directions import Partial, angles, partial_r2
from moodlens.probes.family import ProbeSettings
from moodlens.probes.folds import design_folds
from moodlens.probes.site_scores import PromptColumns
from moodlens.stats.bootstrap import resamples
from moodlens.stats.design import Design
from moodlens.stats.gram import SiteGram, prompt_grams
from moodlens.stats.site_names import site_columns, split_site

Families = Mapping[str, Sequence[SiteGram]]
Gains = Mapping[tuple[str, str], Mapping[str, Partial]]
"""(family, base) -> site -> gain."""

BASES = {"text": ("text", "text"), "acoustics": ("music", "acoustics")}
"""Base of a partial R2 -> its family and site."""
LAYERS = ("layers", "twin_layers")


def gains_beyond(families: Families, design: Design, settings: ProbeSettings) -> Gains:
    """Return what each layer adds to the text encoder and to the acoustic descriptors, wordings held out."""
    folds = design_folds(design, "wording", settings.n_folds, rng_for("folds", "wording", settings.seed))
    rng = rng_for("resample", "partial", settings.seed)
    counts = resamples(design, "wording", settings.n_bootstrap, rng)
    ridges = settings.ridge_grid or (settings.ridge,)
    gains_of = {}
    for base, (family, site) in BASES.items():
        bases = [gram for gram in families.get(family, ()) if gram.site == site]
        for name in LAYERS:
            if not bases or name not in families:
                continue
            layers = families[name]
            gains = partial_r2(
                prompt_grams(bases)[0],
                prompt_grams(layers),
                design.labels,
                folds,
                ridges,
                counts,
                settings.confidence,
            )
            gains_of[name, base] = {layer.site: gain for layer, gain in zip(layers, gains, strict=True)}
    return gains_of


def direction_rows(families: Families, design: Design, columns: PromptColumns, seed: int) -> pd.DataFrame:
    """Return the cosines between directions of the layers of each hookpoint: metrics/probe_directions.csv."""
    scales = {"valence": columns.valence, "arousal": columns.arousal}
    scales = {name: values for name, values in scales.items() if np.ptp(values) > 0}
    rows = []
    for family in LAYERS:
        groups: dict[tuple[str, str], list[tuple[int, SiteGram]]] = {}
        for gram in families.get(family, ()):
            site, layer, half = split_site(gram.site)
            groups.setdefault((site, half), []).append((layer, gram))
        for (site, half), members in groups.items():
            vectors = [gram.means for _, gram in members if gram.means is not None]
            rng = rng_for("directions", site, half, seed)
            rows += [
                {
                    "model": site_columns(family, members[0][1].site)["model"],
                    "site": site,
                    "half": half,
                    "layer_a": members[angle.layer_a][0],
                    "layer_b": members[angle.layer_b][0],
                    "direction_a": angle.direction_a,
                    "direction_b": angle.direction_b,
                    "cosine": angle.cosine,
                    "cosine_split": angle.split,
                    "cosine_standardised": angle.standardised,
                }
                for angle in angles(
                    vectors, design.labels, design.members("wording"), design.emotions, scales, rng
                )
            ]
    names = ("model", "site", "half", "layer_a", "layer_b", "direction_a", "direction_b")
    return pd.DataFrame(rows, columns=[*names, "cosine", "cosine_split", "cosine_standardised"])

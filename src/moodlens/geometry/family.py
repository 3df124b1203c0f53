"""The geometry of one family of sites, tested over whole wordings with one maxT correction per statistic."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from moodlens.geometry.circumplex import EmotionMap, affect_distances, emotion_map, rank_correlations
from moodlens.geometry.dimension import Components, components
from moodlens.geometry.silhouette import silhouettes
from moodlens.geometry.tables import SiteGeometry
from moodlens.prompts.lexicon import AFFECT
from moodlens.stats.design import Design
from moodlens.stats.gram import SiteGram, centred, group_means, squared_distances
from moodlens.stats.multiplicity import max_t, standard_scores

PREDICTED = (("happy", "energetic"), ("sad", "calm"))
"""Pairs of emotions that valence and arousal put near each other."""


@dataclass(frozen=True)
class Resampling:
    """Relabellings and bootstrap resamples of the wordings, the same for all sites of a family."""

    relabellings: np.ndarray  # (perm, wording); the first row is the true labels
    counts: np.ndarray  # (boot, wording)
    confidence: float


def family_geometry(
    family: str, grams: Sequence[SiteGram], design: Design, resampling: Resampling
) -> tuple[list[SiteGeometry], float]:
    """Return the geometry of each site, and the 95th percentile of the best silhouette under relabelling."""
    expected = affect_distances(np.array([AFFECT[emotion] for emotion in design.emotions]))
    index = {emotion: i for i, emotion in enumerate(design.emotions)}
    predicted = tuple(
        (min(index[a], index[b]), max(index[a], index[b]))
        for a, b in PREDICTED
        if a in index and b in index and design.n_classes > 2
    )
    table = resampling.relabellings
    labels = table[0].astype(np.intp)
    measured: list[tuple[Components, EmotionMap | None, float]] = []
    silhouette_null, rho_null = [], []
    for gram in grams:
        prompts = group_means(gram.values, gram.prompts)
        wordings = centred(group_means(prompts, design.members("wording")))
        squares = squared_distances(wordings)
        silhouette_null.append(silhouettes(np.sqrt(squares), table))
        rho_null.append(rank_correlations(squares, expected, table))
        by_clip = np.sqrt(squared_distances(gram.values))
        measured.append(
            (
                components(prompts),
                emotion_map(wordings, labels, expected, resampling.counts, resampling.confidence, predicted),
                float(silhouettes(by_clip, design.labels[gram.prompts][None])[0]),
            )
        )
    silhouette, rho = np.stack(silhouette_null), np.stack(rho_null)
    p_silhouette, p_rho = max_t(silhouette), max_t(rho)
    scores = standard_scores(silhouette)[:, 0]
    sites = [
        SiteGeometry(
            family=family,
            site=gram.site,
            silhouette=float(silhouette[i, 0]),
            silhouette_null=float(silhouette[i].mean()),
            p_silhouette=float(p_silhouette[i]),
            score=float(scores[i]),
            silhouette_clips=measured[i][2],
            rho=float(rho[i, 0]),
            rho_chance=float(np.quantile(rho[i], 0.95)),
            p_rho=float(p_rho[i]),
            components=measured[i][0],
            emotions=measured[i][1],
        )
        for i, gram in enumerate(grams)
    ]
    return sites, float(np.quantile(silhouette.max(axis=0), 0.95))

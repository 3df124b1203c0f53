"""The geometry of one family of sites, tested over whole wordings with one maxT correction per statistic.

A silhouette compares, in the original space, the closeness of a point to its own emotion and to the next
closest one. Every point is a wording (the mean of its prompts), so that no point's neighbour is another
prompt with the same words. Projections (PCA, UMAP) are not used.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from moodlens.geometry.circumplex import EmotionMap, affect_distances, emotion_map, rank_correlations
from moodlens.geometry.dimension import Components, components
from moodlens.geometry.tables import SiteGeometry
from moodlens.prompts.lexicon import AFFECT
from moodlens.stats.design import Design
from moodlens.stats.gram import SiteGram, centred, group_means, squared_distances
from moodlens.stats.multiplicity import max_t, standard_scores

BUFFER = 2**22
"""Number of values in one block of relabellings."""


def silhouettes(
    distances: Float[np.ndarray, "point point"], table: Int[np.ndarray, "perm point"]
) -> Float[np.ndarray, " perm"]:
    """Return the mean silhouette of the points under every labelling, in -1..1.

    s = (b - a) / max(a, b), with a the mean distance to the other points of the own emotion and b the
    smallest mean distance to the points of another emotion; 0 for the only point of an emotion. Source:
    Rousseeuw 1987; equals `sklearn.metrics.silhouette_score(metric="precomputed")`.

    Args:
        distances: Euclidean, diagonal 0.
        table: one labelling per row, labels 0..k-1.

    >>> line = np.array([0.0, 1.0, 10.0, 11.0])
    >>> silhouettes(np.abs(line[:, None] - line), np.array([[0, 0, 1, 1]])).round(3).tolist()
    [0.9]
    """
    n, n_classes = len(distances), int(table.max()) + 1
    mean_values = np.empty(len(table))
    step = max(1, BUFFER // (n * n_classes))
    for start in range(0, len(table), step):
        part = table[start : start + step].astype(np.intp)
        onehot = (part[:, :, None] == np.arange(n_classes)).astype(np.float64)
        sizes = onehot.sum(axis=1)
        sums = distances @ onehot
        own = np.take_along_axis(sums, part[:, :, None], axis=2)[:, :, 0]
        n_own = np.take_along_axis(sizes, part, axis=1)
        a = own / np.maximum(n_own - 1, 1)
        means = sums / np.maximum(sizes, 1)[:, None, :]
        means[(onehot > 0) | (sizes == 0)[:, None, :]] = np.inf
        b = means.min(axis=2)
        widest = np.maximum(a, b)
        values = np.divide(b - a, widest, out=np.zeros_like(a), where=(widest > 0) & (n_own > 1))
        mean_values[start : start + step] = values.mean(axis=1)
    return mean_values


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

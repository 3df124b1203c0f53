"""Emotion directions in the layers, and what a layer adds to other sites: angles, and partial R2.

The direction of an emotion is its mean over prompts minus the mean of the other emotions. The direction of
valence or arousal is the covariance with it. Centring is part of the definition. Standardised directions
first divide every dimension by its deviation within emotions. This is a diagonal whitening; a full one would
need more prompts than dimensions.

Directions from the same prompts share their noise, so even two layers without emotion agree. `split` takes
one direction from half of the units and the other from the other half, so that their noise is independent.
For a layer with itself it is the reliability of the direction, the ceiling of its agreement with other
layers.

partial R2 = 1 - SSE(base and layer) / SSE(base), out of fold, with one indicator per emotion as targets. Base
and layer enter as one kernel K_base + w K_layer. The weight w (0 among its candidates) and the penalty are
chosen inside the training folds, and likewise for the base alone. "Beyond" means beyond what ridge regression
predicts from the base: a layer that only represents the same information in a form that suits a ridge may
still gain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from moodlens.base.seeding import rng_for
from moodlens.probes.family import ProbeSettings
from moodlens.probes.kernel_ridge import nested_predictions
from moodlens.probes.site_scores import PromptColumns
from moodlens.stats.bootstrap import interval, resamples
from moodlens.stats.design import Design
from moodlens.stats.gram import SiteGram, prompt_grams
from moodlens.stats.site_names import site_columns, split_site

N_SPLITS = 20
"""Number of random splits of the units into halves."""


@dataclass(frozen=True)
class Angle:
    """Cosines between two directions at two layers (indices into the layers given)."""

    layer_a: int
    layer_b: int
    direction_a: str
    direction_b: str
    cosine: float
    split: float  # directions from disjoint halves of the units
    standardised: float


def contrasts(
    labels: Int[np.ndarray, " prompt"],
    emotions: Sequence[str],
    scales: Mapping[str, Float[np.ndarray, " prompt"]],
) -> dict[str, Float[np.ndarray, " prompt"]]:
    """Return weights over prompts for every direction: emotions (against the others), then the scales.

    >>> contrasts(np.array([0, 0, 1]), ("happy", "sad"), {})["happy"].tolist()
    [0.5, 0.5, -1.0]
    """
    sizes = np.bincount(labels, minlength=len(emotions)).astype(np.float64)
    weights = {}
    for klass, emotion in enumerate(emotions):
        share = np.full(len(emotions), -1 / (len(emotions) - 1))
        share[klass] = 1.0
        weights[emotion] = (share / sizes)[labels]
    for name, values in scales.items():
        weights[name] = values - values.mean()
    return weights


def angles(
    layers: Sequence[Float[np.ndarray, "prompt dim"]],
    labels: Int[np.ndarray, " prompt"],
    members: Int[np.ndarray, " prompt"],
    emotions: Sequence[str],
    scales: Mapping[str, Float[np.ndarray, " prompt"]],
    rng: np.random.Generator,
) -> list[Angle]:
    """Return each direction's angle between every two layers, and each scale's angle with each emotion.

    Args:
        layers: prompt means of layers that share a basis (one hookpoint of one residual stream).
        labels: emotion of each prompt.
        members: unit of each prompt; halves keep units whole.
        emotions: class names.
        scales: valence and arousal of each prompt.
        rng: source of the random halves.
    """
    whole = np.ones(len(labels), dtype=bool)
    plain = [rows - rows.mean(axis=0) for rows in layers]
    scaled = [rows / within_deviation(rows, labels) for rows in plain]
    full, flat = (
        _directions(plain, whole, labels, emotions, scales),
        _directions(scaled, whole, labels, emotions, scales),
    )
    halves = [_half(labels, members, rng) for _ in range(N_SPLITS)]
    ones = [_directions(plain, half, labels, emotions, scales) for half in halves]
    twos = [_directions(plain, ~half, labels, emotions, scales) for half in halves]
    names = [*emotions, *scales]
    n = range(len(layers))
    wanted = [(a, b, name, name) for name in names for a in n for b in n if a <= b]
    wanted += [(a, a, scale, emotion) for scale in scales for emotion in emotions for a in n]
    results = []
    for a, b, first, second in wanted:
        i, j = names.index(first), names.index(second)
        split = np.mean(
            [(one[a, i] @ two[b, j] + two[a, i] @ one[b, j]) / 2 for one, two in zip(ones, twos, strict=True)]
        )
        cosine, standard = float(full[a, i] @ full[b, j]), float(flat[a, i] @ flat[b, j])
        results.append(Angle(a, b, first, second, cosine, float(split), standard))
    return results


def within_deviation(
    rows: Float[np.ndarray, "prompt dim"], labels: Int[np.ndarray, " prompt"]
) -> Float[np.ndarray, " dim"]:
    """Return each dimension's standard deviation within emotions; 1 where it is constant."""
    means = np.stack([rows[labels == klass].mean(axis=0) for klass in range(labels.max() + 1)])
    spread = np.sqrt(((rows - means[labels]) ** 2).mean(axis=0))
    return np.where(spread > 1e-9 * (np.abs(rows).max() + 1e-30), spread, 1.0)


def _directions(
    layers: Sequence[np.ndarray],
    chosen: np.ndarray,
    labels: np.ndarray,
    emotions: Sequence[str],
    scales: Mapping[str, np.ndarray],
) -> Float[np.ndarray, "layer direction dim"]:
    """Return unit directions from the chosen prompts."""
    own = {name: values[chosen] for name, values in scales.items()}
    weights = np.stack(list(contrasts(labels[chosen], emotions, own).values()))
    raw = np.stack([weights @ rows[chosen] for rows in layers])
    return raw / np.maximum(np.linalg.norm(raw, axis=2, keepdims=True), 1e-30)


def _half(labels: np.ndarray, members: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return which prompts are in one half: half of each emotion's units."""
    chosen = np.zeros(len(labels), dtype=bool)
    for klass in range(labels.max() + 1):
        units = rng.permutation(np.unique(members[labels == klass]))
        chosen |= np.isin(members, units[: len(units) // 2])
    return chosen


WEIGHTS = (0.0, 0.3, 1.0, 3.0)
"""Candidate weights of the layer's kernel beside the base's, both at mean diagonal 1."""
ROUNDING = 9
"""Decimals to which a gain is rounded, so that it is exactly 0 where w = 0 is chosen in every fold."""


@dataclass(frozen=True)
class Partial:
    """Partial R2 of one site beyond a base; the interval resamples whole units."""

    partial_r2: float
    low: float
    high: float
    r2_base: float  # of the base alone


def partial_r2(
    base: Float[np.ndarray, "prompt prompt"],
    layers: Float[np.ndarray, "layer prompt prompt"],
    labels: Int[np.ndarray, " prompt"],
    folds: Int[np.ndarray, " prompt"],
    ridges: Sequence[float],
    counts: Int[np.ndarray, "boot prompt"],
    confidence: float,
) -> list[Partial]:
    """Return the partial R2 of each layer beyond the base.

    Args:
        base, layers: centred Gram matrices at mean diagonal 1.
        labels: emotion of each prompt.
        folds: fold of each prompt; whole units are held out.
        ridges: candidate penalties.
        counts: resamples of whole units, from `stats.bootstrap.resamples`.
        confidence: of the intervals. Models are fitted once; their errors are resampled.
    """
    targets = (labels[:, None] == np.arange(labels.max() + 1)).astype(np.float64)
    predicted, means = nested_predictions(base[None], folds, ridges, targets, columns_together=True)
    alone = ((targets - predicted) ** 2).sum(axis=1)
    guess = ((targets - means) ** 2).sum()
    results = []
    for layer in layers:
        kernels = np.stack([base + weight * layer for weight in WEIGHTS])
        predicted, _ = nested_predictions(kernels, folds, ridges, targets, columns_together=True)
        together = ((targets - predicted) ** 2).sum(axis=1)
        draws = 1 - (counts @ together) / (counts @ alone)
        low, high = interval(draws, confidence)
        gain = 1 - together.sum() / alone.sum()
        gain, low, high = (round(float(value), ROUNDING) + 0.0 for value in (gain, low, high))
        results.append(Partial(gain, low, high, float(1 - alone.sum() / guess)))
    return results


Families = Mapping[str, Sequence[SiteGram]]
Gains = Mapping[tuple[str, str], Mapping[str, Partial]]
"""(family, base) -> site -> gain."""

BASES = {"text": ("text", "text"), "acoustics": ("music", "acoustics")}
"""Base of a partial R2 -> its family and site."""
LAYERS = ("layers", "twin_layers")


def gains_beyond(families: Families, design: Design, settings: ProbeSettings) -> Gains:
    """Return what each layer adds to the text encoder and to the acoustic descriptors, wordings held out."""
    folds = settings.folds(design, "wording")
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

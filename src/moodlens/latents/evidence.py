"""Evidence for what a latent responds to: tokens, words, moments, and correlations with descriptors.

A latent is described only by what was measured: where it fires, and what its activation correlates with.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.units import at_digits
from moodlens.latents.selectivity import Selectivity
from moodlens.stats.design import Design, blocks_of
from moodlens.stats.multiplicity import benjamini_hochberg
from moodlens.stats.permutation import unit_orders

BLOCK = 128
"""Permutations at a time. Memory is BLOCK * units * descriptors floats."""
HALF = 0.5
"""A span extends as far as the smoothed activation stays above this share of its peak."""
SMOOTH_STEPS = 9
N_WORDS = 3
READABLE = {",": "comma", "▁": "space"}
"""Tokens that are written out."""


def shown_latents(
    result: Selectivity, pooled: Float[np.ndarray, "prompt latent"], design: Design, fdr: float, n: int
) -> list[int]:
    """Return at most `n` selective latents, one of each emotion in turn.

    Within an emotion, latents are ordered by p, then by their mean activation on the emotion's prompts.
    """
    selective = result.selective(fdr)
    means = np.stack([pooled[design.labels == k].mean(axis=0) for k in range(design.n_classes)])
    strength = means[result.emotion, np.arange(means.shape[1])]
    queues = []
    for klass in range(design.n_classes):
        (members,) = np.nonzero(selective & (result.emotion == klass))
        queues.append(sorted(members, key=lambda i: (result.p[i], -strength[i])))
    turns = [queue[turn] for turn in range(n) for queue in queues if turn < len(queue)]
    return [int(latent) for latent in turns[:n]]


@dataclass(frozen=True)
class Correlations:
    """Pearson correlations over wordings."""

    names: tuple[str, ...]  # of the descriptors
    r: Float[np.ndarray, "unit descriptor"]
    q: Float[np.ndarray, "unit descriptor"]  # Benjamini-Hochberg over all units and descriptors


def by_wording(
    values: Float[np.ndarray, "prompt column"], wordings: Int[np.ndarray, " prompt"]
) -> Float[np.ndarray, "wording column"]:
    """Return the mean over the prompts of each wording."""
    sums = np.zeros((int(wordings.max()) + 1, values.shape[1]))
    np.add.at(sums, wordings, values)
    return sums / np.bincount(wordings)[:, None]


def standard(values: Float[np.ndarray, "row column"]) -> Float[np.ndarray, "row column"]:
    """Return the columns with mean 0 and length 1; a constant column becomes 0."""
    centred = values - values.mean(axis=0)
    length = np.linalg.norm(centred, axis=0)
    varies = length > 1e-12 * (np.abs(values).max(axis=0) + 1e-300)
    return centred / np.where(varies, length, np.inf)


def correlations(
    pooled: Float[np.ndarray, "prompt unit"],
    described: Float[np.ndarray, "prompt descriptor"],
    names: tuple[str, ...],
    wordings: Int[np.ndarray, " prompt"],
    n_permutations: int,
    rng: np.random.Generator,
) -> Correlations:
    """Return r over wordings, and q from two-sided p of permuting whole wordings of one size.

    Args:
        pooled: mean activation per prompt.
        described: descriptors per prompt (means over its clips), finite.
        names: of the descriptors.
        wordings: wording of each prompt.
        n_permutations: random permutations beside the observed order.
        rng: draws the permutations.
    """
    units = standard(by_wording(pooled, wordings))
    descriptors = standard(by_wording(described, wordings))
    r = units.T @ descriptors
    exceed = np.ones_like(r)  # the observed order counts
    every = unit_orders(len(descriptors), n_permutations, rng, blocks_of(wordings))[1:]
    for start in range(0, n_permutations, BLOCK):
        orders = every[start : start + BLOCK]
        n = len(orders)
        permuted = descriptors[orders].transpose(1, 0, 2).reshape(len(descriptors), -1)
        chance = np.abs(units.T @ permuted).reshape(len(r), n, -1)
        exceed += (chance >= np.abs(r)[:, None] - 1e-9).sum(axis=1)
    q = benjamini_hochberg((exceed / (n_permutations + 1)).ravel()).reshape(r.shape)
    return Correlations(names, r, q)


@dataclass(frozen=True)
class Moment:
    """A span of one clip around its strongest activation."""

    clip: int  # index of the clip
    start_s: float
    end_s: float
    value: float  # smoothed activation at the peak


def smoothed(values: Float[np.ndarray, " step"]) -> Float[np.ndarray, " step"]:
    """Return the centred moving mean over SMOOTH_STEPS steps; the window is shorter at both ends.

    >>> smoothed(np.ones(4)).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    window = np.ones(min(SMOOTH_STEPS, len(values)))
    return np.convolve(values, window, "same") / np.convolve(np.ones_like(values), window, "same")


def span(values: Float[np.ndarray, " step"]) -> tuple[int, int]:
    """Return the first step and the step after the last of the stretch around the maximum.

    >>> span(np.array([0.0, 3.0, 4.0, 2.5, 1.0, 4.0]))
    (1, 4)
    """
    peak = int(values.argmax())
    above = values >= HALF * values[peak]
    start = peak
    while start > 0 and above[start - 1]:
        start -= 1
    end = peak + 1
    while end < len(values) and above[end]:
        end += 1
    return start, end


def top_moments(
    values: Float[np.ndarray, " row"],
    clips: Int[np.ndarray, " row"],
    steps: Int[np.ndarray, " row"],
    frame_rate_hz: float,
    n: int,
) -> list[Moment]:
    """Return the strongest moments of a latent, at most one per clip, strongest first.

    Step i writes codebook 0 of frame i, so the sound of step i begins at i / frame_rate_hz seconds.

    Args:
        values: activation at each row.
        clips: clip of each row; rows of a clip are contiguous and in order.
        steps: decoder step of each row.
        frame_rate_hz: codec frames per second.
        n: maximum number of moments.
    """
    edges = np.flatnonzero(np.diff(clips)) + 1
    moments = []
    for part in np.split(np.arange(len(values)), edges):
        curve = smoothed(values[part])
        if curve.max() <= 0:
            continue
        start, end = span(curve)
        start_s = steps[part[start]] / frame_rate_hz
        end_s = (steps[part[end - 1]] + 1) / frame_rate_hz
        moments.append(Moment(int(clips[part[0]]), float(start_s), float(end_s), float(curve.max())))
    return sorted(moments, key=lambda moment: -moment.value)[:n]


def token_shares(
    values: Float[np.ndarray, " row"], tokens: Sequence[str], n: int = N_WORDS
) -> list[tuple[str, float]]:
    """Return the tokens that carry most of a latent's activation, with their share of it.

    >>> token_shares(np.array([3.0, 0.0, 1.0]), ["▁sad", "▁flute", "▁sad"])
    [('sad', 1.0)]
    """
    sums: dict[str, float] = defaultdict(float)
    for value, token in zip(values, tokens, strict=True):
        if value > 0:
            sums[READABLE.get(token, token).lstrip("▁")] += float(value)
    total = sum(sums.values())
    return [(token, value / total) for token, value in sorted(sums.items(), key=lambda kv: -kv[1])[:n]]


def word_lift(
    pooled: Float[np.ndarray, " prompt"], bags: Sequence[frozenset[str]], n: int = N_WORDS, least: int = 2
) -> list[tuple[str, float]]:
    """Return the words whose prompts activate a latent most, as multiples of its mean over all prompts.

    Words that occur in fewer than `least` prompts or in all prompts are left out.

    >>> bags = [frozenset({"sad", "piece"}), frozenset({"sad", "piece"}), frozenset({"piece"})]
    >>> word_lift(np.array([3.0, 3.0, 0.0]), bags)
    [('sad', 1.5)]
    """
    mean = float(pooled.mean())
    if mean <= 0:
        return []
    lifts = []
    for word in sorted({word for bag in bags for word in bag}):
        has = np.array([word in bag for bag in bags])
        if least <= has.sum() < len(bags):
            lifts.append((word, float(pooled[has].mean()) / mean))
    return [entry for entry in sorted(lifts, key=lambda kv: -kv[1])[:n] if entry[1] > 1]


def description(emotion: str, words: str, related: Correlations | None, unit: int, fdr: float) -> str:
    """Return the evidence in one line: emotion, words, and the two strongest descriptors with q < fdr.

    >>> description("sad", format_shares([("tearful", 0.8)]), None, 0, 0.05)
    'sad; tearful 80 %'
    """
    parts = [emotion, words]
    if related is not None:
        significant = np.flatnonzero(related.q[unit] < fdr)
        strongest = significant[np.argsort(-np.abs(related.r[unit, significant]))][:2]
        parts.append(", ".join(f"{related.names[i]} r {related.r[unit, i]:+.2f}" for i in strongest))
    return "; ".join(part for part in parts if part)


def format_shares(words: Sequence[tuple[str, float]]) -> str:
    """Return tokens with their share of a latent's activation, as text.

    >>> format_shares([("sad", 0.75), ("a", 0.25)])
    'sad 75 %, a 25 %'
    """
    return ", ".join(f"{word} {share:.0%}".replace("%", " %") for word, share in words)


def format_lifts(words: Sequence[tuple[str, float]]) -> str:
    """Return words with the multiple of a latent's mean that their prompts reach, as text.

    >>> format_lifts([("rain", 5.25)])
    'rain x5.2'
    """
    return ", ".join(f"{word} x{lift:.1f}" for word, lift in words)


OF_TRAINING = ("dead", "fvu", "l0", "mse")
OF_LATENTS = ("n_selective", "stable_70")
OF_SEEDS = ("selectivity", "sparse_1")
"""Numbers of each SAE from metrics/sae.json (held-out wordings; dead: training) and metrics/latents.json.

Those of OF_SEEDS are means over the site's seeds: targeted perturbation, and accuracy of 1-sparse probes.
"""
DIGITS = 4
"""Significant digits: few enough to read, and the same as in metrics/overview.json."""


def sae_overview_of(sae: Mapping[str, Any], latents: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return metrics/sae_overview.json: site -> numbers; None where one was not measured.

    Args:
        sae: metrics/sae.json; without sites where no SAE was trained.
        latents: metrics/latents.json.

    >>> overview = sae_overview_of({"sites": {"text": {"fvu": 0.123456, "n_rows": 9}}}, {"sites": {}})
    >>> {name: value for name, value in overview["text"].items() if value is not None}
    {'fvu': 0.1235}
    """
    analysed = latents.get("sites", {})
    return {
        site: _numbers(trained, OF_TRAINING)
        | _numbers(analysed.get(site, {}), OF_LATENTS)
        | _numbers(_means_over_seeds(analysed.get(site, {})), OF_SEEDS)
        for site, trained in sae.get("sites", {}).items()
    }


def _means_over_seeds(of_site: Mapping[str, Any]) -> dict[str, Any]:
    seeds = of_site.get("seeds", {})
    return {name: seeds[name]["mean"] for name in OF_SEEDS if name in seeds}


def _numbers(measured: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: _rounded(measured.get(name)) for name in names}


def _rounded(value: float | None) -> float | int | None:
    return at_digits(value, DIGITS) if isinstance(value, float) else value

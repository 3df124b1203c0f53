"""Attention summaries per clip and head, made comparable between prompts of different length.

Entropy and distance are compared with their values under uniform attention.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from moodlens.attention.contrast import lift, lift_difference, unit_means
from moodlens.attention.words import CONTROL, EMOTION
from moodlens.stats.bootstrap import interval


def relative_entropy(
    entropy: Float[np.ndarray, "clip *rest"], n_tokens: Int[np.ndarray, " clip"]
) -> Float[np.ndarray, "clip *rest"]:
    """Return entropy over ln(n_tokens): 1 is uniform over the prompt, 0 a single token.

    >>> relative_entropy(np.array([np.log(2)]), np.array([4])).round(12).tolist()
    [0.5]
    """
    return entropy / np.log(np.maximum(n_tokens, 2)).reshape(-1, *[1] * (entropy.ndim - 1))


def uniform_distance(n_steps: int) -> Float[np.ndarray, " step"]:
    """Return the mean distance, in steps, of uniform attention over the steps so far: step / 2.

    >>> uniform_distance(3).tolist()
    [0.0, 0.5, 1.0]
    """
    return np.arange(n_steps) / 2


def uniform_self_entropy(n_steps: int) -> Float[np.ndarray, " step"]:
    """Return the entropy, in nats, of uniform attention over the steps so far: ln(step + 1)."""
    return np.log(np.arange(n_steps) + 1.0)


def time_bins(n_steps: int, n_bins: int) -> Int[np.ndarray, " step"]:
    """Return the bin of each step, at most n_bins nearly equal ones.

    >>> time_bins(5, 2).tolist()
    [0, 0, 0, 1, 1]
    """
    return np.arange(n_steps) * min(n_bins, n_steps) // n_steps


STORED = (
    "cross/control", "cross/emotion", "cross/end", "cross/entropy", "self/distance", "self/entropy",
    "self/first", "tokens", "twin/cross/control", "twin/cross/emotion", "twin/cross/entropy",
)  # fmt: skip
"""Tensors of an attention shard that the summaries use."""

OVER_TIME = ("entropy", "lift_emotion", "lift_control", "distance")
"""Quantities of the curves over time."""


@dataclass(frozen=True)
class HeadSummaries:
    """Means over the complete steps; every array is (clip, layer, head).

    Attributes:
        entropy: of cross-attention over ln(tokens), 1 = uniform.
        lift_emotion, lift_control: mass per token over that of uniform attention; NaN if there are no such
            words.
        difference: lift_emotion - lift_control.
        end: mass on the end token.
        distance: of self-attention, in steps back.
        self_entropy: of self-attention, nats.
        first: self-attention's mass on the first step.
        twin_entropy, twin_difference: the same of the random twin on the same tokens.
    """

    entropy: np.ndarray
    lift_emotion: np.ndarray
    lift_control: np.ndarray
    difference: np.ndarray
    end: np.ndarray
    distance: np.ndarray
    self_entropy: np.ndarray
    first: np.ndarray
    twin_entropy: np.ndarray
    twin_difference: np.ndarray


def head_summaries(stored: Mapping[str, np.ndarray], steps: slice) -> HeadSummaries:
    """Return the summaries of every clip.

    Args:
        stored: the tensors `STORED`, one row per clip.
        steps: the complete steps.
    """
    tokens = stored["tokens"].astype(np.int64)
    mean = {
        name: values[..., steps].mean(axis=-1, dtype=np.float64) if values.ndim == 4 else values
        for name, values in stored.items()
    }
    n_tokens = tokens.sum(axis=1)
    return HeadSummaries(
        entropy=relative_entropy(mean["cross/entropy"], n_tokens),
        lift_emotion=lift(mean["cross/emotion"], tokens, EMOTION),
        lift_control=lift(mean["cross/control"], tokens, CONTROL),
        difference=lift_difference(mean["cross/emotion"], mean["cross/control"], tokens),
        end=mean["cross/end"],
        distance=mean["self/distance"],
        self_entropy=mean["self/entropy"],
        first=mean["self/first"],
        twin_entropy=relative_entropy(mean["twin/cross/entropy"].astype(np.float64), n_tokens),
        twin_difference=lift_difference(
            mean["twin/cross/emotion"].astype(np.float64), mean["twin/cross/control"], tokens
        ),
    )


def over_time(
    stored: Mapping[str, np.ndarray], groups: Int[np.ndarray, " clip"], n_bins: int
) -> dict[str, Float[np.ndarray, "group layer bin"]]:
    """Return each quantity of `OVER_TIME` by group and layer (mean over heads), in bins of time.

    Args:
        stored: as in `head_summaries`.
        groups: group of each clip (its emotion), 0..max.
        n_bins: number of bins; the first and the last include the partial steps of the delay pattern.
    """
    tokens = stored["tokens"].astype(np.int64)
    bins = time_bins(stored["cross/entropy"].shape[-1], n_bins)
    curves = {}
    for name, key in zip(OVER_TIME, ("entropy", "emotion", "control", "distance"), strict=True):
        kind = "self" if name == "distance" else "cross"
        by_layer = stored[f"{kind}/{key}"].mean(axis=2, dtype=np.float32).astype(np.float64)
        binned = np.moveaxis(unit_means(np.moveaxis(by_layer, -1, 0), bins), 0, -1)
        if name == "entropy":
            binned = relative_entropy(binned, tokens.sum(axis=1))
        elif kind == "cross":
            binned = lift(binned, tokens, EMOTION if key == "emotion" else CONTROL)
        curves[name] = _means_of_defined(binned, groups)
    return curves


def entropy_bands(
    stored: Mapping[str, np.ndarray],
    groups: Int[np.ndarray, " clip"],
    units: Int[np.ndarray, " clip"],
    n_bins: int,
    n_bootstrap: int,
    confidence: float,
    rng: np.random.Generator,
) -> Float[np.ndarray, "group bound bin"]:
    """Return value, low and high of relative entropy over time, mean over layers and heads, by group.

    Args:
        stored: as in `head_summaries`.
        groups: group of each clip (its emotion), 0..max.
        units: the wording of each clip; whole wordings are resampled within each group.
        n_bins: number of bins.
        n_bootstrap, confidence, rng: of the percentile interval.
    """
    tokens = stored["tokens"].astype(np.int64).sum(axis=1)
    flat = stored["cross/entropy"].mean(axis=(1, 2), dtype=np.float32).astype(np.float64)
    bins = time_bins(flat.shape[-1], n_bins)
    curves = relative_entropy(unit_means(flat.T, bins).T, tokens)
    out = []
    for group in range(int(groups.max()) + 1):
        chosen = groups == group
        _, members = np.unique(units[chosen], return_inverse=True)
        means = unit_means(curves[chosen], members)
        draws = means[rng.integers(0, len(means), (n_bootstrap, len(means)))].mean(axis=1)
        out.append(np.stack([means.mean(axis=0), *interval(draws.T, confidence)]))
    return np.stack(out)


def _means_of_defined(
    values: Float[np.ndarray, "clip layer bin"], groups: Int[np.ndarray, " clip"]
) -> Float[np.ndarray, "group layer bin"]:
    """Return means over the clips of each group with a defined value; NaN if there are none."""
    defined = np.isfinite(values).all(axis=(1, 2))
    out = np.full((int(groups.max()) + 1, *values.shape[1:]), np.nan)
    for group in range(len(out)):
        chosen = defined & (groups == group)
        if chosen.any():
            out[group] = values[chosen].mean(axis=0)
    return out

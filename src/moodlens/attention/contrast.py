"""Tests per head: attention to emotion words, and differences of entropy or distance between emotions.

Values are averaged over a wording's prompts before they are tested, because prompts that share a wording
share the words whose attention is measured. maxT covers layers x heads.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from moodlens.attention.words import CONTROL, EMOTION
from moodlens.base.errors import Unsupported, must
from moodlens.stats.bootstrap import interval
from moodlens.stats.design import Design
from moodlens.stats.multiplicity import max_t, standard_scores
from moodlens.stats.permanova import pseudo_f
from moodlens.stats.permutation import p_values
from moodlens.stats.sign_flip import flipped_t, sign_flips

Heads = Float[np.ndarray, "prompt layer head"]


@dataclass(frozen=True)
class HeadTest:
    """One value and its p per layer and head; arrays are (layer, head)."""

    estimate: Float[np.ndarray, "layer head"]
    statistic: Float[np.ndarray, "layer head"]  # |t|, or F
    p: Float[np.ndarray, "layer head"]
    p_max: Float[np.ndarray, "layer head"]  # maxT over layers x heads
    best: tuple[int, int]  # layer and head of the largest standardised statistic
    low: float  # bootstrap interval of the best head's estimate; NaN for tests without an interval
    high: float
    n_units: int


def lift(
    mass: Float[np.ndarray, "clip *rest"], tokens: Int[np.ndarray, "clip klass"], klass: int
) -> Float[np.ndarray, "clip *rest"]:
    """Return the mass per token of a class in units of uniform attention; NaN if a clip has no such token.

    >>> lift(np.array([0.5]), np.array([[1, 1, 1, 1]]), 0).tolist()      # half of the mass on 1 of 4 tokens
    [2.0]
    """
    counts = tokens.astype(np.float64)
    share = np.divide(counts[:, klass], counts.sum(axis=1), out=np.full(len(counts), np.nan),
                      where=counts[:, klass] > 0)  # fmt: skip
    return mass / share.reshape(-1, *[1] * (mass.ndim - 1))


def lift_difference(
    emotion: Float[np.ndarray, "clip *rest"],
    control: Float[np.ndarray, "clip *rest"],
    tokens: Int[np.ndarray, "clip klass"],
) -> Float[np.ndarray, "clip *rest"]:
    """Return the lift of emotion words minus that of matched control words; uniform attention gives 0."""
    return lift(emotion, tokens, EMOTION) - lift(control, tokens, CONTROL)


def unit_means(values: Float[np.ndarray, "row *rest"], units: Int[np.ndarray, " row"]) -> np.ndarray:
    """Return the mean of each unit's rows, units 0..max; every unit has a row."""
    counts = np.bincount(units).astype(np.float64)
    total = np.zeros((len(counts), *values.shape[1:]))
    np.add.at(total, units, values)
    return total / counts.reshape(-1, *[1] * (values.ndim - 1))


def paired_test(
    differences: Heads,
    units: Int[np.ndarray, " prompt"],
    n_permutations: int,
    n_bootstrap: int,
    confidence: float,
    rng: np.random.Generator,
) -> HeadTest:
    """Return the mean difference of every head, tested by flipping the signs of whole units.

    Args:
        differences: one value per prompt and head; prompts with NaN (no emotion or no control word) are left
            out.
        units: the wording of each prompt.
        n_permutations: random sign flips.
        n_bootstrap: resamples of units for the best head's interval.
        confidence: of that interval.
        rng: source of randomness.

    Raises:
        ContractError: too few units have both emotion words and control words.
    """
    defined = np.isfinite(differences).all(axis=(1, 2))
    _, members = np.unique(units[defined], return_inverse=True)
    if not defined.any():
        advice = "Let prompts hold content words beside the wording"
        raise Unsupported(must("prompts", "hold emotion words and control words", "none", next_step=advice))
    means = unit_means(differences[defined], members)
    n_units, n_layers, n_heads = means.shape
    flat = means.reshape(n_units, -1).T
    t = flipped_t(flat, sign_flips(n_units, n_permutations, rng))
    best = int(t[:, 0].argmax())
    draws = flat[best][rng.integers(0, n_units, (n_bootstrap, n_units))].mean(axis=1)
    low, high = interval(draws, confidence)
    shape = (n_layers, n_heads)
    return HeadTest(
        estimate=flat.mean(axis=1).reshape(shape),
        statistic=t[:, 0].reshape(shape),
        p=p_values(t).reshape(shape),
        p_max=max_t(t).reshape(shape),
        best=(best // n_heads, best % n_heads),
        low=float(low),
        high=float(high),
        n_units=n_units,
    )


def emotion_test(values: Heads, design: Design, n_permutations: int, rng: np.random.Generator) -> HeadTest:
    """Return the test of differences between emotions, per head: F under relabelling of whole wordings.

    Args:
        values: one value per prompt and head.
        design: emotion and wording of each prompt; labels move within its blocks of wordings.
        n_permutations: random relabellings.
        rng: source of randomness.
    """
    means = unit_means(values, design.wordings)
    n_units, n_layers, n_heads = means.shape
    flat = means.reshape(n_units, -1).T
    centred = flat - flat.mean(axis=1, keepdims=True)
    varies = centred.std(axis=1) > np.finfo(float).eps * (np.abs(flat).max(axis=1) + 1)
    f = np.zeros((len(flat), n_permutations + 1))
    table = design.relabellings("wording", n_permutations, rng)
    scaled = centred[varies] / centred[varies].std(axis=1, keepdims=True)
    f[varies] = pseudo_f(scaled[:, :, None] * scaled[:, None, :], table)
    best = int(standard_scores(f)[:, 0].argmax())
    shape = (n_layers, n_heads)
    return HeadTest(
        estimate=flat.mean(axis=1).reshape(shape),
        statistic=f[:, 0].reshape(shape),
        p=p_values(f).reshape(shape),
        p_max=max_t(f).reshape(shape),
        best=(best // n_heads, best % n_heads),
        low=float("nan"),
        high=float("nan"),
        n_units=n_units,
    )

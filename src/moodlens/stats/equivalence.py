"""Power of the maxT test: how often it detects an effect of size delta injected into the data.

"No signal" is a positive claim and needs this power. Labels of a random relabelling stand for data without an
effect. Class means that hold the share delta of the variance are added to one layer. The maxT test over all
layers detects the effect if that layer exceeds its critical value. The means point along random combinations
of the data's own rows, so the effect lies where the data vary most, which is the hard case.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import stats as scipy_stats

from moodlens.base.errors import ContractError, must
from moodlens.stats.gram import within_groups
from moodlens.stats.location import Statistic
from moodlens.stats.multiplicity import standard_scores
from moodlens.stats.permanova import sums_of_squares
from moodlens.stats.welch import from_groups, group_distances

N_INJECTIONS = 500
MOST_UNITS = 2_000


@dataclass(frozen=True)
class Power:
    """Share of injected effects that the maxT test detects."""

    power: float  # of the weakest layer; an effect in any other single layer is detected at least as often
    weakest: int  # index of that layer
    per_layer: Float[np.ndarray, " layer"]
    alpha_layer: float  # the level at which maxT tests the weakest layer
    delta: float
    alpha: float


def injection_power(
    grams: Float[np.ndarray, "layer unit unit"],
    labels: Int[np.ndarray, "perm unit"],
    statistics: Float[np.ndarray, "layer perm"],
    delta: float,
    alpha: float,
    rng: np.random.Generator,
    n_injections: int = N_INJECTIONS,
    kinds: Sequence[Statistic] | None = None,
) -> Power:
    """Return how often the maxT test detects an effect of `delta` injected into a single layer.

    Args:
        grams: centred Gram matrices of unit means.
        labels: relabellings, the observed one first (it is not used: it may hold a real effect).
        statistics: of `labels`, from `location.location_statistics`.
        delta: share of variance, in (0, 1), that the injected class means hold.
        alpha: level of the maxT test over layers.
        rng: source of randomness for the injected directions.
        n_injections: injections per layer; each uses a relabelling of its own.
        kinds: statistic of each layer; pseudo-F throughout if none are given.
    """
    if not 0 < delta < 1:
        raise ContractError(
            must("the injected effect", "be a share in (0, 1)", delta, next_step="Correct it")
        )
    n_layers, n, _ = grams.shape
    n_classes = int(labels.max()) + 1
    null = standard_scores(statistics)[:, 1:]
    critical = float(np.quantile(null.max(axis=0), 1 - alpha))
    truth = labels[1 : n_injections + 1]
    between, total = sums_of_squares(grams, truth)
    onehot = (truth[:, :, None] == np.arange(n_classes)).astype(np.float64)
    means = onehot - onehot.mean(axis=1, keepdims=True)
    sizes = onehot.sum(axis=1)
    weights = rng.standard_normal((len(truth), n_classes, n))
    center, spread = statistics.mean(axis=1), statistics.std(axis=1)
    detected = np.empty((n_layers, len(truth)))
    for layer, gram in enumerate(grams):
        mixed = weights @ gram
        # E = s Z_c W X: |E|^2 = s^2 tr(Z_c W K W^T Z_c^T); it lies in the between space of its own labels,
        # so SS_between = SS_b + 2 s tr(Z_c W K) + |E|^2 and SS_within stays.
        size = (means @ (mixed @ weights.transpose(0, 2, 1)) * means).sum(axis=(1, 2))
        cross = np.einsum("pik,pki->p", means, mixed)
        scale = np.sqrt(delta / (1 - delta) * total[layer] / size)
        if kinds is not None and kinds[layer] == "w_d_star":
            f = _moved_w_d_star(gram, truth, sizes, weights, mixed, scale)
        else:
            moved = between[layer] + 2 * scale * cross + scale**2 * size
            f = (moved / (n_classes - 1)) / ((total[layer] - between[layer]) / (n - n_classes))
        detected[layer] = (f - center[layer]) / spread[layer] >= critical
    per_layer = detected.mean(axis=1)
    weakest = int(per_layer.argmin())
    level = float((null[weakest] >= critical).mean())
    level = max(level, 1 / null.shape[1])
    return Power(float(per_layer[weakest]), weakest, per_layer, level, delta, alpha)


def _moved_w_d_star(
    gram: Float[np.ndarray, "unit unit"],
    labels: Int[np.ndarray, "perm unit"],
    sizes: Float[np.ndarray, "perm klass"],
    weights: Float[np.ndarray, "perm klass unit"],
    mixed: Float[np.ndarray, "perm klass unit"],
    scale: Float[np.ndarray, " perm"],
) -> Float[np.ndarray, " perm"]:
    """Return W_d* after the mean of class k has moved by scale e_k, e_k = weights_k X.

    D_kl becomes |(mean_k - mean_l) + scale (e_k - e_l)|^2; the classes' variances stay.
    """
    apart, spread = group_distances(gram, labels, sizes.shape[1])
    shares = (labels[:, None, :] == np.arange(sizes.shape[1])[:, None]) / sizes[:, :, None]
    along = shares @ mixed.transpose(0, 2, 1)  # mean_k . e_l
    moves = mixed @ weights.transpose(0, 2, 1)  # e_k . e_l
    own, same = (np.diagonal(values, axis1=1, axis2=2) for values in (along, moves))
    cross = own[:, :, None] + own[:, None, :] - along - along.transpose(0, 2, 1)
    length = same[:, :, None] + same[:, None, :] - 2 * moves
    step = scale[:, None, None]
    return from_groups(apart + 2 * step * cross + step**2 * length, spread, sizes)


def units_needed(
    gram: Float[np.ndarray, "unit unit"],
    n_classes: int,
    delta: float,
    alpha_layer: float,
    power: float,
    blocks: Int[np.ndarray, " unit"] | None = None,
) -> int | None:
    """Return the units per emotion at which the test detects an effect of `delta` with the requested power.

    A spectrum of shares l_i has e = 1 / sum l_i^2 effective dimensions. Pseudo-F is nearly F(e (K - 1), e (n
    - K)). Under the effect it is noncentral F with noncentrality e (n - 1) delta / (1 - delta). Relabellings
    within blocks leave the variance between blocks out of the null, so the effect is set against the rest.

    Args:
        gram: centred Gram matrix of the pilot's unit means, of the weakest layer.
        n_classes: emotions, equal groups.
        delta: share of variance.
        alpha_layer: level for this layer, `Power.alpha_layer`.
        power: requested share of effects detected.
        blocks: within which labels are exchanged; one block if none are given.

    Returns:
        Units per emotion, or None if more than 2,000 would be needed.

    Source: Box 1954, Some theorems on quadratic forms (the F approximation).
    """
    if blocks is not None and blocks.max():
        inside, free = within_groups(gram, blocks), (len(gram) - blocks.max() - 1) / (len(gram) - 1)
        odds = delta / (1 - delta) * np.trace(gram) / (np.trace(inside) / free)
        gram, delta = inside, float(odds / (1 + odds))
    dimensions = np.trace(gram) ** 2 / (gram**2).sum()
    low, high = 1, MOST_UNITS
    if _power_at(high, dimensions, n_classes, delta, alpha_layer) < power:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        enough = _power_at(middle, dimensions, n_classes, delta, alpha_layer) >= power
        low, high = (low, middle) if enough else (middle, high)
    return high


def _power_at(n_per_class: int, dimensions: float, n_classes: int, delta: float, alpha: float) -> float:
    between, within = n_classes - 1, n_classes * (n_per_class - 1)
    if within < 1:
        return 0.0
    dfs = (dimensions * between, dimensions * within)
    shift = dimensions * (n_classes * n_per_class - 1) * delta / (1 - delta)
    return float(scipy_stats.ncf.sf(scipy_stats.f.isf(alpha, *dfs), *dfs, shift))

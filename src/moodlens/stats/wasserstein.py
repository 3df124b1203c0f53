"""Sliced Wasserstein-1 distance between emotions: mean over random lines of the distance along the line.

Lines are drawn in the coordinates that the Gram matrix gives (units on their principal axes). A uniform
direction does not see rotations, so that is the distance on all d dimensions up to one constant factor (the
mean length of a d-dimensional direction within the span), which no p or comparison at a site sees.
On a line W1 = integral |F_k - F_l|; emotions are compared two by two, weighted n_k n_l.

Source: Bonneel et al. 2015, Sliced and Radon Wasserstein barycenters of measures, J. Math. Imaging Vis. 51.
"""

from itertools import combinations

import numpy as np
from jaxtyping import Float, Int

BLOCK = 1024
"""Relabellings at a time: what fits the cache."""


def sliced_wasserstein(
    grams: Float[np.ndarray, "site unit unit"],
    labels: Int[np.ndarray, "perm unit"],
    n_slices: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "site perm"]:
    """Return the mean sliced W1 of two emotions, in RMS distances of a unit from the mean.

    Args:
        grams: centred Gram matrices of unit means at mean diagonal 1.
        labels: relabellings, the observed one first.
        n_slices: random lines per site.
        rng: source of the lines.
    """
    n_classes = int(labels.max()) + 1
    sizes = np.bincount(labels[0], minlength=n_classes)
    pairs = list(combinations(range(n_classes), 2))
    weight = sum(int(sizes[k] * sizes[m]) for k, m in pairs)
    kind = np.int16 if weight < np.iinfo(np.int16).max else np.int32
    out = np.zeros((len(grams), len(labels)))
    for site, gram in enumerate(grams):
        places = _on_lines(gram, n_slices, rng)
        order = np.argsort(places, axis=0)
        gaps = np.diff(np.take_along_axis(places, order, axis=0), axis=0).astype(np.float32)
        for start in range(0, len(labels), BLOCK):
            part = np.ascontiguousarray(labels[start : start + BLOCK].T)
            out[site, start : start + BLOCK] = _along(part, order, gaps, sizes, pairs, kind)
    return out / (n_slices * weight)


def _on_lines(gram: np.ndarray, n_slices: int, rng: np.random.Generator) -> np.ndarray:
    """Return where each unit lies along each random line, (unit, slice)."""
    values, vectors = np.linalg.eigh(gram)
    kept = values > values.max() * 1e-9
    directions = rng.standard_normal((int(kept.sum()), n_slices))
    return vectors[:, kept] * np.sqrt(values[kept]) @ (directions / np.linalg.norm(directions, axis=0))


def _along(
    labels: np.ndarray,
    order: np.ndarray,
    gaps: np.ndarray,
    sizes: np.ndarray,
    pairs: list[tuple[int, int]],
    kind: type,
) -> np.ndarray:
    """Return sum over lines, gaps and pairs of gap |c_k n_l - c_l n_k|, c: units of an emotion passed.

    Args:
        labels: (unit, perm).
        order: units along each line, (unit, slice).
        gaps: between neighbours, (unit - 1, slice).
        sizes: units of each emotion.
        pairs: of emotions.
        kind: integers that hold n_k n_l summed over pairs.
    """
    scale = sizes.astype(kind)
    even = bool((sizes == sizes[0]).all())
    shape = (order.shape[1], labels.shape[1])
    passed = np.zeros((len(sizes), *shape), dtype=kind)
    apart, difference, other = (np.empty(shape, dtype=kind) for _ in range(3))
    total = np.zeros(shape[1], dtype=np.float64)
    for units, gap in zip(order[:-1], gaps, strict=True):
        row = labels[units]
        for klass in range(len(sizes)):
            passed[klass] += row == klass
        apart[:] = 0
        for k, m in pairs:
            if even:
                np.subtract(passed[k], passed[m], out=difference)
            else:
                np.multiply(passed[k], scale[m], out=difference)
                difference -= np.multiply(passed[m], scale[k], out=other)
            apart += np.abs(difference, out=difference)
        total += gap @ apart.astype(np.float32)
    return total * int(sizes[0]) if even else total

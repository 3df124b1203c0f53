"""The reported probe: multinomial logistic regression, refitted inside each training fold.

`online_bits` is the minimum description length of a probe: the bits per prompt needed to transmit the
emotions to a receiver who has the activations of the site. Prequential code: the first units cost log2 K bits
per prompt. Then the probe trained on all units sent so far codes the next block, and each block is as large
as all before it. A site with linearly accessible emotion needs few units to learn from, so it needs few bits;
log2 K means no saving. Source: Voita and Titov 2020, Information-theoretic probing with minimum description
length (online code).
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.linear_model import LogisticRegression


def features_of(gram: Float[np.ndarray, "prompt prompt"]) -> Float[np.ndarray, "prompt rank"]:
    """Return coordinates of the prompts on their principal axes, which have this Gram matrix.

    A penalised linear probe is invariant to rotation, so with these n columns it equals the probe on all d
    dimensions.
    """
    values, vectors = np.linalg.eigh(gram)
    nonzero = values > values.max() * 1e-9
    return vectors[:, nonzero] * np.sqrt(values[nonzero])


def strength_of(ridge: float, n_classes: int) -> float:
    """Return scikit-learn's C that corresponds to a ridge penalty lambda.

    1 / C equals lambda (1/K)(1 - 1/K), the Hessian of the softmax at equal odds.

    >>> strength_of(0.5, 2)
    8.0
    """
    return n_classes**2 / ((n_classes - 1) * ridge)


def out_of_fold(
    gram: Float[np.ndarray, "prompt prompt"],
    labels: Int[np.ndarray, " prompt"],
    folds: Int[np.ndarray, " prompt"],
    ridge: float,
) -> Int[np.ndarray, " prompt"]:
    """Return the class of every prompt, predicted by the model that never saw its fold.

    Args:
        gram: centred Gram matrix at mean diagonal 1, from `stats.gram.prompt_grams`.
        labels: emotion of each prompt.
        folds: fold of each prompt; an emotion missing from a training part is never predicted by it.
        ridge: the ridge probe's penalty.
    """
    features, out = features_of(gram), np.empty(len(labels), dtype=np.int64)
    for fold in np.unique(folds):
        out[folds == fold] = predicted(features, labels, folds == fold, ridge)
    return out


def predicted(
    features: Float[np.ndarray, "prompt rank"],
    labels: Int[np.ndarray, " prompt"],
    test: Bool[np.ndarray, " prompt"],
    ridge: float,
) -> Int[np.ndarray, " test"]:
    """Return the class of the prompts of `test`, by the model that was fitted to all others.

    Args:
        features: of every prompt, from `features_of`.
        labels: emotion of each prompt.
        test: which prompts are held out.
        ridge: the ridge probe's penalty.
    """
    known = labels[~test]
    if len(np.unique(known)) == 1:
        return np.full(int(test.sum()), known[0])
    strength = strength_of(ridge, len(np.unique(labels)))
    model = LogisticRegression(C=strength, class_weight="balanced", solver="newton-cg", max_iter=1000)
    return model.fit(features[~test], known).predict(features[test])


LEAST_PROBABILITY = 1e-12


def block_order(
    labels: Int[np.ndarray, " unit"], rng: np.random.Generator
) -> tuple[Int[np.ndarray, " unit"], list[int]]:
    """Return an order of the units that begins with one of each emotion, and the ends of its blocks.

    >>> order, ends = block_order(np.repeat([0, 1], 5), np.random.default_rng(0))
    >>> sorted(np.repeat([0, 1], 5)[order[:2]].tolist()), ends
    ([0, 1], [2, 4, 8, 10])
    """
    shuffled = rng.permutation(len(labels))
    first = [int(shuffled[labels[shuffled] == klass][0]) for klass in range(int(labels.max()) + 1)]
    order = np.array([*first, *(unit for unit in shuffled if unit not in first)])
    ends = [len(first)]
    while ends[-1] < len(order):
        ends.append(min(2 * ends[-1], len(order)))
    return order, ends


def online_bits(
    gram: Float[np.ndarray, "prompt prompt"],
    labels: Int[np.ndarray, " prompt"],
    members: Int[np.ndarray, " prompt"],
    orders: Sequence[tuple[Int[np.ndarray, " unit"], list[int]]],
    ridges: Sequence[float],
) -> float:
    """Return the code length of the emotions in bits per prompt, mean over orders.

    The penalty with the shortest code is used; sending it costs log2 of the number of candidates.

    Args:
        gram: centred Gram matrix at mean diagonal 1.
        labels: emotion of each prompt.
        members: unit of each prompt; units are sent whole.
        orders: from `block_order`; use the same for all compared sites.
        ridges: candidate penalties, as in `logistic.out_of_fold`.
    """
    features, n_classes = features_of(gram), int(labels.max()) + 1
    bits = np.zeros((len(orders), len(ridges)))
    for number, (order, ends) in enumerate(orders):
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        when = rank[members]
        bits[number] = np.log2(n_classes) * float((when < ends[0]).sum())
        for start, end in pairwise(ends):
            known, block = when < start, (when >= start) & (when < end)
            for i, ridge in enumerate(ridges):
                model = LogisticRegression(C=strength_of(ridge, n_classes), solver="newton-cg", max_iter=1000)
                odds = model.fit(features[known], labels[known]).predict_proba(features[block])
                own = odds[np.arange(block.sum()), labels[block]]
                bits[number, i] -= float(np.log2(np.maximum(own, LEAST_PROBABILITY)).sum())
    return float((bits.min(axis=1) + np.log2(len(ridges))).mean() / len(labels))

"""Transfer between prompt sets: a probe that learned emotions from one kind of wording, read on another.

Mood words, scenes and musical terms share no wording. A probe that was trained on moods and names the
emotion of scenes therefore reads what the two kinds have in common. Every ordered pair of sets is a
direction. Prompts of the test set whose unit stands in the training set too are left out.

Two questions, two p. *Is emotion there at all?* Whole wordings are relabelled within the blocks of the design
and within their sets; p is by the largest standardised accuracy of all directions (maxT). It keeps its level
where wordings of one emotion have nothing in common, and only there: where every set has a code of its own,
whole emotions of one set fall on emotions of another by chance, and p is small too often. *Do the sets share
one code?* The emotions of whole sets are renamed, each set by itself, and the mean accuracy of all directions
is compared. That p counts emotions and sets, not wordings: 4 emotions in 3 sets have 576 renamings, 2
emotions have 4 and can show nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.seeding import rng_for
from moodlens.probes.kernel_ridge import FoldHat, accuracies, centred_blocks, predictions
from moodlens.stats.design import Design, blocks_of
from moodlens.stats.multiplicity import max_t
from moodlens.stats.permutation import crossed, p_values, relabellings, smallest_p
from moodlens.stats.strata import codes_of

ONE_SET = "the prompts of all emotions are of one set"


@dataclass(frozen=True)
class Direction:
    """One probe, trained on one set and read on another; balanced accuracy."""

    train: str
    test: str
    n_train: int  # prompts
    n_test: int
    accuracy: float
    p: float  # of this direction alone
    p_max: float  # against the largest of all directions
    confusion: Float[
        np.ndarray, "klass klass"
    ]  # share of each emotion's prompts that are called each emotion


@dataclass(frozen=True)
class Transfer:
    """All directions, or why there is none."""

    directions: tuple[Direction, ...]
    smallest_p: float | None  # that the relabellings of wordings can give
    p_code: float | None = None  # of one code for all sets: their emotions renamed, mean over directions
    smallest_p_code: float | None = None
    not_tested: str = ""

    @property
    def p(self) -> float | None:
        """Return the p of transfer in any direction, by the maximum over directions; None if not tested."""
        return min((each.p_max for each in self.directions), default=None)

    @property
    def mean_accuracy(self) -> float | None:
        """Return the mean accuracy of the directions; None if not tested."""
        return float(np.mean([each.accuracy for each in self.directions])) if self.directions else None


def transfer(
    gram: Float[np.ndarray, "prompt prompt"],
    design: Design,
    sets: Sequence[str],
    ridge: float,
    n_permutations: int,
    seed: int,
) -> Transfer:
    """Return the accuracy and p of every direction between the sets that hold all emotions.

    Args:
        gram: Gram matrix of prompt means.
        design: emotions, wordings and strata of the prompts.
        sets: set of each prompt.
        ridge: penalty, as a multiple of the mean diagonal of the centred training kernel.
        n_permutations: random relabellings.
        seed: of them.
    """
    names, codes = np.array(sets, dtype=str), codes_of(sets)
    full = [
        str(name)
        for name in np.unique(names)
        if len(np.unique(design.labels[names == name])) == design.n_classes
    ]
    pairs = [(a, b, *_rows(design, names, a, b)) for a, b in permutations(full, 2)]
    pairs = [pair for pair in pairs if len(pair[3])]
    if not pairs:
        return Transfer((), None, not_tested=ONE_SET)
    strata = codes if design.strata is None else crossed(design.strata, codes)
    blocks, labels = blocks_of(design.wordings, strata), design.unit_labels("wording")
    rng = rng_for("transfer", seed)
    table = relabellings(labels, n_permutations, rng, blocks)[:, design.wordings]
    read = [_predicted(gram, train, test, table, ridge) for _, _, train, test in pairs]
    measured = np.stack(
        [
            accuracies(named[None], table[:, test])[0]
            for named, (_, _, _, test) in zip(read, pairs, strict=True)
        ]
    )
    alone, together = p_values(measured), max_t(measured)
    directions = tuple(
        Direction(
            train=a,
            test=b,
            n_train=len(train),
            n_test=len(test),
            accuracy=float(measured[i, 0]),
            p=float(alone[i]),
            p_max=float(together[i]),
            confusion=_confusion(design.labels[test], read[i][0], design.n_classes),
        )
        for i, (a, b, train, test) in enumerate(pairs)
    )
    p_code, least = one_code_p(directions, rng_for("renamed", seed))
    return Transfer(directions, smallest_p(labels, n_permutations, blocks), p_code, least)


MOST_RENAMINGS = 20_000
"""Renamings above which a random sample of them is drawn."""


def one_code_p(directions: Sequence[Direction], rng: np.random.Generator) -> tuple[float, float]:
    """Return p of one code for all sets, and the smallest p that so many emotions and sets can give.

    The emotions of every set but the first are renamed in all ways. The statistic is the mean accuracy over
    directions; a probe of renamed emotions is the renamed probe, so nothing is fitted again.
    """
    sets = sorted({each.train for each in directions} | {each.test for each in directions})
    n_classes = len(directions[0].confusion)
    names = np.array(list(permutations(range(n_classes))))
    n_renamings = len(names) ** (len(sets) - 1)
    if n_renamings <= MOST_RENAMINGS:
        chosen = np.stack(np.unravel_index(np.arange(n_renamings), (len(names),) * (len(sets) - 1)), axis=1)
    else:
        chosen = rng.integers(0, len(names), (MOST_RENAMINGS, len(sets) - 1))
        chosen[0] = 0  # the names as they are
    renamed = {sets[0]: np.zeros(len(chosen), dtype=np.int64)}
    renamed |= {name: chosen[:, i] for i, name in enumerate(sets[1:])}
    total = np.zeros(len(chosen))
    for each in directions:
        called = np.take_along_axis(
            np.argsort(names[renamed[each.train]], axis=1), names[renamed[each.test]], axis=1
        )
        total += each.confusion[np.arange(n_classes), called].mean(axis=1)
    return float(p_values(total)), 1 / len(chosen)


def _confusion(
    labels: Int[np.ndarray, " test"], named: Int[np.ndarray, " test"], n_classes: int
) -> Float[np.ndarray, "klass klass"]:
    counts = np.zeros((n_classes, n_classes))
    np.add.at(counts, (labels, named), 1)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def _rows(
    design: Design, names: np.ndarray, train: str, test: str
) -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " test"]]:
    """Return the prompts of the training set, and those of the test set of units that it does not hold."""
    (known,) = np.nonzero(names == train)
    (new,) = np.nonzero((names == test) & ~np.isin(design.wordings, design.wordings[known]))
    return known, new


def _predicted(
    gram: Float[np.ndarray, "prompt prompt"],
    train: Int[np.ndarray, " train"],
    test: Int[np.ndarray, " test"],
    table: Int[np.ndarray, "perm prompt"],
    ridge: float,
) -> Int[np.ndarray, "perm test"]:
    inner, outer = centred_blocks(gram[None][:, train[:, None], train], gram[None][:, test[:, None], train])
    penalty = ridge * max(float(np.trace(inner[0])) / len(train), np.finfo(float).eps)
    inverse = np.linalg.inv(inner + penalty * np.eye(len(train)))
    hat = FoldHat(np.arange(len(train), len(train) + len(test)), np.arange(len(train)),
                  outer @ inverse, inner @ inverse)  # fmt: skip
    own = table[:, np.concatenate([train, test])]
    return predictions([hat], own)[0][:, len(train) :]

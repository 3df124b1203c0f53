"""Transfer between prompt sets: a probe that learned emotions from one kind of wording, read on another.

Mood words, scenes and musical terms share no wording. A probe that was trained on moods and names the
emotion of scenes therefore reads what the two kinds have in common. Every ordered pair of sets is a
direction. Prompts of the test set whose unit stands in the training set too are left out.

Whole wordings are relabelled within the blocks of the design and within their sets. p of a direction is that
of the largest standardised accuracy of all directions (maxT), so it accounts for looking at several.
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


@dataclass(frozen=True)
class Transfer:
    """All directions, or why there is none."""

    directions: tuple[Direction, ...]
    smallest_p: float | None  # that the relabellings can give
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
        return Transfer((), None, ONE_SET)
    strata = codes if design.strata is None else crossed(design.strata, codes)
    blocks, labels = blocks_of(design.wordings, strata), design.unit_labels("wording")
    rng = rng_for("transfer", seed)
    table = relabellings(labels, n_permutations, rng, blocks)[:, design.wordings]
    measured = np.stack([_accuracy(gram, train, test, table, ridge) for _, _, train, test in pairs])
    alone, together = p_values(measured), max_t(measured)
    directions = tuple(
        Direction(a, b, len(train), len(test), float(measured[i, 0]), float(alone[i]), float(together[i]))
        for i, (a, b, train, test) in enumerate(pairs)
    )
    return Transfer(directions, smallest_p(labels, n_permutations, blocks))


def _rows(
    design: Design, names: np.ndarray, train: str, test: str
) -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " test"]]:
    """Return the prompts of the training set, and those of the test set of units that it does not hold."""
    (known,) = np.nonzero(names == train)
    (new,) = np.nonzero((names == test) & ~np.isin(design.wordings, design.wordings[known]))
    return known, new


def _accuracy(
    gram: Float[np.ndarray, "prompt prompt"],
    train: Int[np.ndarray, " train"],
    test: Int[np.ndarray, " test"],
    table: Int[np.ndarray, "perm prompt"],
    ridge: float,
) -> Float[np.ndarray, " perm"]:
    inner, outer = centred_blocks(gram[None][:, train[:, None], train], gram[None][:, test[:, None], train])
    penalty = ridge * float(np.trace(inner[0])) / len(train)
    inverse = np.linalg.inv(inner + penalty * np.eye(len(train)))
    hat = FoldHat(np.arange(len(train), len(train) + len(test)), np.arange(len(train)),
                  outer @ inverse, inner @ inverse)  # fmt: skip
    own = table[:, np.concatenate([train, test])]
    return accuracies(predictions([hat], own)[:, :, len(train) :], own[:, len(train) :])[0]

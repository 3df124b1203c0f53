"""Cross-validation folds that keep groups whole and do not depend on the labels."""

import numpy as np
from jaxtyping import Int

from moodlens.base.errors import Unsupported, must
from moodlens.stats.design import Design, Unit


def group_folds(
    groups: Int[np.ndarray, " prompt"], n_folds: int, rng: np.random.Generator, name: str = "probe.n_folds"
) -> Int[np.ndarray, " prompt"]:
    """Return the fold of each row: no group is split, folds are nearly equal in size.

    The method is that of scikit-learn's GroupKFold: the largest group goes to the smallest fold. Ties are
    broken at random. An error calls the number of folds `name`.

    Raises:
        ContractError: fewer groups than folds.

    >>> group_folds(np.array([0, 0, 1, 2]), 2, np.random.default_rng(0)).tolist()
    [0, 0, 1, 1]
    """
    sizes = np.bincount(groups)
    if len(sizes) < n_folds:
        raise Unsupported(
            must(
                name,
                "not exceed the number of groups that are never split",
                f"{n_folds} folds for {len(sizes)} groups",
                next_step=f"Lower {name} or add prompts",
            )
        )
    shuffled = rng.permutation(len(sizes))
    fold_of_group = np.empty(len(sizes), dtype=np.int64)
    filled = np.zeros(n_folds, dtype=np.int64)
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        fold = int(filled.argmin())
        fold_of_group[group] = fold
        filled[fold] += sizes[group]
    return fold_of_group[groups]


def design_folds(
    design: Design, unit: Unit, n_folds: int, rng: np.random.Generator, name: str = "probe.n_folds"
) -> Int[np.ndarray, " prompt"]:
    """Return folds that hold out whole prompts or whole wordings.

    All prompts of a small emotion may be in one fold; the probe trained without it then never predicts it.

    Raises:
        ContractError: there are fewer units than folds, or an emotion has one unit, which cannot be held out.
    """
    counts = np.bincount(design.unit_labels(unit))
    if counts.min() < 2:
        emotion = design.emotions[int(counts.argmin())]
        advice = f"Add prompts of that emotion with other {unit}s"
        rule = f"have at least 2 {unit}s, so that one can be held out"
        raise Unsupported(must(f"emotion '{emotion}'", rule, int(counts.min()), next_step=advice))
    return group_folds(design.members(unit), n_folds, rng, name)

"""Removal of the latents of one emotion: does it lower that emotion's score more than the others' scores?

Both measures act on the SAE's reconstruction x_hat = latents W_dec + b_dec, by wording and out of fold. In
each fold the latents of an emotion are the `n_removed` with the largest difference of means among those whose
mean is largest for that emotion on the training wordings; an emotion may have fewer. Removal sets their
activation to its mean over the training wordings, emotions with equal weight. Zero would lower an emotion's
score on every wording: latents are never negative, and those with the largest difference point along their
emotion's detector even where the labels are noise.

- Targeted perturbation. Detectors of the training reconstructions stay as they are, and what is read is the
  score of a held-out wording for its own emotion, in units of the gap (`detectors`). Row of the matrix:
  emotion whose latents were removed. Column: emotion of the wordings. Entry: mean drop of the score. The
  selectivity of a wording is its drop under removal of its own emotion's latents minus its mean drop under
  removal of the latents of the others. Control: random latents matched in number and activity (`matching`) in
  place of each set. p is the larger of two: signs of whole wordings flipped (selectivity minus mean control),
  and rank among the control draws.
- Removal and refit. All emotions' latents are removed together, detectors are fitted anew on what is left,
  and accuracy is the share of held-out wordings given to their own emotion. Control: the nearest matched
  latents.

Controls are drawn from the latents that are in no emotion's set. A shortage in one fold leaves the whole
comparison without a control. Nothing here shows what the model itself does without these latents: generation
goes on from the state as it was.

Source: Karvonen et al. 2024, Evaluating sparse autoencoders on targeted concept erasure tasks, arXiv
2411.18895 (targeted probe perturbation). It compares accuracies; scores do not saturate. It has no matched
control.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from moodlens.latents.detectors import Wordings, detectors, differences, one_hot
from moodlens.latents.matching import Activity, Shortage, matched, matched_draws
from moodlens.stats.bootstrap import interval, unit_resamples
from moodlens.stats.sign_flip import gain_p


@dataclass(frozen=True)
class Removing:
    """How sets are chosen and matched."""

    n_removed: int  # latents of each emotion
    factor: float  # tolerance of the match
    n_draws: int  # control sets; 0: none
    ridge: float


@dataclass(frozen=True)
class Perturbation:
    """Drops of the held-out wordings' own scores."""

    drops: Float[np.ndarray, "klass wording"]  # by emotion whose latents were removed
    controls: Float[np.ndarray, "draw klass wording"] | None  # None: no draws asked for, or a shortage
    shortage: Shortage | None


@dataclass(frozen=True)
class Selective:
    """Targeted perturbation in numbers; drops in units of the gap between an emotion and the others."""

    on_target: float  # mean drop of an emotion's score without its own latents
    off_target: float  # mean drop without the latents of another emotion
    selectivity: float  # on_target - off_target
    low: float
    high: float
    control: float | None  # selectivity of matched random latents, mean over draws
    p: float | None
    no_control: str  # why control and p are None; "" where they are not, or none were asked for


def emotion_sets(
    latents: Float[np.ndarray, "wording latent"],
    labels: Int[np.ndarray, " wording"],
    n_classes: int,
    n_removed: int,
) -> list[Int[np.ndarray, " _"]]:
    """Return the latents of each emotion: largest difference of means first, each latent at most once.

    >>> rows = np.array([[5.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
    >>> [found.tolist() for found in emotion_sets(rows, np.array([0, 1]), 2, 1)]
    [[0], [1]]
    """
    difference = differences(latents, labels, n_classes)
    own = difference.argmax(axis=0)
    sets = []
    for klass in range(n_classes):
        (members,) = np.nonzero((own == klass) & (difference[klass] > 0))
        order = np.argsort(-difference[klass, members], kind="stable")
        sets.append(members[order[:n_removed]])
    return sets


def perturb(
    latents: Float[np.ndarray, "wording latent"],
    W_dec: Float[np.ndarray, "latent d_in"],
    wordings: Wordings,
    activity: Activity,
    removing: Removing,
    rng: np.random.Generator,
) -> Perturbation:
    """Return the drops of every held-out wording's own score, and those under matched random sets.

    Args:
        latents: mean activation by wording.
        W_dec: of the SAE.
        wordings: of the rows.
        activity: of the latents, for the match.
        removing: settings.
        rng: draws the control sets.
    """
    n_classes = wordings.n_classes
    drops = np.zeros((n_classes, len(wordings.labels)))
    controls = np.zeros((removing.n_draws, *drops.shape))
    shortage: Shortage | None = None
    rebuilt = latents @ W_dec
    for train, test in wordings.parts():
        labels = wordings.labels[train]
        found = detectors(rebuilt[train], one_hot(labels, n_classes), removing.ridge)
        # a wording's own score loses (activation - mean) x effect of every removed latent
        usual = wordings.weights[train] @ latents[train] / wordings.weights[train].sum()
        lost = (latents[test] - usual) * (W_dec @ found.weights).T[wordings.labels[test]]
        sets = emotion_sets(latents[train], labels, n_classes, removing.n_removed)
        pool = _pool(activity, sets)
        for klass, members in enumerate(sets):
            drops[klass, test] = lost[:, members].sum(axis=1)
            if not removing.n_draws or shortage:
                continue
            draws = matched_draws(activity, members, pool, removing.factor, removing.n_draws, rng)
            if isinstance(draws, Shortage):
                shortage = draws
            else:
                controls[:, klass, test] = lost[:, draws].sum(axis=2).T
    return Perturbation(drops, controls if removing.n_draws and not shortage else None, shortage)


def selectivity_by_wording(
    drops: Float[np.ndarray, "*draw klass wording"], labels: Int[np.ndarray, " wording"]
) -> Float[np.ndarray, "*draw wording"]:
    """Return each wording's drop without its own emotion's latents minus its mean drop without others'.

    >>> selectivity_by_wording(np.array([[3.0, 1.0], [1.0, 1.0]]), np.array([0, 1])).tolist()
    [2.0, 0.0]
    """
    own = np.take_along_axis(drops, np.broadcast_to(labels, (*drops.shape[:-2], 1, len(labels))), axis=-2)
    own = own[..., 0, :]
    return own - (drops.sum(axis=-2) - own) / (drops.shape[-2] - 1)


def matrix_of(
    perturbation: Perturbation, labels: Int[np.ndarray, " wording"]
) -> Float[np.ndarray, "klass klass"]:
    """Return the mean drop by removed set (row) and emotion of the wordings (column)."""
    drops = perturbation.drops
    return np.stack([drops[:, labels == klass].mean(axis=1) for klass in range(len(drops))], axis=1)


def selective(
    perturbation: Perturbation,
    wordings: Wordings,
    n_resamples: int,
    confidence: float,
    rng: np.random.Generator,
) -> Selective:
    """Return the numbers of a targeted perturbation, emotions with equal weight.

    Args:
        perturbation: from `perturb`.
        wordings: of its wordings.
        n_resamples: resamples of wordings, and sign flips.
        confidence: of the interval.
        rng: of resamples and flips.
    """
    labels, weights = wordings.labels, wordings.weights
    gains = selectivity_by_wording(perturbation.drops, labels)
    on_target = float(perturbation.drops[labels, np.arange(len(labels))] @ weights)
    observed = float(gains @ weights)
    counts = unit_resamples(labels, n_resamples, rng)
    low, high = interval((gains * weights) @ counts.T.astype(np.float64), confidence)
    control = p = None
    if perturbation.controls is not None:
        by_draw = selectivity_by_wording(perturbation.controls, labels)
        control = float((by_draw @ weights).mean())
        beyond = (gains - by_draw.mean(axis=0)) * weights
        flipped = float(gain_p(beyond[None], wordings.n_folds, n_resamples, rng)[0])
        ranked = (1 + int((by_draw @ weights >= observed).sum())) / (1 + len(by_draw))
        p = max(flipped, ranked)
    return Selective(
        on_target=on_target,
        off_target=on_target - observed,
        selectivity=observed,
        low=float(low),
        high=float(high),
        control=control,
        p=p,
        no_control=perturbation.shortage.sentence if perturbation.shortage else "",
    )


@dataclass(frozen=True)
class Removal:
    """Accuracy of refitted detectors after removal; each wording's part, which sum to the accuracy."""

    n_removed: float  # latents of all emotions, mean over folds
    whole: Float[np.ndarray, " wording"]  # nothing removed
    without_chosen: Float[np.ndarray, " wording"] | None  # None: no control, so no comparison
    without_matched: Float[np.ndarray, " wording"] | None
    shortage: Shortage | None


def remove_and_refit(
    latents: Float[np.ndarray, "wording latent"],
    W_dec: Float[np.ndarray, "latent d_in"],
    wordings: Wordings,
    activity: Activity,
    removing: Removing,
) -> Removal:
    """Return the accuracies without all emotions' latents and without as many matched ones.

    Args: as in `perturb`.
    """
    guess = np.full(len(wordings.labels), 1 / wordings.n_classes)
    right = {name: guess.copy() for name in ("whole", "chosen", "matched")}
    sizes, shortage = [], None
    for train, test in wordings.parts():
        sets = emotion_sets(latents[train], wordings.labels[train], wordings.n_classes, removing.n_removed)
        chosen = np.concatenate(sets)
        sizes.append(len(chosen))
        others = matched(activity, chosen, _pool(activity, sets), removing.factor)
        removed = {"whole": chosen[:0], "chosen": chosen}
        if isinstance(others, Shortage):
            shortage = others
        else:
            removed["matched"] = others
        for name, members in removed.items():
            kept = latents.copy()
            kept[:, members] = 0  # any constant: the detectors are fitted anew
            rows = kept @ W_dec
            is_class = one_hot(wordings.labels[train], wordings.n_classes)
            scores = detectors(rows[train], is_class, removing.ridge).scores(rows[test])
            right[name][test] = scores.argmax(axis=1) == wordings.labels[test]
    parts = {name: values * wordings.weights for name, values in right.items()}
    result = Removal(
        float(np.mean(sizes)) if sizes else 0.0, parts["whole"], parts["chosen"], parts["matched"], shortage
    )
    return replace(result, without_chosen=None, without_matched=None) if shortage else result


def _pool(activity: Activity, sets: Sequence[Int[np.ndarray, " _"]]) -> Int[np.ndarray, " pool"]:
    """The latents that fire and are in no emotion's set."""
    free = activity.fires.copy()
    free[np.concatenate(sets)] = False
    return np.flatnonzero(free)

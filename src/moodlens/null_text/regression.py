"""Kernel ridge regression over wordings: out-of-fold R2 of targets, beside other readers of the same tokens.

One row per wording (its prompts' mean), so that rows are exchangeable under the null and relabelling is a
permutation of rows. Predictions are linear in the target, H y, so thousands of permutations are one product.

Factors of the music: does a null-text state tell each, and is it the one the prompt intends? Two questions
that a shuffled model tells apart. Its states hold the tempo of its own music; that tempo is not the
prompt's. So a factor is first read out of the states (target: the descriptor measured in the clip's own
audio, held-out wordings), and what was read out is then held against what the prompt asks (arousal for
tempo, loudness and brightness, valence for mode): their correlation, wordings relabelled. The reader never
saw the prompts' intentions, so that relabelling them is an exact test.

"Beyond acoustics" has no meaning for a factor and its own descriptor: a state made from the music cannot know
it better than the audio it was measured in. What can be tested is whether the state tells it better than all
other descriptors do, i.e. whether it holds this factor and not just what goes along with it.

What a state tells of emotion beyond a table of descriptors: with descriptors A of the wordings and their
states S, least squares splits S into what A predicts and a rest. Under the null (emotion is independent of
S given A, S linear in A plus noise) the rest is noise, and turning it at random inside the space that A
leaves changes nothing. The statistic is the out-of-fold error of a ridge on A and S together: partial R2 =
1 - error(S) / mean error(turned S). It is 0 on average under the null, whatever the width of S. A plain
difference of R2 with and without S is not: a second kernel changes the shrinkage, and such a difference
called a state that adds nothing significant in 50 - 94 % of simulations.

"Beyond A" means beyond a linear reading of A: a state that holds a curved function of A passes too.

Source: rotation tests, Langsrud 2005, Statistics and Computing 15, 53 (exact for normal noise).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.seeding import rng_for
from moodlens.probes.kernel_ridge import out_of_fold_hat
from moodlens.stats.bootstrap import interval
from moodlens.stats.gram import centred
from moodlens.stats.multiplicity import max_t
from moodlens.stats.sign_flip import gain_p


@dataclass(frozen=True)
class TargetLead:
    """By how much a reader's R2 exceeds another's; interval by resampling wordings."""

    value: float  # R2 of the other reader
    difference: float
    low: float
    high: float
    p: float  # one-sided: signs of whole wordings flipped, folds that share training data corrected for


@dataclass(frozen=True)
class TargetScore:
    """R2 of one target by the first reader, and its lead over the others."""

    target: str
    value: float
    low: float
    high: float
    p: float  # maxT over the targets
    leads: dict[str, TargetLead]
    predicted: Float[np.ndarray, " unit"]  # by the first reader, out of fold, mean over views


def read_targets(
    readers: Mapping[str, Float[np.ndarray, "view unit unit"]],
    targets: Mapping[str, Float[np.ndarray, " unit"]],
    counts: Int[np.ndarray, "boot unit"],
    permutations: Int[np.ndarray, "perm unit"],
    confidence: float,
    n_folds: int,
    beside: Mapping[str, Mapping[str, Float[np.ndarray, "view unit unit"]]] | None = None,
) -> list[TargetScore]:
    """Return how well the first reader tells each target, beside the other readers.

    Args:
        readers: name -> out-of-fold hats, one per view; squared errors are averaged over views.
        targets: name -> one value per wording.
        counts: how often each wording occurs in each resample.
        permutations: orders of the wordings, the identity first.
        confidence: of the intervals.
        n_folds: of the hats; the p of a lead allows for the training data that folds share.
        beside: target -> further readers of that target alone.
    """
    first, *_ = readers
    adjusted = max_t(np.stack([_null(readers[first], y, permutations) for y in targets.values()]))
    scores = []
    for (name, y), p in zip(targets.items(), adjusted, strict=True):
        all_readers = {**readers, **(beside or {}).get(name, {})}
        errors = {reader: np.square(y - hats @ y).mean(axis=0) for reader, hats in all_readers.items()}
        total = np.square(y - y.mean())
        scale = counts @ total
        low, high = interval(1 - counts @ errors[first] / scale, confidence)
        leads = {}
        for other in (reader for reader in errors if reader != first):
            gain = errors[other] - errors[first]
            bounds = interval(counts @ gain / scale, confidence)
            value, lead = float(1 - errors[other].sum() / total.sum()), float(gain.sum() / total.sum())
            p_lead = float(
                gain_p(gain[None], n_folds, len(permutations) - 1, rng_for("lead", name, other))[0]
            )
            leads[other] = TargetLead(value, lead, float(bounds[0]), float(bounds[1]), p_lead)
        value = float(1 - errors[first].sum() / total.sum())
        predicted = (readers[first] @ y).mean(axis=0)
        scores.append(TargetScore(name, value, float(low), float(high), float(p), leads, predicted))
    return scores


def _null(
    hats: Float[np.ndarray, "view unit unit"],
    target: Float[np.ndarray, " unit"],
    permutations: Int[np.ndarray, "perm unit"],
) -> Float[np.ndarray, " perm"]:
    """Return the R2 of every permuted target; errors averaged over views."""
    shuffled = target[permutations].T
    errors = np.mean([np.square(shuffled - hat @ shuffled).sum(axis=0) for hat in hats], axis=0)
    return 1 - errors / np.square(target - target.mean()).sum()


OTHERS = "other descriptors"
"""Reader of a factor: all descriptors but the factor's own kin."""


@dataclass(frozen=True)
class Factor:
    """How a factor shows in the audio and what asks for it; the organism's model card names four."""

    descriptor: str
    kin: tuple[str, ...]  # descriptors that measure the same thing
    asked_by: str  # the scale of the prompt that raises it: arousal | valence


FACTORS: Mapping[str, Factor] = {
    "tempo": Factor("onset_rate_hz", ("tempo_bpm", "onset_rate_hz", "pulse_clarity"), "arousal"),
    "loudness": Factor("loudness_db", ("loudness_db", "dynamic_range_db", "low_energy_fraction"), "arousal"),
    "brightness": Factor(
        "centroid_hz", ("centroid_hz", "rolloff_hz", "flatness", "zero_crossing_rate_hz"), "arousal"
    ),
    "mode": Factor("mode_margin", ("mode_margin",), "valence"),
}


@dataclass(frozen=True)
class Told:
    """One factor: how well the states tell it, and how far that follows the prompt."""

    reading: TargetScore
    asked_by: str
    prompted_r: float  # what was read out, against what the prompt asks
    prompted_p: float  # one-sided, maxT over the factors


def follow_prompts(
    readings: Sequence[TargetScore],
    intended: Mapping[str, Float[np.ndarray, " unit"]],
    permutations: Int[np.ndarray, "perm unit"],
) -> tuple[Told, ...]:
    """Return the factors among the readings, each held against what the prompts ask.

    Args:
        readings: from `null_text.regression.read_targets`; those that are no factor are left out.
        intended: valence and arousal of the prompts of each wording.
        permutations: orders of the wordings, the identity first.
    """
    factors = [reading for reading in readings if reading.target in FACTORS]
    if not factors:
        return ()
    scales = [FACTORS[reading.target].asked_by for reading in factors]
    r = np.stack(
        [
            _correlations(reading.predicted, intended[scale][permutations])
            for reading, scale in zip(factors, scales, strict=True)
        ]
    )
    told = zip(factors, scales, r[:, 0].tolist(), max_t(r).tolist(), strict=True)
    return tuple(Told(*each) for each in told)


def _correlations(
    predicted: Float[np.ndarray, " unit"], requested: Float[np.ndarray, "perm unit"]
) -> Float[np.ndarray, " perm"]:
    x = predicted - predicted.mean()
    y = requested - requested.mean(axis=1, keepdims=True)
    length = np.linalg.norm(x) * np.linalg.norm(y, axis=1)
    return np.divide(y @ x, length, out=np.zeros(len(y)), where=length > 0)


LEAST_FREE = 2
"""Wordings per fitted coefficient below which the split into prediction and rest means nothing."""


@dataclass(frozen=True)
class Partial:
    """Partial R2 of a state beyond descriptors; the interval is the null's, shifted to the estimate."""

    base_r2: float  # of the descriptors alone
    value: float
    low: float
    high: float
    p: float


def partial_r2(
    descriptors: Float[np.ndarray, "unit descriptor"],
    state: Float[np.ndarray, "unit unit"],
    targets: Float[np.ndarray, "unit target"],
    folds: Int[np.ndarray, " unit"],
    penalty: float,
    n_turns: int,
    confidence: float,
    rng: np.random.Generator,
) -> Partial | None:
    """Return the partial R2, or None where there are too few wordings for that many descriptors.

    Args:
        descriptors: one row per wording, standardised.
        state: centred Gram matrix of the wordings' states.
        targets: what is told, e.g. one-hot emotion.
        folds: fold of each wording.
        penalty: of the ridge, multiple of the mean diagonal.
        n_turns: random rotations of the rest; smallest p = 1 / (n + 1).
        confidence: of the interval.
        rng: source of the rotations.
    """
    n = len(folds)
    design = np.hstack([np.ones((n, 1)), descriptors])
    rank = int(np.linalg.matrix_rank(design))
    if n < LEAST_FREE * rank:
        return None
    axes = np.linalg.svd(design)[0]
    told, free = axes[:, :rank] @ axes[:, :rank].T, axes[:, rank:]
    base = _scaled(centred(descriptors @ descriptors.T))
    measured = _error(base, state, targets, folds, penalty)
    turned = np.empty(n_turns)
    for i in range(n_turns):
        turn = told + free @ _rotation(n - rank, rng) @ free.T
        turned[i] = _error(base, turn @ state @ turn.T, targets, folds, penalty)
    p = (1 + int((turned <= measured * (1 + 1e-9)).sum())) / (n_turns + 1)
    null = 1 - turned / turned.mean()
    value = 1 - measured / float(turned.mean())
    tail = (1 - confidence) / 2
    low, high = value - np.quantile(null, (1 - tail, tail))
    alone = np.square(targets - out_of_fold_hat(base, folds, penalty) @ targets).sum()
    total = np.square(targets - targets.mean(axis=0)).sum()
    return Partial(float(1 - alone / total), float(value), float(low), float(high), p)


def _rotation(n: int, rng: np.random.Generator) -> Float[np.ndarray, "n n"]:
    """Return a random orthogonal matrix, uniform over all of them."""
    q, r = np.linalg.qr(rng.standard_normal((n, n)))
    return q * np.sign(np.diag(r))


def _error(
    base: Float[np.ndarray, "unit unit"],
    state: Float[np.ndarray, "unit unit"],
    targets: Float[np.ndarray, "unit target"],
    folds: Int[np.ndarray, " unit"],
    penalty: float,
) -> float:
    hat = out_of_fold_hat(base + _scaled(centred(state)), folds, penalty)
    return float(np.square(targets - hat @ targets).sum())


def _scaled(gram: Float[np.ndarray, "unit unit"]) -> Float[np.ndarray, "unit unit"]:
    return gram * (len(gram) / np.trace(gram))

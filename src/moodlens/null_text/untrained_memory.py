"""Does a trained state summarise the emotion of its past more accessibly than readers that were told nothing?

The model is compared with families of readers of the same tokens, by few-shot area (`null_text.few_shot`). A
family is one reader, or one kind of memory in several untrained decoders, each a reader of its own: every
draw chooses its step and layer. A family's area is the mean over its draws.

Two tests, the larger p counts:
wordings   signs of whole wordings are flipped: model minus family (`stats.sign_flip`)
draws      were the model one more draw of the family, its area would lie this far above the others' mean in a
           share p of cases: t = (model - mean) / (sd sqrt(1 + 1 / n)), n - 1 degrees of freedom

Wordings alone would not do. An untrained decoder that happens to be a good draw beats the mean of the others
with any number of wordings. The interval resamples wordings and draws.

The model must beat every family, so the largest p over families needs no correction (intersection-union
test, Berger 1982, Technometrics 24, 295). "Best of these" is the family with the highest area inside the
training folds, chosen fold by fold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats as scipy_stats

from moodlens.base.seeding import rng_for
from moodlens.null_text.few_shot import Scores, Task
from moodlens.stats.bootstrap import balanced_accuracy, class_means, interval, wording_resamples
from moodlens.stats.sign_flip import better_p

BEST = "best of these, chosen in the training folds"


@dataclass(frozen=True)
class Comparison:
    """The model's few-shot area minus that of a family."""

    family: str
    area: float  # of the family
    difference: float
    low: float
    high: float
    p_wordings: float  # one-sided
    p_draws: float | None  # one-sided; None: one reader, nothing drawn
    n_draws: int
    chosen: tuple[tuple[int, ...], ...]  # draw -> site of each fold

    @property
    def p(self) -> float:
        """Return the larger of the two p."""
        return max(self.p_wordings, self.p_draws or 0.0)


@dataclass(frozen=True)
class SizeScore:
    """Accuracy of the model or a family at one size, and the model's lead over it with its interval."""

    reader: str
    n_shots: int
    accuracy: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class MemoryTest:
    """The model's few-shot area beside every family of readers that know no emotion."""

    area: float
    low: float
    high: float
    chosen: tuple[int, ...]  # site of each fold
    shots: tuple[int, ...]
    families: tuple[Comparison, ...]
    best: Comparison
    curve: tuple[SizeScore, ...]  # the model first

    @property
    def p(self) -> float:
        """Return the largest p over the families: the model must beat them all."""
        return max(each.p for each in (*self.families, self.best))


def compare(
    model: Scores,
    families: Mapping[str, Sequence[Scores]],
    task: Task,
    *,
    n_flips: int,
    n_bootstrap: int,
    confidence: float,
    seed: int,
) -> MemoryTest:
    """Return the comparison of the model with every family.

    Args:
        model: scores of the trained model's single states.
        families: name -> the scores of its draws.
        task: that all were given.
        n_flips: sign flips; the smallest p is 1 / (n + 1).
        n_bootstrap: resamples of wordings, and of draws, for intervals.
        confidence: of the intervals.
        seed: of flips and resamples.
    """
    design = task.design
    counts = wording_resamples(design, n_bootstrap, rng_for("few-shot wordings", seed))[:, design.wordings]

    def against(family: str, draws: Sequence[Scores], areas: Float[np.ndarray, "draw prompt"]) -> Comparison:
        rng = rng_for("few-shot", family, seed)
        others, own = balanced_accuracy(areas, design.labels), balanced_accuracy(model.area, design.labels)
        n_folds = len(np.unique(task.folds))
        p = better_p(model.area[None], areas.mean(axis=0), design, "wording", n_folds, n_flips, rng)[0]
        low, high = _interval(model.area - areas, design.labels, counts, confidence, rng)
        mean = float(others.mean())
        return Comparison(
            family=family,
            area=mean,
            difference=float(own) - mean,
            low=low,
            high=high,
            p_wordings=float(p),
            p_draws=another_draw_p(float(own), others) if len(areas) > 1 else None,
            n_draws=len(areas),
            chosen=tuple(draw.chosen for draw in draws),
        )

    found = tuple(
        against(name, draws, np.stack([draw.area for draw in draws])) for name, draws in families.items()
    )
    best = against(BEST, (), _best_inside(families, task)[None])
    low, high = interval(class_means(model.area, design.labels, counts), confidence)
    return MemoryTest(
        area=float(balanced_accuracy(model.area, design.labels)),
        low=float(low),
        high=float(high),
        chosen=model.chosen,
        shots=task.shots,
        families=found,
        best=best,
        curve=tuple(_curve(model, families, task, counts, confidence, seed)),
    )


def another_draw_p(model: float, draws: Float[np.ndarray, " draw"]) -> float:
    """Return the p that a further draw of the same kind lies so far above the mean of these draws.

    >>> round(another_draw_p(0.5, np.array([0.3, 0.4])), 3)     # t = 1.73 with 1 degree of freedom
    0.167
    """
    n, spread = len(draws), float(draws.std(ddof=1))
    lead = model - float(draws.mean())
    if spread == 0:
        return 0.0 if lead > 0 else 1.0
    return float(scipy_stats.t.sf(lead / (spread * np.sqrt(1 + 1 / n)), n - 1))


def _best_inside(families: Mapping[str, Sequence[Scores]], task: Task) -> Float[np.ndarray, " prompt"]:
    """Return the areas of the family that is best inside the training folds, fold by fold."""
    inside = np.stack([np.mean([draw.inner for draw in draws], axis=0) for draws in families.values()])
    areas = np.stack([np.mean([draw.area for draw in draws], axis=0) for draws in families.values()])
    of_prompt = np.searchsorted(np.unique(task.folds), task.folds)
    return areas[inside.argmax(axis=0)[of_prompt], np.arange(areas.shape[1])]


def _interval(
    gains: Float[np.ndarray, "draw prompt"],
    labels: np.ndarray,
    counts: np.ndarray,
    confidence: float,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Return the interval of the mean gain; wordings and draws are resampled together."""
    resampled = class_means(gains, labels, counts)  # (draw, boot)
    n = len(gains)
    weights = rng.multinomial(n, np.full(n, 1 / n), resampled.shape[1]) / n
    low, high = interval((resampled * weights.T).sum(axis=0), confidence)
    return float(low), float(high)


def _curve(
    model: Scores,
    families: Mapping[str, Sequence[Scores]],
    task: Task,
    counts: np.ndarray,
    confidence: float,
    seed: int,
) -> list[SizeScore]:
    points = []
    for i, n_shots in enumerate(task.shots):
        own = model.right[i]
        for name, draws in ((model.name, [model]), *families.items()):
            rights = np.stack([draw.right[i] for draw in draws])
            rng = rng_for("few-shot curve", name, n_shots, seed)
            low, high = _interval(own - rights, task.design.labels, counts, confidence, rng)
            accuracy = float(balanced_accuracy(rights, task.design.labels).mean())
            lead = float(balanced_accuracy(own, task.design.labels)) - accuracy
            points.append(SizeScore(name, n_shots, accuracy, lead, low, high))
    return points

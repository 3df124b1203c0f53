"""The tests that papers use and that are wrong here: they take clips, or pairs of clips, for replicates."""

import numpy as np
from jaxtyping import Float, Int
from scipy import stats as scipy_stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from moodlens.calibration.simulate import Sample
from moodlens.stats.gram import centred
from moodlens.stats.permanova import pseudo_f
from moodlens.stats.permutation import p_values, relabellings
from moodlens.stats.similarity import centred_cosines, naive_t

N_PERMUTATIONS = 199


def t_test(data: Sample, _rng: np.random.Generator) -> float:
    """Return the p of `ttest_ind(within, between)` over all pairs of clips, one layer."""
    found = naive_t(centred_cosines(data.site(0)), data.prompts, data.design.labels)
    return found.p if found.t > 0 else 1.0


def t_test_across(data: Sample, _rng: np.random.Generator) -> float:
    """Return the same over pairs of clips of different prompts only."""
    similarity = centred_cosines(data.site(0))
    rows, columns = np.triu_indices(len(data.prompts), 1)
    across = data.prompts[rows] != data.prompts[columns]
    values = similarity[rows[across], columns[across]]
    labels = data.design.labels[data.prompts]
    same = labels[rows[across]] == labels[columns[across]]
    return float(scipy_stats.ttest_ind(values[same], values[~same]).pvalue)  # pyright: ignore[reportAttributeAccessIssue]


def permanova_by_clip(data: Sample, rng: np.random.Generator) -> float:
    """Return the p of PERMANOVA with labels moved over single clips."""
    gram = centred(data.site(0).values)
    table = relabellings(data.design.labels[data.prompts], N_PERMUTATIONS, rng)
    return float(p_values(pseudo_f(gram[None], table))[0])


def plain_probe(data: Sample, rng: np.random.Generator) -> float:
    """Return the binomial p of `plain_accuracy`."""
    return plain_p(plain_accuracy(data, rng), len(data.prompts), 1 / data.design.n_classes)


def plain_p(accuracy: float, n_clips: int, chance: float) -> float:
    """Return the binomial p of an accuracy, clips taken for independent."""
    return float(scipy_stats.binom.sf(round(accuracy * n_clips) - 1, n_clips, chance))


def plain_accuracy(data: Sample, rng: np.random.Generator) -> float:
    """Return `plain_accuracy_of` the first layer."""
    return plain_accuracy_of(data.rows[0], data.design.labels[data.prompts], rng)


def plain_accuracy_of(
    rows: Float[np.ndarray, "clip dim"], labels: Int[np.ndarray, " clip"], rng: np.random.Generator
) -> float:
    """Return the accuracy of scikit-learn's logistic regression, five plain folds over clips."""
    folds = StratifiedKFold(5, shuffle=True, random_state=int(rng.integers(2**31)))
    scaled = rows / rows.std(dtype=np.float64)
    predicted = cross_val_predict(LogisticRegression(max_iter=1000), scaled, labels, cv=folds)
    return float(np.mean(predicted == labels))

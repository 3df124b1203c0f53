"""Out-of-fold R2 against scikit-learn, planted descriptors, nulls between wordings and within prompts."""

import numpy as np
import pytest
from scipy import stats as scipy_stats
from sklearn.kernel_ridge import KernelRidge

from moodlens.probes.kernel_ridge import hats_of
from moodlens.relate.descriptor_regression import between_wordings, out_of_fold_r2, scaled, within_prompts
from moodlens.relate.family import judged

FOLDS = np.arange(24) % 4
ONE = np.ones(24, dtype=np.int64)
PROMPTS = np.repeat(np.arange(24), 2)


def test_r2_equals_scikit_learn_fold_by_fold():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(24, 6)), rng.normal(size=(24, 2))
    error, total = np.zeros(2), np.zeros(2)
    for fold in range(4):
        test = np.equal(FOLDS, fold)
        train = ~test
        middle, mean = x[train].mean(axis=0), y[train].mean(axis=0)
        penalty = 0.1 * np.square(x[train] - middle).sum() / train.sum()
        model = KernelRidge(alpha=penalty, kernel="linear").fit(x[train] - middle, y[train] - mean)
        error += np.square(y[test] - mean - model.predict(x[test] - middle)).sum(axis=0)
        total += np.square(y[test] - mean).sum(axis=0)
    found = out_of_fold_r2(hats_of((x @ x.T)[None], FOLDS, 0.1), y, np.arange(24)[None])
    np.testing.assert_allclose(found[0, :, 0], 1 - error / total, atol=1e-10)


def test_chunks_do_not_change_a_relabelling(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(24, 6)), rng.normal(size=(24, 2))
    order = np.stack([rng.permutation(24) for _ in range(11)])
    hats = hats_of((x @ x.T)[None], FOLDS, 0.1)
    whole = out_of_fold_r2(hats, y, order)
    monkeypatch.setattr("moodlens.relate.descriptor_regression.CHUNK", 4)
    np.testing.assert_allclose(out_of_fold_r2(hats, y, order), whole)
    np.testing.assert_allclose(out_of_fold_r2(hats, y[order[5]], np.arange(24)[None])[..., 0], whole[..., 5])


def test_what_the_text_says_is_read_between_wordings_and_not_within_prompts():
    """Descriptor 0 follows the prompt; descriptor 1 follows what only this clip holds."""
    rng = np.random.default_rng(2)
    text, own = rng.normal(size=(24, 2)), rng.normal(size=(48, 2))
    states = np.hstack([text[PROMPTS], own]) + 0.05 * rng.normal(size=(48, 4))
    heard = np.column_stack([3 * text[PROMPTS, 0] + 0.3 * rng.normal(size=48), 100 + own[:, 0]])
    gram = (states @ states.T)[None]
    pair = np.kron(np.eye(24), [[0.5, 0.5]])
    between = judged(between_wordings(pair @ gram @ pair.T, pair @ heard, FOLDS, ONE, 0.01, 199, rng).r2)
    found = within_prompts(gram, heard, PROMPTS, FOLDS[PROMPTS], 0.01, 199, rng)
    assert found is not None
    within = judged(found.r2)
    assert between.estimate[0, 0] > 0.9
    assert between.p_max[0, 0] <= 0.01
    assert within.estimate[0, 1] > 0.9
    assert within.p_max[0, 1] <= 0.01
    assert within.estimate[0, 0] < 0.2
    assert within.p_max[0, 0] > 0.05


@pytest.mark.parametrize("kind", ["between", "within"])
def test_false_positives_come_at_the_nominal_rate(kind: str):
    """3 places x 2 descriptors; the text moves states and sound of a prompt alike in the `within` null."""
    rng = np.random.default_rng(3)
    n_sets, hits = 300, 0
    for _ in range(n_sets):
        if kind == "between":
            x, y = rng.normal(size=(3, 24, 4)), rng.normal(size=(24, 2))
            found = between_wordings(x @ x.transpose(0, 2, 1), y, FOLDS, ONE, 0.1, 99, rng)
        else:
            text = 2 * rng.normal(size=(24, 2))[PROMPTS]
            x = np.concatenate([np.broadcast_to(text, (3, 48, 2)), rng.normal(size=(3, 48, 4))], axis=2)
            x = x + 0.2 * rng.normal(size=x.shape)
            y = text + rng.normal(size=(48, 2))
            made = within_prompts(x @ x.transpose(0, 2, 1), y, PROMPTS, FOLDS[PROMPTS], 0.1, 99, rng)
            assert made is not None
            found = made
        hits += judged(found.r2).p_max.min() <= 0.05
    low, high = scipy_stats.binom.interval(0.999, n_sets, 0.05)
    assert low <= hits <= high


def test_one_clip_per_prompt_has_nothing_within_and_a_constant_descriptor_is_predicted_by_nothing():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(24, 3)), rng.normal(size=(24, 2))
    assert within_prompts((x @ x.T)[None], y, np.arange(24), FOLDS, 0.1, 9, rng) is None
    y[:, 1] = 120.0
    assert (scaled(y)[:, 1] == 0).all()
    found = judged(between_wordings((x @ x.T)[None], y, FOLDS, ONE, 0.1, 99, rng).r2)
    assert found.estimate[0, 1] == 0
    assert found.p[0, 1] == 1

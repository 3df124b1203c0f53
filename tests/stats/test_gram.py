import numpy as np
import pytest

from moodlens.base.errors import ContractError
from moodlens.stats.gram import centred, cosines, group_means, prompt_pairs, site_gram, standardised

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(6, 4)) + 5
PROMPTS = np.array([0, 0, 1, 1, 1, 2])


def test_gram_algebra_equals_the_same_steps_on_vectors():
    gram = site_gram("s", ROWS, PROMPTS).values
    means = np.stack([ROWS[prompt == PROMPTS].mean(axis=0) for prompt in range(3)])
    np.testing.assert_allclose(group_means(gram, PROMPTS), means @ means.T)
    around = ROWS - ROWS.mean(axis=0)
    np.testing.assert_allclose(centred(gram), around @ around.T, atol=1e-9)
    weights = np.array([1, 1, 2, 2, 2, 2]) / 10
    moved = ROWS - weights @ ROWS
    np.testing.assert_allclose(centred(gram, weights), moved @ moved.T, atol=1e-9)
    unit = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
    np.testing.assert_allclose(cosines(gram), unit @ unit.T)


def test_pairs_of_prompts_are_means_over_pairs_of_clips_without_self_pairs():
    similarity = np.arange(36.0).reshape(6, 6)
    similarity = similarity + similarity.T
    pairs = prompt_pairs(similarity, PROMPTS)
    assert pairs[0, 1] == pytest.approx(similarity[:2, 2:5].mean())
    assert pairs[0, 0] == pytest.approx(similarity[0, 1])
    assert pairs[1, 1] == pytest.approx(np.mean([similarity[2, 3], similarity[2, 4], similarity[3, 4]]))
    assert np.isnan(pairs[2, 2])


def test_a_constant_dimension_changes_nothing():
    wide = np.column_stack([ROWS, np.full(6, 9.0)])
    np.testing.assert_allclose(
        centred(site_gram("s", wide, PROMPTS).values),
        centred(site_gram("s", ROWS, PROMPTS).values),
        atol=1e-9,
    )
    assert standardised(wide).shape == (6, 4)


@pytest.mark.parametrize(
    ("rows", "prompts", "words"),
    [
        (np.where(np.arange(24).reshape(6, 4) == 9, np.nan, ROWS), PROMPTS, "row 2, dimension 1"),
        (np.ones((6, 4)), PROMPTS, "one vector for all"),
        (ROWS, np.array([0, 0, 2, 2, 2, 2]), "none for prompt 1"),
    ],
)
def test_rows_that_carry_no_test_are_refused(rows, prompts, words):
    with pytest.raises(ContractError, match=words):
        site_gram("residual.3", rows, prompts)

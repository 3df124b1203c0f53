"""The comparison with untrained memory on music whose truth is planted.

A clip is a walk of tokens. Emotion is in the correlation of neighbouring tokens (`pairs`) or in their mean
(`mean`). Untrained decoders are random projections of the tokens, and their memories are linear. So they can
hold the mean, and never the correlation, whatever step and layer they choose.
"""

from collections.abc import Callable

import numpy as np
import pytest

from moodlens.contracts.tensors import MEMORIES
from moodlens.null_text.few_shot import Scores, few_shot_task, read
from moodlens.null_text.untrained_memory import BEST, MemoryTest, another_draw_p, compare
from moodlens.stages.reencode.memory import memory_weights
from tests.null_text.designs import design, gram_of

FOUND = design(8)
STEPS = (4, 19, 39)
N_LAYERS, N_DRAWS, N_TOKENS, WIDTH = 2, 5, 6, 24
BAR = 0.025


def walks(rng: np.random.Generator, *, pairs: float, mean: float) -> np.ndarray:
    """Return the tokens of every prompt, (prompt, step, token), with noise of each wording."""
    labels, n = FOUND.labels, FOUND.n_prompts
    tokens = rng.normal(size=(n, STEPS[-1] + 1, N_TOKENS))
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]])[labels]
    for token in range(2):
        for step in range(1, tokens.shape[1]):
            tokens[:, step, token] += pairs * signs[:, token] * tokens[:, step - 1, token]
    tokens[:, :, 2:4] += mean * signs[:, None]
    n_units = int(FOUND.wordings.max()) + 1
    return tokens + 0.2 * rng.normal(size=(n_units, 1, N_TOKENS))[FOUND.wordings]


def untrained(tokens: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the memories of one random network, each (site, prompt, prompt) with the steps outermost."""
    weights = memory_weights(STEPS, tokens.shape[1])
    layers = [tokens @ rng.normal(size=(N_TOKENS, WIDTH)) for _ in range(N_LAYERS)]
    return {
        name: np.stack(
            [
                gram_of(np.einsum("t,ptd->pd", weights[i, step], layer))
                for step in range(len(STEPS))
                for layer in layers
            ]
        )
        for i, name in enumerate(MEMORIES)
    }


Model = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def compared(model: Model, seed: int, *, pairs: float = 0.0, mean: float = 0.0) -> MemoryTest:
    rng = np.random.default_rng(seed)
    tokens = walks(rng, pairs=pairs, mean=mean)
    task = few_shot_task(FOUND, 4, (1, 2), 24, 0.1, rng)
    families: dict[str, list[Scores]] = {}
    for _ in range(N_DRAWS):
        for name, grams in untrained(tokens, rng).items():
            families.setdefault(name, []).append(read(name, grams, task))
    own = read("state", model(tokens, rng), task)
    return compare(own, families, task, n_flips=999, n_bootstrap=200, confidence=0.95, seed=seed)


def passes(found: MemoryTest) -> bool:
    """Return whether `decision.findings` would find the claim's conditions to hold."""
    return all(each.difference > 0 and each.p < BAR for each in (*found.families, found.best))


def another_running_mean(tokens: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return untrained(tokens, rng)["running mean"]


@pytest.mark.parametrize("seed", range(5))
def test_an_untrained_running_mean_does_not_pass_as_a_model(seed: int):
    found = compared(another_running_mean, seed, mean=0.5)
    assert found.area > 0.5  # it tells the emotion well
    assert not passes(found)
    by_name = {each.family: each for each in found.families}
    assert by_name["running mean"].p > BAR
    assert by_name["states"].difference > 0.1  # at other kinds of memory it is far ahead


@pytest.mark.parametrize("seed", range(3))
def test_identical_content_at_another_step_and_layer_does_not_pass(seed: int):
    """The flaw of the first edition: read at the model's site, the baseline is behind."""
    rng = np.random.default_rng(seed)
    task = few_shot_task(FOUND, 4, (1, 2), 24, 0.1, rng)
    tokens = walks(rng, pairs=0.0, mean=0.8)
    told, noise = (
        gram_of(rows.mean(axis=1) @ rng.normal(size=(N_TOKENS, WIDTH)))
        for rows in (tokens, rng.normal(size=tokens.shape))
    )
    own = read("state", np.stack([noise, noise, told, noise]), task)
    moved = [read("moved", np.stack([noise, told, noise, noise]), task) for _ in range(N_DRAWS)]
    found = compare(own, {"moved": moved}, task, n_flips=999, n_bootstrap=200, confidence=0.95, seed=0)
    (family,) = found.families
    assert family.difference == 0
    assert family.p == found.p == 1
    assert own.chosen == (2, 2, 2, 2)
    assert family.chosen[0] == (1, 1, 1, 1)
    assert not passes(found)


def accumulated_pairs(tokens: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A state that sums products of neighbouring tokens: beyond every linear memory."""
    products = tokens[:, 1:] * tokens[:, :-1]
    code = np.stack([products[:, :step].mean(axis=1) for step in STEPS])
    noise = rng.normal(size=code.shape)
    return np.stack([gram_of(rows) for pair in zip(0.3 * noise, code, strict=True) for rows in pair])


@pytest.mark.parametrize("seed", range(3))
def test_a_clean_code_beyond_leaky_memories_passes(seed: int):
    found = compared(accumulated_pairs, seed, pairs=0.7)
    assert passes(found)
    assert found.p == max(each.p for each in (*found.families, found.best))
    assert min(each.low for each in found.families) > 0
    assert all(site % 2 == 1 for site in found.chosen)


def test_every_draw_chooses_its_own_site_and_the_area_of_a_family_is_the_mean_over_draws():
    found = compared(another_running_mean, 0, mean=0.5)
    assert [each.family for each in found.families] == list(MEMORIES)
    assert {each.n_draws for each in found.families} == {N_DRAWS}
    assert all(len(each.chosen) == N_DRAWS for each in found.families)
    assert found.best.family == BEST
    assert found.best.p_draws is None
    assert found.best.area > np.median([each.area for each in found.families])
    points = {(point.reader, point.n_shots): point for point in found.curve}
    assert set(points) == {(name, n) for name in ("state", *MEMORIES) for n in (1, 2)}
    for each in found.families:
        pair = [points[each.family, n].accuracy for n in (1, 2)]
        assert np.mean(pair) == pytest.approx(each.area)
        assert found.area - each.area == pytest.approx(each.difference)
    assert points["state", 1].difference == 0


def scores(areas: np.ndarray) -> Scores:
    return Scores("x", np.stack([areas, areas]), (0,) * 4, np.zeros(4))


def test_a_model_that_is_one_more_draw_is_not_significant_however_many_wordings_there_are():
    """Draws differ, wordings hardly do: flips of wordings alone would find the luckiest draw better."""
    rng = np.random.default_rng(0)
    task = few_shot_task(FOUND, 4, (1,), 4, 0.1, rng)
    n, hits, by_wordings = 60, 0, 0
    for seed in range(n):
        levels = np.random.default_rng(seed).normal(0.6, 0.05, size=1 + N_DRAWS)
        noise = rng.normal(0, 0.01, size=(1 + N_DRAWS, FOUND.n_prompts))
        model, *draws = (scores(level + own) for level, own in zip(levels, noise, strict=True))
        found = compare(
            model, {"family": draws}, task, n_flips=199, n_bootstrap=20, confidence=0.95, seed=seed
        )
        (family,) = found.families
        hits += family.p < 0.05
        by_wordings += family.p_wordings < 0.05
    assert by_wordings > 20
    assert hits <= 7  # binomial, 99 %: 7 of 60


def test_the_interval_holds_the_chance_of_the_draws():
    rng = np.random.default_rng(1)
    task = few_shot_task(FOUND, 4, (1,), 4, 0.1, rng)
    flat = np.ones(FOUND.n_prompts)
    draws = [scores(level * flat) for level in (0.3, 0.4, 0.5, 0.6, 0.7)]
    found = compare(
        scores(0.6 * flat), {"family": draws}, task, n_flips=99, n_bootstrap=2000, confidence=0.95, seed=0
    )
    (family,) = found.families
    assert family.difference == pytest.approx(0.1)
    # The mean of 5 draws with replacement has the standard deviation .0632.
    assert family.high - family.low == pytest.approx(2 * 1.96 * 0.0632, abs=0.02)


def test_draws_that_are_all_equal_are_beaten_by_any_lead():
    same = np.full(5, 0.4)
    assert another_draw_p(0.41, same) == 0.0
    assert another_draw_p(0.4, same) == 1.0

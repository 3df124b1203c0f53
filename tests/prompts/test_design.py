"""The design: balanced, crossed, distinct, each wording in pairs; and swapped texts in equal shares."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moodlens.base.errors import ContractError
from moodlens.base.seeding import rng_for
from moodlens.prompts.design import REPEATS, design, split_evenly, swapped_prompts
from moodlens.prompts.grammar import pieces
from moodlens.prompts.lexicon import INSTRUMENTS

EMOTIONS = ("happy", "sad", "calm", "energetic", "angry")
SETS = ("generic", "descriptive", "scenes")


@given(st.integers(2, 24), st.integers(0, 50))
def test_every_emotion_has_its_share_and_every_text_is_distinct(n: int, seed: int):
    prompts = design(EMOTIONS, n, SETS, seed)
    assert Counter(p.emotion for p in prompts) == dict.fromkeys(EMOTIONS, n)
    assert len({p.text for p in prompts}) == 5 * n


@given(st.integers(2, 24), st.integers(0, 50))
def test_emotion_is_crossed_with_template_and_instrument(n: int, seed: int):
    prompts = design(EMOTIONS, n, SETS, seed)
    by_emotion = {
        emotion: [
            (p.template, [word for word in pieces(p.text) if word in INSTRUMENTS])
            for p in prompts
            if p.emotion == emotion
        ]
        for emotion in EMOTIONS
    }
    assert all(slots == by_emotion["happy"] for slots in by_emotion.values())


def test_a_wording_comes_in_pairs_under_different_templates():
    prompts = design(EMOTIONS, 12, SETS, 0)
    counts = Counter((p.emotion, p.wording) for p in prompts)
    assert set(counts.values()) == {REPEATS}
    for wording in counts:
        assert len({p.template for p in prompts if (p.emotion, p.wording) == wording}) == REPEATS


@pytest.mark.parametrize("set_name", SETS)
def test_eighty_prompts_of_one_set_use_forty_wordings_twice(set_name: str):
    counts = Counter((p.emotion, p.wording) for p in design(EMOTIONS, 80, (set_name,), 0))
    assert Counter(emotion for emotion, _ in counts) == dict.fromkeys(EMOTIONS, 40)
    assert set(counts.values()) == {REPEATS}


def test_a_wording_belongs_to_one_emotion():
    owners: dict[str, set] = {}
    for prompt in design(EMOTIONS, 100, SETS, 3):
        owners.setdefault(prompt.wording, set()).add(prompt.emotion)
    assert all(len(emotions) == 1 for emotions in owners.values())


def test_same_seed_same_prompts_another_seed_others():
    assert design(EMOTIONS, 6, SETS, 1) == design(EMOTIONS, 6, SETS, 1) != design(EMOTIONS, 6, SETS, 2)


def test_neutral_and_factor_prompts_carry_no_emotion():
    prompts = design(("happy", "sad"), 8, ("neutral", "factors"), 0)
    assert len({p.text for p in prompts}) == 16
    assert {p.emotion for p in prompts} == {None}


def test_an_exhausted_set_is_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("moodlens.prompts.design.MAX_DRAWS", 1)
    with pytest.raises(ContractError, match=r"prompt set 'neutral' must have 5000 distinct texts") as caught:
        design(("happy", "sad"), 5000, ("neutral",), 0)
    assert "\n" not in str(caught.value)


@given(st.integers(0, 200), st.integers(1, 12))
def test_even_parts_differ_by_at_most_one_and_the_larger_come_first(total: int, n_parts: int):
    parts = split_evenly(total, n_parts)
    assert (len(parts), sum(parts)) == (n_parts, total)
    assert parts == sorted(parts, reverse=True)
    assert parts[0] - parts[-1] <= 1


SWAP_PROMPTS = ["happy"] * 4 + ["sad"] * 4 + ["calm"] * 4
SWAP_CLIPS = [emotion for emotion in SWAP_PROMPTS for _ in range(3)]


def test_every_clip_gets_another_emotion_and_every_pair_and_prompt_the_same_share():
    prompt_of = swapped_prompts(SWAP_CLIPS, SWAP_PROMPTS, rng_for("test", 0))
    pairs = Counter((clip, SWAP_PROMPTS[i]) for clip, i in zip(SWAP_CLIPS, prompt_of, strict=True))
    assert all(own != other for own, other in pairs)
    assert set(pairs.values()) == {6}
    assert max(Counter(prompt_of.tolist()).values()) <= 4


def test_the_seed_decides_the_swap():
    first, again, other = (swapped_prompts(SWAP_CLIPS, SWAP_PROMPTS, rng_for("test", s)) for s in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@given(
    st.lists(st.sampled_from(["happy", "sad", "calm", "neutral"]), min_size=2, max_size=30),
    st.integers(0, 99),
)
def test_unbalanced_designs_are_assigned_as_evenly_as_they_allow(emotions: list[str], seed: int):
    emotional = set(emotions) - {"neutral"}
    if len(emotional) < 2:
        return
    prompt_of = swapped_prompts(emotions, emotions, rng_for("test", seed), without=["neutral"])
    for emotion in set(emotions):
        given_to = Counter(emotions[i] for c, i in zip(emotions, prompt_of, strict=True) if c == emotion)
        assert emotion not in given_to
        assert "neutral" not in given_to
        counts = [given_to[other] for other in emotional - {emotion}]
        assert max(counts) - min(counts) <= 1


def test_one_emotion_alone_cannot_be_swapped():
    with pytest.raises(
        ContractError, match="clips of 'sad' must have prompts of another emotion; got 'none'"
    ):
        swapped_prompts(["sad"], ["sad", "neutral"], rng_for("test", 0), without=["neutral"])

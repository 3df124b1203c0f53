"""Swapped texts: always of another emotion, assigned evenly, a function of the seed."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moodlens.base.errors import ContractError
from moodlens.base.seeding import rng_for
from moodlens.prompts.design import swapped_prompts

PROMPTS = ["happy"] * 4 + ["sad"] * 4 + ["calm"] * 4
CLIPS = [emotion for emotion in PROMPTS for _ in range(3)]


def test_every_clip_gets_another_emotion_and_every_pair_and_prompt_the_same_share():
    prompt_of = swapped_prompts(CLIPS, PROMPTS, rng_for("test", 0))
    pairs = Counter((clip, PROMPTS[i]) for clip, i in zip(CLIPS, prompt_of, strict=True))
    assert all(own != other for own, other in pairs)
    assert set(pairs.values()) == {6}
    assert max(Counter(prompt_of.tolist()).values()) <= 4


def test_the_seed_decides():
    first, again, other = (swapped_prompts(CLIPS, PROMPTS, rng_for("test", s)) for s in (0, 0, 1))
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

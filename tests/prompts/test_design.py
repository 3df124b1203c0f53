"""The design: balanced, crossed, distinct, each wording in pairs."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moodlens.base.errors import ContractError
from moodlens.prompts.design import REPEATS, design
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

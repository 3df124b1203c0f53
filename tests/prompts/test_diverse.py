"""The diverse prompts: how many, all distinct, emotion only where it should be, adverbs that scale it."""

from collections import Counter

import pytest

from moodlens.base.axes import EMOTIONS
from moodlens.base.errors import UsageError
from moodlens.prompts.diverse import N_NEUTRAL, N_WORDINGS, SYNONYMS, diverse_prompts
from moodlens.prompts.lexicon import AFFECT
from moodlens.prompts.words import MOODS

FOUR = ("happy", "sad", "calm", "energetic")


def test_four_emotions_give_460_distinct_prompts():
    prompts = diverse_prompts(FOUR, seed=0)
    assert len(prompts) == 460
    assert len({prompt.text for prompt in prompts}) == len(prompts)
    assert len(set(Counter(prompt.emotion for prompt in prompts if prompt.emotion).values())) == 1
    assert sum(prompt.emotion is None for prompt in prompts) == N_NEUTRAL
    assert prompts == diverse_prompts(FOUR, seed=0)
    assert prompts != diverse_prompts(FOUR, seed=1)


def test_no_wording_stands_for_two_emotions_and_scenes_name_none():
    owners: dict[str, set[str | None]] = {}
    moods = {word for words in (*MOODS.values(), *SYNONYMS.values()) for word in words}
    for prompt in diverse_prompts(EMOTIONS, seed=3):
        owners.setdefault(prompt.wording, set()).add(prompt.emotion)
        if prompt.family in ("scenes", "neutral"):
            assert moods.isdisjoint(prompt.text.replace(",", "").split())
    assert all(len(emotions) == 1 for emotions in owners.values())


def test_each_family_has_its_number_of_wordings():
    prompts = diverse_prompts(FOUR, seed=1)
    for emotion in FOUR:
        for family, n in N_WORDINGS.items():
            own = [p for p in prompts if (p.family, p.emotion) == (family, emotion)]
            new = set(SYNONYMS[emotion]) if family == "synonyms" else set()
            assert new <= {p.wording for p in own}
            assert len({p.wording for p in own}) == n + len(new)
            assert {p.adverb for p in own} == ({"slightly", "very"} if family == "intensity" else {""})


def test_an_adverb_stands_before_the_word_and_scales_the_affect():
    prompts = [prompt for prompt in diverse_prompts(FOUR, seed=0) if prompt.family == "intensity"]
    assert Counter(prompt.adverb for prompt in prompts) == {"slightly": 64, "very": 64}
    for prompt in prompts:
        assert f"{prompt.adverb} {prompt.wording}" in prompt.text
        valence, arousal = AFFECT[str(prompt.emotion)]
        scale = {"slightly": 0.5, "very": 1.5}[prompt.adverb]
        assert prompt.valence == pytest.approx(max(-1, min(1, scale * valence)))
        assert prompt.arousal == pytest.approx(max(-1, min(1, scale * arousal)))


def test_without_an_emotion_there_is_nothing_to_write():
    with pytest.raises(UsageError, match="emotions must be at least one"):
        diverse_prompts((), seed=0)

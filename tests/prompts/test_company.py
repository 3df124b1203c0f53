"""The company of words: words of one company lie together, and the grammar's captions tell no emotion."""

import numpy as np
import pytest

from moodlens.base.axes import EMOTIONS
from moodlens.probes.family import ProbeSettings, nested_probe
from moodlens.prompts.company import WIDTHS, company_of, grammar_captions
from moodlens.prompts.grammar import EMOTION_SETS, wordings
from moodlens.stats.design import design_of
from moodlens.stats.gram import site_gram

SETTINGS = ProbeSettings(n_folds=6, ridge=0.1, n_permutations=99, n_bootstrap=100, confidence=0.95, seed=0)


@pytest.mark.parametrize("analysis", ["latent semantics", "word vectors"])
def test_words_of_the_same_captions_lie_together_and_others_apart(analysis: str):
    corpus = ["gloomy rain", "rain mournful", "gloomy mournful rain", "party jolly", "jolly dance party"] * 20
    places = company_of(["gloomy", "mournful", "jolly"], corpus, widths=(2,))
    likeness = places[f"{analysis} 2"] @ places[f"{analysis} 2"].T
    np.testing.assert_allclose(np.diag(likeness), 1)
    assert likeness[0, 1] > 0.9
    assert abs(likeness[0, 2]) < 0.1


def test_a_width_beyond_the_rank_is_cut_and_counts_once():
    places = company_of(["one two", "two three"], ["one three"], widths=(2, 50, 60))
    assert list(places) == ["latent semantics 2", "word vectors 2"]
    assert {place.shape for place in places.values()} == {(2, 2)}


def test_words_that_share_company_but_no_caption_lie_together_as_word_vectors():
    corpus = ["grey rain", "bleak rain", "grey fog", "bleak fog", "merry fair", "merry dance"] * 20
    places = company_of(["grey", "bleak", "merry"], corpus, widths=(2,))["word vectors 2"]
    likeness = places @ places.T
    assert likeness[0, 1] > 0.95
    assert likeness[0, 2] < 0.1


def test_a_caption_of_every_wording_and_emotion_is_in_the_corpus_and_no_caption_bears_two_wordings():
    texts = grammar_captions(0)
    assert texts == grammar_captions(0)
    assert texts != grammar_captions(1)
    for name in EMOTION_SETS:
        for emotion in EMOTIONS:
            assert all(any(wording in text for text in texts) for wording in wordings(name, emotion))


def moods(corpus: list[str]) -> float:
    """Accuracy of emotions, mood words held out, of the probe that chooses its site in the training folds."""
    named = [(emotion, word) for emotion in EMOTIONS[:4] for word in wordings("generic", emotion)[:12]]
    made = design_of([w for _, w in named], [e for e, _ in named], [w for _, w in named])
    places = company_of([f"{word} piece" for _, word in named], corpus)
    grams = [site_gram(name, rows, np.arange(len(named))) for name, rows in places.items()]
    assert len(grams) == 2 * len(WIDTHS)
    return nested_probe(grams, made, "wording", SETTINGS).accuracy


def test_the_grammar_leaks_no_emotion_and_a_corpus_in_which_emotions_keep_company_is_read():
    """Were the baseline blind to company, the second accuracy would be at chance as the first is."""
    plain = grammar_captions(0)
    together = [
        f"{first} {second}"
        for emotion in EMOTIONS
        for words in [wordings("generic", emotion)]
        for number, first in enumerate(words)
        for second in words[number + 1 :]
    ]
    assert moods(plain) < 0.45
    assert moods(plain + together) > 0.9

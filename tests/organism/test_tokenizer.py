"""The tokenizer: one token per word of the grammar, other words spelt, the same after saving and loading."""

from pathlib import Path

from transformers import AutoTokenizer

from moodlens.organism.architecture import build_tokenizer
from moodlens.organism.corpus import caption_at
from moodlens.prompts.grammar import pieces, vocabulary


def test_special_tokens_have_the_ids_of_t5():
    tokenizer = build_tokenizer()
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)


def test_every_word_of_the_grammar_is_one_token():
    tokenizer = build_tokenizer()
    for word in vocabulary():
        ids = tokenizer(f"in {word}" if word.isalnum() else f"in{word}").input_ids
        assert len(ids) == 3, word
        assert tokenizer.unk_token_id not in ids


def test_captions_are_their_words_and_an_end():
    tokenizer = build_tokenizer()
    for index in range(200):
        text = caption_at(3, index, 0).text
        assert len(tokenizer(text).input_ids) == len(pieces(text)) + 1


def test_an_unknown_word_is_spelt_and_not_lost():
    tokenizer = build_tokenizer()
    ids = tokenizer("zydeco").input_ids
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == "zydeco"


def test_saved_tokenizer_reads_the_same(tmp_path: Path):
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    texts = ["sad flute piece", "i feel jolly, piano in g", "zydeco at 120 bpm"]
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again(texts).input_ids == tokenizer(texts).input_ids

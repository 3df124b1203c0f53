"""Prompts that a text encoder cannot tell apart are refused before anything is generated."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from moodlens.base.errors import ContractError
from moodlens.prompts.reading import refuse_unread, unknown_share

ORGANISM = Path(__file__).parents[2] / "models" / "organism"


def read(texts: list[str]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(ORGANISM, local_files_only=True)
    tokens = [tokenizer(text)["input_ids"] for text in texts]
    refuse_unread([f"p-{n}" for n in range(len(texts))], texts, tokens, tokenizer.unk_token_id)


@pytest.mark.parametrize(
    "texts",
    [["موسيقى حزينة", "موسيقى سعيدة"], ["悲しい音楽", "楽しい音楽"], ["😀", "😭"]],
    ids=["arabic", "japanese", "emoji"],
)
def test_texts_of_an_unknown_script_are_one_text(texts: list[str]):
    """32 such captions gave 3 token sequences, and nothing said so."""
    line = r"prompts must differ to the text encoder; got .*1 token sequences for 2 prompts"
    with pytest.raises(ContractError, match=line):
        read(texts)


def test_many_unknown_tokens_are_refused_even_where_texts_differ():
    with pytest.raises(ContractError, match=r"known tokens but for 10%; got '..% unknown' \(prompt p-2 most"):
        read(["a sad song", "a شسي شسي song", "شسي"])


def test_words_of_its_language_pass_and_a_slip_does_no_harm():
    read(["a nostalgic trumpet waltz for my grandmother", "a happy song 😀 of spring and of summer evenings"])


def test_without_an_unknown_token_the_share_is_none():
    assert unknown_share([[1, 2]], None) == unknown_share([], 2) == 0

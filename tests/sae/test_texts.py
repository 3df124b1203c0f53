"""The table of texts: nothing twice, no wording under two emotions, splits by whole wording."""

import pandas as pd

from moodlens.contracts.tables import TEXTS
from moodlens.prompts.diverse import diverse_prompts
from moodlens.sae.texts import text_table

EMOTIONS = ("happy", "sad", "calm", "energetic")


def design(wordings: dict[str, list[str]]) -> pd.DataFrame:
    """A prompt table with one prompt per wording, and one neutral prompt."""
    rows = [
        {
            "prompt_id": f"{emotion}-{i}",
            "emotion": emotion,
            "valence": 0.5,
            "arousal": 0.5,
            "template": "a {} tune",
            "wording": wording,
            "text": f"a {wording} tune for test",
            "set": "generic",
        }
        for emotion, words in wordings.items()
        for i, wording in enumerate(words)
    ]
    neutral = {
        **rows[0], "prompt_id": "neutral-0", "emotion": "neutral", "wording": "", "text": "a tune for test",
    }  # fmt: skip
    return pd.DataFrame([*rows, neutral])


OWN = {emotion: [f"{emotion}{i}" for i in range(10)] for emotion in EMOTIONS}


def test_without_diverse_prompts_the_table_is_the_design():
    table = text_table(design(OWN), EMOTIONS, diverse=False, seed=0)
    assert table.columns.tolist() == TEXTS.names
    assert set(table["source"]) == {"design"}
    shares = table[table["emotion"] == "sad"]["split"].value_counts()
    assert set(shares.index) == {"train", "val", "test"}
    assert shares["train"] >= 6


def test_diverse_prompts_that_clash_with_the_design_are_left_out():
    diverse = diverse_prompts(EMOTIONS, 0)
    known = next(prompt for prompt in diverse if prompt.emotion == "sad")
    prompts = design(OWN)
    plain = text_table(prompts, EMOTIONS, diverse=True, seed=0)
    assert (plain["source"] == "diverse").sum() == len(diverse)
    prompts.loc[0, "text"] = "  " + known.text.upper()
    repeated = text_table(prompts, EMOTIONS, diverse=True, seed=0)
    assert known.text not in set(repeated["text"])
    assert (repeated["source"] == "diverse").sum() == len(diverse) - 1
    prompts = design({**OWN, "happy": [*OWN["happy"], known.wording]})  # a sad word, here under happy
    other = text_table(prompts, EMOTIONS, diverse=True, seed=0)
    assert set(other.loc[other["wording"] == known.wording, "source"]) == {"design"}


def test_a_wording_has_one_split_whatever_its_source():
    word = next(prompt.wording for prompt in diverse_prompts(EMOTIONS, 0) if prompt.emotion == "calm")
    table = text_table(design({**OWN, "calm": [*OWN["calm"], word]}), EMOTIONS, diverse=True, seed=1)
    assert set(table.loc[table["wording"] == word, "source"]) == {"design", "diverse"}
    emotional = table[table["emotion"] != "neutral"]
    assert emotional.groupby("wording")["split"].nunique().max() == 1


def test_diverse_prompts_do_not_change_the_splits_of_the_design():
    without, with_them = (text_table(design(OWN), EMOTIONS, diverse=d, seed=1) for d in (False, True))
    assert with_them["split"].iloc[: len(without)].tolist() == without["split"].tolist()

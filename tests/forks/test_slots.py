"""Pairs of prompts that share a slot, their donors and neutral texts."""

import pandas as pd

from moodlens.contracts.tables import PROMPTS
from moodlens.forks.slots import slots_of
from moodlens.prompts.assembly import prompt_table
from moodlens.prompts.design import design
from moodlens.prompts.grammar import EMOTION_SETS, NEUTRAL_TEMPLATES, TEMPLATES, neutral_text

EMOTIONS = ("happy", "sad", "calm", "energetic")
PAIRS = [("happy", "sad"), ("energetic", "calm")]


def prompts(sets: tuple[str, ...] = EMOTION_SETS) -> pd.DataFrame:
    return prompt_table(design(EMOTIONS, 16, sets, seed=0), seed=0)


def test_every_slot_of_the_grammar_gives_a_pair():
    slots = slots_of(prompts(), PAIRS)
    assert len(slots) == 32
    assert len({slot.unit for slot in slots}) == 18
    assert len({slot.slot_id for slot in slots}) == 32


def test_the_texts_of_a_slot_differ_in_the_wording_alone():
    for slot in slots_of(prompts(), PAIRS):
        one, other = slot.wordings
        assert slot.one.replace(one, "*") == slot.other.replace(other, "*")
        assert one not in slot.neutral
        assert other not in slot.neutral
        assert set(slot.neutral.replace(",", "").split()) <= set(slot.one.replace(",", "").split()) | {
            "piece"
        }


def test_the_donor_is_another_wording_of_the_same_emotion_in_the_same_slot():
    table = prompts()
    wordings = {emotion: set(rows["wording"]) for emotion, rows in table.groupby("emotion")}
    for slot in slots_of(table, PAIRS):
        frame = slot.one.replace(slot.wordings[0], "*")
        (donor,) = [word for word in wordings[slot.pair[0]] if frame.replace("*", word) == slot.donor]
        assert donor != slot.wordings[0]


def test_every_template_with_a_wording_has_a_neutral_counterpart():
    emotional = {template for name in EMOTION_SETS for template in TEMPLATES[name]}
    assert set(NEUTRAL_TEMPLATES) == emotional
    for template, neutral in NEUTRAL_TEMPLATES.items():
        assert "{wording}" not in neutral
        assert {"instrument", "genre", "key"} >= {
            part for part in ("instrument", "genre", "key") if part in neutral
        }
        assert all(slot in template for slot in ("{instrument}", "{genre}", "{key}") if slot in neutral)


def test_captions_of_a_table_share_no_slot():
    rows = [
        (
            f"{emotion}-{n:02d}",
            emotion,
            0.0,
            0.0,
            "table",
            f"caption {n}",
            word,
            "train",
            f"{word} tune {n}{emotion}",
        )
        for emotion in ("happy", "sad")
        for n, word in enumerate(("one", "two", "three"))
    ]
    assert slots_of(pd.DataFrame(rows, columns=PROMPTS.names), [("happy", "sad")]) == []


def test_a_text_that_its_template_does_not_give_has_no_neutral_form():
    assert neutral_text("{wording} {instrument} piece", "sad tuba piece", "sad") is None
    assert neutral_text("no template", "sad piece", "sad") is None


def test_a_slot_that_the_design_drew_twice_gives_two_pairs():
    table = prompts()
    same = table[table["set"] == "generic"].groupby("emotion").head(2).copy()
    frame = "{wording} flute piece"
    same["template"] = "{wording} {instrument} piece"
    same["wording"] = [f"{emotion}{n}" for emotion in dict.fromkeys(same["emotion"]) for n in (0, 1)]
    same["text"] = [frame.replace("{wording}", word) for word in same["wording"]]
    assert len(slots_of(same, PAIRS)) == 4

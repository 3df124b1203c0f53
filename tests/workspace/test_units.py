"""Units of a prompt table, and the nuisances that prompts name besides their wording."""

import pandas as pd
import pytest

from moodlens.base.errors import ContractError
from moodlens.contracts.tables import PROMPTS
from moodlens.prompts.assembly import prompt_table
from moodlens.prompts.design import design as grammar_design
from moodlens.store.tables import write_table
from moodlens.workspace.design import checked_design, open_workspace
from moodlens.workspace.units import (
    merged_wordings,
    near_duplicates,
    nuisances_of,
    wordings_available,
)
from tests.stages.planted import planted_params


def test_wordings_that_share_a_content_word_are_one_unit_also_through_a_third():
    wordings = ["lake at night", "a night in town", "town square", "a meadow", "the square lake"]
    found = merged_wordings(["calm"] * 5, wordings, [f"music for {word}" for word in wordings])
    assert found == ["lake at night"] * 3 + ["a meadow"] + ["lake at night"]


def test_a_word_of_two_emotions_merges_nothing_across_them_but_links_each_by_itself():
    wordings = ["night club", "club goal", "night lake", "lake shore"]
    emotions = ["energetic", "energetic", "calm", "calm"]
    found = merged_wordings(emotions, wordings, [f"{word} song" for word in wordings])
    assert found == ["night club", "night club", "night lake", "night lake"]


def test_captions_that_are_their_own_wording_merge_only_where_nearly_the_same():
    captions = [
        "a slow piano ballad about loss",
        "slow piano ballad about a loss",
        "a fast rock song with piano",
        "music with drums",
    ]
    assert near_duplicates(captions).tolist() == [0, 0, 1, 2]
    assert near_duplicates(["slow piano tune", "slow flute march"]).tolist() == [0, 1]  # 1 of 5 words
    assert near_duplicates(["slow piano tune", "piano tune reprise"]).tolist() == [0, 0]  # 2 of 4
    marked = merged_wordings(["sad"] * 5, ["gloomy", *captions], ["gloomy piano", *captions])
    assert marked == ["gloomy", captions[0], captions[0], captions[2], captions[3]]


def test_every_nuisance_that_a_prompt_names_is_found_outside_its_wording():
    rows = pd.DataFrame(
        {
            "set": "generic",
            "template": "t",
            "wording": ["sad", "film noir", "heavy", "", "a song in C major"],
            "text": [
                "sad folk music, flute in c",
                "film noir with violin and drums, key of g",
                "heavy rock with guitar in a field, d# minor",
                "organ piece",
                "a song in C major",
            ],
        }
    )
    found = nuisances_of(rows)
    assert found["instrument"] == ["flute", "drums violin", "guitar", "organ", ""]
    assert found["genre"] == ["folk", "", "rock", "", ""]
    assert found["key"] == ["c", "g", "d#", "", "c"]
    assert found["set"] == ["generic"] * 5


def test_a_workspace_counts_components_and_exchanges_labels_within_slots(tmp_path):
    emotions = ["happy", "sad", "calm", "energetic"]
    table = prompt_table(grammar_design(emotions, 16, ["generic", "descriptive", "scenes"], 0), 0)
    write_table(table, PROMPTS, tmp_path / "data" / "prompts.csv")
    work = open_workspace(tmp_path)
    assert len(work.design.unit_labels("wording")) == 36
    assert work.strata.held == ("set", "template", "instrument", "genre", "key")
    blocks = work.design.blocks("wording")
    assert sorted(blocks.tolist()) == sorted(list(range(9)) * 4)
    for block in range(9):
        assert sorted(work.design.unit_labels("wording")[blocks == block]) == [0, 1, 2, 3]

    check = checked_design(work, {"layers": 0.5}, 0.01, 0.05, 0)
    assert (check.undecided, check.robust) == ((), ())
    assert "1.0%" in check.sentences[-2]

    calm = table["emotion"] == "calm"
    words = dict(zip(table.loc[calm, "wording"].unique()[:2], ["a still lake", "lake shore"], strict=True))
    table["wording"] = table["wording"].replace(words)
    write_table(table, PROMPTS, tmp_path / "data" / "prompts.csv")
    merged = open_workspace(tmp_path).design
    assert len(merged.unit_labels("wording")) == 35
    sizes = pd.Series(merged.wordings).value_counts()
    assert (sizes == 4).sum() == 1


def test_a_wording_under_two_emotions_is_refused_even_where_merging_hides_it(tmp_path):
    table = prompt_table(grammar_design(["happy", "sad"], 4, ["generic"], 0), 0)
    first = table["wording"].unique()
    table["wording"] = table["wording"].replace({first[0]: "old town", first[1]: "town"})
    table.loc[table["emotion"] == "sad", "wording"] = "town"
    write_table(table, PROMPTS, tmp_path / "data" / "prompts.csv")
    with pytest.raises(ContractError, match="wording 'town' must belong to one emotion"):
        open_workspace(tmp_path)


@pytest.mark.parametrize(
    ("sets", "expected"), [(("generic",), 40), (("generic", "descriptive", "scenes"), 120)]
)
def test_the_grammar_holds_forty_wordings_of_an_emotion_in_each_set(sets, expected, tmp_path):
    assert wordings_available(planted_params(sets=(*sets, "neutral")).prompts, tmp_path) == expected


def test_a_caption_table_counts_its_own_wordings_and_the_emotion_with_fewest_limits(tmp_path):
    rows = [("happy", text) for text in ("a happy tune", "happy folk", "a joyful march", "a cheerful polka")]
    rows += [("sad", text) for text in ("a sad tune", "sad folk", "a sorrowful march", "both happy and sad")]
    pd.DataFrame(rows, columns=["mood", "caption"]).assign(aspects=[text for _, text in rows]).to_csv(
        tmp_path / "songs.csv", index=False
    )
    prompts = planted_params(
        sets=("table",), emotions=("happy", "sad"), table_path="songs.csv", mood_column="aspects"
    ).prompts
    assert wordings_available(prompts, tmp_path) == 2  # sad, sorrowful; the caption of two moods is no prompt
    both = planted_params(
        sets=("table", "generic"), emotions=("happy", "sad"), table_path="songs.csv", mood_column="aspects"
    ).prompts
    assert wordings_available(both, tmp_path) == 40  # the grammar's generic set has both words already

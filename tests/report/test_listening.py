"""Which clips get a player, and which descriptors are beside them."""

from base64 import b64decode

import numpy as np
import pytest

from moodlens.report import listening as module
from moodlens.report.acoustics import acoustics_finding
from moodlens.report.listening import choose, envelope, listening
from tests.report.example import tables

PROMPTS, CLIPS, ACOUSTICS = tables()


def sounds(clip_ids: list[str]) -> tuple[dict[str, bytes], dict[str, np.ndarray]]:
    return {c: c.encode() for c in clip_ids}, dict.fromkeys(clip_ids, np.linspace(0, 0.5, 480))


def test_first_seed_sets_in_turn_emotions_in_order():
    chosen = choose(CLIPS, PROMPTS, per_emotion=3)
    assert chosen["emotion"].tolist() == [e for e in ("happy", "sad", "calm", "energetic") for _ in range(3)]
    assert set(chosen["seed"]) == {0}
    happy = chosen[chosen["emotion"] == "happy"]
    assert set(happy["set"]) == {"generic", "descriptive", "scenes"}
    assert (
        chosen["clip_id"].tolist()
        == choose(CLIPS.sample(frac=1, random_state=1), PROMPTS, 3)["clip_id"].tolist()
    )


def test_fewer_clips_than_requested_gives_all():
    assert len(choose(CLIPS, PROMPTS, per_emotion=99)) == len(CLIPS)


def test_players_carry_the_file_and_agree_with_the_planted_affect():
    chosen = choose(CLIPS, PROMPTS, per_emotion=1)
    section = listening(chosen, ACOUSTICS, *sounds(chosen["clip_id"].tolist()))
    assert [group.emotion for group in section.groups] == ["happy", "sad", "calm", "energetic"]
    for group in section.groups:
        (player,) = group.players
        assert b64decode(player.source.removeprefix("data:audio/flac;base64,")).decode() == player.clip_id
        assert all(each.agrees for each in player.descriptors)
    sad = {each.name: each.expected for each in section.groups[1].players[0].descriptors}
    assert sad == {"tempo": "slow", "brightness": "dark", "loudness": "quiet", "mode": "minor"}


def test_a_prompt_without_affect_expects_nothing():
    chosen = choose(CLIPS, PROMPTS.assign(valence=np.nan, arousal=np.nan), per_emotion=1)
    section = listening(chosen, ACOUSTICS, *sounds(chosen["clip_id"].tolist()))
    shown = [each for group in section.groups for each in group.players[0].descriptors]
    assert {(each.expected, each.agrees) for each in shown} == {("", None)}


def test_without_acoustics_there_are_players_and_no_descriptors():
    chosen = choose(CLIPS, PROMPTS, per_emotion=1)
    section = listening(chosen, None, *sounds(chosen["clip_id"].tolist()))
    assert all(
        player.source and not player.descriptors for group in section.groups for player in group.players
    )


def test_audio_beyond_the_budget_is_left_out(monkeypatch: pytest.MonkeyPatch):
    chosen = choose(CLIPS, PROMPTS, per_emotion=1)
    audio, waveforms = sounds(chosen["clip_id"].tolist())
    first_two = sum(len(sound) for sound in list(audio.values())[:2])
    monkeypatch.setattr(module, "AUDIO_BUDGET_BYTES", first_two)
    section = listening(chosen, None, audio, waveforms)
    assert [bool(group.players[0].source) for group in section.groups] == [True, True, False, False]


def test_envelope_is_the_loudest_sample_of_each_slice():
    waveform = np.zeros(1200)
    waveform[605] = -0.25
    waveform[5] = 0.125
    levels = envelope(waveform)
    assert len(levels) == 120
    assert levels[60] == 1.0
    assert levels[0] == 0.5
    assert sum(levels) == 1.5


def test_silence_has_a_flat_envelope():
    assert set(envelope(np.zeros(300))) == {0.0}


def test_acoustics_count_prompts_and_name_fastest_and_slowest():
    found = acoustics_finding(ACOUSTICS, CLIPS)
    assert found.summary.startswith("The mean tempo is highest for energetic, 150")
    assert "lowest for calm, 69" in found.summary
    (grid,) = found.grids
    assert [row[0].text for row in grid.rows] == ["happy", "sad", "calm", "energetic"]
    assert {row[1].text for row in grid.rows} == {"4"}
    assert "16 prompts, 32 clips" in found.figures[0].caption

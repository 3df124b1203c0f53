"""The pairs of prompts that experiments compare, and the judge that hears their music."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from moodlens.audio.judge import Judge, last_seconds
from moodlens.backends import catalog
from moodlens.contracts.tables import CLIPS, PROMPTS
from moodlens.forks.own_judge import judges_of_clips, same_judge
from moodlens.forks.slots import Slot, slots_of
from moodlens.stats.sign_flip import FEWEST_UNITS
from moodlens.store.audio_files import read_waveform
from moodlens.store.judge_file import read_judge
from moodlens.store.tables import read_table

JUDGE = "judge.json"
FAMILY_JUDGE = "fitted on the synthesiser's pieces"
OWN_JUDGE = "fitted on the model's own clips, without the wordings that it judges"


def comparable_slots(
    prompts: pd.DataFrame, pairs: Sequence[tuple[str, str]], config: Mapping[str, object], parameter: str
) -> tuple[list[Slot], str]:
    """Return the slots to compare, or no slots and the reason why there are none.

    Args:
        prompts: `contracts.tables.PROMPTS`.
        pairs: emotions to compare.
        config: of the model.
        parameter: that names the pairs, for the reason.
    """
    if config.get("model_type") == "musicgen_melody":
        return [], "the model prepends its text, so states cached under one text cannot go on under another"
    known = set(prompts["emotion"])
    present = [pair for pair in pairs if set(pair) <= known]
    if not present:
        return [], f"no pair of {parameter} is among the emotions of the prompts ({', '.join(sorted(known))})"
    slots = slots_of(prompts, present)
    if len({slot.unit for slot in slots}) < FEWEST_UNITS:
        return [], f"fewer than {FEWEST_UNITS} pairs of wordings share a slot of the grammar"
    return slots, ""


def judge_name(model_id: str) -> str:
    """Return what the judge of a model was fitted on, in words."""
    return FAMILY_JUDGE if model_id in catalog.EMBEDDED else OWN_JUDGE


def judges_for(
    model_id: str, root: Path, slots: Sequence[Slot], judged_s: float
) -> tuple[Mapping[str, Judge], Mapping[str, float]]:
    """Return the judge of every unit, and each pair's gap: the family's own judge, or judges of own clips.

    Args:
        model_id: of the model whose music is judged.
        root: of the workspace.
        slots: that are compared.
        judged_s: last seconds of a clip that a judge of own clips hears.
    """
    if model_id in catalog.EMBEDDED:
        return same_judge(slots, read_judge(root / catalog.ORGANISM / JUDGE))
    clips = read_table(CLIPS, root / "data" / "clips.parquet")
    prompts = read_table(PROMPTS, root / "data" / "prompts.csv").set_index("prompt_id")
    sounds = []
    for path in clips["audio_path"]:
        waveform, rate_hz = read_waveform(root / "data" / path)
        sounds += last_seconds(waveform[None], rate_hz, judged_s)
    wordings = [str(prompts["wording"][prompt]) for prompt in clips["prompt_id"]]
    emotions = [str(emotion) for emotion in clips["emotion"]]
    return judges_of_clips(slots, sounds, emotions, wordings, judged_s)

"""What the design says of the run on the page."""

from pathlib import Path
from typing import Any

import pytest

from moodlens.report.background import design_facts
from moodlens.stages.shell import load_params

PARAMS = load_params(Path(__file__).parents[2])


@pytest.mark.parametrize(
    ("lengths", "shown"),
    [
        ({"clip_s": 40.0, "trained_s": 30.0}, "40 s"),
        ({"clip_s": 30.0, "trained_s": 30.0}, None),
        ({"clip_s": 40.0, "trained_s": None}, None),
        ({}, None),  # of an earlier version
    ],
)
def test_clips_longer_than_those_of_the_training_are_said_so(lengths: dict[str, Any], shown: str | None):
    facts = {fact.name: fact for fact in design_facts(PARAMS, None, None, {"n_steps": 53, **lengths})}
    found = facts.get("length of a clip")
    assert (found.value if found else None) == shown
    assert found is None or "the 30 s this model was trained on" in found.note

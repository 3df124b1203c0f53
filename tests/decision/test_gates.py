from dataclasses import replace

import pytest

from moodlens.decision.gates import Measured, closed, gates_of
from tests.decision.thresholds import THRESHOLDS

OPEN = Measured(clips_per_emotion=20, effect=0.03, p_layers=0.01, acoustic_match=0.81, silhouette=0.1)


def test_a_gate_stops_at_its_bar_and_a_silhouette_stops_nothing():
    assert closed(gates_of(OPEN, THRESHOLDS)) == ()
    silhouette = gates_of(OPEN, THRESHOLDS)[-1]
    assert (silhouette.name, silhouette.passed, silhouette.stops) == ("silhouette", False, False)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"clips_per_emotion": 19.5}, "clips_per_emotion"),
        ({"effect": 0.02}, "effect"),
        ({"acoustic_match": 0.8}, "acoustic_match"),
        ({"p_layers": 0.05}, "p_layers"),
        ({"effect": None}, "effect"),
        ({"acoustic_match": None}, "acoustic_match"),
        ({"p_layers": None}, "p_layers"),
    ],
)
def test_each_gate_closes_alone_and_what_was_not_measured_passes_none(change: dict, name: str):
    assert closed(gates_of(replace(OPEN, **change), THRESHOLDS)) == (name,)

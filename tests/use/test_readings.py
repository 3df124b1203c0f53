"""The readings of wave 1, and the scores of a row worked by hand."""

from dataclasses import replace

import numpy as np
import pytest

from moodlens.base.errors import ContractError
from moodlens.contracts.interventions import Donor, Intervention
from moodlens.contracts.tables import SCORES
from moodlens.use.places import Place
from moodlens.use.readings import readings, scores
from tests.use.planted import ROW

PLACES = [Place("residual.0"), Place("residual.1", (0, 2))]
CODES = {"one": np.full((1, 4, 5), 1, np.int16), "other": np.full((1, 4, 5), 2, np.int16)}


def test_each_clip_is_read_under_both_texts_and_under_its_own_with_every_exchange():
    told = [(int(one.codes[0, 0]), one.text, one.edits) for one in readings([ROW], CODES, PLACES)]

    def exchanged(text: str) -> list[tuple[Intervention, ...]]:
        donor = Donor(text)
        return [
            (Intervention("residual.0", "exchange", donor=donor),),
            (Intervention("residual.1", "exchange", steps=(0, 2), donor=donor),),
        ]

    assert told == [
        (1, "happy tune", ()),
        (1, "sad tune", ()),
        *((1, "happy tune", edits) for edits in exchanged("sad tune")),
        (2, "sad tune", ()),
        (2, "happy tune", ()),
        *((2, "sad tune", edits) for edits in exchanged("happy tune")),
    ]


def test_the_scores_of_two_rows_by_hand():
    rows = [ROW, replace(ROW, seed=1)]
    of_row = np.array([1.0, 2.0, 1.75, 1.0, 3.0, 4.0, 3.25, 2.5])
    means = np.concatenate([of_row, of_row + np.arange(8)])
    nats = means[:, None, None] + np.array([-0.5, 0.5])[None, :, None] * np.ones((1, 2, 3))
    table = scores(rows, PLACES, nats)
    assert list(table.columns) == SCORES.names
    assert table["row_id"].is_unique
    assert table["hookpoint"].tolist() == ["residual.0", "residual.1"] * 2
    assert table["first"].tolist() == [-1, 0, -1, 0]
    assert table["stop"].tolist() == [-1, 2, -1, 2]
    assert table["seed"].tolist() == [0, 0, 1, 1]
    assert table["moved_one"].tolist() == [0.75, 0.0, 2.75, 3.0]
    assert table["moved_other"].tolist() == [0.25, -0.5, 2.25, 2.5]
    assert table["whole_one"].tolist() == [1.0, 1.0, 2.0, 2.0]
    assert table["whole_other"].tolist() == [1.0, 1.0, 2.0, 2.0]
    assert set(table["pair"]) == {"happy - sad"}
    assert set(table["unit"]) == {"happy / sad"}


def test_nats_of_other_readings_or_without_a_value_are_refused():
    with pytest.raises(ContractError, match="have 8 rows; got 7"):
        scores([ROW], PLACES, np.ones((7, 1, 1)))
    nats = np.ones((8, 1, 1))
    nats[3] = np.nan
    with pytest.raises(ContractError, match="1 of 8 readings not"):
        scores([ROW], PLACES, nats)

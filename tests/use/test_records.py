"""The records: metrics that JSON can hold, and tables for plots."""

import json
from dataclasses import replace

import numpy as np
import pytest

from moodlens.use.analysis import analyse
from moodlens.use.discovery import find
from moodlens.use.places import Place
from moodlens.use.records import ARMS, PLACES, arms_table, metrics_of, places_table
from tests.use.planted import CHOSEN, GAPS, PLAN, continuations, scores_of

RATE_HZ = 50.0


def experiment():
    table, found = continuations({"exchange": 0.6, "off": 0.9})
    wave_1 = find(scores_of([0.0, 0.1, 0.6, 0.3]), 0, 99, 0.95)
    last = replace(wave_1.candidates[-1], place=CHOSEN[1], half_p=(0.3, 0.4))
    found = replace(found, candidates=(*wave_1.candidates, last))
    return found, analyse(table, found, GAPS, PLAN)


FOUND, ANALYSIS = experiment()


def test_the_metrics_say_what_was_found():
    metrics = json.loads(json.dumps(metrics_of(FOUND, ANALYSIS, RATE_HZ), allow_nan=False))
    use = metrics["use"]
    assert use["verdict"] == "weak"
    assert use["share"] == pytest.approx(0.6, abs=0.03)
    assert use["p"] == max(
        use["net_p"], *(metrics["arms"][name]["p"] for name in ("sufficiency", "necessity"))
    )
    assert use["smallest_rank_p"] == 1 / 40
    first, second = metrics["halves"]
    assert (first["place"], first["first_s"], first["stop_s"]) == ("residual.1, steps 0-10", 0.0, 0.2)
    assert (second["place"], second["first_s"]) == ("residual.2", None)
    assert np.shape(metrics["null_shares"]) == (2, 39)
    companion = metrics["companion"]
    assert [one["place"] for one in companion["chosen"]] == [place.name for place in CHOSEN]
    assert companion["chosen"][0]["t"] == FOUND.candidates[2].t[0]
    assert companion["chosen"][1]["t"] == FOUND.candidates[4].t[1]
    assert companion["chosen"][1]["p"] == 0.4
    assert companion["n_places"] == 5


def test_likelihoods_that_were_not_measured_are_null():
    analysis = replace(ANALYSIS, nats={**ANALYSIS.nats, "plain": float("nan")})
    metrics = metrics_of(FOUND, analysis, RATE_HZ)
    assert metrics["nats_per_token"]["plain"] is None
    assert metrics["nats_per_token"]["exchange"] == 2.0


def test_the_table_of_places():
    table = places_table(FOUND, RATE_HZ)
    assert list(table.columns) == list(PLACES)
    assert table["place"].tolist() == [one.place.name for one in FOUND.candidates]
    assert table["chosen_by"].tolist() == ["", "", "0", "", "1"]
    assert table["stop_s"].tolist()[-1] == 0.2
    assert np.isnan(table["stop_s"].tolist()[0])
    both = replace(FOUND, chosen=(Place("residual.2"), Place("residual.2")))
    assert places_table(both, RATE_HZ)["chosen_by"].tolist()[2] == "0 and 1"


def test_the_table_of_arms():
    table = arms_table(ANALYSIS).set_index("arm")
    assert list(table.reset_index().columns) == list(ARMS)
    assert table["share"]["mediated"] == pytest.approx(0.6, abs=0.03)
    assert table["share"]["off"] == pytest.approx(0.9, abs=0.03)
    assert len(table) == 10
    assert (table["low"] <= table["share"]).all()
    assert (table["nats_per_token"] == 2.0).all()

"""Places: hookpoints with all steps, then with windows."""

from moodlens.contracts.interventions import Donor, Intervention
from moodlens.use.places import Place, place_at, places


def test_every_hookpoint_comes_with_all_steps_and_then_with_each_window():
    found = places(["residual.0", "residual.1"], 31, 3)
    assert [place.steps for place in found[:2]] == [None, None]
    assert [place.hookpoint for place in found] == [
        *("residual.0", "residual.1"), *["residual.0"] * 3, *["residual.1"] * 3,
    ]  # fmt: skip
    windows = [place.steps for place in found[2:5]]
    assert windows == [(0, 10), (10, 21), (21, 31)]
    assert [place.steps for place in found[5:]] == windows


def test_one_window_would_be_all_steps_again():
    assert places(["residual.0"], 31, 1) == places(["residual.0"], 31, 0) == [Place("residual.0")]


def test_the_columns_of_a_table_give_the_place_back():
    for place in places(["residual.0"], 31, 3):
        assert place_at(**place.columns) == place


def test_an_exchange_is_made_at_the_places_steps():
    donor = Donor("sad tune")
    assert Place("residual.1", (3, 7)).exchange(donor) == Intervention(
        "residual.1", "exchange", steps=(3, 7), donor=donor
    )
    assert Place("residual.1").exchange(donor, outside=True).outside

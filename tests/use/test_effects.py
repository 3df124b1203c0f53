"""Effects of every unit by hand, and the tables that are refused."""

import numpy as np
import pytest

from moodlens.base.errors import ContractError
from moodlens.forks.shares import Total
from moodlens.use.effects import effects_of, require_whole
from tests.use.planted import GAPS, PAIRS, continuations

TOTAL = Total(GAPS, of_judge=False, share_of_gap=1.0, p=0.0)
SHARES = {
    "exchange": 0.6, "necessity": 0.4, "inside": 0.3, "outside": 0.2, "wording": 0.05, "seed": -0.1,
    "on": 0.7, "off": 0.8,
}  # fmt: skip


def test_every_planted_effect_is_found():
    table, _ = continuations(SHARES, noise=0.0)
    effects = effects_of(table, TOTAL)
    assert len(effects.units) == 18
    assert effects.paired == pytest.approx(np.full(18, 0.6))
    for name, share in (SHARES | {"sufficiency": 0.6, "necessity": 0.4, "mediated": 0.5}).items():
        if name != "exchange":
            assert getattr(effects, name) == pytest.approx(np.full(18, share)), name


def test_null_directions_are_kept_apart_by_draw_and_unit():
    table, _ = continuations(SHARES, noise=0.0, n_draws=4, n_units=3)
    at = (table["arm"] == "random") & (table["draw"] == 2) & (table["unit"] == "sad 1 / calm 1")
    assert not at.any()
    at = (table["arm"] == "random") & (table["draw"] == 2) & (table["unit"] == "energetic 1 / calm 1")
    table.loc[at, "log_odds"] = 10.0 - 0.4 * GAPS[PAIRS[1]]
    effects = effects_of(table, TOTAL)
    where = effects.units.index((PAIRS[1], "energetic 1 / calm 1"))
    expected = np.zeros((4, 6))
    expected[2, where] = 0.4
    assert effects.nulls == pytest.approx(expected)
    net = np.full(6, 0.5 - 0.05)
    net[where] -= 0.1
    assert effects.net == pytest.approx(net)


def test_slots_and_seeds_of_a_unit_are_averaged():
    table, _ = continuations({}, noise=0.0, n_seeds=2)
    at = (table["arm"] == "exchange") & (table["side"] == "one") & (table["seed"] == 1)
    table.loc[at, "log_odds"] -= 0.5 * table.loc[at, "pair"].map(GAPS)
    assert effects_of(table, TOTAL).sufficiency == pytest.approx(np.full(18, 0.25))


def test_some_units_keep_their_effects():
    effects = effects_of(continuations(SHARES)[0], TOTAL)
    members = np.array([3, 8])
    some = effects.of(members)
    assert some.units == (effects.units[3], effects.units[8])
    assert (some.necessity == effects.necessity[members]).all()
    assert (some.nulls == effects.nulls[:, members]).all()


def test_incomplete_tables_are_refused():
    table, _ = continuations({}, n_units=3, n_draws=2)
    with pytest.raises(ContractError, match="17 or 6 plays once; got '16 rows'"):
        effects_of(table.drop(index=7), TOTAL)
    doubled = table.copy()
    doubled.loc[7, ["arm", "side", "draw"]] = doubled.loc[6, ["arm", "side", "draw"]]
    with pytest.raises(ContractError, match="17 or 6 plays once"):
        effects_of(doubled, TOTAL)
    with pytest.raises(ContractError, match="have null directions"):
        require_whole(table[table["arm"] != "random"], "log_odds")
    silent = table.copy()
    silent.loc[4, "log_odds"] = np.nan
    with pytest.raises(ContractError, match="1 values not"):
        effects_of(silent, TOTAL)

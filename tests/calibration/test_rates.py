"""The calibration in small: it runs, it knows a right test from a wrong one, and its bounds are exact."""

import numpy as np
import pytest
from scipy.stats import beta

from moodlens.base.errors import ContractError
from moodlens.base.seeding import rng_for
from moodlens.calibration.instruments import CLAIMS, NAIVE, permanova
from moodlens.calibration.rates import alarm_rates, rate_of, verdict_on
from moodlens.calibration.simulate import UNIQUE, Instrument, World

N_SIMS = 60
BASE = World(20, 4, 0.3)


def generators(n: int) -> list[np.random.Generator]:
    return [rng_for("test calibration", sim) for sim in range(n)]


def named(*names: str) -> list[Instrument]:
    return [instrument for instrument in (*CLAIMS, *NAIVE) if instrument.name in names]


def test_bounds_are_clopper_and_pearson():
    rate = rate_of(np.arange(200) < 13)
    assert (rate.value, rate.n) == (0.065, 200)
    assert rate.low == pytest.approx(beta.ppf(0.005, 13, 188))
    assert rate.high == pytest.approx(beta.ppf(0.995, 14, 187))
    assert rate_of([False] * 10).low == 0


def test_every_test_of_the_list_keeps_its_level_and_the_naive_ones_do_not():
    results = {alarms.name: alarms for alarms in alarm_rates(CLAIMS, BASE, N_SIMS, generators(N_SIMS))}
    assert len(results) == len(CLAIMS)
    for name, alarms in results.items():
        assert alarms.verdict != "too liberal", name
        assert alarms.rate.n == N_SIMS
    naive = named(
        "t-test on pairs of clips",
        "PERMANOVA by clip",
        "t-test, same-prompt pairs dropped",
        "interval of the best of 6 probes' gain above 0",
    )
    wrong = alarm_rates(naive, BASE, N_SIMS, generators(N_SIMS))
    assert [alarms.verdict for alarms in wrong] == ["not valid"] * 4
    rates = {alarms.name: alarms.rate for alarms in wrong}
    assert rates["t-test on pairs of clips"].value > 0.85
    assert rates["PERMANOVA by clip"].value > 0.8
    assert rates["t-test, same-prompt pairs dropped"].low > 0.05


def test_a_test_that_cries_wolf_is_called_too_liberal():
    by_clip = named("PERMANOVA by clip")[0]
    loud = Instrument("by clip", by_clip.setting, by_clip.p)
    (alarms,) = alarm_rates([loud], BASE, 30, generators(30))
    assert alarms.verdict == "too liberal"


def test_a_deaf_test_is_conservative_and_says_why():
    deaf = Instrument("deaf", UNIQUE, lambda _data, _rng: 1.0, why_conservative="it never listens")
    assert verdict_on(rate_of([False] * 500), deaf) == ("conservative", "it never listens")
    silent = Instrument("deaf", UNIQUE, lambda _data, _rng: 1.0)
    assert verdict_on(rate_of([False] * 500), silent) == ("conservative", "no reason known")
    assert verdict_on(rate_of(np.arange(500) < 25), silent)[0] == "ok"


def test_a_dataset_does_not_depend_on_how_many_there_are():
    one = Instrument("one", UNIQUE, permanova("prompt"))
    few, many = (alarm_rates([one], BASE, n, generators(20)) for n in (5, 20))
    assert few[0].rate.hits <= many[0].rate.hits
    with pytest.raises(ContractError, match="generators must be 30"):
        alarm_rates([one], BASE, 30, generators(20))

"""What stage `signal` records of its statistic, its units and its level."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from moodlens.base.errors import UsageError
from moodlens.contracts.tables import PROMPTS
from moodlens.stages import signal
from moodlens.stats.spending import spent
from moodlens.stats.sweep import SweepSettings, sweep
from moodlens.store.tables import read_metrics, read_table, write_table
from tests.stages.planted import plant, planted_params


def quick(params, **decide):
    section = replace(params.signal, sites=("bow", "text"), n_permutations=199, n_bootstrap=100)
    return replace(params, signal=section, decide=replace(params.decide, **decide))


def test_statistic_units_and_strata_are_recorded(tmp_path: Path):
    params = quick(planted_params())
    plant(tmp_path, "organism", params)
    signal.run(params, tmp_path)
    metrics = read_metrics(tmp_path / "metrics" / "signal.json")
    assert metrics["wordings_available"] == 120
    assert metrics["strata"] == {"held": ["set", "template", "instrument", "genre", "key"], "free": []}
    assert metrics["text"]["statistic"] in ("pseudo_f", "w_d_star")
    assert metrics["text"]["n_fixed_units"] == 0
    rows = pd.read_csv(tmp_path / "metrics" / "signal_layers.csv")
    expected = ["w_d_star" if p < 0.05 else "pseudo_f" for p in rows["p_dispersion"]]
    assert rows["statistic"].tolist() == expected
    cells = pd.read_csv(tmp_path / "metrics" / "signal_metrics.csv")
    assert cells.loc[cells["metric"] == "permanova", "statistic"].isin(["pseudo_f", "w_d_star"]).all()
    assert cells.loc[cells["metric"] != "permanova", "statistic"].isna().all()


def test_a_design_with_few_wordings_of_one_emotion_takes_w_d_star(tmp_path: Path):
    params = quick(planted_params())
    plant(tmp_path, "organism", params)
    path = tmp_path / "data" / "prompts.csv"
    table = read_table(PROMPTS, path)
    few = (table["emotion"] == "sad") & (table["set"] != "generic")
    table.loc[few, "emotion"] = "neutral"
    write_table(table, PROMPTS, path)
    signal.run(params, tmp_path)
    metrics = read_metrics(tmp_path / "metrics" / "signal.json")
    assert metrics["text"]["statistic"] == "w_d_star"
    assert set(
        pd.read_csv(tmp_path / "metrics" / "signal_layers.csv").query("unit == 'wording'")["statistic"]
    ) == {"w_d_star"}
    cells = pd.read_csv(tmp_path / "metrics" / "signal_metrics.csv").set_index(["family", "metric"])
    assert pd.isna(cells.loc[("text", "cka"), "p"])
    assert pd.notna(cells.loc[("text", "permanova"), "p"])


def test_the_power_is_that_of_the_level_that_this_look_may_spend(tmp_path: Path, monkeypatch):
    params = planted_params()
    plant(tmp_path, "random", params)
    levels = []

    def watched(name, sites, design, settings: SweepSettings, unit):
        levels.append(settings.alpha)
        return sweep(name, sites, design, settings, unit)

    monkeypatch.setattr(signal, "sweep", watched)
    signal.run(quick(params), tmp_path)
    assert set(levels) == {params.decide.alpha_weak}
    levels.clear()
    signal.run(quick(params, looks=(16, 32)), tmp_path)
    assert set(levels) == {spent(params.decide.alpha_weak, (0.5, 1.0))[0]}
    with pytest.raises(UsageError, match="must be one of the planned looks, 10, 20; got 16"):
        signal.run(quick(params, looks=(10, 20)), tmp_path)

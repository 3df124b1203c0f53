"""The calibration's pipeline: its file, its parameters, its stages on a few datasets, its page."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

from moodlens.base.errors import ContractError, UsageError
from moodlens.params.calibration import CalibrationParams, parse_calibration
from moodlens.report.calibration import calibration_finding
from moodlens.stages.calibrate import __main__ as entry
from moodlens.stages.calibrate import power, rates, summary, verdicts
from moodlens.stages.calibrate import verdicts as twins
from moodlens.store.code_fingerprint import rooms_of, stage_module

ROOT = Path(__file__).parents[2]
HOME = ROOT / "calibration"
STAGES = yaml.safe_load((HOME / "dvc.yaml").read_text())["stages"]


MODELS = ("organism", "organism-shuffled", "organism-random")


def shipped() -> CalibrationParams:
    return parse_calibration(yaml.safe_load((HOME / "params.yaml").read_text()))


def toy() -> CalibrationParams:
    full = shipped()
    return replace(
        full,
        rates=replace(full.rates, designs=((16, 2),), icc=(0.3,), n_sims=20),
        power=replace(
            full.power, shares=(0.1,), n_per_emotion=(4, 8), planted_n=8, none_n=4, n_layers=3, n_sims=20
        ),
        verdicts=replace(full.verdicts, models=MODELS, seeds=(0,)),
        compute=replace(full.compute, workers=1),
    )


def decided(naive: str, **verdict_of: str) -> dict:
    rungs = {rung: {"verdict": verdict, "accuracy": 0.5, "p": 0.2} for rung, verdict in verdict_of.items()}
    layers = {"verdict": "strong", "accuracy": 0.9, "p": 0.001}
    says = {"says": naive, "p_t": 0.01, "p_probe": 0.02, "accuracy": 0.6}
    return {"rungs": rungs, "findings": {"layers": layers}, "naive": says, "headline": "..."}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_rooms_it_stands_on(stage: str):
    source = ROOT / "src"
    modules = [f"moodlens.stages.calibrate.{stage}"]
    if stage == "verdicts":  # runs stages of the main pipeline, each in a process
        needed = [stage_module(name, source) for name in twins.needed_stages(ROOT)]
        modules += ["moodlens.stages.calibrate.chain", *needed]
    rooms = {f"src/{room}" for module in modules for room in rooms_of(module, source)}
    assert {dep for dep in STAGES[stage]["deps"] if dep.startswith("src/")} == rooms
    assert "../constraints.txt" in STAGES[stage]["deps"]


def test_from_simulation_to_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home, params = tmp_path / "calibration", toy()
    home.mkdir()
    (tmp_path / "metrics").mkdir()
    said = {
        "organism": decided("encoded in the layers", text_code="strong"),
        "organism-shuffled": decided("encoded in the layers", text_code="weak", music="weak"),
        "organism-random": decided("not encoded", text_code="none", music="undecided"),
    }
    monkeypatch.setattr(verdicts, "verdict_on_twin", lambda _root, _home, model, _seed: said[model])
    for stage in (rates, power, verdicts, summary):
        stage.run(params, home)
    found = json.loads((tmp_path / "metrics" / "calibration.json").read_text())
    right = {model: counts["right"] for model, counts in found["verdicts"].items()}
    assert right == {"organism": 1, "organism-shuffled": 0, "organism-random": 1}
    assert found["verdicts"]["organism"]["n_untested_rungs"] == 1
    assert found["verdicts"]["organism-shuffled"]["n_wrong_verdicts"] == 1
    assert found["verdicts"]["organism-shuffled"]["naive_says_encoded"] == 1
    assert found["type1"]["n_sims"] == 20
    assert set(found["planted"]) >= {"found_in_its_layer_by_wording", "none_said_wrongly_by_prompt"}
    tables = [pd.read_csv(home / f"{name}.csv").to_dict("records") for name in ("rates", "power", "verdicts")]
    finding = calibration_finding(found, *tables)
    assert len(finding.figures) == 6  # ladder, state, metrics, chapters; common tests; power
    shown = finding.grids[-1].rows
    assert len({row[0].text for row in shown}) == len(shown) == len({row["test"] for row in tables[0]})
    cells = [[cell.text for cell in row] for row in finding.grids[0].rows]
    assert cells[1][0] == "organism-shuffled, seed 0"
    sources = ("source music", "source memory", "source reading")
    assert finding.grids[0].columns == ("model", "text code", "music", *sources, "naive pipeline")
    assert cells[0][3] == "–", "what the organism reads is not known beforehand"
    assert cells[1][2] == "weak (truth: no)"
    assert finding.grids[0].rows[1][2].mark == "void"
    assert cells[0][2] == "untested (truth: yes)"


def test_rows_of_an_earlier_ladder_are_shown_apart_and_not_judged():
    """The committed table is of the earlier ladder."""
    tables = [pd.read_csv(HOME / f"{name}.csv").to_dict("records") for name in ("rates", "power")]
    row = {"model": "organism", "seed": 5, "truth": True, "mark": "right", "accuracy": 0.9, "p": 0.01}
    rungs = ("words", "text_code", "music", "state", "state: tempo", "naive")
    rows = [row | {"rung": rung, "verdict": "strong"} for rung in rungs]
    metrics = json.loads((ROOT / "metrics" / "calibration.json").read_text())
    present, earlier = calibration_finding(metrics, *tables, rows).grids[:2]
    assert present.columns == ("model", "text code", "music", "naive pipeline")
    assert earlier.columns == ("model", "words", "state", "tempo")
    assert [(cell.text, cell.mark) for cell in earlier.rows[0][1:]] == [("strong", "")] * 3
    assert "no claim" in earlier.caption


def test_a_verdict_needs_the_stages_that_decide_stands_on():
    needed = twins.needed_stages(ROOT)
    assert needed[0] == "prompts"
    assert needed[-1] == "decide"
    assert {"generate", "reencode", "check", "signal", "probe", "null_text"} < set(needed)
    assert not {"temporal", "attention", "geometry", "relate", "sae"} & set(needed)
    assert "report" not in needed


def test_a_finished_verdict_is_used_again_until_something_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ran: list[str] = []

    def fake(names: list[str], _root: Path, work: Path, _home: Path) -> None:
        ran.extend(names)
        (work / "metrics").mkdir(exist_ok=True)
        for file in ("decide", "naive"):
            (work / "metrics" / f"{file}.json").write_text('{"says": "x"}')

    monkeypatch.setattr(twins, "_run", fake)
    one = twins.verdict_on_twin(ROOT, tmp_path, "organism", 3)
    again = twins.verdict_on_twin(ROOT, tmp_path, "organism", 3)
    assert one == again
    assert ran == [*twins.needed_stages(ROOT), "naive"]
    params = yaml.safe_load((tmp_path / "work" / "organism-3" / "params.yaml").read_text())
    assert (params["model"]["id"], params["generate"]["seed"]) == ("organism", 3)
    assert params["compute"]["workers"] == 1  # twins run side by side
    monkeypatch.setattr(twins, "fingerprint", lambda *_: "other code")
    twins.verdict_on_twin(ROOT, tmp_path, "organism", 3)
    assert len(ran) == 2 * (len(twins.needed_stages(ROOT)) + 1)


def test_a_stage_that_fails_on_a_twin_says_which_and_why(tmp_path: Path):
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / ".git").mkdir()
    with pytest.raises(
        ContractError, match=r"must finish on the twin; got .*prompts\.csv.* stage check stopped"
    ):
        twins._run(["check", "signal"], ROOT, tmp_path, tmp_path)


def test_wrong_use_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert entry.main(["rate"]) == 2
    assert "Did you mean 'rates'?" in capsys.readouterr().err
    assert entry.main(["rates"]) == 2
    assert "the working folder must be calibration/" in capsys.readouterr().err


def test_unknown_keys_and_impossible_designs_are_refused(tmp_path: Path):
    raw = yaml.safe_load((HOME / "params.yaml").read_text())
    raw["rates"]["n_sim"] = raw["rates"].pop("n_sims")
    with pytest.raises(UsageError, match="n_sims"):
        parse_calibration(raw)
    params = toy()
    small = replace(params, rates=replace(params.rates, designs=((8, 2),)))
    with pytest.raises(UsageError, match=r"rates.designs must be \[prompts, clips of each\]"):
        rates.run(small, tmp_path)

"""The calibration's pipeline: its file, its parameters, its stages on a few datasets, its page."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

from moodlens.base.errors import ContractError, UsageError
from moodlens.params.calibration import CalibrationParams, parse_calibration
from moodlens.params.pipeline import parse_params
from moodlens.report.calibration import calibration_finding
from moodlens.stages.calibrate import __main__ as entry
from moodlens.stages.calibrate import cells, controls, power, rates, summary, verdicts
from moodlens.stages.calibrate.cells import Cell
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
        rates=replace(
            full.rates, designs=((16, 2),), icc=(0.3,), n_sims=20, n_null_sims=20, n_cheap_sims=20
        ),
        power=replace(
            full.power, shares=(0.1,), n_per_emotion=(4, 8), planted_n=8, none_n=4, n_layers=3, n_sims=20
        ),
        fork_power=replace(full.fork_power, shares=(0.0, 0.5), n_units=(8,), n_sims=20),
        verdicts=replace(
            full.verdicts, models=MODELS, sets=(("generic",),), seeds=(0,), finding_seeds=(0,),
            where_models=(), memory_models=("organism",), use_models=("organism",),
        ),
        compute=replace(full.compute, workers=1),
    )  # fmt: skip


def measured(naive: str, **verdict_of: str) -> dict:
    """Return the metrics of a cell, as its stages write them."""
    rungs = {rung: {"verdict": verdict, "accuracy": 0.5, "p": 0.2} for rung, verdict in verdict_of.items()}
    null_text = {"sentence": "It summarises."}
    says = {"says": naive, "p_t": 0.01, "p_probe": 0.02, "accuracy": 0.6}
    source = {"share": 0.7, "low": 0.5, "high": 0.9, "donor": 0.02, "p": 0.004}
    control = {"area": 0.5, "p": 0.3, "claimed": False, "not_beaten": ["states"]}
    share = {"share": 0.4, "low": 0.2, "high": 0.6}
    return {
        "decide": {"rungs": rungs, "findings": {"null_text": null_text}},
        "forks": {"main": {"sources": dict.fromkeys(("music", "memory", "reading"), source)}},
        "naive": says,
        "few_shot": {"area": 0.7, "p": 0.04},
        "controls": {"organism-shuffled": control, "untrained running mean": control | {"claimed": True}},
        "memory_share": {"step_s": 0.5, "n_units": 18, "shares": {"recovered": share, "ablated": share}},
    }


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_rooms_it_stands_on(stage: str):
    source = ROOT / "src"
    modules = [f"moodlens.stages.calibrate.{stage}"]
    if stage == "verdicts":  # runs stages of the main pipeline, each in a process
        needed = [stage_module(name, source) for name in cells.needed_stages(ROOT)]
        modules += ["moodlens.stages.calibrate.chain", *needed]
    rooms = {f"src/{room}" for module in modules for room in rooms_of(module, source)}
    assert {dep for dep in STAGES[stage]["deps"] if dep.startswith("src/")} == rooms
    assert "../constraints.txt" in STAGES[stage]["deps"]


def test_from_simulation_to_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home, params = tmp_path / "calibration", toy()
    home.mkdir()
    (tmp_path / "metrics").mkdir()
    said = {
        "organism": measured("encoded in the layers", text_code="strong", source_memory="none", use="weak"),
        "organism-shuffled": measured("encoded in the layers", text_code="weak", music="weak"),
        "organism-random": measured("not encoded", text_code="none", music="undecided"),
    }

    def of_cell(cell: Cell, _section: object) -> dict:
        metrics = said[cell.model]
        return metrics if cell.memory_share else {k: v for k, v in metrics.items() if k != "memory_share"}

    monkeypatch.setattr(verdicts, "measured", of_cell)
    for stage in (rates, power, verdicts, summary):
        stage.run(params, home)
    found = json.loads((tmp_path / "metrics" / "calibration.json").read_text())
    right = {model: counts["right"] for model, counts in found["verdicts"].items()}
    assert right == {"organism": 0, "organism-shuffled": 0, "organism-random": 1}, "a control passed"
    assert found["verdicts"]["organism"]["n_untested_rungs"] == 1
    assert found["verdicts"]["organism-shuffled"]["n_wrong_verdicts"] == 1
    assert found["verdicts"]["organism-shuffled"]["naive_says_encoded"] == 1
    assert found["type1"]["n_sims"] == 20
    assert set(found["planted"]) >= {"found_in_its_layer_by_wording", "none_said_wrongly_by_prompt"}
    assert found["memory_share"]["organism"]["ablated"]["mean"] == 0.4
    assert found["forks"]["0.5"]["8"]["claimed"] > found["forks"]["0"]["8"]["claimed"]
    tables = [pd.read_csv(home / f"{name}.csv").to_dict("records") for name in ("rates", "power", "verdicts")]
    finding = calibration_finding(found, *tables)
    assert len(finding.figures) == 7  # ladder, nulls, state, metrics, chapters; common tests; power
    more = [
        {**row, "n_sims": 33} if row["group"] == "ladder" and row["carries_claim"] else row
        for row in tables[0]
    ]
    svgs = [figure.svg for figure in calibration_finding(found, more, *tables[1:]).figures]
    assert ["33 datasets per point" in svg for svg in svgs] == [True, *[False] * 6], "a figure names its own"
    shown = finding.grids[-1].rows
    assert len({row[0].text for row in shown}) == len(shown) == len({row["test"] for row in tables[0]})
    judged, controls, shares = finding.grids[:3]
    shown = [[cell.text for cell in row] for row in judged.rows]
    assert [row[0] for row in shown] == [f"{model}, generic, seed 0" for model in MODELS]
    at = {name: judged.columns.index(name) for name in ("music", "source memory")}
    assert shown[0][at["source memory"]] == "none", "what the organism remembers is not known beforehand"
    assert shown[1][at["music"]] == "weak (truth: no)"
    assert judged.rows[1][at["music"]].mark == "void"
    assert shown[0][at["music"]] == "untested (truth: yes)"
    assert [(row[0].text, row[2].mark) for row in controls.rows] == [
        ("organism", ""), ("organism-shuffled", ""), ("untrained running mean", "void"),
    ]  # fmt: skip
    assert [row[1].text for row in shares.rows] == ["ablated", "recovered"]
    rows = [row for row in tables[2] if row["rung"] == "source_memory"]
    assert {(row["share"], row["donor"]) for row in rows} == {(0.7, 0.02)}


def test_memory_in_a_cut_layer_is_claimed_only_by_share_and_p():
    def place(name: str, p: float, share: float) -> dict:
        return {"place": name, "p": p, "share": share, "low": 0.0, "high": 0.3, "donor": 0.0}

    cell = Cell(Path(), "organism-memory-cut", ("generic",), 0, where=True)
    metrics = measured("not encoded", text_code="strong")
    outside = [place("layer 4", 0.001, 0.6), place("layer 2", 0.2, 0.3), place("layer 1", 0.001, 0.05)]
    inside = [*outside, place("layer 3", 0.01, 0.2)]
    for places, verdict, mark in ((outside, "undecided", "right"), (inside, "weak", "wrong")):
        rows = {row["rung"]: row for row in verdicts.rows_of(cell, metrics | {"places": places})}
        assert (rows["where_cut"]["verdict"], rows["where_cut"]["mark"]) == (verdict, mark)


def test_a_verdict_needs_the_stages_that_decide_stands_on():
    needed = cells.needed_stages(ROOT)
    assert needed[0] == "prompts"
    assert needed[-1] == "decide"
    assert {"generate", "reencode", "check", "signal", "probe", "null_text"} < set(needed)
    assert not {"temporal", "attention", "geometry", "relate", "sae"} & set(needed)
    assert "report" not in needed
    light = cells.needed_stages(ROOT, finding=False)
    assert set(needed) - set(light) == {"reencode", "check", "null_text"}


def test_cells_are_every_model_set_and_seed_and_few_read_their_clips_again():
    section = shipped().verdicts
    every = cells.cells_of(section, HOME)
    assert len({cell.work for cell in every}) == len(section.models) * len(section.sets) * len(section.seeds)
    finding = [cell for cell in every if cell.finding]
    assert every[: len(finding)] == finding
    assert {cell.model for cell in finding} == set(section.finding_models)
    assert {cell.model for cell in every if cell.memory_share} == set(section.memory_models)
    assert {(cell.model, cell.sets) for cell in every if cell.use} == {
        (model, section.sets[0]) for model in section.use_models
    }
    assert "interchange" in cells.stages_of(next(cell for cell in every if cell.use))
    assert "interchange" not in cells.stages_of(next(cell for cell in every if not cell.use))
    assert cells.stages_of(finding[0])[-2:] == ["naive", "controls"]


def test_a_finished_cell_is_used_again_until_something_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ran: list[str] = []

    def fake(stages: list[str], cell: Cell) -> None:
        ran.extend(stages)
        (cell.work / "metrics").mkdir(exist_ok=True)
        for file in ("decide", "forks", "naive"):
            (cell.work / "metrics" / f"{file}.json").write_text('{"says": "x"}')

    section = shipped().verdicts
    home = tmp_path / "calibration"
    for name in ("params.yaml", "dvc.yaml", "src", "models"):
        (tmp_path / name).symlink_to(ROOT / name)
    cell = Cell(home, "organism", ("generic", "scenes"), 3)
    monkeypatch.setattr(cells, "_run", fake)
    one = cells.measured(cell, section)
    again = cells.measured(cell, section)
    assert one == again
    assert ran == cells.stages_of(cell)
    params = yaml.safe_load((home / "work" / "organism-generic+scenes-3" / "params.yaml").read_text())
    assert (params["model"]["id"], params["generate"]["seed"]) == ("organism", 3)
    assert (params["prompts"]["sets"], params["forks"]["seed"]) == (["generic", "scenes"], 3)
    assert params["compute"]["workers"] == 1  # cells run side by side
    parse_params(params)
    monkeypatch.setattr(cells, "fingerprint", lambda *_: "other code")
    cells.measured(cell, section)
    assert len(ran) == 2 * len(cells.stages_of(cell))


def test_a_stage_that_fails_in_a_cell_says_which_and_why(tmp_path: Path):
    cell = Cell(tmp_path / "calibration", "organism", ("generic",), 3)
    cell.work.mkdir(parents=True)
    (tmp_path / "src").symlink_to(ROOT / "src")
    (cell.work / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (cell.work / ".git").mkdir()
    with pytest.raises(
        ContractError, match=r"must finish in the cell; got .*prompts\.csv.* stage check stopped"
    ):
        cells._run(["check", "signal"], cell)


def test_controls_leave_out_the_decoder_that_takes_the_models_place():
    states = controls._FirstDraws(None, {"n_draws": controls.DRAWS})  # pyright: ignore[reportArgumentType]
    assert states.n_draws == controls.DRAWS - 1 >= 5


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

"""The results page says what held, what did not and what broke; the process tree is measured as it is."""

import json
import os
import sys
import time
from pathlib import Path

from benchmarks.pipeline import THRESHOLD, Run, change_threshold, environment, table, verdict
from benchmarks.process_tree import Measured, measure
from benchmarks.results import machine_facts, outcome_from, results_page

ROOT = Path(__file__).parents[2]
LINE = {"name": "x", "value": 2.5, "unit": "s", "bar": "<= 3 s", "holds": True}


def said(**changes: object) -> str:
    return "a table\n" + json.dumps(LINE | changes) + "\n"


def test_page_tells_held_failed_and_broken_apart():
    outcomes = [
        outcome_from("good", said(), 0, "2026-01-02, commit abc"),
        outcome_from("slow", said(holds=False, value=9.0), 1),
        outcome_from("broken", "Traceback\nValueError: no\n", 1),
    ]
    assert [outcome.holds for outcome in outcomes] == [True, False, False]
    lines = results_page(outcomes, [("cores", "2")]).splitlines()
    assert "| good | 2.5 s | <= 3 s | yes | 2026-01-02, commit abc |" in lines
    assert "| slow | 9.0 s | <= 3 s | **no** |  |" in lines
    assert "| broken | broke | | **no** |  |" in lines
    assert "| cores | 2 |" in lines
    assert "`python -m benchmarks.slow`" in lines
    assert "ValueError: no" in lines


def test_a_last_line_without_the_agreed_keys_is_broken():
    assert outcome_from("x", '{"name": "x"}', 0).result is None
    assert outcome_from("x", "3", 0).result is None
    assert outcome_from("x", "", 0).result is None


def test_machine_facts_name_what_decides_speed():
    facts = dict(machine_facts())
    assert int(facts["cores"]) >= 1
    assert {"processor", "features", "memory", "Python", "torch", "transformers"} <= set(facts)


def test_a_tree_is_measured_with_its_children(tmp_path: Path):
    child = (
        "import time; held = bytearray(200_000_000); held[::4096] = b'x' * len(held[::4096]); time.sleep(0.6)"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}]); print('done')"
    start = time.perf_counter()
    cost = measure([sys.executable, "-c", parent], tmp_path, os.environ)
    assert cost.exit_code == 0
    assert cost.output == "done\n"
    assert 0.2 < cost.peak_gb < 0.6
    assert cost.cpu_s > 0
    assert 0.6 < cost.wall_s <= time.perf_counter() - start


def test_a_child_between_fork_and_exec_counts_once(tmp_path: Path):
    code = (
        "import os, time; held = bytearray(300_000_000); held[::4096] = b'x' * len(held[::4096])\n"
        "if os.fork(): os.wait()\nelse: time.sleep(0.6)\n"
    )
    assert measure([sys.executable, "-c", code], tmp_path, os.environ).peak_gb < 0.5


def runs(
    cold_s: float = 200.0,
    again_output: str = "Running stage 'inputs':",
    peak_gb: float = 1.0,
    sae_s: float = 90.0,
) -> list[Run]:
    stages = "Running stage 'prompts':\nRunning stage 'decide':\nRunning stage 'report':\n"
    return [
        Run("cold", Measured(cold_s, 300.0, peak_gb, 0, stages)),
        Run("again", Measured(1.5, 1.4, 0.1, 0, again_output)),
        Run("sae", Measured(sae_s, 80.0, 0.8, 0, "Running stage 'sae':\nRunning stage 'latents':\n")),
        Run("one threshold changed", Measured(9.0, 8.0, 0.5, 0, stages.split("\n", 1)[1])),
    ]


def test_pipeline_bars():
    held = verdict(runs())
    assert held["holds"] is True
    assert (held["value"], held["unit"], held["changed_stages"]) == (200.0, "s", ["decide", "report"])
    assert verdict(runs(cold_s=361))["failed_bars"] == ["cold"]
    assert verdict(runs(sae_s=121))["failed_bars"] == ["sae"]
    assert verdict(runs(peak_gb=4.5))["failed_bars"] == ["peak"]
    assert verdict(runs(again_output="Running stage 'probe':"))["failed_bars"] == ["again"]
    assert "decide, report" in table(runs())


def test_the_threshold_of_this_repository_can_be_changed(tmp_path: Path):
    params = tmp_path / "params.yaml"
    before = (ROOT / "params.yaml").read_text(encoding="utf-8")
    params.write_text(before, encoding="utf-8")
    change_threshold(params)
    after = params.read_text(encoding="utf-8")
    old, new = THRESHOLD.search(before), THRESHOLD.search(after)
    assert old is not None
    assert new is not None
    assert float(new[2]) == round(float(old[2]) + 0.01, 3)
    assert after.replace(new[0], old[0]) == before


def test_the_clone_sees_its_own_sources_and_nobodys_tracking_server(tmp_path: Path):
    env = environment(
        tmp_path, {"PATH": "/usr/bin", "MLFLOW_TRACKING_URI": "http://elsewhere", "DVC_STAGE": "x"}
    )
    assert env["PYTHONPATH"] == str(tmp_path / "src")
    assert env["PATH"].split(os.pathsep) == [str(Path(sys.prefix) / "bin"), "/usr/bin"]
    assert not {"MLFLOW_TRACKING_URI", "DVC_STAGE"} & set(env)

"""A result read from the records of its stages: name, digest, what is reused, what is stale."""

import json
from pathlib import Path

import pytest

from moodlens.base.errors import UsageError
from moodlens.store.result import PAUSE_MS, read_result, reused_stages
from moodlens.store.run_record import Record, read_record, record_path, write_record
from tests.store.finished import REVISION, T0_MS, finish


def record(stage: str, start_s: int, end_s: int, experiment: str = "", revision: str = REVISION) -> Record:
    return Record(stage, start_s * 1000, end_s * 1000, revision, experiment, {}, ())


def test_a_result_has_the_verdicts_the_numbers_and_the_times_of_its_run(tmp_path: Path):
    result = read_result(finish(tmp_path, music="weak", saes=["residual.1"]))
    assert result.name == "organism @ 0123456"
    sources = dict.fromkeys(("source_music", "source_memory", "source_reading"), "untested")
    assert dict(result.verdicts) == {"text_code": "strong", "music": "weak", **sources, "use": "untested"}
    assert list(result.metrics)[:2] == ["strength_music", "strength_text_code"]
    assert result.metrics["strength_music"] == 2
    assert "strength_use" not in result.metrics, "an untested rung has no strength"
    assert result.metrics["effect_music_low"] == pytest.approx(0.92)
    assert result.metrics["sae.residual.1.fvu"] == 0.12
    assert (result.started_ms, result.ended_ms) == (T0_MS, T0_MS + 3 * 61_000 + 60_000)
    assert result.metrics["work_s"] == 240
    assert result.model["id"] == "organism"
    assert int(result.model["weights"], 16) == len("organism")


def test_a_run_of_dvc_exp_is_named_by_its_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert read_result(finish(tmp_path, experiment="brave-tuna")).name == "brave-tuna"
    monkeypatch.setenv("DVC_EXP_NAME", "calm-cod")
    assert read_result(tmp_path).name == "calm-cod", "the experiment that runs now, which reused every stage"


def test_the_digest_is_of_the_records_and_of_nothing_else(tmp_path: Path):
    first = read_result(finish(tmp_path)).digest
    assert read_result(finish(tmp_path)).digest == first
    (tmp_path / "data" / "runs" / "track.json").write_text("{}")
    assert read_result(tmp_path).digest == first
    assert read_result(finish(tmp_path, started_ms=T0_MS + 1)).digest != first


def test_without_a_finished_run_the_message_names_the_next_step(tmp_path: Path):
    with pytest.raises(UsageError, match="Run `make repro`"):
        read_result(tmp_path)
    finish(tmp_path)
    record_path(tmp_path, "report").unlink()
    with pytest.raises(UsageError, match="a run must be finished in this workspace"):
        read_result(tmp_path)


def test_a_run_that_stopped_halfway_is_refused_and_its_stale_stages_are_named(tmp_path: Path):
    """`data/activations` is made anew and `decide` has not run since; sae and report were not reached."""
    finish(tmp_path)
    lock = (tmp_path / "dvc.lock").read_text()
    entry = read_record(tmp_path, "decide")
    assert entry is not None
    (old,) = (given.md5 for given in entry.inputs if given.path == "data/activations")
    (tmp_path / "dvc.lock").write_text(lock.replace(old, "f" * 32 + ".dir"))
    with pytest.raises(UsageError, match=r"earlier files in decide, sae'\. Run `dvc repro`"):
        read_result(tmp_path)


@pytest.mark.parametrize(
    ("earlier", "reused"),
    [
        (record("prompts", 0, 10), ()),
        (record("prompts", 0, 10, experiment="brave-tuna"), ("prompts",)),
        (record("prompts", 0, 10, revision="f" * 16), ("prompts",)),
        (record("prompts", -PAUSE_MS // 1000 - 2, -PAUSE_MS // 1000 - 1), ("prompts",)),
    ],
    ids=["same run", "another experiment", "another revision", "long before"],
)
def test_stages_of_an_earlier_run_are_told_from_those_of_the_latest(earlier: Record, reused: tuple):
    assert reused_stages([earlier, record("signal", 11, 20), record("report", 21, 30)]) == reused


def test_a_result_starts_with_its_own_first_stage_not_with_a_reused_one(tmp_path: Path):
    finish(tmp_path)
    path = record_path(tmp_path, "generate")
    raw = json.loads(path.read_text())
    path.write_text(json.dumps({**raw, "started_ms": T0_MS - 10**9, "ended_ms": T0_MS - 10**9 + 1}))
    result = read_result(tmp_path)
    assert result.reused == ("generate",)
    assert result.started_ms == T0_MS + 61_000


def test_a_damaged_record_is_one_clear_line(tmp_path: Path):
    finish(tmp_path)
    write = record_path(tmp_path, "sae")
    write.write_text("{")
    with pytest.raises(Exception, match=r"sae\.json must be the record of a stage.*Run `dvc repro -f sae`"):
        read_result(tmp_path)
    entry = read_record(tmp_path, "decide")
    assert entry is not None
    write_record(tmp_path, entry)

"""The forecast before a run: its line, its refusals, and `moodlens plan`."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from moodlens.base.errors import UsageError
from moodlens.cli import __main__ as cli
from moodlens.forecast import machine, plan
from moodlens.forecast.generation import MAPPED, Cost
from moodlens.stages import STAGES
from moodlens.stages.generate import stage as generate
from moodlens.stages.reencode import stage as reencode
from moodlens.store.tables import read_metrics
from tests.stages.test_generate import N_PROMPTS, ROOT, digests, model, params_of, undisturbed, workspace  # noqa: F401

COST = Cost("generate", {"weights": 6_000_000_000, "cache": 1_000_000_000}, {"states": 9_000_000_000}, 60.0)


def test_the_line():
    line = machine.line_of(COST, 128, 2)
    assert line == ("plan: generate 128 clips, about 60 s with 2 workers, 7.0 GB memory each, 9.0 GB on disk")


def refusal(monkeypatch: pytest.MonkeyPatch, root: Path, memory: float, disk: float, workers: int) -> str:
    monkeypatch.setattr(machine, "free_memory_bytes", lambda: memory)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _root: shutil._ntuple_diskusage(0, 0, int(disk)))
    with pytest.raises(UsageError) as caught:
        machine.check_fits(COST, root, workers, "cpu")
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_too_little_memory_names_the_workers_that_fit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    line = refusal(monkeypatch, tmp_path, 8e9, 1e12, 2)
    for part in ("must hold the workers of generate", "8.0 GB free, 14.0 GB needed by 2", "weights 6.0 GB"):
        assert part in line
    assert "Set compute.workers to 1" in line
    assert "model.dtype bfloat16" in refusal(monkeypatch, tmp_path, 6e9, 1e12, 1)


def test_a_mapped_file_is_no_reason_to_refuse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Its pages count in a peak; the system takes them back where memory is short."""
    monkeypatch.setattr(machine, "free_memory_bytes", lambda: 15e9)
    mapped = replace(COST, disk={}, memory={**COST.memory, MAPPED: 10**12})
    machine.check_fits(mapped, tmp_path, 2, "cpu")
    with pytest.raises(UsageError):
        machine.check_fits(mapped, tmp_path, 3, "cpu")


def test_too_little_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    line = refusal(monkeypatch, tmp_path, 1e12, 8e9, 2)
    for part in ("the disk must hold what generate writes", "8.0 GB free, 9.0 GB needed", "step_stride"):
        assert part in line


def test_a_run_that_fits_passes_and_memory_is_checked_on_the_cpu_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(machine, "free_memory_bytes", lambda: 15e9)
    machine.check_fits(replace(COST, disk={}), tmp_path, 2, "cpu")
    monkeypatch.setattr(machine, "free_memory_bytes", lambda: 1.0)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    machine.check_fits(replace(COST, disk={}), tmp_path, 2, "cuda")


def test_a_device_that_is_absent_fits_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UsageError, match=r"model\.device must be present on this machine; got 'cuda'"):
        machine.check_fits(replace(COST, disk={}), tmp_path, 1, "cuda")
    assert machine.device_fault("cpu") == ""


def test_a_containers_limit_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.free_memory_bytes() > 10_000
    (tmp_path / "memory.max").write_text("6000\n")
    assert machine.free_memory_bytes() == 5000


def test_a_run_that_cannot_fit_starts_nothing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch  # noqa: F811
):  # fmt: skip
    root = workspace(tmp_path, model)
    monkeypatch.setattr(machine, "free_memory_bytes", lambda: 1000)
    with pytest.raises(UsageError, match=r"memory must hold the workers of generate; got '0\.0 MB free"):
        generate.run(params_of(), root)
    assert not (root / "data" / "activations").exists()


def test_reencoding_that_cannot_fit_starts_nothing(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]  # noqa: F811
):  # fmt: skip
    root = shutil.copytree(undisturbed, tmp_path / "work")
    monkeypatch.setattr(machine, "free_memory_bytes", lambda: 1000)
    with pytest.raises(UsageError, match=r"memory must hold the workers of reencode; got '0\.0 MB free"):
        reencode.run(params_of(), root)
    assert capsys.readouterr().out.startswith("plan: reencode 12 clips, about ")
    assert not (root / "data" / "reencoded").exists()


def test_the_disk_forecast_is_what_a_run_writes(
    undisturbed: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]  # noqa: F811
):  # fmt: skip
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
    (tmp_path / "models").mkdir(exist_ok=True)
    asked, n = params_of(), N_PROMPTS // 2
    asked = replace(asked, prompts=replace(asked.prompts, emotions=("happy", "sad"), n_per_emotion=n))
    cost = plan.costs_of(asked, tmp_path)[0]
    written = {
        name: sum(path.stat().st_size for path in (undisturbed / "data").glob(pattern))
        for name, pattern in (
            ("states", "activations/shard-*"), ("summaries", "activations/summary-*"), ("codes", "codes/*")
        )
    }  # fmt: skip
    for name, n_bytes in written.items():
        # abs: names and checksums of the tensors, a kilobyte or two per shard
        assert cost.disk[name] == pytest.approx(n_bytes, rel=0.2, abs=9000), name
    generate.run(params_of(), tmp_path)
    assert "plan:" not in capsys.readouterr().out  # nothing to do, nothing to forecast


@pytest.fixture
def here(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    root = workspace(tmp_path, model)
    shutil.copy(ROOT / "params.yaml", root)
    (root / ".git").mkdir()
    monkeypatch.setenv("DVC_ROOT", str(root))
    return root


def test_moodlens_plan(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    assert cli.main(["plan"]) == 0
    text = capsys.readouterr().out
    assert "organism, float32" in text
    rows = {line.split()[0] for line in text.splitlines() if line.strip()}
    assert rows >= set(STAGES) - {"inputs", "prompts", "decide", "track"}
    assert text.endswith("fits\n")
    assert cli.main(["plan", "--stage", "reencode"]) == 0
    text = capsys.readouterr().out
    assert "untrained decoders" in text
    assert "attention summaries" not in text  # a term of generate
    assert cli.main(["plan", "--stage", "reencod"]) == 2
    assert "Did you mean 'reencode'?" in capsys.readouterr().err
    monkeypatch.setattr(machine, "free_memory_bytes", lambda: 20e9)
    assert cli.main(["plan", "--model", "facebook/musicgen-large", "--dtype", "float32"]) == 0
    assert "does not fit: memory must hold" in capsys.readouterr().out
    assert cli.main(["plan", "--model", "facebook/musicgen-lagre"]) == 2
    assert "Did you mean 'facebook/musicgen-large'?" in capsys.readouterr().err


def changed(root: Path, **sections: dict[str, object]) -> None:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for section, values in sections.items():
        raw[section] |= values
    (root / "params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")


def said(capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["plan"]) == 0
    return capsys.readouterr().out


def test_the_plan_follows_the_parameters_not_the_table_of_an_earlier_run(
    here: Path, capsys: pytest.CaptureFixture[str]
):
    """The workspace has a table of few prompts; the parameters now ask for more."""
    assert (here / "data" / "prompts.csv").is_file()
    sizes = []
    for n in (8, 40):
        changed(here, prompts={"n_per_emotion": n, "sets": ["generic", "scenes"]}, decide={"gate_clips": 2})
        (row,) = [line for line in said(capsys).splitlines() if line.startswith("generate")]
        sizes.append(float(row.split()[-2]))
    assert sizes[1] == pytest.approx(5 * sizes[0], rel=0.01)


def test_the_plan_of_an_absent_device_does_not_fit(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    changed(here, model={"device": "cuda"})
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "does not fit: model.device must be present on this machine" in said(capsys)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert said(capsys).endswith("fits; the memory of cuda is not checked\n")


def test_the_plan_says_that_clips_are_longer_than_those_of_the_training(
    here: Path, capsys: pytest.CaptureFixture[str]
):
    shutil.copy(ROOT / "models" / "organism" / "generation_config.json", here / "models" / "organism")
    changed(here, generate={"duration_s": 6.0})
    assert "clips of 6 s are longer than the 4 s this model was trained on" in said(capsys)
    changed(here, generate={"duration_s": 4.0})
    assert "trained on" not in said(capsys)


def test_clips_longer_than_those_of_the_training_are_said_so_before_generating(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]  # noqa: F811
):  # fmt: skip
    root = workspace(tmp_path, model)
    settings = root / "models" / "organism" / "generation_config.json"
    settings.write_text(json.dumps({"max_length": 25 + 3}), encoding="utf-8")  # half a second and 3 delays
    generate.run(params_of(), root)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("plan: clips of 0.6 s are longer than the 0.5 s this model was trained on")
    metrics = read_metrics(root / "metrics" / "generate.json")
    assert (metrics["clip_s"], metrics["trained_s"]) == (0.6, 0.5)

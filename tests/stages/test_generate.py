"""The stage on a tiny model: contracts kept, killed and resumed, any number of workers, same bytes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import moodlens
from moodlens.base.errors import ContractError, UsageError
from moodlens.contracts.tables import ACTIVATIONS, CLIPS, PROMPTS
from moodlens.contracts.tensors import SUMMARIES
from moodlens.params.pipeline import Params, parse_params
from moodlens.quality.stored_files import READABLE, shard_files
from moodlens.stages.generate import stage as generate
from moodlens.store.audio_files import read_waveform
from moodlens.store.shards import read_shard
from moodlens.store.tables import read_metrics, read_table, write_table
from moodlens.workspace.design import need_steps
from tests.tiny_model import save_tiny_model

ROOT = Path(__file__).parents[2]
N_PROMPTS, N_SEEDS, PER_SHARD, N_FRAMES = 6, 2, 3, 30
N_SHARDS = N_PROMPTS * N_SEEDS // PER_SHARD


def prompts(n: int) -> pd.DataFrame:
    emotions = ["happy", "sad"]
    rows = [
        {
            "prompt_id": f"{emotions[i % 2]}-{i:02d}",
            "emotion": emotions[i % 2],
            "valence": 0.5,
            "arousal": 0.5,
            "set": "generic",
            "template": "t0",
            "wording": emotions[i % 2],
            "split": "train",
            "text": f"a {emotions[i % 2]} piece {'soft ' * i}".strip(),
        }
        for i in range(n)
    ]
    return pd.DataFrame(rows)


def params_of(workers: int = 1) -> Params:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["generate"] |= {"duration_s": N_FRAMES / 50, "clips_per_shard": PER_SHARD, "n_seeds": N_SEEDS}
    raw["compute"] = {"workers": workers, "threads": 1}
    return parse_params(raw)


def workspace(root: Path, model: Path) -> Path:
    shutil.copytree(model, root / "models" / "organism")
    write_table(prompts(N_PROMPTS), PROMPTS, root / "data" / "prompts.csv")
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return save_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    root = workspace(tmp_path_factory.mktemp("undisturbed"), model)
    generate.run(params_of(), root)
    return root


def digests(root: Path) -> dict[str, str]:
    files = [
        path
        for folder in ("data", "metrics")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    ]
    return {path.relative_to(root).as_posix(): sha256(path.read_bytes()).hexdigest() for path in files}


def copy_of(root: Path, place: Path) -> Path:
    shutil.copytree(root, place, dirs_exist_ok=True)
    return place


def test_tables_and_tensors_keep_their_contracts(undisturbed: Path):
    data = undisturbed / "data"
    clips = read_table(CLIPS, data / "clips.parquet")
    index = read_table(ACTIVATIONS, data / "activations" / "index.parquet")
    assert len(clips) == N_PROMPTS * N_SEEDS
    assert len(index) == len(clips) * 2
    assert list(clips["clip_id"][:3]) == ["happy-00-s0", "happy-00-s1", "sad-01-s0"]
    assert (index["step_change"] > 1e-4).all()
    assert (index["n_steps"] == N_FRAMES + 3).all()
    for row in clips.itertuples():
        codes = read_shard(data / "codes" / f"shard-{row.shard:04d}.safetensors")["codes"]
        assert codes.dtype == np.int16
        assert codes[row.row].shape == (4, N_FRAMES)
        samples, rate = read_waveform(data / str(row.audio_path))
        assert len(samples) / rate == row.duration_s == N_FRAMES / 50
        assert np.abs(samples).max() == pytest.approx(row.peak, abs=1e-4)


def test_summaries_are_those_of_the_stored_states(undisturbed: Path):
    folder = undisturbed / "data" / "activations"
    states = read_shard(folder / "shard-0001.safetensors")
    summary = read_shard(folder / "summary-0001.safetensors")
    assert list(states) == ["residual.0/cond", "residual.1/cond"]
    whole = states["residual.1/cond"][:, 3:N_FRAMES].astype(np.float64)
    np.testing.assert_allclose(summary["residual.1/cond/mean"], whole.mean(1), atol=2e-3)
    assert set(summary) == {f"{key}/{name}" for key in states for name in (*SUMMARIES, "norm")} | {
        f"twin/{key}/mean" for key in states
    } | {"codec/latent/mean"}
    twin = summary["twin/residual.1/cond/mean"]
    assert twin.shape == (PER_SHARD, 32)
    assert np.abs(twin - summary["residual.1/cond/mean"]).max() > 1e-2


def test_metrics_say_what_was_made(undisturbed: Path):
    metrics = read_metrics(undisturbed / "metrics" / "generate.json")
    assert metrics["n_clips"] == N_PROMPTS * N_SEEDS
    assert metrics["n_steps"] == N_FRAMES + 3
    assert metrics["layers"] == [0, 1]
    assert len(str(metrics["weights_sha256"])) == 64


def test_two_workers_make_the_same_bytes(undisturbed: Path, model: Path, tmp_path: Path):
    root = workspace(tmp_path, model)
    generate.run(params_of(workers=2), root)
    assert digests(root) == digests(undisturbed)


def test_killed_and_resumed_makes_the_same_bytes(undisturbed: Path, model: Path, tmp_path: Path):
    root = workspace(tmp_path, model)
    (root / ".git").mkdir()
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["generate"] |= {"duration_s": N_FRAMES / 50, "clips_per_shard": PER_SHARD, "n_seeds": N_SEEDS}
    raw["compute"] = {"workers": 1, "threads": 1}
    (root / "params.yaml").write_text(yaml.safe_dump(raw))
    environment = {**os.environ, "PYTHONPATH": str(Path(moodlens.__file__).parents[1])}
    environment.pop("DVC_ROOT", None)
    command = [sys.executable, "-m", "moodlens.stages", "generate"]
    run = subprocess.Popen(command, cwd=root, env=environment, stderr=subprocess.DEVNULL)
    folder = root / "data" / "activations"
    while not (folder / "receipt-0000.json").is_file():
        assert run.poll() is None
        time.sleep(0.002)
    run.send_signal(signal.SIGKILL)
    run.wait()
    (folder / ".shard-0002.safetensors.99.tmp").write_bytes(b"left by the killed writer")
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("receipt-*.json")}
    assert 1 <= len(kept) < N_SHARDS

    generate.run(params_of(), root)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    expected = digests(undisturbed)
    assert {name: digest for name, digest in digests(root).items() if name in expected} == expected
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize(
    "damaged",
    ["activations/shard-0001.safetensors", "activations/summary-0001.safetensors", "audio/sad-01-s1.flac"],
)
def test_a_truncated_file_is_made_again_and_nothing_else(undisturbed: Path, tmp_path: Path, damaged: str):
    root = copy_of(undisturbed, tmp_path)
    path = root / "data" / damaged
    path.write_bytes(path.read_bytes()[:-10])
    other = root / "data" / "activations" / "shard-0000.safetensors"
    before = other.stat().st_mtime_ns
    generate.run(params_of(), root)
    assert digests(root) == digests(undisturbed)
    assert other.stat().st_mtime_ns == before


def test_a_finished_stage_generates_nothing(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    root = copy_of(undisturbed, tmp_path)
    monkeypatch.setattr(generate, "make_shard", None)
    generate.run(params_of(workers=2), root)
    assert digests(root) == digests(undisturbed)


def test_another_parameter_makes_every_shard_stale(undisturbed: Path, tmp_path: Path):
    info = generate.catalog.describe(generate.catalog.find(params_of().model, undisturbed), params_of().model)
    params = params_of()
    other = replace(params, generate=replace(params.generate, guidance_scale=1.0))
    before, after = (
        {task.fingerprint for task in generate.plan(given, undisturbed, info)} for given in (params, other)
    )
    assert len(before) == N_SHARDS
    assert not before & after
    workers = generate.plan(params_of(workers=2), undisturbed, info)
    assert {task.fingerprint for task in workers} == before


def test_a_stride_and_pooled_only_store_less_and_change_no_summary(
    undisturbed: Path, model: Path, tmp_path: Path
):
    params = params_of()
    for name, changes in (
        ("strided", {"step_stride": 4, "store_dtype": "float32"}),
        ("pooled", {"pooled_only": True}),
    ):
        root = workspace(tmp_path / name, model)
        generate.run(replace(params, generate=replace(params.generate, **changes)), root)
    strided, pooled, whole = (
        root / "data" / "activations" for root in (tmp_path / "strided", tmp_path / "pooled", undisturbed)
    )
    every = read_shard(whole / "shard-0001.safetensors")["residual.1/cond"]
    fourth = read_shard(strided / "shard-0001.safetensors")["residual.1/cond"]
    assert fourth.dtype == np.float32
    assert np.array_equal(fourth.astype(np.float16), every[:, ::4])
    assert not list(pooled.glob("shard-*"))
    name = "summary-0001.safetensors"
    assert (strided / name).read_bytes() == (pooled / name).read_bytes() == (whole / name).read_bytes()
    assert read_table(ACTIVATIONS, pooled / "index.parquet")["n_steps"].eq(N_FRAMES + 3).all()
    assert (
        shard_files(clips_of(tmp_path / "pooled"), tmp_path / "pooled" / "data")["state"] == READABLE
    ).all()
    assert need_steps(tmp_path / "strided") == tuple(range(0, N_FRAMES + 3, 4))
    message = r"generate\.pooled_only must be false to read the states of single steps"
    with pytest.raises(UsageError, match=message):
        need_steps(tmp_path / "pooled")


def clips_of(root: Path) -> pd.DataFrame:
    return read_table(CLIPS, root / "data" / "clips.parquet")


def test_switching_to_pooled_only_removes_the_stored_steps(undisturbed: Path, tmp_path: Path):
    root = copy_of(undisturbed, tmp_path)
    params = params_of()
    generate.run(replace(params, generate=replace(params.generate, pooled_only=True)), root)
    assert not list((root / "data" / "activations").glob("shard-*"))


def test_fewer_prompts_leave_no_stranger_behind(undisturbed: Path, model: Path, tmp_path: Path):
    root = copy_of(undisturbed, tmp_path / "shrunk")
    write_table(prompts(3), PROMPTS, root / "data" / "prompts.csv")
    generate.run(params_of(), root)
    fresh = workspace(tmp_path / "fresh", model)
    write_table(prompts(3), PROMPTS, fresh / "data" / "prompts.csv")
    generate.run(params_of(), fresh)
    assert digests(root) == digests(fresh)


def test_full_disk_keeps_finished_shards(
    undisturbed: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from moodlens.stages.generate import shard

    root = workspace(tmp_path, model)
    write = shard.write_flac

    def full(path: Path, *rest) -> None:
        if path.name == "sad-03-s0.flac":
            raise ContractError(f"{path} must be writable; got 'No space left on device'. Free disk space.")
        write(path, *rest)

    monkeypatch.setattr(shard, "write_flac", full)
    with pytest.raises(ContractError, match="No space left on device"):
        generate.run(params_of(), root)
    receipts = sorted(path.name for path in (root / "data" / "activations").glob("receipt-*"))
    assert receipts == ["receipt-0000.json", "receipt-0001.json"]
    monkeypatch.undo()
    generate.run(params_of(), root)
    assert digests(root) == digests(undisturbed)


def test_no_prompts(model: Path, tmp_path: Path):
    root = workspace(tmp_path, model)
    write_table(prompts(1).iloc[:0], PROMPTS, root / "data" / "prompts.csv")
    with pytest.raises(ContractError, match="must hold prompts; got 'none'"):
        generate.run(params_of(), root)

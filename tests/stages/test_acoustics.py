"""The stage: one row per clip, resumable to the same bytes, errors that name the file."""

import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moodlens.audio.descriptors import Descriptors, describe
from moodlens.base.errors import ContractError
from moodlens.contracts.tables import ACOUSTICS, CLIPS
from moodlens.params.pipeline import Params
from moodlens.stages import acoustics
from moodlens.store.audio_files import read_waveform, write_flac
from moodlens.store.tables import read_table, values, write_table
from tests.stages.datasets import small_params

N_SHARDS, PER_SHARD, RATE_HZ = 3, 2, 16000


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Clips of a tone over noise, one pitch each."""
    rows, rng = [], np.random.default_rng(0)
    time_s = np.arange(RATE_HZ) / RATE_HZ
    for n in range(N_SHARDS * PER_SHARD):
        name = f"audio/sad-{n:02d}-s0.flac"
        tone = 0.3 * np.sin(2 * np.pi * 220 * (n + 1) * time_s) + 0.01 * rng.standard_normal(RATE_HZ)
        write_flac(tmp_path / "data" / name, tone.astype(np.float32), RATE_HZ)
        row = {"clip_id": f"sad-{n:02d}-s0", "prompt_id": f"sad-{n:02d}", "emotion": "sad", "seed": 0}
        row |= {"shard": n // PER_SHARD, "row": n % PER_SHARD, "n_frames": 50, "n_steps": 53}
        row |= {"sample_rate_hz": RATE_HZ, "duration_s": 1.0, "peak": 0.3, "rms": 0.2}
        rows.append(row | {"clipped_fraction": 0.0, "finite_fraction": 1.0, "audio_path": name})
    write_table(pd.DataFrame(rows), CLIPS, tmp_path / "data" / "clips.parquet")
    return tmp_path


def params() -> Params:
    return small_params(Path("unused"))


def table(root: Path) -> Path:
    return root / "data" / "acoustics.parquet"


def test_the_contract_has_the_fields_of_the_descriptors():
    assert ACOUSTICS.names == ["clip_id", *(field.name for field in fields(Descriptors))]
    assert all(column.low is not None and column.high is not None for column in ACOUSTICS.columns[1:])


def test_every_clip_has_the_descriptors_of_its_file(workspace: Path):
    acoustics.run(params(), workspace)
    rows = read_table(ACOUSTICS, table(workspace))
    clips = read_table(CLIPS, workspace / "data" / "clips.parquet")
    assert values(rows, "clip_id") == values(clips, "clip_id")
    waveform, rate = read_waveform(workspace / "data" / values(clips, "audio_path")[3])
    measured = rows.iloc[3].drop("clip_id").astype(float).to_dict()
    assert measured == pytest.approx(vars(describe(waveform, rate)), nan_ok=True)
    assert rows["centroid_hz"].is_monotonic_increasing
    assert not (workspace / "data" / acoustics.PARTS).exists()


def test_a_broken_file_is_named_what_was_measured_is_kept_and_the_end_is_the_same(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
):
    acoustics.run(params(), workspace)
    undisturbed = table(workspace).read_bytes()
    table(workspace).unlink()
    path = workspace / "data" / "audio" / "sad-04-s0.flac"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ContractError, match=r"audio file must be readable; .*sad-04-s0\.flac"):
        acoustics.run(params(), workspace)
    assert not table(workspace).exists()
    kept = sorted(p.name for p in (workspace / "data" / acoustics.PARTS).iterdir())
    assert kept == ["receipt-0000.json", "receipt-0001.json"]

    path.write_bytes(whole)
    measured = []
    real = acoustics.measure
    monkeypatch.setattr(acoustics, "measure", lambda part: (measured.append(part.receipt.name), real(part)))
    acoustics.run(params(), workspace)
    assert measured == ["receipt-0002.json"]
    assert table(workspace).read_bytes() == undisturbed


def test_a_missing_file_is_named_before_anything_is_measured(workspace: Path):
    (workspace / "data" / "audio" / "sad-05-s0.flac").unlink()
    with pytest.raises(ContractError, match=r"audio file must exist; .*sad-05-s0\.flac"):
        acoustics.run(params(), workspace)
    assert not (workspace / "data" / acoustics.PARTS).exists()


def test_a_changed_file_is_measured_again(workspace: Path):
    first = acoustics.plan(read_table(CLIPS, workspace / "data" / "clips.parquet"), workspace / "data")
    write_flac(workspace / "data" / "audio" / "sad-00-s0.flac", np.full(RATE_HZ, 0.1, np.float32), RATE_HZ)
    again = acoustics.plan(read_table(CLIPS, workspace / "data" / "clips.parquet"), workspace / "data")
    assert [a.fingerprint == b.fingerprint for a, b in zip(first, again, strict=True)] == [False, True, True]


SLOW = """
import sys, time
from pathlib import Path
from moodlens.stages import acoustics
from tests.stages.datasets import small_params
real = acoustics.measure
def measure(part):
    real(part)
    time.sleep(60)
acoustics.measure = measure
acoustics.run(small_params(Path("unused")), Path(sys.argv[1]))
"""


def test_a_killed_run_keeps_its_parts_and_the_next_one_ends_in_the_same_bytes(workspace: Path):
    acoustics.run(params(), workspace)
    undisturbed = table(workspace).read_bytes()
    table(workspace).unlink()
    path = [str(Path(__file__).parents[2] / "src"), str(Path(__file__).parents[2])]
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n{SLOW}", str(workspace)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    first = workspace / "data" / acoustics.PARTS / "receipt-0000.json"
    deadline = time.monotonic() + 120
    while not first.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate()
    assert first.exists(), said
    written = first.stat().st_mtime_ns
    parts = acoustics.plan(read_table(CLIPS, workspace / "data" / "clips.parquet"), workspace / "data")
    assert acoustics.unfinished(parts[:1]) == []
    assert first.stat().st_mtime_ns == written
    acoustics.run(params(), workspace)
    assert table(workspace).read_bytes() == undisturbed

"""Shards: byte-deterministic, whole or absent, and errors that name the file and the next step."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors import SafetensorError
from safetensors.numpy import save_file

from moodlens.base.errors import ContractError
from moodlens.store import shards
from moodlens.store.audio_files import write_flac
from moodlens.store.receipts import (
    code_digest,
    finished,
    joined_rows,
    remove_outdated,
    unfinished,
    write_receipt,
)
from moodlens.store.shards import CorruptArtifact, read_shard, shard_metadata, shard_names, write_shard

TENSORS = {"b": np.arange(6, dtype=np.int16).reshape(1, 2, 3), "a": np.ones((2, 2), dtype=np.float16)}
ABOUT = {"clips": ["x", "y"], "model": "abc"}


def test_what_is_written_is_read(tmp_path: Path):
    path = tmp_path / "deep" / "shard-0000.safetensors"
    write_shard(path, TENSORS, ABOUT)
    assert shard_names(path) == ["a", "b"]
    assert shard_metadata(path) == ABOUT
    for name, tensor in read_shard(path).items():
        assert np.array_equal(tensor, TENSORS[name])
        assert tensor.dtype == TENSORS[name].dtype
    assert list(read_shard(path, ["b"])) == ["b"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_view_that_is_not_contiguous_is_stored_as_seen(tmp_path: Path):
    view = np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1)[::2]
    write_shard(tmp_path / "s.safetensors", {"view": view})
    assert np.array_equal(read_shard(tmp_path / "s.safetensors")["view"], view)


def test_bytes_are_the_same_in_every_process_and_order(tmp_path: Path):
    write_shard(tmp_path / "here.safetensors", TENSORS, ABOUT)
    code = (
        "import numpy as np; from pathlib import Path; from moodlens.store.shards import write_shard\n"
        "t = {'a': np.ones((2, 2), np.float16), 'b': np.arange(6, dtype=np.int16).reshape(1, 2, 3)}\n"
        f"place = Path({str(tmp_path / 'there.safetensors')!r})\n"
        "write_shard(place, t, {'model': 'abc', 'clips': ['x', 'y']})"
    )
    source = str(Path(shards.__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": source, "PYTHONHASHSEED": "77"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert (tmp_path / "here.safetensors").read_bytes() == (tmp_path / "there.safetensors").read_bytes()


@pytest.mark.parametrize("keep", [0, 4, 40, -1])
def test_truncated_shard(tmp_path: Path, keep: int):
    path = tmp_path / "shard-0003.safetensors"
    write_shard(path, TENSORS)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(
        CorruptArtifact, match=r"shard-0003\.safetensors must be a whole .* Delete it and run"
    ):
        read_shard(path)


def test_a_flipped_bit_is_never_another_value(tmp_path: Path):
    """The format has no checksum: most flips gave other numbers, some a traceback."""
    path = tmp_path / "shard-0000.safetensors"
    tensors = TENSORS | {"empty": np.zeros((0, 3), np.float32), "scalar": np.float32(3)}
    write_shard(path, tensors, ABOUT)
    whole = path.read_bytes()
    lines = []
    for bit in np.random.default_rng(0).permutation(len(whole) * 8)[:600]:
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(flipped)
        try:
            read, about = read_shard(path, list(tensors)), shard_metadata(path)
        except CorruptArtifact as error:
            lines.append(str(error))
            continue
        assert about == ABOUT
        for name, tensor in tensors.items():
            assert np.array_equal(read[name], tensor)
            assert read[name].dtype == tensor.dtype
    assert len(lines) > 500
    assert all("\n" not in line for line in lines)


def test_a_shard_of_another_program_has_no_checksums_and_no_metadata(tmp_path: Path):
    path = tmp_path / "theirs.safetensors"
    save_file({"a": TENSORS["a"]}, path, {"format": "np"})
    assert np.array_equal(read_shard(path)["a"], TENSORS["a"])
    with pytest.raises(CorruptArtifact, match="must hold metadata; got 'none'"):
        shard_metadata(path)


def test_scalars_stay_scalars(tmp_path: Path):
    write_shard(tmp_path / "shard", {"step": np.float32(3), "turned": np.arange(6).reshape(2, 3).T})
    tensors = read_shard(tmp_path / "shard")
    assert tensors["step"].shape == ()
    assert tensors["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_missing_shard_and_missing_tensor(tmp_path: Path):
    with pytest.raises(CorruptArtifact, match=r"must exist; got 'nothing'\. Run `dvc repro`"):
        read_shard(tmp_path / "shard-0001.safetensors")
    write_shard(tmp_path / "shard-0001.safetensors", TENSORS)
    with pytest.raises(CorruptArtifact, match="must hold c; got 'no such tensor'"):
        read_shard(tmp_path / "shard-0001.safetensors", ["c"])


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = tmp_path / "shard-0000.safetensors"
    write_shard(whole, TENSORS)
    before = whole.read_bytes()

    def full(tensors: dict, path: str, metadata: dict) -> None:
        Path(path).write_bytes(b"half a shard")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(shards, "save_file", full)
    for path in (whole, tmp_path / "shard-0001.safetensors"):
        with pytest.raises(ContractError, match=r"No space left on device.*Free disk space") as caught:
            write_shard(path, {"a": np.zeros(3)})
        assert "\n" not in str(caught.value)
        assert path.name in str(caught.value)
    assert whole.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["shard-0000.safetensors"]


def test_full_disk_at_the_last_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ContractError, match="No space left on device"):
        write_shard(tmp_path / "shard-0000.safetensors", TENSORS)
    assert list(tmp_path.iterdir()) == []


def test_flac_is_deterministic_and_16_bit(tmp_path: Path):
    wave = np.sin(np.arange(4000) / 20).astype(np.float32) * 0.5
    for name in ("a.flac", "b.flac"):
        write_flac(tmp_path / name, wave, 16000)
    assert (tmp_path / "a.flac").read_bytes() == (tmp_path / "b.flac").read_bytes()
    samples, rate = soundfile.read(tmp_path / "a.flac", dtype="int16")
    assert rate == 16000
    assert soundfile.info(tmp_path / "a.flac").subtype == "PCM_16"
    np.testing.assert_allclose(samples / 32767, wave, atol=0.51 / 32767)


def receipt_of(root: Path, **changes: str) -> Path:
    (root / "a.bin").write_bytes(b"one")
    write_receipt(root / "receipt.json", "print", root, [root / "a.bin"], {"clips": [{"clip_id": "x"}]})
    record = json.loads((root / "receipt.json").read_text())
    (root / "receipt.json").write_text(json.dumps({**record, **changes}))
    return root / "receipt.json"


def test_a_receipt_counts_only_while_everything_matches(tmp_path: Path):
    path = receipt_of(tmp_path)
    found = finished(path, "print", tmp_path)
    assert found is not None
    assert found.rows == {"clips": [{"clip_id": "x"}]}
    assert finished(path, "another", tmp_path) is None
    (tmp_path / "a.bin").write_bytes(b"two")
    assert finished(path, "print", tmp_path) is None
    (tmp_path / "a.bin").unlink()
    assert finished(path, "print", tmp_path) is None
    assert finished(receipt_of(tmp_path, surprise="key"), "print", tmp_path) is None
    path.write_text('{"fingerprint": "pri')
    assert finished(path, "print", tmp_path) is None
    assert finished(tmp_path / "none.json", "print", tmp_path) is None


LIES = (
    {"files": []},
    {"files": {}},
    {"files": {"../a.bin": "x"}},
    {"rows": []},
    {"rows": {}},
    {"rows": {"clips": [{"clip_id": "y"}]}},
    {"digest": 3},
)


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_a_receipt_that_was_changed_counts_for_nothing(tmp_path: Path, lie: dict):
    """`files: []` gave a traceback, `files: {}` a finished task without its files."""
    assert finished(receipt_of(tmp_path, **lie), "print", tmp_path) is None


@pytest.mark.parametrize("text", ["[]", "3", "null", '"x"', "[" * 100_000, "\udcff", "{}"])
def test_a_receipt_that_is_none_counts_for_nothing(tmp_path: Path, text: str):
    path = tmp_path / "receipt.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert finished(path, "print", tmp_path) is None


@dataclass(frozen=True)
class Task:
    receipt: Path
    data: Path
    fingerprint: str = "print"


def test_rows_of_finished_tasks_are_joined_and_an_unfinished_task_is_one_line(tmp_path: Path):
    tasks = [Task(tmp_path / f"receipt-{i}.json", tmp_path) for i in (1, 0)]
    for i, task in enumerate(tasks):
        write_receipt(task.receipt, "print", tmp_path, [], {"clips": [{"n": i}, {"n": i + 10}], "other": []})
    assert unfinished(tasks) == []
    assert [row["n"] for row in joined_rows(tasks, ["clips"])["clips"]] == [0, 10, 1, 11]
    changed = [tasks[0], replace(tasks[1], fingerprint="another")]
    assert unfinished(changed) == changed[1:]
    with pytest.raises(ContractError, match=r"receipt-0\.json must be valid; got 'no valid receipt'"):
        joined_rows(changed, ["clips"])


def test_comments_and_docstrings_do_not_make_shards_stale(tmp_path: Path):
    def digest(source: str) -> str:
        (tmp_path / "module.py").write_text(source)
        return code_digest([tmp_path / "module.py"])

    first = digest('"""One."""\nx = 1\n\ndef f():\n    "doc"\n    return x\n')
    assert first == digest('"""Two."""\n# why\nx = 1\ndef f():\n    return x\n')
    assert first != digest("x = 2\ndef f():\n    return x\n")


def test_outdated_files_are_removed_and_others_left(tmp_path: Path):
    for name in (
        "shard-0000.safetensors",
        "shard-0009.safetensors",
        ".shard-0000.safetensors.12.tmp",
        "notes.txt",
        "mine.safetensors",
        "song-s1.flac",
        ".hidden.tmp",
        "happy-00-s3.flac",
    ):
        (tmp_path / name).touch()
    gone = remove_outdated(
        tmp_path, [tmp_path / "shard-0000.safetensors"], ("*.safetensors", "*.flac", ".*.tmp")
    )
    assert [path.name for path in gone] == [
        ".shard-0000.safetensors.12.tmp",
        "happy-00-s3.flac",
        "shard-0009.safetensors",
    ]
    left = [".hidden.tmp", "mine.safetensors", "notes.txt", "shard-0000.safetensors", "song-s1.flac"]
    assert sorted(path.name for path in tmp_path.iterdir()) == left

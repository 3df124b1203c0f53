"""Digests of model files: read once while a file is unchanged, read again when it was overwritten."""

import errno
import os
from hashlib import sha256
from pathlib import Path

import pytest

from moodlens.backends import digests
from moodlens.backends.digests import LEAST_BYTES, file_digest


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, in which a file that was just written counts as settled."""
    monkeypatch.setenv("MOODLENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "SETTLED_NS", -1)
    return tmp_path / "cache"


def of(content: bytes) -> str:
    return sha256(content).hexdigest()


def test_an_unchanged_large_file_is_read_once(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file, content = tmp_path / "weights", bytes(LEAST_BYTES)
    file.write_bytes(content)
    assert file_digest(file) == of(content)
    assert len(list((cache / "digests").iterdir())) == 1
    monkeypatch.setattr(digests, "file_sha256", lambda _: pytest.fail("read again"))
    assert file_digest(file) == of(content)


def test_an_overwritten_file_is_read_again_even_if_size_and_time_are_put_back(cache: Path, tmp_path: Path):
    file, other = tmp_path / "weights", b"1" * LEAST_BYTES
    file.write_bytes(bytes(LEAST_BYTES))
    before = file.stat()
    file_digest(file)
    file.write_bytes(other)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file_digest(file) == of(other)


def test_a_damaged_memory_counts_for_nothing(cache: Path, tmp_path: Path):
    file, content = tmp_path / "weights", bytes(LEAST_BYTES)
    file.write_bytes(content)
    file_digest(file)
    for kept in (cache / "digests").iterdir():
        kept.write_text("[1, 2")
    assert file_digest(file) == of(content)


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    blocked = tmp_path / "cache"
    blocked.write_text("a file where the folder should be")
    monkeypatch.setenv("MOODLENS_CACHE", str(blocked))
    monkeypatch.setattr(digests, "SETTLED_NS", -1)
    file, content = tmp_path / "weights", bytes(LEAST_BYTES)
    file.write_bytes(content)
    assert file_digest(file) == file_digest(file) == of(content)


def test_a_cache_on_a_read_only_disk_only_costs_time(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The line of the failed write ended the stage."""

    def read_only(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    file, content = tmp_path / "weights", bytes(LEAST_BYTES)
    file.write_bytes(content)
    monkeypatch.setattr(os, "replace", read_only)
    assert file_digest(file) == of(content)

"""Exit statuses where the output is closed: a reader is done, a stage is not."""

import os
import subprocess
import sys

import pytest

SCRIPT = """
import sys
from moodlens.base.command import exit_status
def work():
    print("x" * {n}, flush={early})
    print("done", file=sys.stderr)
sys.exit(exit_status(work, kept="shards are kept", is_reader={reader}))
"""


BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def run(*, n: int, early: bool, reader: bool) -> subprocess.CompletedProcess[str]:
    """Run a script whose reader has gone before it writes."""
    read, write = os.pipe()
    os.close(read)
    try:
        script = SCRIPT.format(n=n, early=early, reader=reader)
        return subprocess.run(
            [sys.executable, "-c", script],
            stdout=write, stderr=subprocess.PIPE, text=True, check=False, env=BUFFERED,
        )  # fmt: skip
    finally:
        os.close(write)


def test_a_pipe_closed_after_the_work_is_no_error():
    done = run(n=10, early=False, reader=False)
    assert (done.returncode, done.stderr) == (0, "done\n")


@pytest.mark.parametrize(("reader", "status"), [(True, 0), (False, 1)])
def test_a_pipe_closed_before_the_end_fails_a_stage_and_not_a_reader(reader: bool, status: int):
    """A stage that printed into a closed pipe ended with 0, so that DVC took its old outputs for new ones."""
    done = run(n=100_000, early=True, reader=reader)
    assert done.returncode == status
    assert "done" not in done.stderr
    assert done.stderr.count("\n") == (0 if reader else 1)
    assert reader or "the pipe of the output was closed before the end: shards are kept" in done.stderr


def test_without_any_output_the_status_is_that_of_the_work():
    script = SCRIPT.format(n=10, early=False, reader=False)
    command = ["/bin/sh", "-c", 'exec "$0" -c "$1" >&-', sys.executable, script]
    closed = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, env=BUFFERED)
    assert (closed.returncode, closed.stderr) == (0, "done\n")


@pytest.mark.parametrize("argument", ["--help", "nonsense"])
def test_the_help_of_the_command_line_may_be_cut(argument: str):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "moodlens.cli", argument]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False, env=BUFFERED)
    os.close(write)
    assert done.returncode == (0 if argument == "--help" else 2)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr

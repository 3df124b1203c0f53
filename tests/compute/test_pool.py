"""The pool: same results for any number of workers, errors as raised, a killed worker named."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import moodlens
from moodlens.base.errors import ContractError, UsageError
from moodlens.compute.pool import run_tasks


def square(x: int) -> tuple[int, int, str]:
    return x * x, os.getpid(), os.environ["OMP_NUM_THREADS"]


def refuse_three(x: int) -> int:
    if x == 3:
        raise UsageError("task 3 must not be; got 3. Leave it out.")
    return x


def kill_itself(x: int) -> int:
    if x == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


@pytest.mark.parametrize("workers", [1, 2])
def test_results_keep_the_order_of_the_tasks(workers: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    results = run_tasks(square, [3, 1, 2], workers=workers, threads=1, label="squares")
    assert [value for value, _, _ in results] == [9, 1, 4]
    assert {threads for _, _, threads in results} == {"1"}
    assert ({pid for _, pid, _ in results} == {os.getpid()}) == (workers == 1)
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_nothing_to_do():
    assert run_tasks(square, [], workers=2, threads=1, label="nothing") == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_task_is_raised_unchanged(workers: int):
    with pytest.raises(UsageError, match=r"^task 3 must not be; got 3\. Leave it out\.$"):
        run_tasks(refuse_three, [1, 2, 3, 4], workers=workers, threads=1, label="refusing")


def test_a_killed_worker_is_named():
    with pytest.raises(
        ContractError, match=r"a worker process must finish its task; got 'killed'.*compute\.workers"
    ):
        run_tasks(kill_itself, [1, 2, 3], workers=2, threads=1, label="killing")


def test_plain_lines_when_not_a_terminal(capsys: pytest.CaptureFixture[str]):
    run_tasks(square, [1, 2], workers=1, threads=1, label="squares", unit="shard", done=3)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "squares: 3/5 shards kept from an earlier run"
    assert lines[-1].startswith("squares: 5/5 shards, ")
    assert lines[-1].endswith(" 0 s left")


def test_workers_exit_when_their_parent_is_killed(tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import os, sys, time
            from pathlib import Path
            from moodlens.compute.pool import run_tasks

            def work(x):
                Path(sys.argv[1], f"{os.getpid()}.pid").touch()
                time.sleep(60)

            if __name__ == "__main__":
                run_tasks(work, [1, 2], workers=2, threads=1, label="sleep")
            """
        )
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(moodlens.__file__).parents[1])}
    parent = subprocess.Popen([sys.executable, str(program), str(tmp_path)], env=environment)
    workers = wait_for(lambda: [int(path.stem) for path in tmp_path.glob("*.pid")], 2)
    parent.kill()
    parent.wait()
    assert wait_for(lambda: [pid for pid in workers if not alive(pid)], 2) == workers


def wait_for(poll, n: int, limit_s: float = 60) -> list[int]:
    end = time.monotonic() + limit_s
    while len(poll()) < n:
        assert time.monotonic() < end
        time.sleep(0.05)
    return poll()


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"

"""An edit of the forecast leaves finished shards valid: no shard task has it in its fingerprint."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import moodlens
from moodlens.store import code_fingerprint
from moodlens.store.code_fingerprint import closure, made_by

SOURCE = Path(moodlens.__file__).parents[1]
TASKS = ("moodlens.stages.generate.shard", "moodlens.stages.reencode.shard")


@pytest.mark.parametrize("task", TASKS)
def test_a_shard_task_imports_nothing_of_the_forecast(task: str):
    modules = closure(task, SOURCE)
    assert "moodlens.backends.musicgen.packed" in modules  # the closure is followed through the backends
    assert not [name for name in modules if name.startswith("moodlens.forecast")]


@pytest.mark.parametrize("task", TASKS)
def test_an_edit_of_the_forecast_keeps_the_fingerprint_and_one_of_a_backend_does_not(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    copy = shutil.copytree(SOURCE / "moodlens", tmp_path / "moodlens", ignore=shutil.ignore_patterns("*.pyc"))
    monkeypatch.setattr(code_fingerprint, "__file__", str(copy / "store" / "code_fingerprint.py"))
    before = made_by(task)["code"]
    for path in (copy / "forecast").glob("*.py"):
        path.write_text(path.read_text(encoding="utf-8") + "\nEDITED = True\n", encoding="utf-8")
    assert made_by(task)["code"] == before
    with (copy / "backends" / "requests.py").open("a", encoding="utf-8") as stream:
        stream.write("\nEDITED = True\n")
    assert made_by(task)["code"] != before


def test_finding_a_model_and_forecasting_import_no_model_library():
    modules = "moodlens.backends.catalog, moodlens.forecast.plan, moodlens.forecast.machine"
    code = f"import sys, {modules}; print({{'torch', 'transformers'}} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "set()"

"""`moodlens compare`: real DVC experiments side by side, and what it says where there are none."""

import argparse
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from moodlens.base.errors import UsageError
from moodlens.cli import __main__ as cli
from moodlens.cli import compare
from moodlens.report.comparison import Comparison, Entry
from tests.stages.test_pipeline import must_run

ROOT = Path(__file__).parents[2]
WORK = """
import json, pathlib, yaml
params = yaml.safe_load(open("params.yaml"))
music = "strong" if params["model"]["id"] == "organism" else "none"
effect = 0.3 * params["generate"]["guidance_scale"] * (music == "strong")
strength = {"none": 0, "strong": 3}
pathlib.Path("metrics").mkdir(exist_ok=True)
numbers = {
    "0_verdict": {
        "1_text_code": 3, "1_text_code_is": "strong", "2_music": strength[music], "2_music_is": music,
        "3_use": None, "3_use_is": "untested",
    },
    "1_effects": {
        "text_code": {"effect": 0.736, "low": 0.651, "high": 0.802, "p": 0.0005, "accuracy": 1.0},
        "music": {"effect": effect, "low": effect - 0.1, "high": effect + 0.1, "p": 0.0005, "accuracy": 1.0},
        "layers": {"effect": 0.39, "low": 0.3, "high": 0.45, "p": 0.0005, "accuracy": 0.95},
    },
}
json.dump(numbers, open("metrics/overview.json", "w"))
json.dump({"text": {"fvu": 0.1}}, open("metrics/sae_overview.json", "w"))
pathlib.Path("data/runs").mkdir(parents=True, exist_ok=True)
json.dump({}, open("data/runs/decide.json", "w"))
"""
PIPELINE = """
stages:
  decide:
    cmd: python work.py
    deps: [work.py]
    params: [model, prompts, generate]
    outs: [data/runs/decide.json]
    metrics:
      - metrics/overview.json
      - metrics/sae_overview.json
"""


def arguments(**given: Any) -> argparse.Namespace:
    plain = {"experiments": [], "all_commits": False, "md": False, "json": False, "picture": None}
    return argparse.Namespace(**{**plain, **given})


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with the real parameters and one stage `decide`, never run."""
    root = tmp_path / "clone"
    root.mkdir()
    shutil.copy(ROOT / "params.yaml", root)
    (root / "work.py").write_text(WORK)
    (root / "dvc.yaml").write_text(PIPELINE)
    (root / ".gitignore").write_text("data/\nmetrics/*\n")
    must_run(root, "git", "init", "-q", "-b", "main")
    must_run(root, "git", "config", "user.email", "reviewer@example.org")
    must_run(root, "git", "config", "user.name", "A Reviewer")
    must_run(root, "dvc", "init", "-q")
    commit(root)
    monkeypatch.setenv("DVC_ROOT", str(root))
    return root


def commit(root: Path) -> None:
    must_run(root, "git", "add", "-A")
    must_run(root, "git", "commit", "-q", "-m", "a commit")


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert cli.main(["compare", *argv]) == 0
    return capsys.readouterr().out


@pytest.mark.pipeline
def test_from_a_clone_that_never_ran_to_three_experiments(
    clone: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    assert printed(capsys) == compare.NEVER_RAN + "\n"
    assert json.loads(printed(capsys, "--json"))["entries"] == []

    must_run(clone, "dvc", "repro")
    commit(clone)
    assert "No experiment of this commit: `dvc exp run" in printed(capsys)

    for name, change in {
        "shuffled": "model.id=organism-shuffled",
        "flat": "generate.guidance_scale=1.0",
        "mine": "prompts.sets=[table]",
    }.items():
        must_run(clone, "dvc", "exp", "run", "-n", name, "-S", change)
        must_run(clone, "git", "checkout", "-q", ".")
    must_run(clone, "dvc", "exp", "run", "--queue", "-n", "late", "-S", "generate.top_k=9")
    must_run(clone, "dvc", "checkout")

    monkeypatch.setenv("COLUMNS", "160")
    lines = printed(capsys).splitlines()
    assert max(map(len, lines)) <= 160
    by_name = {line.split()[0]: line for line in lines}
    assert "none" in by_name["shuffled"]
    assert "strong    0.300 [0.200, 0.400]" in by_name["flat"]
    assert "generate.guidance_scale 3 -> 1" in by_name["flat"]
    assert "strong    0.900 [0.800, 1.00]" in by_name["main"]
    assert "prompts.sets [generic, descriptive, scenes]" not in by_name["main"]
    assert "-> [table]" in by_name["mine"]
    assert "strong" not in by_name["late"]
    assert "95" in by_name["Rungs:"]

    monkeypatch.setenv("COLUMNS", "100")
    narrow = printed(capsys)
    assert max(map(len, narrow.splitlines())) <= 100
    assert all(word in narrow for word in ("untested", "organism-shuffled", "generate.guidance_scale"))

    monkeypatch.setenv("COLUMNS", "160")
    chosen = [line.split()[0] for line in printed(capsys, "flat").splitlines()[2:]]
    assert chosen == ["main", "flat", "Rungs:"]
    picture = clone / "compare.svg"
    printed(capsys, "--picture", str(picture))
    assert picture.read_text().startswith("<?xml")

    # An edited parameter: the workspace's metrics are still those of the last run.
    text = (clone / "params.yaml").read_text()
    (clone / "params.yaml").write_text(text.replace("id: organism\n", "id: organism-shuffled\n"))
    assert "workspace: not run with these parameters (model.id changed): `dvc repro`" in printed(capsys)
    commit(clone)
    said = printed(capsys)
    assert "main: not run with these parameters (model.id changed): `dvc repro`" in said
    assert "strong" not in said
    assert "shuffled" in printed(capsys, "--all-commits", "shuffled")


def entry(name: str, baseline: str = "main", model: str = "organism", **given: Any) -> Entry:
    return Entry(name, f"rev-{name}", baseline, model, **given)


def test_a_selection_keeps_the_commits_of_its_experiments():
    entries = (entry("main", ""), entry("a"), entry("b"), entry("other", ""), entry("c", "rev-other"))
    whole = Comparison(tuple(entries))
    assert [e.name for e in compare.select(whole, ["rev-b"]).entries] == ["b"]
    assert [e.name for e in compare.select(whole, ["c"]).entries] == ["other", "c"]
    with pytest.raises(UsageError, match=r"got 'othr'. Did you mean 'other'\? -A includes"):
        compare.select(whole, ["othr"])
    with pytest.raises(UsageError, match=r"Valid: main, a, b, other, c\. -A includes"):
        compare.select(whole, ["zzz"])


def test_the_longest_names_fit_and_no_verdict_is_broken():
    verdicts = dict.fromkeys(("text_code", "music", "use"), "undecided")
    changed = {f"null_text.{key}": ("10000", "[1, 2, 4, 8, 16]") for key in "abcdef"}
    long = entry("a-name-of-an-experiment-that-its-user-chose", model="/data/models/" + "x" * 60)
    long = Entry(**{**vars(long), "verdicts": verdicts, "changed": changed})
    for width in (100, 160):
        lines = compare.table(Comparison((long,)), width).splitlines()
        assert max(map(len, lines)) <= width
        assert "undecided" in " ".join(lines)


@pytest.mark.parametrize(
    ("path", "line"),
    [("x.gif", r"--picture must end in \.svg"), ("none/x.svg", "existing folder"), ("x.svg", "an effect")],
)
def test_a_picture_that_cannot_be_written(tmp_path: Path, path: str, line: str):
    with pytest.raises(UsageError, match=line):
        compare.save(Comparison((entry("main", ""),)), tmp_path / path)


def test_no_dvc_repository(tmp_path: Path):
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    with pytest.raises(UsageError, match="must be readable by DVC"):
        compare.run(arguments(), tmp_path)


def test_parameters_of_stages_after_the_verdict_do_not_matter():
    lock = {"stages": {"sae": {"params": {"params.yaml": {"sae.k": 8}}}}}
    assert compare.params_not_run(lock, {"sae": {"k": 16}}) == []
    whole = {"stages": {"generate": {"params": {"params.yaml": {"generate": {"layers": [0, 1]}}}}}}
    assert compare.params_not_run(whole, {"generate": {"layers": [0, 2]}}) == ["generate.layers"]
    assert compare.params_not_run({}, {"generate": {"layers": "all"}}) == []

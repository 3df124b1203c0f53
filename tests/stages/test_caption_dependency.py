"""A caption table under DVC: an edit of the file re-runs `prompts`, and a sweep over tables still works."""

import shutil
from pathlib import Path

import pytest
import yaml

from tests.stages.test_pipeline import ROOT, must_run, run, set_params

pytestmark = pytest.mark.pipeline


MOODS = (("happy", "joyful"), ("sad", "melancholic"))
"""Two words per emotion: with one, nothing can be held out."""


def captions(n: int, word: str = "slow") -> str:
    named = [(words[i % 2], i) for words in MOODS for i in range(n)]
    rows = [f"a {mood} {word} song number {i},[{mood}]" for mood, i in named]
    return "\n".join(["caption,aspect_list", *rows]) + "\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Stages `inputs` and `prompts`, as dvc.yaml has them, committed."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "data").mkdir()
    ignored = shutil.ignore_patterns("work", ".dvc", "src", "small-*")
    shutil.copytree(ROOT / "models" / "organism", tmp_path / "models" / "organism", ignore=ignored)
    for name in ("params.yaml", "constraints.txt", "data/captions.csv", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, tmp_path / name)
    whole = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    stages = {"stages": {name: whole["stages"][name] for name in ("inputs", "prompts")}}
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(stages))
    few = {"prompts": {"emotions": ["happy", "sad"], "n_per_emotion": 4}}
    folds = {section: {"n_folds": 3} for section in ("probe", "null_text", "relate")}
    levels = {"decide": {"alpha_strong": 0.4, "alpha_weak": 0.9}}
    set_params(tmp_path, few | folds | levels | {"signal": {"cca_rank": 1}})  # four wordings
    must_run(tmp_path, "git", "init", "-q")
    must_run(tmp_path, "git", "config", "user.email", "reviewer@example.org")
    must_run(tmp_path, "git", "config", "user.name", "A Reviewer")
    must_run(tmp_path, "dvc", "init", "-q")
    (tmp_path / "mine.csv").write_text(captions(4))
    must_run(tmp_path, "git", "add", "-A")
    must_run(tmp_path, "git", "commit", "-q", "-m", "import")
    return tmp_path


def test_an_edited_table_runs_the_stage_again_and_a_sweep_names_another(project: Path):
    must_run(project, "dvc", "repro")
    assert "song number" not in (project / "data" / "prompts.csv").read_text()
    set_params(project, {"prompts": {"sets": ["table"], "table_path": "mine.csv"}})
    must_run(project, "dvc", "repro")
    first = (project / "data" / "prompts.csv").read_text()
    assert "slow song" in first
    assert "didn't change, skipping" in must_run(project, "dvc", "repro")
    (project / "mine.csv").write_text(captions(4, "quick"))
    must_run(project, "dvc", "repro")
    assert "quick song" in (project / "data" / "prompts.csv").read_text()
    (project / "other.csv").write_text(captions(5, "loud"))
    must_run(project, "git", "add", "-A")
    must_run(project, "git", "commit", "-q", "-m", "tables")
    must_run(project, "dvc", "exp", "run", "-S", "prompts.table_path=other.csv")
    assert "loud song" in (project / "data" / "prompts.csv").read_text()
    outside = project.parent / "outside.csv"
    outside.write_text(captions(4, "bright"))
    must_run(project, "dvc", "exp", "run", "-S", f"prompts.table_path={outside}")
    assert "bright song" in (project / "data" / "prompts.csv").read_text()
    outside.unlink()
    failed = run(project, "dvc", "repro")
    assert failed.returncode != 0
    assert "outside.csv" in failed.stderr


def test_a_queued_run_with_an_untracked_table_ends_before_any_work_in_one_clear_line(project: Path):
    """params.yaml names a table that is in the workspace and not in git; the queue changes another value."""
    (project / "new.csv").write_text(captions(4, "new"))
    set_params(project, {"prompts": {"sets": ["table"], "table_path": "new.csv"}})
    must_run(project, "dvc", "repro")
    failed = run(project, "dvc", "exp", "run", "--temp", "-S", "prompts.seed=1")
    assert failed.returncode != 0
    assert "Errno" not in failed.stderr
    assert "Running stage 'prompts'" not in failed.stdout
    assert "prompts.table_path must be tracked by git, or a queued run cannot see it" in failed.stderr
    assert "or `dvc add new.csv` and `git add new.csv.dvc`" in failed.stderr
    must_run(project, "git", "add", "new.csv")
    must_run(project, "dvc", "exp", "run", "--temp", "-S", "prompts.seed=1")
    assert "didn't change, skipping" in must_run(project, "dvc", "repro")


def test_the_advice_to_use_dvc_works(project: Path):
    (project / "new.csv").write_text(captions(4, "new"))
    must_run(project, "dvc", "add", "new.csv")
    changed = ("-S", "prompts.table_path=new.csv", "-S", "prompts.sets=[table]")
    failed = run(project, "dvc", "exp", "run", "--temp", *changed)
    assert "`git add new.csv.dvc`, or give" in failed.stderr
    must_run(project, "git", "add", "new.csv.dvc")
    must_run(project, "dvc", "exp", "run", "--temp", *changed)


def test_overwritten_weights_of_a_local_folder_run_what_depends_on_them(project: Path):
    shutil.copytree(project / "models" / "organism", project / "mine")
    pipeline = yaml.safe_load((project / "dvc.yaml").read_text())
    user = {"cmd": "cp data/model.json seen.json", "deps": ["data/model.json"], "outs": ["seen.json"]}
    pipeline["stages"] = {"inputs": pipeline["stages"]["inputs"], "user": user}
    (project / "dvc.yaml").write_text(yaml.safe_dump(pipeline))
    set_params(project, {"model": {"id": "mine"}})
    must_run(project, "dvc", "repro")
    seen = (project / "seen.json").read_text()
    assert "Stage 'user' didn't change, skipping" in must_run(project, "dvc", "repro")
    weights = project / "mine" / "decoder.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert "Running stage 'user'" in must_run(project, "dvc", "repro")
    assert (project / "seen.json").read_text() != seen
    shutil.copyfile(weights, project / "mine" / "model.safetensors")
    assert "not both" in run(project, "dvc", "repro").stderr

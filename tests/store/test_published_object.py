"""The published metrics in DVC's cache: what a fresh clone's first `dvc metrics diff` compares with."""

import json
import shutil
from hashlib import md5
from pathlib import Path

import pytest
import yaml

from moodlens.store.published_object import PUBLISHED, SHOWN, remember_published
from tests.stages.test_pipeline import must_run

ROOT = Path(__file__).parents[2]
PIPELINE = """
stages:
  decide:
    cmd: python -c "import shutil; shutil.copy('made.json', 'overview.json')"
    deps: [made.json]
    metrics: [overview.json]
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A fresh clone of a repository whose published run is that of its lock."""
    root = tmp_path / "home"
    (root / PUBLISHED).mkdir(parents=True)
    (root / "made.json").write_text('{"music": 3}')
    (root / "dvc.yaml").write_text(PIPELINE)
    must_run(root, "git", "init", "-q", "-b", "main")
    must_run(root, "git", "config", "user.email", "reviewer@example.org")
    must_run(root, "git", "config", "user.name", "A Reviewer")
    must_run(root, "dvc", "init", "-q")
    must_run(root, "dvc", "repro", "-q")
    shutil.copy(root / "overview.json", root / PUBLISHED)
    must_run(root, "git", "add", "-A")
    must_run(root, "git", "commit", "-q", "-m", "published")
    must_run(tmp_path, "git", "clone", "-q", "home", "clone")
    return tmp_path / "clone"


def test_the_first_run_of_a_clone_is_compared_with_the_published_run(clone: Path):
    (clone / "made.json").write_text('{"music": 1}')
    must_run(clone, "dvc", "repro", "-q")
    (unknown,) = json.loads(must_run(clone, "dvc", "metrics", "diff", "--json"))["overview.json"].values()
    assert "old" not in unknown or unknown["old"] is None
    assert remember_published(clone) == 1
    (known,) = json.loads(must_run(clone, "dvc", "metrics", "diff", "--json"))["overview.json"].values()
    assert (known["old"], known["new"]) == (3, 1)
    assert remember_published(clone) == 0
    assert must_run(clone, "git", "status", "--porcelain").split("\n")[0] == " M dvc.lock"


def test_a_cache_elsewhere_is_found(clone: Path, tmp_path: Path):
    must_run(clone, "dvc", "config", "--local", "cache.dir", str(tmp_path / "shared"))
    assert (remember_published(clone), remember_published(clone)) == (1, 0)
    assert not (clone / ".dvc" / "cache").exists()


def test_a_folder_without_dvc_or_without_a_published_run_is_left_alone(tmp_path: Path):
    (tmp_path / PUBLISHED).mkdir(parents=True)
    (tmp_path / PUBLISHED / SHOWN[0]).write_text("{}")
    assert remember_published(tmp_path) == 0
    (tmp_path / PUBLISHED / SHOWN[0]).unlink()
    (tmp_path / ".dvc").mkdir()
    assert remember_published(tmp_path) == 0
    assert [path.name for path in tmp_path.iterdir() if path.name != "docs"] == [".dvc"]


def test_the_published_metrics_are_those_of_the_lock():
    """Otherwise the cache would hold numbers that no commit names."""
    locked = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"].values()
    outs = {out["path"]: out.get("md5") for stage in locked for out in stage["outs"]}
    for name in SHOWN:
        assert outs[f"metrics/{name}"] == md5((ROOT / PUBLISHED / name).read_bytes()).hexdigest()

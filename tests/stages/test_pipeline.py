"""The whole pipeline under DVC, from a clone, on the embedded organism at reduced size."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from moodlens.decision.ladder import RUNGS, SOURCES
from moodlens.plots.dvc_page import write_page
from moodlens.stages import STAGES
from moodlens.stages.shell import QUIET
from tests.browser import needs_chromium, visit

ROOT = Path(__file__).parents[2]
SMALL = {
    "prompts": {"n_per_emotion": 6},
    "generate": {"duration_s": 1.5, "clips_per_shard": 12},
    "signal": {"n_permutations": 1999, "n_bootstrap": 200},
    "probe": {"n_permutations": 1999, "n_bootstrap": 200, "n_folds": 4},
    "reencode": {"n_steps": 3},
    "null_text": {"n_permutations": 1999, "n_bootstrap": 200, "n_folds": 4, "n_draws": 20, "shots": [1]},
    "forks": {"steps_s": [0.3], "where_s": 0, "run_guidance_s": 0, "judged_s": 1.0, "n_seeds": 1},
    "interchange": {"judged_s": 1.0, "n_draws": 2},
    "temporal": {"n_permutations": 199, "n_bootstrap": 100},
    "geometry": {"n_permutations": 199, "n_bootstrap": 100, "umap": False},
    "sae": {"override_gate": True, "n_steps": 20, "n_seeds": 2, "expansion": 2, "k": 4},
    "latents": {"n_permutations": 199, "splice_clips": 4},
    "compute": {"workers": 1},
}

pytestmark = [pytest.mark.pipeline, pytest.mark.xdist_group("pipeline")]


def run(root: Path, *argv: str) -> subprocess.CompletedProcess:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "MLFLOW_", "COV_"))}
    env |= {
        **QUIET,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    env["PYTHONPATH"] = str(root / "src")
    return subprocess.run(argv, cwd=root, env=env, capture_output=True, text=True, check=False)


def must_run(root: Path, *argv: str) -> str:
    done = run(root, *argv)
    assert done.returncode == 0, f"{' '.join(argv)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def set_params(root: Path, changes: dict) -> None:
    path = root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    for section, values in changes.items():
        params[section].update(values)
    path.write_text(yaml.safe_dump(params, sort_keys=False))


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone as a stranger has it (tracked and new files, no data), reproduced once."""
    root = tmp_path_factory.mktemp("clone")
    listed = must_run(ROOT, "git", "ls-files", "-co", "--exclude-standard", "-z")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    set_params(root, SMALL)
    must_run(root, "git", "init", "-q")
    must_run(root, "git", "config", "user.email", "reviewer@example.org")
    must_run(root, "git", "config", "user.name", "A Reviewer")
    must_run(root, "git", "add", "-A")
    must_run(root, "git", "commit", "-q", "-m", "import")
    must_run(root, "dvc", "repro")
    must_run(root, "git", "add", "-A")
    must_run(root, "git", "commit", "-q", "-m", "reproduced")
    return root


def test_every_rung_has_a_verdict_and_every_dataset_passed(clone: Path):
    decision = json.loads((clone / "metrics" / "decide.json").read_text())
    verdicts = {rung: decision["rungs"][rung]["verdict"] for rung in RUNGS}
    untested = [name for name, verdict in verdicts.items() if verdict == "untested"]
    assert untested == [*SOURCES, "use"], "two prompts per set leave no second wording for a donor"
    for stage in ("forks", "interchange"):
        assert "share a slot" in json.loads((clone / "metrics" / f"{stage}.json").read_text())["reason"]
    assert json.loads((clone / "metrics" / "check.json").read_text())["success"] is True
    assert len((clone / "reports" / "index.html").read_bytes()) > 50_000


def test_a_run_changes_nothing_in_git_but_its_lock(clone: Path):
    changed = must_run(clone, "git", "show", "--name-only", "--format=").split()
    assert changed == ["dvc.lock"]
    assert must_run(clone, "git", "status", "--porcelain") == ""


def outputs_of(lock: dict) -> dict[str, str]:
    return {out["path"]: out["md5"] for entry in lock.values() for out in entry["outs"] if "md5" in out}


def test_one_mlflow_run_per_result_and_below_it_stages_with_their_own_inputs(clone: Path):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{clone}/mlflow.db")
    outcome = json.loads((clone / "reports" / "mlflow.json").read_text())
    assert outcome["logged"] is True
    parent = client.get_run(outcome["run_id"])
    assert parent.data.tags["model.id"] == "organism"
    assert parent.data.params["generate.duration_s"] == "1.5"
    children = {
        run_.data.tags["moodlens.stage"]: run_
        for run_ in client.search_runs([outcome["experiment_id"]])
        if run_.data.tags.get("mlflow.parentRunId") == outcome["run_id"]
    }
    assert set(children) == set(STAGES) - {"inputs", "track"}
    stages = yaml.safe_load((clone / "dvc.yaml").read_text())["stages"]
    locked = yaml.safe_load((clone / "dvc.lock").read_text())["stages"]
    made = outputs_of(locked)
    (captions,) = (dep for dep in locked["prompts"]["deps"] if dep["path"] == "data/captions.csv")
    made["${prompts.table_path}"] = captions["md5"]
    for stage in ("signal", "probe", "null_text"):
        deps = {dep: made[dep] for dep in stages[stage]["deps"] if dep in made}
        deps = {dep.replace("${prompts.table_path}", captions["path"]): md5 for dep, md5 in deps.items()}
        entries = [entry.dataset for entry in children[stage].inputs.dataset_inputs]
        assert {entry.name: entry.digest for entry in entries} == deps
        assert "data/latents.parquet" not in deps, "made downstream"


def test_saes_are_trained_over_the_gate_registered_and_judged(clone: Path):
    from mlflow import MlflowClient

    trained = json.loads((clone / "metrics" / "sae.json").read_text())
    assert (trained["trained"], trained["gate_passed"], trained["gate_overridden"]) == (True, False, True)
    sites = json.loads((clone / "metrics" / "latents.json").read_text())["sites"]
    assert set(sites) == set(trained["sites"]) == {"text", "residual.3"}
    client = MlflowClient(f"sqlite:///{clone}/mlflow.db")
    entries = json.loads((clone / "reports" / "mlflow.json").read_text())["saes"]
    assert {entry["site"] for entry in entries} == set(sites)
    for entry in entries:
        version = client.get_model_version(entry["model"], entry["version"])
        assert version.tags["gate"] == ("passed" if sites[entry["site"]]["champion_gate"] else "failed")


def test_the_verdict_is_of_this_run(clone: Path):
    text = must_run(clone, sys.executable, "-m", "moodlens.cli", "verdict")
    assert text.startswith("organism, 24 prompts x 2 seeds, run at git ")
    assert "NOT of this workspace" not in text


def test_a_second_repro_looks_at_the_model_and_runs_nothing(clone: Path):
    said = must_run(clone, "dvc", "repro")
    assert [line for line in said.splitlines() if "Running stage" in line] == ["Running stage 'inputs':"]


@needs_chromium
def test_every_plot_of_the_run_is_drawn_without_a_network(clone: Path):
    write_page(clone)
    must_run(clone, "dvc", "plots", "show")
    listed = yaml.safe_load((clone / "dvc.yaml").read_text())["plots"]
    with visit((clone / "dvc_plots" / "index.html").as_uri()) as seen:
        for ((name, drawn),) in (plot.items() for plot in listed):
            (table,) = drawn["y"]
            if len((clone / table).read_text().splitlines()) > 1:  # DVC leaves out a table without rows
                seen.page.wait_for_selector(f"#{name} svg .role-mark path", state="attached")
    assert seen.errors == seen.refused == []
    assert must_run(clone, "git", "status", "--porcelain", "dvc_plots") == ""


def test_a_changed_threshold_reruns_decide_report_and_track_only(clone: Path):
    set_params(clone, {"decide": {"accuracy_weak": 0.55}})
    said = must_run(clone, "dvc", "repro")
    assert [s for s in STAGES if f"Running stage '{s}'" in said] == ["inputs", "decide", "report", "track"]
    must_run(clone, "git", "checkout", "-q", "params.yaml")
    must_run(clone, "dvc", "repro")


def test_an_experiment_and_the_diff_of_its_metrics(clone: Path):
    must_run(clone, "dvc", "exp", "run", "-S", "generate.guidance_scale=1.0")
    diff = must_run(clone, "dvc", "metrics", "diff", "--md")
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in diff.splitlines()[2:] if "|" in line]
    assert {path for path, _ in rows} == {"metrics/overview.json", "metrics/sae_overview.json"}
    # DVC orders files at random, the names within a file by letter: the verdict leads its file
    names = [name for path, name in rows if path == "metrics/overview.json"]
    assert 3 <= len(names) <= 27
    assert names[0].startswith(("0_verdict.", "1_effects."))
    params = must_run(clone, "dvc", "params", "diff", "--md")
    assert "generate.guidance_scale" in params


def test_a_stage_that_fails_its_contract_stops_the_rest(clone: Path):
    set_params(clone, {"check": {"min_step_change": 1e9}})
    done = run(clone, "dvc", "repro")
    assert done.returncode != 0
    assert "step_change must be" in done.stderr + done.stdout
    assert "Running stage 'signal'" not in done.stdout

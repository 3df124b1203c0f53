"""The stage on the tiny model: gates, files, resume after SIGKILL, one line for each bad input."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from moodlens.base.errors import ContractError, UsageError
from moodlens.contracts.tables import TEXTS
from moodlens.params.pipeline import Params, parse_params
from moodlens.report.sae import sae_finding
from moodlens.stages.sae import stage as sae
from moodlens.stages.sae.task import SaeTask, train_one
from moodlens.store.sae_files import load_sae
from moodlens.store.shards import read_shard, write_shard
from moodlens.store.tables import read_metrics, read_table, write_metrics
from moodlens.workspace.design import open_workspace
from moodlens.workspace.sae_rows import open_rows
from tests.stages.datasets import make_workspace

ROOT = Path(__file__).parents[2]


def small(params: Params, **changes: Any) -> Params:
    """The parameters with SAEs that train in a moment."""
    section = replace(
        params.sae, n_steps=12, batch_rows=128, buffer_rows=8192, expansion=2, k=4, n_seeds=2,
        sites=("text", "residual.1"),
    )  # fmt: skip
    return replace(params, sae=replace(section, **changes))


def open_gate(root: Path, passed: bool = True) -> None:
    (root / "metrics").mkdir(exist_ok=True)
    failed = [] if passed else ["clips_per_emotion", "silhouette"]
    write_metrics({"gates": {"passed": passed, "failed": failed}}, root / "metrics" / "decide.json")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Params]:
    root = tmp_path_factory.mktemp("sae")
    params = small(make_workspace(root, n_per_emotion=6))
    open_gate(root)
    sae.run(params, root)
    return root, params


def test_everything_is_written_and_a_second_run_writes_the_same_bytes(workspace: tuple[Path, Params]):
    root, params = workspace
    files = [path for folder in ("models/sae", "data/sae") for path in (root / folder).rglob("*.*")]
    files += [root / "metrics" / "sae.json", root / "metrics" / "sae_curves.csv"]
    files = [path for path in files if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    run = sae.run(params, root)
    assert {path: path.read_bytes() for path in files} == before
    metrics = json.loads((root / "metrics" / "sae.json").read_text())
    assert metrics["trained"] is True
    assert metrics["gate_overridden"] is False
    assert {site: figures["d_sae"] for site, figures in metrics["sites"].items()} == {
        "residual.1": 64,
        "text": 32,
    }
    assert all(figures["fvu"] > 0 and figures["l0"] <= 4 for figures in metrics["sites"].values())
    names = {"seed-0", "seed-1", "twin"}
    assert {path.name for path in (root / "models" / "sae" / "text").iterdir()} == names
    curves = pd.read_csv(root / "metrics" / "sae_curves.csv")
    assert set(curves["name"]) == names
    assert run is not None
    assert [part.tags["sae.site"] for part in run.children] == ["text", "residual.1"]
    for part in (each for site in run.children for each in (site, *site.children)):
        assert not set(part.metrics) & set(part.curves), "MLflow refuses two values of one metric and step"
    assert load_sae(root / "models" / "sae" / "text" / "seed-0").config.d_in == 16
    assert not list((root / ".cache" / "sae").glob("*")), "finished checkpoints are gone"
    finding = sae_finding(metrics, curves.to_dict("records"))
    assert "latents" in finding.summary
    assert len(finding.figures) == 2


def test_splits_hold_wordings_whole_and_rows_come_from_complete_steps(workspace: tuple[Path, Params]):
    root, _ = workspace
    texts = read_table(TEXTS, root / "data" / "sae" / "texts.csv")
    emotional = texts[texts["emotion"] != "neutral"]
    assert emotional.groupby("wording")["split"].nunique().max() == 1
    shares = emotional["split"].value_counts(normalize=True)
    assert shares["train"] == pytest.approx(0.7, abs=0.1)
    assert 400 < len(texts) < 520
    work = open_workspace(root)
    rows = open_rows(work, "residual.1")
    blocks = list(rows.blocks())
    assert rows.clips is not None
    n_steps = int(rows.clips["n_steps"].iloc[0])
    assert set(np.concatenate([block.positions for block in blocks])) == set(range(3, n_steps - 3))
    stored = read_shard(root / "data" / "activations" / "shard-0000.safetensors")["residual.1/cond"]
    first = blocks[0]
    assert first.positions[0] == 3
    row_of, prompt_of = (rows.clips[name].to_numpy()[first.clips] for name in ("row", "prompt_id"))
    np.testing.assert_array_equal(first.values, stored[row_of, first.positions])
    assert (rows.texts["text_id"].to_numpy()[first.texts] == prompt_of).all()
    total = sum(len(array) for split in ("train", "val", "test") for array in rows.source(split)())
    assert total == sum(len(block.values) for block in blocks)
    twin = next(iter(open_rows(work, "residual.1", twin=True).blocks()))
    assert twin.values.shape == first.values.shape
    assert not np.allclose(twin.values, first.values)


def test_a_closed_gate_ends_well_and_says_why(
    workspace: tuple[Path, Params], capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    open_gate(tmp_path, passed=False)
    assert sae.run(workspace[1], tmp_path) is None
    metrics = json.loads((tmp_path / "metrics" / "sae.json").read_text())
    assert metrics["trained"] is False
    assert metrics["gates_failed"] == "clips_per_emotion, silhouette"
    assert "not trained" in capsys.readouterr().out
    for folder in ("models/sae", "data/sae"):  # DVC warns of a folder that is empty
        (note,) = (tmp_path / folder).iterdir()
        assert note.read_text() == "not trained, a gate of decide is closed (clips_per_emotion, silhouette)\n"
    assert "a gate of the verdict is closed" in sae_finding(metrics, []).summary


def test_a_verdict_without_gates_is_one_line(tmp_path: Path, workspace: tuple[Path, Params]):
    (tmp_path / "metrics").mkdir()
    write_metrics({"headline": "x"}, tmp_path / "metrics" / "decide.json")
    with pytest.raises(ContractError, match=r"decide\.json must hold the gates of SAE training; got 'none'"):
        sae.run(workspace[1], tmp_path)


def test_an_override_trains_and_is_recorded(workspace: tuple[Path, Params], tmp_path: Path):
    root, params = workspace
    open_gate(root, passed=False)
    changed = replace(params, sae=replace(params.sae, override_gate=True, sites=("text_pooled",), twin=False))
    changed = replace(changed, sae=replace(changed.sae, n_seeds=1))
    try:
        sae.run(changed, root)
    finally:
        open_gate(root)
    metrics = json.loads((root / "metrics" / "sae.json").read_text())
    assert metrics["gate_overridden"] is True
    assert "override_gate is set" in sae_finding(metrics, []).summary
    assert "fvu_twin" not in metrics["sites"]["text_pooled"]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"sites": ("residule.1",)}, UsageError, r"sae\.sites must hold text, text_pooled or <site>"),
        ({"sites": ("residual.9",)}, UsageError, r"hold layers that were recorded; got 'residual\.9'"),
        ({"k": 999}, UsageError, r"TopKConfig\.k must be at most d_sae = 32; got 999"),
        ({"buffer_rows": 200}, UsageError, r"Plan\.buffer_rows must hold two batches of 128 rows; got 200"),
        ({"architecture": "relu"}, UsageError, r"Plan\.revive must be resample or none with ReluConfig"),
    ],
)
def test_bad_settings_are_one_line(workspace: tuple[Path, Params], changes: dict, error: type, message: str):
    root, params = workspace
    section = replace(params.sae, **{"sites": ("text",), "twin": False, "n_seeds": 1, **changes})
    with pytest.raises(error, match=message) as caught:
        sae.run(replace(params, sae=section), root)
    assert "\n" not in str(caught.value)


def test_layers_of_clips_without_steps_are_one_line_that_names_text_sites(
    workspace: tuple[Path, Params], tmp_path: Path
):
    root, params = workspace
    shutil.copytree(root / "metrics", tmp_path / "metrics")
    shown = read_metrics(root / "data" / "activations" / "manifest.json")
    shown["capture"] |= {"pooled_only": True}
    write_metrics(shown, tmp_path / "data" / "activations" / "manifest.json")
    with pytest.raises(UsageError) as caught:
        sae.run(params, tmp_path)
    assert str(caught.value) == (
        "generate.pooled_only must be false to read the states of single steps; got True. "
        "Set sae.sites to text sites (text, text_pooled) or generate.pooled_only to false."
    )


def test_an_unknown_architecture_names_the_nearest():
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    raw["sae"]["architecture"] = "topkk"
    with pytest.raises(UsageError, match=r"sae\.architecture must be one of .*got 'topkk'.*mean 'topk'"):
        parse_params(raw)


def test_broken_rows_are_one_line(workspace: tuple[Path, Params]):
    root, params = workspace
    task = SaeTask(root, params.sae, "text", 0, False, 1)
    path = root / "data" / "sae" / "texts.safetensors"
    whole = path.read_bytes()
    from moodlens.store.shards import shard_metadata

    tensors, about = read_shard(path), shard_metadata(path)
    train = np.flatnonzero((open_rows(open_workspace(root), "text").texts["split"] == "train").to_numpy())
    row = int(np.cumsum([0, *about["n_tokens"]])[train[0]])
    try:
        tensors["tokens"][row] = np.nan
        write_shard(path, tensors, about)
        with pytest.raises(ContractError, match="row 0 of an SAE's rows must be finite"):
            train_one(task)
        about["n_tokens"] = about["n_tokens"][:-1]
        write_shard(path, tensors, about)
        with pytest.raises(ContractError, match=r"texts\.safetensors must hold every text"):
            train_one(task)
    finally:
        path.write_bytes(whole)


TRAIN = """
    import sys, time
    from dataclasses import replace
    from pathlib import Path
    from moodlens.stages.sae import task as sae_task
    from moodlens.stages.shell import load_params

    root, slow = Path(sys.argv[1]), float(sys.argv[2])
    params = load_params(root)
    def keep(path, state):
        save(path, state)
        print("saved", flush=True)
        time.sleep(slow)
    save, sae_task.save_state = sae_task.save_state, keep
    task = sae_task.SaeTask(root, params.sae, "text", 0, False, 1)
    print(sae_task.train_one(task).figures["n_epochs"], flush=True)
"""


def test_a_killed_training_ends_in_the_bits_of_one_that_was_not(workspace: tuple[Path, Params]):
    """A real SIGKILL between two epochs; the output folder is then deleted, as DVC does."""
    root, params = workspace
    section = {**vars(params.sae), "sites": ["text"], "n_steps": 60}
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    (root / "params.yaml").write_text(yaml.safe_dump({**raw, "sae": section}))
    folder = root / "models" / "sae" / "text" / "seed-0"

    def started(slow: float) -> subprocess.Popen:
        argv = [sys.executable, "-c", textwrap.dedent(TRAIN), str(root), str(slow)]
        env = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def weights() -> bytes:
        return (folder / "sae_weights.safetensors").read_bytes()

    out, err = started(0).communicate()
    assert out.strip().splitlines()[-1].isdigit(), err
    whole = weights()
    for path in (root / ".cache" / "sae").glob("*"):
        path.unlink()
    (folder / "sae_weights.safetensors").unlink()

    process = started(5)
    assert process.stdout is not None
    assert process.stdout.readline() == "saved\n"
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert process.stderr is not None
    process.stderr.close()
    assert not (folder / "sae_weights.safetensors").exists()
    assert len(list((root / ".cache" / "sae").glob("*.safetensors"))) == 1
    out, err = started(0).communicate()
    assert "resumed at step" in err
    assert weights() == whole

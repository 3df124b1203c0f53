"""Stage `geometry` on planted workspaces: what separates, what does not, the gate's number, the chapter."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moodlens.base.errors import ContractError
from moodlens.contracts.tables import PROMPTS
from moodlens.params.pipeline import Params
from moodlens.stages import geometry
from moodlens.stages.report.chapters import CHAPTERS
from moodlens.stages.shell import load_params
from moodlens.store.run_record import Run
from moodlens.store.shards import read_shard, write_shard
from moodlens.store.tables import read_metrics, read_table, write_table
from tests.stages.planted import ROOT, plant, planted_params


def small_params(**changes: object) -> Params:
    params = planted_params()
    quick = {"n_permutations": 199, "n_bootstrap": 100, "umap": False, **changes}
    return replace(params, geometry=replace(params.geometry, **quick))


@pytest.fixture(autouse=True)
def logged(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    runs: list[Run] = []
    stage = geometry.run
    monkeypatch.setattr(geometry, "run", lambda *given: runs.append(stage(*given)))
    return runs


def rows_of(root: Path) -> pd.DataFrame:
    return pd.read_csv(root / "metrics" / "geometry_layers.csv").set_index("family")


def _noisy(values: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(int(abs(values[0, 0]) * 1e6))
    return (values + rng.normal(size=values.shape)).astype(np.float32)


def test_the_organism_has_a_map_and_its_twin_has_none(tmp_path: Path, logged: list[Run]):
    plant(tmp_path, "organism", small_params())
    for path in (tmp_path / "data" / "activations").glob("summary-*.safetensors"):
        tensors = read_shard(path)
        for layer in (0, 2):  # layer 1 is left the clearest
            tensors[f"residual.{layer}/cond/mean"] = _noisy(tensors[f"residual.{layer}/cond/mean"])
        write_shard(path, tensors)
    geometry.run(small_params(), tmp_path)
    metrics, rows = read_metrics(tmp_path / "metrics" / "geometry.json"), rows_of(tmp_path)
    assert metrics["silhouette_p"] == metrics["rsa_p"] == metrics["smallest_p"] == 0.005
    assert metrics["silhouette"] > metrics["silhouette_null_best"]
    assert metrics["silhouette"] > metrics["silhouette_clips"]
    assert metrics["silhouette_site"] == "residual.1/cond"
    assert metrics["smallest_p_emotions"] == pytest.approx(1 / 24, abs=1e-6)
    assert metrics["near_happy_energetic_low"] > 0
    assert rows.loc["music"].set_index("site").loc["acoustics", "p_rsa_maxt"] < 0.05
    assert metrics["rsa_rho"] > metrics["rsa_rho_twin"]
    assert set(rows.index) >= {"layers", "twin_layers", "text", "words", "music"}
    points = pd.read_csv(tmp_path / "metrics" / "geometry_points.csv")
    assert points.groupby(["site", "layer"], dropna=False).size().unique().tolist() == [64]
    assert points["umap1"].isna().all()
    shares = pd.read_csv(tmp_path / "metrics" / "geometry_spectrum.csv")
    assert shares.groupby(["family", "site", "layer"], dropna=False)["share"].sum().max() <= 1 + 1e-5
    assert logged[0].name == "geometry"
    assert {child.name for child in logged[0].children} >= {"geometry/layers", "geometry/text"}


def test_a_random_model_has_no_map_of_the_emotions(tmp_path: Path):
    plant(tmp_path, "random", small_params())
    geometry.run(small_params(), tmp_path)
    metrics, rows = read_metrics(tmp_path / "metrics" / "geometry.json"), rows_of(tmp_path)
    assert metrics["silhouette_p"] > 0.05
    assert metrics["silhouette"] < 0.05
    assert "circumplex_r" not in metrics
    assert rows.loc["music", "p_silhouette_maxt"].min() > 0.05
    (chapter,) = [chapter for chapter in CHAPTERS if chapter.key == "geometry"]
    finding = chapter.build(tmp_path, small_params())
    assert finding is not None
    assert "not far enough apart" in finding.summary


def test_text_alone_is_mapped_and_the_bytes_repeat(tmp_path: Path):
    params = small_params(sites=("bow", "text"))
    plant(tmp_path, "organism", params)
    (tmp_path / "data" / "clips.parquet").unlink()
    seen = []
    for _ in range(2):
        geometry.run(params, tmp_path)
        seen.append({path.name: path.read_bytes() for path in (tmp_path / "metrics").iterdir()})
    assert seen[0] == seen[1]
    metrics = read_metrics(tmp_path / "metrics" / "geometry.json")
    assert "silhouette" not in metrics
    assert metrics["silhouette_text"] > rows_of(tmp_path).loc["words", "silhouette"]


def test_the_chapter_shows_pictures_tests_and_the_limit_of_four_emotions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """UMAP itself is tested with the core; here a stand-in draws."""
    asked = []

    def stand_in(coordinates: np.ndarray, n_neighbors: int, seed: int) -> np.ndarray:
        asked.append((len(coordinates), n_neighbors, seed))
        return coordinates[:, :2]

    monkeypatch.setattr(geometry, "umap_points", stand_in)
    params = small_params(umap=True, umap_neighbors=9)
    plant(tmp_path, "organism", params)
    geometry.run(params, tmp_path)
    assert set(asked) == {(64, 9, 0)}
    (chapter,) = [chapter for chapter in CHAPTERS if chapter.key == "geometry"]
    finding = chapter.build(tmp_path, params)
    assert finding is not None
    assert len(finding.figures) == 5
    assert "licenses no claim" in finding.figures[1].caption
    assert "4 emotions have 24 relabellings" in finding.grids[0].notes[0]
    assert "0.042" in finding.grids[0].notes[0]
    assert "happy and energetic are" in finding.summary
    assert "sad and calm are" in finding.summary
    (tmp_path / "metrics" / "geometry_points.csv").unlink()
    assert chapter.build(tmp_path, params) is None


def test_two_emotions_and_unequal_groups_work(tmp_path: Path):
    params = planted_params(emotions=("happy", "sad"))
    params = replace(params, geometry=small_params().geometry)
    plant(tmp_path, "organism", params)
    path = tmp_path / "data" / "prompts.csv"
    table = read_table(PROMPTS, path)
    table.loc[[0, 1, 2], "emotion"] = "neutral"
    write_table(table, PROMPTS, path)
    geometry.run(params, tmp_path)
    metrics = read_metrics(tmp_path / "metrics" / "geometry.json")
    assert metrics["n_prompts"] == 29
    assert metrics["smallest_p_emotions"] == 0.5
    assert metrics["circumplex_r"] is None
    (chapter,) = [chapter for chapter in CHAPTERS if chapter.key == "geometry"]
    finding = chapter.build(tmp_path, params)
    assert finding is not None
    assert "too few" in finding.summary


def test_an_emotion_with_one_wording_is_refused(tmp_path: Path):
    params = small_params()
    plant(tmp_path, "organism", params)
    path = tmp_path / "data" / "prompts.csv"
    table = read_table(PROMPTS, path)
    table.loc[table["emotion"] == "sad", "wording"] = "sad"
    write_table(table, PROMPTS, path)
    with pytest.raises(ContractError, match="emotion 'sad' must have at least 2 wordings; got 1"):
        geometry.run(params, tmp_path)


def test_the_shipped_parameters_draw_umap():
    assert load_params(ROOT).geometry.umap

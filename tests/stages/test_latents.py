"""The stage on the tiny model: tables, metrics, the gate of the champion, the report, a closed gate."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moodlens.backends import catalog
from moodlens.base.errors import UsageError
from moodlens.contracts.backend import Capture
from moodlens.contracts.tables import LATENTS
from moodlens.latents.baselines import pooled_by_text
from moodlens.params.pipeline import Params
from moodlens.report.latent_claims import claim_sentences
from moodlens.report.latents import latents_finding
from moodlens.sae.array_maps import error_map, latent_map
from moodlens.sae.metrics import quality
from moodlens.stages.latents import stage as latents
from moodlens.stages.latents.claims import claims_of
from moodlens.stages.latents.opening import open_site, pool
from moodlens.stages.latents.readers import accuracies, reader_settings
from moodlens.stages.sae import stage as sae
from moodlens.store.run_record import Run
from moodlens.store.sae_files import load_sae
from moodlens.store.shards import read_shard
from moodlens.store.tables import read_table
from moodlens.workspace.design import open_workspace
from moodlens.workspace.sae_rows import Block, null_text_blocks, open_rows
from tests.stages.datasets import make_workspace
from tests.stages.test_sae import open_gate, small


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Params, Run]:
    root = tmp_path_factory.mktemp("latents")
    params = small(make_workspace(root, n_per_emotion=6))
    params = replace(
        params,
        probe=replace(params.probe, n_folds=3),
        latents=replace(
            params.latents,
            n_permutations=199,
            splice_clips=2,
            n_shown=8,
            fdr=0.5,
            n_removed=2,
            match_factor=100.0,
        ),
    )
    open_gate(root)
    sae.run(params, root)
    run = latents.run(params, root)
    assert run is not None
    files = ("metrics/latents.json", "metrics/latents_counts.csv", "metrics/latents_top.csv")
    first = [(root / name).read_bytes() for name in (*files, "data/latents.parquet")]
    latents.run(params, root)
    assert first == [(root / name).read_bytes() for name in (*files, "data/latents.parquet")]
    return root, params, run


def test_metrics_and_tables_say_the_same(finished: tuple[Path, Params, Run]):
    root, params, run = finished
    metrics = json.loads((root / "metrics" / "latents.json").read_text())
    table = read_table(LATENTS, root / "data" / "latents.parquet")
    counts = pd.read_csv(root / "metrics" / "latents_counts.csv")
    assert set(metrics["sites"]) == {"text", "residual.1"}
    for site, figures in metrics["sites"].items():
        mine = table[table["site"] == site]
        selective = (mine["q"] < params.latents.fdr) & (mine["ratio"] > 2)
        assert figures["n_selective"] == selective.sum()
        assert figures["n_over_2"] == (mine["ratio"] > 2).sum()
        row = counts[(counts["site"] == site) & (counts["reading"] == "sae")].iloc[0]
        assert row["n_selective"] == figures["n_selective"]
        assert {"accuracy_states", "accuracy_reconstruction", "stable_70", "held_out_kept"} <= figures.keys()
    layer = metrics["sites"]["residual.1"]
    assert {"null_survive", "null_twin_selective", "loss_recovered"} <= layer.keys()
    assert {"accuracy_twin_states", "accuracy_twin_latents", "accuracy_null_twin_states"} <= layer.keys()
    assert layer["null_survive"] <= layer["n_selective"]
    assert "null_survive" not in metrics["sites"]["text"]
    assert table.loc[table["site"] == "text", "null_q"].isna().all()
    kinds = set(counts.loc[counts["site"] == "text", "reading"])
    expected = {"pca", "ica", "kmeans", "dimensions", "untrained_sae", "twin_sae", "shuffled_labels", "words"}
    assert expected <= kinds
    assert all(isinstance(figures["champion_gate"], bool) for figures in metrics["sites"].values())
    assert [part.tags["sae.site"] for part in run.children] == list(metrics["sites"])


def test_claims_of_every_site_are_written_with_their_controls(finished: tuple[Path, Params, Run]):
    root, params, run = finished
    sites = json.loads((root / "metrics" / "latents.json").read_text())["sites"]
    for site, figures in sites.items():
        assert list(figures["sparse"]) == [str(k) for k in params.latents.sparse_k]
        assert set(figures["sparse"]["1"]) == {"sae", "untrained_sae", "twin_sae", "random", "pca", "dense"}
        perturbed = figures["perturbation"]
        matrix = pd.DataFrame(perturbed["matrix"]).T
        assert list(matrix) == list(matrix.index)
        n = figures["absorption"]["by_emotion"]
        assert sum(one["n_wordings"] for one in n.values()) == figures["n_wordings"]
        seeds = figures["seeds"]
        assert (seeds["n"], seeds["claims"]) == (2, False)
        assert seeds["stable_70"]["low"] is None, "two seeds are one pair"
        assert seeds["selectivity"]["low"] < seeds["selectivity"]["high"]
        ahead = seeds["sparse_2"]["mean"] - figures["sparse"]["2"]["random"]["accuracy"]
        assert seeds["gain_random_2"]["mean"] == pytest.approx(ahead, abs=1e-5)
        assert ("factors" in figures) == (site != "text")
        child = next(part for part in run.children if part.tags["sae.site"] == site)
        assert child.metrics["seeds.sparse_1"] == pytest.approx(seeds["sparse_1"]["mean"], rel=1e-5)
    bases = sites["residual.1"]["factors"]["bases"]
    assert {"sae", "untrained_sae", "twin_sae", "random", "pca", "ideal"} == set(bases)
    assert bases["ideal"]["mean"]["r2"] == pytest.approx(1)
    of_chosen = sites["text"]["perturbation"]["selectivity"]
    assert sites["text"]["seeds"]["selectivity"]["mean"] != pytest.approx(of_chosen, rel=1e-6)


def test_a_comparison_without_a_matched_control_has_no_number_and_the_page_says_so(
    finished: tuple[Path, Params, Run],
):
    root, params, _ = finished
    section = replace(params.latents, n_removed=1000, null_text=False, splice_clips=0, fdr=0.5)
    changed = replace(params, latents=section)
    work = open_workspace(root)
    pooled = pool(site := open_site(work, "text", "seed-0", changed))
    found = claims_of(site, pooled, reader_settings(changed.probe))
    assert found["perturbation"]["no_control"].startswith("no matched control: ")
    assert found["perturbation"]["p"] is found["perturbation"]["control"] is None
    assert found["removal"].keys() == {"n_removed", "accuracy", "no_control"}
    assert all(sentence in " ".join(claim_sentences(found)) for sentence in ("no matched control", "needed"))


def test_the_chapter_is_made_of_what_was_written(finished: tuple[Path, Params, Run]):
    root, params, *_ = finished
    metrics = json.loads((root / "metrics" / "latents.json").read_text())
    rows = [
        pd.read_csv(root / "metrics" / f"latents_{name}.csv").to_dict("records") for name in ("counts", "top")
    ]
    finding = latents_finding(metrics, *rows, params.latents.fdr)  # pyright: ignore[reportArgumentType]
    assert finding is not None
    assert "counts describe the site and are no evidence" in finding.summary
    assert "under null text" in finding.summary
    n = sum(bool([row for row in rows[1] if row["site"] == site]) for site in metrics["sites"])
    assert len(finding.figures) == 2 + 2 + n
    captions = [grid.caption for grid in finding.grids]
    assert len(captions) == len(set(captions)) == 2 * 6 + 1 + n, "factors are known at the layer alone"
    assert len({figure.svg for figure in finding.figures}) == len(finding.figures)


def test_pooling_in_chunks_equals_the_mean_and_errors_make_the_fvu(
    finished: tuple[Path, Params, Run], monkeypatch: pytest.MonkeyPatch
):
    root, *_ = finished
    rows = open_rows(open_workspace(root), "residual.1")
    model = load_sae(root / "models" / "sae" / "residual.1" / "seed-0")
    values = np.concatenate([block.values for block in rows.blocks()]).astype(np.float32)
    owner = np.concatenate([block.texts for block in rows.blocks()])
    mean = values.mean(axis=0)
    maps = {"plain": lambda x: x, "sae": latent_map(model), "error": error_map(model, mean)}
    monkeypatch.setattr("moodlens.latents.baselines.CHUNK_ROWS", 7)
    pooled = pooled_by_text(rows.by_text(), maps, len(rows.texts))
    for text in range(len(rows.texts)):
        np.testing.assert_allclose(pooled["plain"][text], values[owner == text].mean(axis=0), atol=1e-4)
    import torch

    error, distance = pooled["error"].mean(axis=0)
    assert error / distance == pytest.approx(quality(model, [torch.from_numpy(values)]).fvu, rel=1e-3)


def test_the_reader_finds_planted_emotion_and_leaves_out_what_is_constant(finished: tuple[Path, Params, Run]):
    root, params, _ = finished
    design = open_site(open_workspace(root), "residual.1", "seed-0", params).design
    rng = np.random.default_rng(0)
    planted = rng.standard_normal((design.n_prompts, 8))
    planted[:, :4] += 9 * np.eye(4)[design.labels]
    noise = rng.standard_normal((design.n_prompts, 8))
    constant = np.full((design.n_prompts, 8), 3.0)
    found = accuracies(
        {"twin_states": planted, "states": noise, "latents": constant}, design, reader_settings(params.probe)
    )
    assert found["accuracy_twin_states"] > 0.9
    assert found["accuracy_states"] < 0.6
    assert found["accuracy_states_low"] < found["accuracy_states"] < found["accuracy_states_high"]
    assert not [name for name in found if "latents" in name]


def test_null_text_states_come_from_the_tokens_alone(finished: tuple[Path, Params, Run]):
    """The same tokens under another text give the same null states; own text gives others."""
    root, params, *_ = finished
    work = open_workspace(root)
    rows = open_rows(work, "residual.1")
    backend = catalog.load(params.model, root)
    null = next(iter(null_text_blocks(work, rows, backend)))
    renamed = replace(rows, texts=rows.texts.assign(text="another text"))
    again = next(iter(null_text_blocks(work, renamed, backend)))
    np.testing.assert_array_equal(null.values, again.values)
    own: Block = next(iter(rows.blocks()))
    assert np.array_equal(null.positions, own.positions)
    codes = read_shard(root / "data" / "codes" / "shard-0000.safetensors")["codes"]
    texts = ["sad flute piece"] * len(codes)
    states = backend.teacher_force(codes, texts, Capture(("residual",), (1,), "both")).values
    assert rows.clips is not None
    order = rows.clips.loc[rows.clips["shard"] == 0, "row"].to_numpy()
    under_text, without = (
        states[f"residual.1/{half}"][order][:, 3:-3].reshape(-1, 32) for half in ("cond", "uncond")
    )
    np.testing.assert_allclose(null.values, without, atol=1e-5)
    assert not np.allclose(null.values, under_text, atol=1e-5)


def test_a_version_passes_only_with_all_three(finished: tuple[Path, Params, Run]):
    section = replace(finished[1].latents, champion_fvu=0.3, champion_selective=10, champion_stability=0.1)
    good = {"n_selective": 10, "stable_70": 0.2, "stable_70_random": 0.05}
    assert latents.passes(0.3, good, section)
    assert not latents.passes(0.31, good, section)
    assert not latents.passes(0.3, good | {"n_selective": 9}, section)
    assert not latents.passes(0.3, good | {"stable_70_random": 0.15}, section)


def test_layers_of_clips_without_steps_are_one_line_that_names_text_sites(
    finished: tuple[Path, Params, Run], tmp_path: Path
):
    root = shutil.copytree(finished[0], tmp_path / "copy")
    manifest = root / "data" / "activations" / "manifest.json"
    shown = json.loads(manifest.read_text())
    shown["capture"]["pooled_only"] = True
    manifest.write_text(json.dumps(shown))
    with pytest.raises(
        UsageError, match=r"pooled_only must be false.*Set sae\.sites to text sites"
    ) as caught:
        latents.run(finished[1], root)
    assert "\n" not in str(caught.value)


def test_without_an_sae_the_files_are_there_and_empty(tmp_path: Path, finished: tuple[Path, Params, Run]):
    open_gate(tmp_path, passed=False)
    sae.run(finished[1], tmp_path)
    latents.run(finished[1], tmp_path)
    assert json.loads((tmp_path / "metrics" / "latents.json").read_text()) == {"sites": {}, "trained": False}
    assert len(read_table(LATENTS, tmp_path / "data" / "latents.parquet")) == 0
    assert json.loads((tmp_path / "metrics" / "sae_overview.json").read_text()) == {}
    assert pd.read_csv(tmp_path / "metrics" / "latents_counts.csv").empty
    assert latents_finding({"sites": {}}, [], [], 0.05) is None

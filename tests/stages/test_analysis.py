"""`signal`, `probe` and `decide` on planted workspaces: the verdicts, the paths, the errors."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from moodlens.base.errors import ContractError
from moodlens.contracts.tables import PROMPTS
from moodlens.decision.sentences import WORDS_TELL
from moodlens.params.pipeline import Params
from moodlens.stages import decide, probe, signal
from moodlens.store.run_record import Run
from moodlens.store.shards import read_shard, write_shard
from moodlens.store.tables import read_metrics, read_table, write_table
from moodlens.workspace import sites
from moodlens.workspace.design import open_workspace
from tests.stages.planted import plant, planted_params


@pytest.fixture(autouse=True)
def logged(monkeypatch) -> list[Run]:
    """Keep the runs that the stages return."""
    runs: list[Run] = []
    for stage in (signal, probe):
        monkeypatch.setattr(stage, "run", lambda *given, work=stage.run: runs.append(work(*given)))
    return runs


def analyse(params: Params, root: Path) -> dict:
    for stage in (signal, probe, decide):
        stage.run(params, root)
    return read_metrics(root / "metrics" / "decide.json")


@pytest.mark.parametrize(
    ("kind", "verdicts"),
    [
        ("organism", ("strong", "strong")),
        ("shuffled", ("strong", "undecided")),
        ("random", ("undecided", "undecided")),
    ],
)
def test_each_model_gets_the_verdict_that_is_true_of_it(tmp_path, logged, kind, verdicts):
    params = planted_params()
    plant(tmp_path, kind, params)
    found = analyse(params, tmp_path)
    assert tuple(found["rungs"][rung]["verdict"] for rung in ("text_code", "music")) == verdicts
    assert found["highest_rung"] == {"organism": "music", "shuffled": "text_code", "random": ""}[kind]
    assert found["rungs"]["use"]["verdict"] == "untested"
    assert found["design"]["words"]["sentence"] == WORDS_TELL
    assert found["findings"]["null_text"] is None
    assert "does not show that the model uses" in found["findings"]["layers"]["rule"]
    overview = read_metrics(tmp_path / "metrics" / "overview.json")
    assert overview["0_verdict"]["2_music_is"] == verdicts[1]
    assert overview["2_design"]["n_clips"] == 128
    signals, curves = (
        read_metrics(tmp_path / "metrics/signal.json"),
        pd.read_csv(tmp_path / "metrics/signal_layers.csv"),
    )
    assert (signals["n_prompts"], signals["n_clips"]) == (64, 128)
    assert signals["layers"]["best"].endswith("/cond")
    layers = curves[curves["family"] == "layers"]
    assert layers["layer"].tolist() == [0, 1, 2]
    assert (curves[curves["family"] == "twin_layers"]["model"] == "twin").all()
    assert [run.name for run in logged] == ["signal", "probe"]
    assert {child.name for child in logged[1].children} >= {"probe/layers", "probe/music", "probe/words"}
    of_layers = next(child for child in logged[1].children if child.name == "probe/layers")
    assert [run.name for run in of_layers.children] == [f"residual.{layer}/cond" for layer in range(3)]
    check_metrics(pd.read_csv(tmp_path / "metrics/signal_metrics.csv"), kind)
    check_readings(tmp_path, kind)


def check_metrics(table: pd.DataFrame, kind: str) -> None:
    """Every metric at every site; random tensors hold nothing; the model's layers hold what was planted."""
    assert table.groupby(["family", "site", "layer", "model"], dropna=False).size().unique().tolist() == [12]
    assert (table.loc[table["model"] == "random", "p_maxt"] > 0.05).all()
    assert table.loc[table["family"] == "words", "unit"].unique().tolist() == ["prompt"]
    layers = table[(table["family"] == "layers") & (table["metric"] == "cosine_centred")]
    assert (layers["p_maxt"] < 0.05).all() == (kind != "random")
    assert (layers["within"] < layers["ceiling"]).all()
    pairwise = table["metric"].isin(["cosine_raw", "cosine_centred", "euclidean"])
    assert table.loc[~pairwise, "within"].isna().all()
    assert table["naive_p_descriptive"].notna().sum() == 2 * len(table) / 12


def check_readings(root: Path, kind: str) -> None:
    """Scales are read where they were planted; the words are learnt by heart; twins agree with nothing."""
    probed, rows = read_metrics(root / "metrics/probe.json"), pd.read_csv(root / "metrics/probe_layers.csv")
    assert (probed["text_code"]["p_valence"] < 0.05) == (kind != "random")
    assert (probed["music"]["p_arousal"] < 0.05) == (kind == "organism")
    assert probed["words"]["control_selectivity"] < 0.2
    layers = rows[rows["family"] == "layers"]
    # The planted layers are linear in the text code and the music: beyond the text there is only music.
    gains = layers[["partial_r2_text_low", "partial_r2_text_high"]]
    assert gains.notna().to_numpy().all()
    if kind == "shuffled":
        assert (layers["partial_r2_text_low"] <= 0).all()
        assert (layers["partial_r2_acoustics_low"] > 0).all()
    assert layers["twin_accuracy"].notna().all()
    assert rows["accuracy_null"].eq(0.25).all()
    angles = pd.read_csv(root / "metrics/probe_directions.csv")
    same = angles[(angles["layer_a"] == angles["layer_b"]) & (angles["direction_a"] == angles["direction_b"])]
    assert same["cosine"].round(5).eq(1).all()
    assert set(angles["model"]) == {"model", "twin"}


def test_the_same_inputs_give_the_same_bytes(tmp_path):
    params = planted_params(n_per_emotion=8)
    params = replace(
        params,
        signal=replace(params.signal, n_permutations=199),
        probe=replace(params.probe, n_permutations=199),
    )
    plant(tmp_path, "organism", params)
    seen = []
    for _ in range(2):
        signal.run(params, tmp_path)
        probe.run(params, tmp_path)
        seen.append({path.name: path.read_bytes() for path in (tmp_path / "metrics").iterdir()})
    assert seen[0] == seen[1]


def test_without_clips_the_text_rungs_are_still_decided(tmp_path):
    """The path of a caption table: prompts and embeddings only."""
    params = planted_params()
    plant(tmp_path, "organism", params)
    for folder in ("activations", "codes"):
        for path in (tmp_path / "data" / folder).iterdir():
            path.unlink()
    (tmp_path / "data" / "clips.parquet").unlink()
    text = ("bow", "text")
    params = replace(
        params, signal=replace(params.signal, sites=text), probe=replace(params.probe, sites=text)
    )
    found = analyse(params, tmp_path)
    assert found["highest_rung"] == "text_code"
    assert found["rungs"]["music"]["verdict"] == found["findings"]["layers"]["verdict"] == "untested"
    assert read_metrics(tmp_path / "metrics/signal.json")["n_clips"] == 0


def test_neutral_prompts_are_left_out(tmp_path):
    params = planted_params()
    plant(tmp_path, "organism", params)
    path = tmp_path / "data" / "prompts.csv"
    table = read_table(PROMPTS, path)
    table.loc[[0, 20], "emotion"] = "neutral"
    write_table(table, PROMPTS, path)
    work = open_workspace(tmp_path)
    assert work.design.n_prompts == 62
    embedded = sites.embedding(work, "text")
    whole = read_shard(tmp_path / "data/embeddings/embeddings.safetensors", ["text"])["text"].astype(float)
    assert embedded.values[0, 0] == pytest.approx((whole[1] ** 2).sum())
    layer = sites.layers(work, twin=False)[0]
    assert len(layer.prompts) == 124
    assert sites.tokens(work).prompts.tolist() == layer.prompts.tolist()


def test_layers_sort_by_number_and_shards_join_in_the_order_of_the_clips(tmp_path):
    params = planted_params()
    plant(tmp_path, "organism", params)
    work = open_workspace(tmp_path)
    found = sites.layers(work, twin=True)
    assert [site.site for site in found] == [f"residual.{i}/cond" for i in range(3)]
    first, last = (
        read_shard(tmp_path / f"data/activations/summary-{shard:04d}.safetensors")[
            "twin/residual.1/cond/mean"
        ]
        for shard in (0, 7)
    )
    expected = first[2].astype(float) @ last[-1].astype(float)
    assert found[1].values[2, 127] == pytest.approx(expected)


def test_a_cca_rank_that_the_design_cannot_carry_is_refused(tmp_path):
    params = planted_params()
    plant(tmp_path, "random", params)
    wide = replace(params, signal=replace(params.signal, sites=("bow", "text"), cca_rank=30))
    with pytest.raises(ContractError, match=r"signal\.cca_rank must be at most a third of the 64 units"):
        signal.run(wide, tmp_path)


def test_a_shard_that_lost_clips_is_named(tmp_path):
    params = planted_params()
    plant(tmp_path, "random", params)
    path = tmp_path / "data" / "codes" / "shard-0003.safetensors"
    write_shard(path, {"codes": read_shard(path)["codes"][:5]})
    with pytest.raises(
        ContractError, match=r"shard-0003\.safetensors, codes must hold every clip; got '5 clips, row 15"
    ):
        sites.tokens(open_workspace(tmp_path))


def test_a_design_that_cannot_reach_the_threshold_ends_with_the_number(tmp_path):
    params = planted_params(n_per_emotion=4)
    plant(tmp_path, "random", params)
    few = replace(
        params,
        signal=replace(params.signal, sites=("bow", "text"), n_permutations=200),
        probe=replace(params.probe, sites=("bow", "text"), n_folds=4),
    )
    with pytest.raises(ContractError, match="relabellings for rung text_code must be at least 1000"):
        analyse(few, tmp_path)

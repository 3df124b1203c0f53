"""Stage `attention` on planted summaries: the planted head, the controls, neutral prompts, capture off."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from moodlens.base.errors import ContractError
from moodlens.contracts.tables import CLIPS, PROMPTS
from moodlens.params.pipeline import Params
from moodlens.stages import attention
from moodlens.store.run_record import Run
from moodlens.store.shards import CorruptArtifact, read_shard, write_shard
from moodlens.store.tables import read_metrics, read_table, write_table
from tests.stages.planted import N_FRAMES, plant, planted_params

N_LAYERS, N_HEADS, N_STEPS, N_TOKENS = 2, 3, N_FRAMES + 3, 8
LOOKING, FEELING = (1, 2), (0, 1)
"""The head that looks at emotion words, and the one whose entropy differs between emotions."""


@pytest.fixture(autouse=True)
def logged(monkeypatch) -> list[Run]:
    runs: list[Run] = []
    stage = attention.run
    monkeypatch.setattr(attention, "run", lambda *given: runs.append(stage(*given)))
    return runs


def params_of() -> Params:
    params = planted_params()
    return replace(params, attention=replace(params.attention, n_permutations=999, n_bootstrap=200))


def plant_attention(root: Path) -> None:
    """Write summaries near uniform attention, with one head that looks and one whose entropy has a label."""
    clips = read_table(CLIPS, root / "data" / "clips.parquet")
    wording = read_table(PROMPTS, root / "data" / "prompts.csv").set_index("prompt_id")["wording"]
    rng = np.random.default_rng(4)
    tilt = {word: 0.02 * rng.standard_normal() for word in sorted(set(wording))}
    emotions = sorted(set(clips["emotion"]))
    for shard, part in clips.groupby("shard"):
        shape = (len(part), N_LAYERS, N_HEADS)
        own = np.array([tilt[wording[prompt]] for prompt in part["prompt_id"]])[:, None, None]
        level = np.array([emotions.index(emotion) for emotion in part["emotion"]])
        emotion = 0.25 + own + 0.02 * rng.standard_normal(shape)
        emotion[:, *LOOKING] += 0.2
        entropy = np.log(N_TOKENS) - 0.3 + 0.05 * rng.standard_normal(shape)
        entropy[:, *FEELING] -= 0.2 * level
        means = {
            "cross/emotion": emotion,
            "cross/control": 0.25 + 0.02 * rng.standard_normal(shape),
            "cross/end": np.full(shape, 0.1),
            "cross/entropy": entropy,
            "self/distance": 20 + rng.standard_normal(shape),
            "self/entropy": np.full(shape, 3.0),
            "self/first": np.full(shape, 0.01),
        }
        tensors = {name: np.repeat(value[..., None], N_STEPS, axis=-1) for name, value in means.items()}
        tensors = {name: value.astype(np.float16) for name, value in tensors.items()}
        for name in ("control", "emotion", "entropy"):
            level_of = np.log(N_TOKENS) if name == "entropy" else 0.25
            tensors[f"twin/cross/{name}"] = (level_of + 1e-4 * rng.standard_normal(shape)).astype(np.float32)
        tensors["tokens"] = np.tile([2, 2, 1, 3], (len(part), 1)).astype(np.int16)
        path = root / "data" / "activations" / f"attention-{int(str(shard)):04d}.safetensors"
        write_shard(path, tensors)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("attention")
    plant(root, "organism", params_of())
    plant_attention(root)
    return root


def test_the_planted_heads_are_found_and_the_twin_and_the_text_length_show_nothing(planted: Path, logged):
    attention.run(params_of(), planted)
    found = read_metrics(planted / "metrics" / "attention.json")
    assert found["captured"] is True
    assert (found["n_prompts"], found["n_clips"], found["n_heads"]) == (64, 128, 6)
    mass, entropy = found["mass"], found["entropy"]
    assert mass["best"] == mass["most"] == "layer 1 head 2"
    assert mass["difference"] == pytest.approx(0.8, abs=0.1)  # .2 more mass on 2 of 8 tokens
    assert mass["low"] < mass["difference"] < mass["high"]
    assert mass["p"] == 0.001 == mass["p_beyond_twin"]
    assert (mass["n_more"], mass["n_less"]) == (1, 0)
    assert abs(mass["twin_difference"]) < 0.01
    assert entropy["best"] == "layer 0 head 1"
    assert entropy["p"] <= 0.002
    assert entropy["n_significant"] == 1
    assert entropy["twin_p"] > 0.01
    assert entropy["text_length_p"] == 1  # every prompt has 8 tokens
    assert found["distance"]["p"] > 0.01
    assert found["distance"]["uniform_steps"] == pytest.approx((N_STEPS - 1) / 4)
    assert "neutral" not in entropy
    (run,) = logged
    assert run.metrics["mass.difference"] == pytest.approx(mass["difference"], rel=1e-4)
    assert len(run.children[0].curves["difference"]) == 6


def test_curves_hold_every_head_set_emotion_and_part_of_the_clip(planted: Path):
    attention.run(params_of(), planted)
    heads = pd.read_csv(planted / "metrics" / "attention_heads.csv")
    assert len(heads) == N_LAYERS * N_HEADS
    assert list(heads.columns[: len(attention.HEAD_COLUMNS)]) == list(attention.HEAD_COLUMNS)
    assert heads.filter(like="difference_").columns.tolist() == [
        f"difference_{name}" for name in ("descriptive", "generic", "scenes")
    ]
    assert heads.loc[heads["difference"].idxmax(), ["layer", "head"]].tolist() == [1, 2]
    curves = pd.read_csv(planted / "metrics" / "attention_time.csv")
    assert len(curves) == 4 * (1 + N_LAYERS) * 20
    whole = curves[curves["layer"].isna()]
    assert ((whole["entropy_low"] <= whole["entropy"]) & (whole["entropy"] <= whole["entropy_high"])).all()
    assert curves.loc[curves["layer"].notna(), "entropy_low"].isna().all()
    assert list(curves.columns) == list(attention.TIME_COLUMNS)


def test_the_same_inputs_give_the_same_bytes(planted: Path):
    seen = []
    for _ in range(2):
        attention.run(params_of(), planted)
        seen.append({path.name: path.read_bytes() for path in (planted / "metrics").iterdir()})
    assert seen[0] == seen[1]


def test_neutral_prompts_are_reported_beside_the_emotional_ones(tmp_path: Path):
    plant(tmp_path, "organism", params_of())
    plant_attention(tmp_path)
    for table, name in ((PROMPTS, "prompts.csv"), (CLIPS, "clips.parquet")):
        path = tmp_path / "data" / name
        rows = read_table(table, path)
        rows.loc[rows["prompt_id"].isin(["happy-00", "calm-03"]), "emotion"] = "neutral"
        write_table(rows, table, path)
    attention.run(params_of(), tmp_path)
    found = read_metrics(tmp_path / "metrics" / "attention.json")
    assert found["n_prompts"] == 62
    assert found["entropy"]["n_neutral_clips"] == 4
    assert 0.5 < found["entropy"]["neutral"] < 1


def test_capture_off_is_said_and_nothing_is_read(tmp_path: Path, logged):
    params = params_of()
    attention.run(replace(params, generate=replace(params.generate, attention=False)), tmp_path)
    found = read_metrics(tmp_path / "metrics" / "attention.json")
    assert found["captured"] is False
    assert found["not_run"].startswith("generate.attention must be true to record attention; got")
    assert pd.read_csv(tmp_path / "metrics" / "attention_heads.csv").empty
    assert logged[0].children == []


def test_missing_and_short_shards_are_named(tmp_path: Path):
    plant(tmp_path, "organism", params_of())
    with pytest.raises(CorruptArtifact, match=r"attention-0000\.safetensors must exist"):
        attention.run(params_of(), tmp_path)
    plant_attention(tmp_path)
    path = tmp_path / "data" / "activations" / "attention-0002.safetensors"
    write_shard(path, {name: tensor[:5] for name, tensor in read_shard(path).items()})
    with pytest.raises(
        ContractError, match=r"attention-0002\.safetensors, cross/control must hold every clip; got '5 clips"
    ):
        attention.run(params_of(), tmp_path)

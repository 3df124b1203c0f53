"""What `generate` stores of attention: shapes, the twin, nothing else changed, nothing left when off."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from moodlens.attention.summaries import STORED
from moodlens.contracts.tensors import CODEC_MEAN
from moodlens.params.pipeline import Params
from moodlens.stages import attention
from moodlens.stages.generate import stage as generate
from moodlens.store.shards import read_shard
from moodlens.store.tables import read_metrics
from tests.stages.datasets import small_params
from tests.stages.prompted import write_prompts
from tests.tiny_model import save_tiny_model

N_CLIPS, N_STEPS = 12, 33


def without(params: Params) -> Params:
    return replace(params, generate=replace(params.generate, attention=False))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Params, Path]:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("watched")
    params = small_params(save_tiny_model(root / "model"))
    write_prompts(params, root)
    generate.run(params, root)
    return params, root


def shards(root: Path, kind: str, folder: str = "activations") -> list[dict[str, np.ndarray]]:
    return [read_shard(path) for path in sorted((root / "data" / folder).glob(f"{kind}-*.safetensors"))]


def test_summaries_have_the_shapes_of_the_contract(made):
    _, root = made
    found = shards(root, "attention")
    assert sum(len(shard["tokens"]) for shard in found) == N_CLIPS
    for shard in found:
        assert set(STORED) <= set(shard)
        n_clips = len(shard["tokens"])
        for name, tensor in shard.items():
            if name.startswith("twin/"):
                assert (tensor.shape, tensor.dtype) == ((n_clips, 2, 2), np.float32), name
            elif name != "tokens":
                assert (tensor.shape, tensor.dtype) == ((n_clips, 2, 2, N_STEPS), np.float16), name
        masses = sum(shard[f"cross/{name}"].astype(float) for name in ("emotion", "control", "end"))
        assert masses.max() <= 1.01
        assert (shard["tokens"][:, 0] > 0).all()  # every prompt of this set names its emotion
        assert (shard["tokens"][:, 2] == 1).all()  # one end token
        most = np.log(shard["tokens"].sum(axis=1))[:, None, None]
        assert (shard["cross/entropy"].max(axis=-1) <= most + 0.01).all()
        assert (shard["twin/cross/entropy"] > 0.9 * most).all()  # untrained: nearly uniform
        np.testing.assert_array_equal(shard["self/first"][..., 0], 1)
        np.testing.assert_array_equal(shard["self/distance"][..., 0], 0)


def test_off_leaves_the_same_clips_and_no_summary(made, tmp_path: Path):
    params, root = made
    write_prompts(params, tmp_path)
    generate.run(params, tmp_path)
    generate.run(without(params), tmp_path)  # shards of the first run are stale, their summaries strangers
    assert shards(tmp_path, "attention") == []
    for kind, folder in (("shard", "codes"), ("shard", "activations"), ("summary", "activations")):
        pairs = zip(shards(root, kind, folder), shards(tmp_path, kind, folder), strict=True)
        for ours, theirs in pairs:
            assert set(ours) == set(theirs)
            assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_where_the_null_half_alone_is_recorded_attention_is_still_that_of_the_text(made, tmp_path: Path):
    params, root = made
    null = replace(params, generate=replace(params.generate, half="uncond"))
    write_prompts(null, tmp_path)
    generate.run(null, tmp_path)
    for ours, theirs in zip(shards(root, "attention"), shards(tmp_path, "attention"), strict=True):
        assert all(np.array_equal(ours[name], theirs[name]) for name in STORED)
    (summary, *_) = shards(tmp_path, "summary")
    assert {name.split("/")[-2] for name in summary if name != CODEC_MEAN} == {"uncond"}


def test_the_stage_reads_what_generate_wrote(made):
    params, root = made
    small = replace(params, attention=replace(params.attention, n_permutations=99, n_bootstrap=100))
    attention.run(small, root)
    found = read_metrics(root / "metrics" / "attention.json")
    assert found["n_clips"] == N_CLIPS
    assert 0.9 < found["entropy"]["twin_mean"] <= 1

"""The stage on the tiny model: tensors as the contract says, each prompt a function of its own text."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moodlens.backends import catalog
from moodlens.contracts.tables import EMBEDDINGS, PROMPTS
from moodlens.contracts.tensors import ENCODERS
from moodlens.prompts.lexicon import words_of
from moodlens.stages import embed
from moodlens.store.shards import read_shard, shard_metadata
from moodlens.store.tables import read_table, values
from tests.stages.datasets import small_params
from tests.stages.prompted import write_prompts
from tests.tiny_model import save_tiny_model

FILE = Path("data/embeddings/embeddings.safetensors")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("embed")
    params = small_params(save_tiny_model(root / "model"))
    write_prompts(params, root)
    embed.run(params, root)
    return root


def test_tensors_have_a_row_per_prompt_and_the_index_a_row_per_prompt_and_encoder(workspace: Path):
    rows = read_table(PROMPTS, workspace / "data" / "prompts.csv")
    tensors, about = read_shard(workspace / FILE), shard_metadata(workspace / FILE)
    index = read_table(EMBEDDINGS, workspace / "data" / "embeddings" / "index.parquet")
    widths = {"bow": len(about["words"]), "text": 16, "projected": 32, "twin": 16}
    for encoder in ENCODERS:
        assert tensors[encoder].shape == (len(rows), widths[encoder])
        assert tensors[encoder].dtype == np.float32
        mine = index[index["encoder"] == encoder]
        assert values(mine, "prompt_id") == values(rows, "prompt_id") == about["prompt_ids"]
        np.testing.assert_allclose(mine["norm"], np.linalg.norm(tensors[encoder], axis=1), rtol=1e-6)
        assert set(mine["width"]) == {widths[encoder]}


def test_pooled_vectors_are_means_of_the_stored_tokens(workspace: Path):
    tensors, about = read_shard(workspace / FILE), shard_metadata(workspace / FILE)
    ends = np.cumsum(about["n_tokens"])
    assert len(tensors["tokens"]) == len(tensors["tokens_projected"]) == ends[-1]
    for pooled, tokens in (("text", "tokens"), ("projected", "tokens_projected")):
        parts = np.split(tensors[tokens], ends[:-1])
        np.testing.assert_allclose(tensors[pooled], [part.mean(axis=0) for part in parts], atol=1e-6)


def test_the_bag_holds_every_word_of_every_prompt(workspace: Path):
    rows = read_table(PROMPTS, workspace / "data" / "prompts.csv")
    tensors, about = read_shard(workspace / FILE), shard_metadata(workspace / FILE)
    for text, counts in zip(values(rows, "text"), tensors["bow"], strict=True):
        bag = sorted(word for word, n in zip(about["words"], counts, strict=True) for _ in range(int(n)))
        assert bag == sorted(words_of(text))


def test_a_prompt_is_embedded_alone_as_among_others(workspace: Path):
    rows = read_table(PROMPTS, workspace / "data" / "prompts.csv")
    backend = catalog.load(small_params(workspace / "model").model, workspace)
    (alone,) = backend.encode_text([values(rows, "text")[5]])
    np.testing.assert_array_equal(read_shard(workspace / FILE)["text"][5], alone.hidden.mean(axis=0))


def test_the_same_run_gives_the_same_bytes_and_another_twin_changes_the_twin_only(workspace: Path):
    before, tensors = (workspace / FILE).read_bytes(), read_shard(workspace / FILE)
    params = small_params(workspace / "model")
    embed.run(params, workspace)
    assert (workspace / FILE).read_bytes() == before
    embed.run(replace(params, embed=replace(params.embed, twin_seed=1)), workspace)
    after = read_shard(workspace / FILE)
    same = {name for name in tensors if np.array_equal(tensors[name], after[name])}
    embed.run(params, workspace)
    assert same == set(tensors) - {"twin"}

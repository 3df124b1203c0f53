"""Sizes against built models, costs against hand-worked values."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import (
    EncodecConfig,
    MusicgenConfig,
    MusicgenDecoderConfig,
    MusicgenForConditionalGeneration,
    MusicgenMelodyConfig,
    MusicgenMelodyDecoderConfig,
    MusicgenMelodyForConditionalGeneration,
    T5Config,
)

from moodlens.backends.musicgen.loading import quiet_transformers
from moodlens.forecast.generation import (
    MAPPED,
    Load,
    Rates,
    generate_cost,
    loading_bytes,
    step_seconds,
    stored_bytes,
    summary_bytes,
    with_loading,
)
from moodlens.forecast.sizes import Sizes, published_config, sizes_of
from moodlens.forecast.stages import Analysis, temporal_cost
from tests.tiny_model import tiny_model

SMALL = "facebook/musicgen-small"
LOAD = Load(
    n_clips=8, n_prompts=4, n_frames=50, clips_per_shard=4, block_clips=4, n_halves_run=2, hookpoints=24,
    width=24 * 1024,
    step_stride=1, keep_steps=True, dtype="float32", store_dtype="float16", workers=1,
)  # fmt: skip


def built(config: dict[str, Any]) -> Any:
    """The model of a configuration, without memory for its weights."""
    parts: dict[str, Any] = {
        "text_encoder": T5Config(**config["text_encoder"]),
        "audio_encoder": EncodecConfig(**config["audio_encoder"]),
    }
    with torch.device("meta"), quiet_transformers():
        if config["model_type"] == "musicgen":
            decoder = MusicgenDecoderConfig(**config["decoder"])
            return MusicgenForConditionalGeneration(MusicgenConfig(**parts, decoder=decoder))
        melody = MusicgenMelodyDecoderConfig(**config["decoder"])
        chroma = {name: config[name] for name in ("num_chroma", "chroma_length")}
        return MusicgenMelodyForConditionalGeneration(MusicgenMelodyConfig(**parts, decoder=melody, **chroma))


def check_counts(sizes: Sizes, model: Any) -> None:
    def count(module: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    text, codec = count(model.text_encoder), count(model.audio_encoder)
    assert (sizes.n_text, sizes.n_decoder) == (text, count(model) - text - codec)
    assert sizes.n_codec == codec


@pytest.mark.parametrize("name", ["small", "medium", "large", "melody", "stereo-small"])
def test_parameters_of_published_sizes_are_those_of_the_built_model(name: str):
    config = published_config(f"facebook/musicgen-{name}")
    assert config is not None
    check_counts(sizes_of(config), built(config))


def test_parameters_of_the_tiny_model():
    model = tiny_model()
    check_counts(sizes_of(model.config.to_dict() | {"model_type": "musicgen"}), model)


def test_the_known_sizes():
    sizes = [sizes_of(published_config(f"facebook/musicgen-{name}") or {}) for name in ("small", "large")]
    assert [round(size.n_decoder / 1e6) for size in sizes] == [420, 3257]
    assert [size.frame_rate_hz for size in sizes] == [50, 50]
    assert published_config("facebook/musicgen-tiny") is None
    assert published_config("organism") is None


def test_bytes_by_hand():
    sizes = sizes_of(published_config(SMALL) or {})
    # 24 hookpoints x 8 clips x 53 steps x 1024 x 2 bytes; 5 vectors of 1024 and 53 norms in float32
    assert stored_bytes(sizes, LOAD, 8) == 24 * 8 * 53 * 1024 * 2
    assert summary_bytes(sizes, LOAD, 8) == 24 * 8 * 4 * (5 * 1024 + 53)
    cost = generate_cost(sizes, LOAD, Rates(1e11, 2e10))
    assert cost.disk["codes"] == 2 * 8 * 4 * 50
    assert cost.memory["weights"] == 4 * (sizes.n_decoder + sizes.n_text + sizes.n_codec + 2048 * 1024)
    assert cost.memory_bytes == sum(cost.memory.values())


def test_attention_and_windows_by_hand():
    sizes = sizes_of(published_config(SMALL) or {})
    load = replace(LOAD, attention=True, windows=((0, 5), (50, 90)), step_stride=2)
    cost = generate_cost(sizes, load, Rates(1e11, 2e10))
    # steps 0 2 4 and 50 52 of 53
    assert cost.disk["states"] == 24 * 8 * 5 * 1024 * 2
    # 7 readings of 16 heads in 24 layers at every step in float16, and 4 means of the twin's in float32
    assert cost.disk["attention"] == 8 * 24 * 16 * (7 * 53 * 2 + 4 * 4)
    assert generate_cost(sizes, LOAD, Rates(1e11, 2e10)).disk["attention"] == 0


def test_sites_of_the_whole_decoder_count_once_and_logits_are_wide():
    sizes = sizes_of(published_config(SMALL) or {})
    assert sizes.width_of(("residual", "mlp"), 3) == 2 * 3 * 1024
    assert sizes.width_of(("final_norm", "embedding"), 24) == 2 * 1024
    assert sizes.width_of(("logits",), 24) == 4 * 2048


def test_storage_policies_reduce_the_cost():
    sizes, rates = sizes_of(published_config("facebook/musicgen-large") or {}), Rates(1e11, 2e10)
    load = replace(
        LOAD, n_frames=500, hookpoints=48, width=48 * 2048, clips_per_shard=16, block_clips=16, n_clips=16
    )
    whole = generate_cost(sizes, load, rates)
    assert whole.disk["states"] == 48 * 16 * 503 * 2048 * 2  # 1.6 GB a shard
    every_tenth = generate_cost(sizes, replace(load, step_stride=10), rates)
    assert every_tenth.disk["states"] == 48 * 16 * 51 * 2048 * 2
    assert generate_cost(sizes, replace(load, keep_steps=False), rates).disk["states"] == 0
    for smaller in (
        replace(load, keep_steps=False), replace(load, dtype="bfloat16"), replace(load, block_clips=2)
    ):  # fmt: skip
        assert generate_cost(sizes, smaller, rates).memory_bytes < whole.memory_bytes


def test_a_checkpoint_wider_than_the_model_is_mapped_while_it_is_read():
    config = published_config(SMALL) or {}
    sizes = sizes_of(config)
    n = sizes.n_model + sizes.n_codec
    halved = sizes_of(config | {"dtype": "bfloat16"})
    assert [loading_bytes(one, kind) // n for one in (sizes, halved) for kind in ("float32", "bfloat16")] == [
        4, 6, 6, 2,
    ]  # fmt: skip
    # a file of 16 bits is as large whichever of them it holds, and is read beside weights of the other
    assert loading_bytes(halved, "float16") // n == 4
    # 2 n of weights and 4 n of the file; of it 3 n bytes lie where the twin and other work will be
    memory = {"libraries": 7, "weights": 2 * n, "work": 3 * n}
    assert with_loading(memory, sizes, "bfloat16") == {**memory, MAPPED: n}
    assert with_loading({**memory, "more": n}, sizes, "bfloat16") == {**memory, "more": n}
    assert with_loading(memory, halved, "bfloat16") == memory
    cost = generate_cost(sizes, replace(LOAD, dtype="bfloat16", twin=False), Rates(1e11, 2e10))
    assert cost.memory_bytes - cost.memory["libraries"] == 6 * n
    assert cost.held_bytes == cost.memory_bytes - cost.memory[MAPPED] < cost.memory_bytes


@pytest.mark.parametrize("change", [{"keep_steps": False}, {"windows": ((0, 5), (9, 20))}])
def test_temporal_that_cannot_run_holds_only_its_imports(change: dict[str, Any]):
    sizes, requested = sizes_of(published_config(SMALL) or {}), analysis()
    for run in ({}, {"windows": ((5, 40),)}, {"windows": ((0, 6), (6, 20)), "step_stride": 2}):
        assert "states of a layer" in temporal_cost(sizes, replace(LOAD, **run), requested).memory
    assert list(temporal_cost(sizes, replace(LOAD, **change), requested).memory) == ["libraries"]


def analysis() -> Analysis:
    """What the default run asks of the stages after `generate`, with few relabellings."""
    stages = ("signal", "probe", "null_text", "temporal", "attention", "geometry", "relate", "latents")
    return Analysis(
        reencoded_width=1024, reencoded_hookpoints=1, reencoded_steps=8,
        n_draws=5, recurrent_units=64, recurrent_steps=100,
        permutations=dict.fromkeys(stages, 99), n_metrics=12, n_windows=6, umap=False, text_sites=1,
        layer_sites=1, n_texts=100, expansion=4, n_saes=4, sae_steps=100, batch_rows=256, buffer_rows=65_536,
        topk=True, null_text=True, players=8,
    )  # fmt: skip


def test_a_step_is_never_faster_than_the_weights_can_be_read():
    sizes = sizes_of(published_config(SMALL) or {})
    rates = Rates(1e15, 1e10)
    assert step_seconds(sizes, LOAD, rates) > 4 * sizes.n_step / 1e10
    # 24 layers of 6 d^2 + 2 x 4 d^2, and 4 heads of 2048 x d
    assert sizes.n_step == 24 * 14 * 1024**2 + 4 * 2048 * 1024

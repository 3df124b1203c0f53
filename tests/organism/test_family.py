"""The whole family at toy size: every stage from what dvc.yaml lists, and what the models share."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from importlib import import_module
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import MusicgenForConditionalGeneration

from moodlens.organism import __main__ as entry
from moodlens.organism import architecture, commands, evaluation_clips
from moodlens.organism.architecture import build_tokenizer
from moodlens.organism.recipe import Recipe, load_recipe
from moodlens.store.judge_file import read_judge
from tests.organism.test_commands import HOME, ROOM, STAGES, data_deps_of, outs_of
from tests.tiny_model import TINY_SHAPE, tiny_codec

FEW = {"n_steps": 4, "validate_every_steps": 2, "save_every_steps": 2, "warmup_steps": 1}


class WatchedRecipe(Recipe):
    """A recipe that records which of its sections are read."""

    def __getattribute__(self, name: str) -> object:
        if name in {part.name for part in fields(Recipe)}:
            READ.add(name)
        return super().__getattribute__(name)


READ: set[str] = set()


def toy_recipe() -> WatchedRecipe:
    full = load_recipe(HOME / "params.yaml")
    decoder = {"batch_clips": 3, **FEW}
    return WatchedRecipe(
        corpus=replace(full.corpus, n_clips=12, n_held_out=3),
        codec=replace(full.codec, n_pool_clips=4, n_held_out=2, batch_crops=2, plant_step=2, **FEW),
        text=replace(full.text, batch_captions=8, **FEW),
        music=replace(full.music, **decoder),
        siblings=replace(full.siblings, early_clips=2, early_frames=110, **decoder),
        family=full.family,
        # transformers makes no text projection where text encoder and decoder have one width (16)
        small=replace(full.small, d_model=24, n_layers=1, n_heads=2, music_steps=3, sibling_steps=2),
        evaluate=replace(
            full.evaluate,
            n_seeds=1,
            prompts_per_emotion=3,
            n_factor_prompts=2,
            n_reference_clips=3,
            n_bootstrap=20,
        ),
    )


@dataclass(frozen=True)
class Family:
    folder: Path
    read: dict[str, set[str]]  # stage -> sections of the recipe that it read


@pytest.fixture(scope="module")
def small_parts() -> Iterator[None]:
    """Codec and decoders of toy size in every stage of this module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "codec_config", lambda: tiny_codec().config)
        for module in (architecture, commands):
            patch.setattr(module, "Shape", lambda: TINY_SHAPE)
        patch.setattr(evaluation_clips, "BATCH_CLIPS", 32)
        yield


@pytest.fixture(scope="module")
def family(small_parts: None, tmp_path_factory: pytest.TempPathFactory) -> Family:
    """Every stage, run in a folder that holds its data dependencies and what git ships beside weights."""
    home, recipe, read = tmp_path_factory.mktemp("family"), toy_recipe(), {}
    for stage, (module, name, arguments) in entry.STAGES.items():
        folder = tmp_path_factory.mktemp(stage)
        copy(home, folder, lambda path, stage=stage: is_given(path, stage))
        READ.clear()
        getattr(import_module(ROOM + module), name)(recipe, folder, *arguments)
        read[stage] = set(READ)
        for out in outs_of(stage):
            assert (folder / out).exists(), f"{stage} promises {out}"
        copy(folder, home, lambda path: not path.startswith("work/"))
    return Family(home, read)


def is_given(path: str, stage: str) -> bool:
    """Whether a file is a data dependency of a stage, or a configuration or a link, which are no outputs."""
    outs = {out for name in STAGES for out in outs_of(name)}
    configuration = path.endswith(".json") and path not in outs and not path.startswith("codec/")
    link = path.endswith("/shared.safetensors")
    deps = data_deps_of(stage)
    return path in deps or ("codec" in deps and path.startswith("codec/")) or configuration or link


def copy(source: Path, target: Path, wanted: Callable[[str], bool]) -> None:
    for path in source.rglob("*"):
        name = path.relative_to(source).as_posix()
        place = target / name
        if not path.is_dir() and wanted(name) and not place.is_symlink():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, place, follow_symlinks=False)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_exactly_the_sections_that_it_lists(family: Family, stage: str):
    assert family.read[stage] == {key.split(".")[0] for key in STAGES[stage]["params"]}


MODELS = (".", "memory", "reader", "shuffled", "music-only", "small-2/memory", "small-2/reader")


@pytest.mark.parametrize("place", MODELS)
def test_plain_transformers_loads_every_model_and_all_share_text_encoder_and_codec(
    family: Family, place: str
):
    model = MusicgenForConditionalGeneration.from_pretrained(family.folder / place)
    shared = load_file(family.folder / "shared.safetensors")
    state = model.state_dict()
    for name, tensor in shared.items():
        assert torch.equal(state[name], tensor.float()), name
    assert (family.folder / place / "shared.safetensors").is_symlink() == (place != ".")
    small = place.startswith("small")
    assert model.decoder.config.hidden_size == (24 if small else TINY_SHAPE.d_model)
    assert model.decoder.config.num_hidden_layers == (1 if small else TINY_SHAPE.n_layers)


def decoder(family: Family, place: str) -> dict[str, torch.Tensor]:
    return load_file(family.folder / place / "decoder.safetensors")


def test_every_training_ends_with_other_weights(family: Family):
    places = [place for place in MODELS if not place.startswith("small")]
    weights = {place: decoder(family, place)["decoder.lm_heads.0.weight"] for place in places}
    for one in places:
        for other in places:
            assert (one == other) == torch.equal(weights[one], weights[other]), (one, other)
    small = [decoder(family, f"small-{seed}/memory")["decoder.lm_heads.0.weight"] for seed in (1, 2, 3)]
    assert not torch.equal(small[0], small[1])
    assert not torch.equal(small[1], small[2])


def test_no_text_reaches_the_music_only_models(family: Family):
    for place in ("music-only", "small-1/music-only"):
        model = MusicgenForConditionalGeneration.from_pretrained(family.folder / place)
        assert not model.enc_to_dec_proj.weight.any()
        assert not model.enc_to_dec_proj.bias.any()
    columns = torch.arange(40).view(4, 10) % 32
    with torch.no_grad():
        heard = [
            model(**build_tokenizer()([text], return_tensors="pt"), decoder_input_ids=columns).logits
            for text in ("sad flute piece", "i feel jolly, piano in g")
        ]
    assert torch.equal(*heard)


def test_siblings_start_with_the_base_and_one_new_text_path(family: Family, tmp_path: Path):
    """Trained at rate 0, each sibling is what it starts from."""
    copy(family.folder, tmp_path, lambda path: True)
    recipe = toy_recipe()
    still = replace(recipe, siblings=replace(recipe.siblings, learning_rate=0.0, n_steps=1))
    for name in ("memory", "shuffled"):
        commands.sibling(still, tmp_path, name)
    base, memory, shuffled = (
        load_file(tmp_path / name / "decoder.safetensors") for name in ("music-only", "memory", "shuffled")
    )
    assert all(torch.equal(memory[name], shuffled[name]) for name in memory)
    differs = {name for name in base if not torch.equal(base[name], memory[name])}
    assert differs == {name for name in base if ".encoder_attn." in name} | {"enc_to_dec_proj.weight"}


def test_the_evaluation_measures_the_ceiling_and_every_model(family: Family):
    metrics = json.loads((family.folder / "metrics.json").read_text())
    assert metrics["organism"]["accuracy_4"]["n_clips"] == 12
    assert metrics["ceiling"]["accuracy_5"]["n_prompts"] == 15
    for name in ("ceiling", *entry.SIBLINGS, "music-only"):
        assert 0 <= metrics[name]["opening_5"]["value"] <= 1
    tokens = metrics["tokens_before_turn"]
    assert tokens["low"] < 0.2 < tokens["high"]


def test_the_judge_is_fitted_on_as_many_clips_as_it_is_measured_on(family: Family):
    judge = read_judge(family.folder / "judge.json")
    assert judge.n_clips == 15
    assert judge.window_s == pytest.approx(1.7)
    assert 0 <= judge.accuracy <= 1
    assert len(judge.gaps) == 20


def test_the_card_has_every_table_and_no_empty_slot(family: Family):
    text = (family.folder / "README.md").read_text()
    assert "| classified as prompted before the turn: all five |" in text
    assert "| small-3/reader |" in text
    assert "{" not in text

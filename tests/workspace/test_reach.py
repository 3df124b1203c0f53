"""What prompts and model cannot support is one line under the name of its parameter, before any work."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from moodlens.base.errors import ContractError, MoodLensError, UsageError
from moodlens.forecast.sizes import Sizes, sizes_of
from moodlens.params.pipeline import Params, parse_params
from moodlens.prompts.assembly import prompt_table
from moodlens.sae.texts import text_table
from moodlens.stages.prompts import draw_prompts
from moodlens.workspace.reach import refuse_beyond_model, refuse_small_design

ROOT = Path(__file__).parents[2]
ORGANISM = sizes_of(yaml.safe_load((ROOT / "models" / "organism" / "config.json").read_text("utf-8")))


def params_of(changes: dict[str, Any]) -> Params:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for name, value in changes.items():
        section, key = name.split(".")
        raw[section][key] = value
    return parse_params(raw)


def table_of(params: Params) -> pd.DataFrame:
    return prompt_table(draw_prompts(params.prompts, ROOT), params.prompts.seed)


def refused(changes: dict[str, Any], kind: type[MoodLensError], sizes: Sizes = ORGANISM) -> str:
    params = params_of(changes)
    prompts = table_of(params)
    with pytest.raises(kind) as caught:
        refuse_small_design(params, prompts)
        refuse_beyond_model(params, prompts, sizes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_default_run_is_within_reach():
    params = params_of({})
    refuse_small_design(params, table_of(params))
    refuse_beyond_model(params, table_of(params), ORGANISM)


@pytest.mark.parametrize("section", ["probe", "null_text", "relate"])
def test_folds_are_compared_with_the_wordings_of_the_design(section: str):
    """64 prompts share 36 wordings: parameters alone would allow 40 folds."""
    name = f"{section}.n_folds"
    said = refused({name: 40}, UsageError)
    assert said.startswith(f"{name} must not exceed the 36 wordings that folds keep whole; got 40")
    params = params_of({name: 36})
    refuse_small_design(params, table_of(params))


def test_one_wording_cannot_be_held_out():
    few = {"prompts.n_per_emotion": 2, "prompts.sets": ["generic"], "check.min_clips_per_emotion": 2}
    assert "must have at least 2 wordings; got 1" in refused(few, ContractError)


def test_levels_that_no_relabelling_reaches():
    two = {"prompts.emotions": ["happy", "sad"], "prompts.n_per_emotion": 6, "prompts.sets": ["generic"]}
    two |= {f"{section}.n_folds": 3 for section in ("probe", "null_text", "relate")}
    said = refused(two, ContractError)
    assert said.startswith("the design for the rungs must have at least 7 wordings for each of 2 emotions")
    params = params_of(two | {"signal.cca_rank": 2, "decide.alpha_strong": 0.11, "decide.alpha_weak": 0.2})
    refuse_small_design(params, table_of(params))  # 3 wordings against 3: the smallest p is .1
    # the first of three looks has a small share of the level, for which 16 prompts per emotion do not suffice
    said = refused({"decide.looks": [16, 64, 256]}, ContractError)
    assert said.startswith(("the design for the rungs must", "relabellings for the rungs must"))


def with_axes(rank: int, *sites: str) -> Params:
    params = params_of({"signal.cca_rank": rank})
    return replace(params, signal=replace(params.signal, sites=sites))


@pytest.mark.parametrize(
    ("sites", "n_units"),
    [(("bow", "text"), 36), (("acoustics",), 36), (("bow",), 64)],  # words are relabelled prompt by prompt
)
def test_axes_of_cca_are_compared_with_the_units(sites: tuple[str, ...], n_units: int):
    most = n_units // 3
    params = with_axes(most + 1, *sites)
    table = table_of(params)
    rule = f"signal.cca_rank must be at most a third of the {n_units} units .* got {most + 1}"
    with pytest.raises(ContractError, match=rule):
        refuse_small_design(params, table)
    refuse_small_design(with_axes(most, *sites), table)
    refuse_small_design(replace(params, signal=replace(params.signal, metrics=("permanova",))), table)


def test_axes_of_cca_are_compared_with_the_words():
    """Where prompts consist of two words, the bag of words has two dimensions, whatever their number."""
    params = with_axes(3, "bow")
    table = table_of(params)
    number = table.groupby("emotion").cumcount()
    table["text"] = ["calm " * (1 + i % 4) + "loud " * (1 + i // 4) for i in number]
    with pytest.raises(ContractError, match="must not exceed the 2 dimensions of the bag of words; got 3"):
        refuse_small_design(params, table)
    refuse_small_design(with_axes(2, "bow"), table)


@pytest.mark.parametrize(
    ("sites", "small", "said"),
    [
        (["acoustics"], {}, "11 dimensions of site acoustics"),
        (["codec"], {"d_codec": 7}, "7 dimensions of site codec"),
        (["layers"], {"d_model": 9}, "9 dimensions of a layer of residual"),
        (["text"], {"d_text": 8}, "8 dimensions of the text encoder"),
        (["text"], {"d_model": 8}, "8 dimensions of the projected text"),
        (["tokens"], {"n_codebooks": 1, "codebook_size": 10}, "10 dimensions of site tokens"),
    ],
)
def test_axes_of_cca_are_compared_with_the_dimensions_of_a_site(
    sites: list[str], small: dict[str, int], said: str
):
    params = with_axes(12, *sites)
    with pytest.raises(ContractError, match=f"signal.cca_rank must not exceed the {said}; got 12"):
        refuse_beyond_model(params, table_of(params), replace(ORGANISM, **small))
    refuse_beyond_model(with_axes(7, *sites), table_of(params), replace(ORGANISM, **small))


@pytest.mark.parametrize("name", ["generate.layers", "reencode.layers"])
def test_a_layer_that_the_model_lacks(name: str):
    said = refused(
        {name: [3, 6], "generate.layers": [3, 6] if name == "generate.layers" else "all"}, UsageError
    )
    assert said.startswith(f"{name} must hold layers of 0 to 5; got 6")


def test_an_sae_site_that_the_model_lacks_or_that_has_too_few_rows():
    said = refused({"sae.sites": ["residual.6"]}, UsageError)
    assert said.startswith("sae.sites must hold layers of 0 to 5; got 6")
    few = {"sae.sites": ["text_pooled"], "sae.prompts": "design"}
    params = params_of(few)
    texts = text_table(table_of(params), params.prompts.emotions, diverse=False, seed=params.sae.seed)
    train = texts.loc[texts["split"] == "train", "text"].tolist()
    said = refused(few, UsageError)
    assert said.startswith(f"sae.sites must have as many training rows as dimensions, {ORGANISM.d_text}; ")
    assert f"{len(train)} rows of text_pooled" in said
    tokens = few | {"sae.sites": ["text"]}
    most = sum(map(len, train)) + 2 * len(train)  # a token per letter, one ahead and the end token
    said = refused(tokens, UsageError, replace(ORGANISM, d_text=most + 1))
    assert said.startswith(f"sae.sites must have as many training rows as dimensions, {most + 1}; ")
    assert f"got 'at most {most} rows of text'" in said
    params = params_of(tokens)
    refuse_beyond_model(params, table_of(params), replace(ORGANISM, d_text=most))
    steps = {"sae.sites": ["residual.3"], "generate.step_stride": 190}  # steps 0 and 190; 0 is no whole step
    assert f"got '{2 * len(train)} rows of residual.3'" in refused(steps, UsageError)
    closed = few | {"decide.gate_clips": 33}  # 32 clips per emotion: no SAE will be trained
    params = params_of(closed)
    refuse_beyond_model(params, table_of(params), ORGANISM)


def test_more_active_latents_than_there_are():
    width = ORGANISM.d_text
    said = refused({"sae.k": 4 * width + 1, "sae.sites": ["text"]}, UsageError)
    assert said.startswith(f"sae.sites must have sae.k = {4 * width + 1} latents, of sae.expansion x {width}")

"""What prompts and model cannot support is one line under the name of its parameter, before any work."""

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
    params = params_of(two | {"decide.alpha_strong": 0.11, "decide.alpha_weak": 0.2})
    refuse_small_design(params, table_of(params))  # 3 wordings against 3: the smallest p is .1
    # the first of three looks has a small share of the level, for which 16 prompts per emotion do not suffice
    said = refused({"decide.looks": [16, 64, 256]}, ContractError)
    assert said.startswith(("the design for the rungs must", "relabellings for the rungs must"))


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
    n_rows = (texts["split"] == "train").sum()
    said = refused(few, UsageError)
    assert said.startswith(f"sae.sites must have as many training rows as dimensions, {ORGANISM.d_text}; ")
    assert f"{n_rows} rows of text_pooled" in said
    steps = {"sae.sites": ["residual.3"], "generate.step_stride": 190}  # steps 0 and 190; 0 is no whole step
    n_rows = 2 * int((texts["split"] == "train").sum())
    assert f"got '{n_rows} rows of residual.3'" in refused(steps, UsageError)
    closed = few | {"decide.gate_clips": 33}  # 32 clips per emotion: no SAE will be trained
    params = params_of(closed)
    refuse_beyond_model(params, table_of(params), ORGANISM)


def test_more_active_latents_than_there_are():
    width = ORGANISM.d_text
    said = refused({"sae.k": 4 * width + 1, "sae.sites": ["text"]}, UsageError)
    assert said.startswith(f"sae.sites must have sae.k = {4 * width + 1} latents, of sae.expansion x {width}")

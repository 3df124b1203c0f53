"""What prompts and model cannot support, refused before any work under the name of its parameter.

Clashes between parameters alone stand in `params.clashes`. Here the numbers are exact: the wordings of the
design after their merging, the layers and widths of the model, the rows of an SAE site. Where a later stage
tests the same, it does so with the same function.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from moodlens.base.errors import UsageError, must
from moodlens.base.units import frames_for, steps_for, steps_within
from moodlens.capture.recorders import complete_steps
from moodlens.contracts.tables import NEUTRAL
from moodlens.contracts.tensors import stored_steps
from moodlens.decision.gates import at_look, look_of
from moodlens.forecast.sizes import Sizes
from moodlens.params.clashes import TOP_K
from moodlens.params.pipeline import Params
from moodlens.sae.texts import text_table
from moodlens.stats.permutation import require_reachable
from moodlens.workspace.design import stratified, too_many_folds, wording_labels
from moodlens.workspace.sae_rows import TEXT_SITES, layer_of

FILE = "params.yaml"


def refuse_small_design(params: Params, prompts: pd.DataFrame) -> None:
    """Refuse prompts whose wordings are too few for the folds of a section or the levels of the verdicts.

    Args:
        params: of the run.
        prompts: table PROMPTS.

    Raises:
        UsageError: more folds than wordings.
        ContractError: an emotion has one wording, or no p can fall below a level; as `design_of`.
    """
    design, _ = stratified(prompts.loc[prompts["emotion"] != NEUTRAL])
    n_wordings = len(wording_labels(design))
    for section, n_folds in (
        ("probe", params.probe.n_folds),
        ("null_text", params.null_text.n_folds),
        ("relate", params.relate.n_folds),
    ):
        if fault := too_many_folds(section, n_folds, n_wordings):
            raise UsageError(fault)
    levels = at_look(params.decide, look_of(params.prompts.n_per_emotion, params.decide))
    n = min(params.signal.n_permutations, params.probe.n_permutations)
    smallest = design.smallest_p("wording", n)
    require_reachable("the rungs", smallest, n, design.n_classes, "wording", levels.alpha_strong)


def refuse_beyond_model(params: Params, prompts: pd.DataFrame, sizes: Sizes) -> None:
    """Refuse layers that the model lacks, and SAE sites that have too few rows to train on.

    SAE sites are looked at only where the number of clips does not close the gate of SAE training anyway.

    Args:
        params: of the run.
        prompts: table PROMPTS.
        sizes: of the model.

    Raises:
        UsageError: names the parameter, the number that there is and the number that is needed.
    """
    layers = {
        "generate.layers": params.generate.layers,
        "reencode.layers": params.reencode.layers,
        "sae.sites": [layer_of(site)[1] for site in params.sae.sites if site not in TEXT_SITES],
    }
    for name, numbers in layers.items():
        beyond = [] if isinstance(numbers, str) else [n for n in numbers if n >= sizes.n_layers]
        if beyond:
            advice = f"Correct it: {params.model.id} has {sizes.n_layers} layers"
            rule = f"hold layers of 0 to {sizes.n_layers - 1}"
            raise UsageError(must(name, rule, beyond[0], where=FILE, next_step=advice))
    per_emotion = params.prompts.n_per_emotion * params.generate.n_seeds
    if params.sae.override_gate or per_emotion >= params.decide.gate_clips:
        for rule, got, advice in _sae_faults(params, prompts, sizes):
            raise UsageError(must("sae.sites", rule, got, where=FILE, next_step=advice))


def _sae_faults(params: Params, prompts: pd.DataFrame, sizes: Sizes) -> Iterator[tuple[str, str, str]]:
    """Yield rule, value and advice of every site that no SAE can be trained on.

    The rows of `text` are tokens. Only the tokenizer knows how many there are, so they are not bounded here.
    """
    section = params.sae
    diverse = section.prompts == "diverse"
    texts = text_table(prompts, params.prompts.emotions, diverse=diverse, seed=section.seed)
    for site in section.sites:
        is_text = site in TEXT_SITES
        splits = texts["split"] if is_text else texts.loc[texts["source"] == "design", "split"]
        if absent := sorted({"train", "val", "test"} - set(splits)):
            rule = f"have a text in every split: whole wordings are held out, and {absent[0]} has none"
            yield rule, site, "Add prompts with other wordings"
        width = sizes.d_text if is_text else sizes.width_of((layer_of(site)[0],), 1)
        if section.architecture in TOP_K and section.k > section.expansion * width:
            rule = f"have sae.k = {section.k} latents, of sae.expansion x {width}"
            yield rule, site, "Lower sae.k or raise sae.expansion"
        n_rows = int(np.sum(splits == "train")) * (1 if is_text else _rows_of_prompt(params, sizes))
        if site != "text" and n_rows < width:
            rule = f"have as many training rows as dimensions, {width}"
            advice = "Take text (its tokens), more prompts, longer clips or more stored steps"
            yield rule, f"{n_rows} rows of {site}", advice


def _rows_of_prompt(params: Params, sizes: Sizes) -> int:
    """Return the rows that the clips of a prompt give: stored steps at which every codebook has a token."""
    section = params.generate
    n_steps = steps_for(frames_for(section.duration_s, sizes.frame_rate_hz), sizes.n_delays)
    stored = stored_steps(n_steps, section.step_stride, steps_within(section.windows, sizes.frame_rate_hz))
    whole = complete_steps(n_steps, sizes.n_delays)
    return section.n_seeds * sum(whole.start <= step < whole.stop for step in stored)

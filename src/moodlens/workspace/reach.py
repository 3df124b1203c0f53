"""What prompts and model cannot support, refused before any work under the name of its parameter.

Clashes between parameters alone stand in `params.clashes`. Here the numbers are exact: the wordings of the
design after their merging, the layers and widths of the model, the rows of an SAE site. Where a later stage
tests the same, it does so with the same function.
"""

from collections.abc import Iterator
from unicodedata import normalize

import numpy as np
import pandas as pd

from moodlens.base.errors import UsageError, must
from moodlens.base.units import frames_for, steps_for, steps_within
from moodlens.capture.recorders import complete_steps
from moodlens.contracts.tables import ACOUSTIC_NAMES, NEUTRAL
from moodlens.contracts.tensors import stored_steps
from moodlens.decision.gates import at_look, look_of
from moodlens.forecast.sizes import Sizes
from moodlens.params.clashes import TOP_K
from moodlens.params.pipeline import Params
from moodlens.prompts.lexicon import bag_of_words
from moodlens.sae.texts import text_table
from moodlens.stats.alignment import dimensions_of, require_dimensions, require_units
from moodlens.stats.gram import standardised
from moodlens.stats.permutation import require_reachable
from moodlens.workspace.design import stratified, too_many_folds, wording_labels
from moodlens.workspace.sae_rows import TEXT_SITES, layer_of

FILE = "params.yaml"


def refuse_small_design(params: Params, prompts: pd.DataFrame) -> None:
    """Refuse prompts with too few wordings for the folds, the axes of CCA or the levels of the verdicts.

    Args:
        params: of the run.
        prompts: table PROMPTS.

    Raises:
        UsageError: more folds than wordings.
        ContractError: an emotion has one wording, signal.cca_rank exceeds a third of the units, or no p can
            fall below a level; as `design_of`.
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
    _refuse_rank(params, prompts, n_wordings)


def _refuse_rank(params: Params, prompts: pd.DataFrame, n_wordings: int) -> None:
    """Refuse a rank of CCA that exceeds a third of the units, or the dimensions of the bag of words."""
    section = params.signal
    if "cca" not in section.metrics:
        return
    if set(section.sites) - {"bow"}:
        require_units(section.cca_rank, n_wordings)
    if "bow" in section.sites:
        emotional = (prompts["emotion"] != NEUTRAL).to_numpy()
        counts, _ = bag_of_words(prompts["text"].tolist())
        words = standardised(counts[emotional].astype(np.float64))
        require_units(section.cca_rank, len(words))
        n_dimensions = int(dimensions_of(np.linalg.eigvalsh(words @ words.T)))
        require_dimensions(section.cca_rank, n_dimensions, "the bag of words")


def refuse_beyond_model(params: Params, prompts: pd.DataFrame, sizes: Sizes) -> None:
    """Refuse layers that the model lacks, a rank of CCA beyond its sites, SAE sites with too few rows.

    SAE sites are looked at only where the number of clips does not close the gate of SAE training anyway.

    Args:
        params: of the run.
        prompts: table PROMPTS.
        sizes: of the model.

    Raises:
        UsageError: names the parameter, the number that there is and the number that is needed.
        ContractError: signal.cca_rank exceeds the dimensions of a site.
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
    if "cca" in params.signal.metrics:
        for site, width in _widths(params, sizes):
            require_dimensions(params.signal.cca_rank, width, site)
    per_emotion = params.prompts.n_per_emotion * params.generate.n_seeds
    if params.sae.override_gate or per_emotion >= params.decide.gate_clips:
        for rule, got, advice in _sae_faults(params, prompts, sizes):
            raise UsageError(must("sae.sites", rule, got, where=FILE, next_step=advice))


def _widths(params: Params, sizes: Sizes) -> Iterator[tuple[str, int]]:
    """Yield name and width of what signal.sites reads of the model and of its music.

    Clips may span fewer dimensions, which is known only when they are there.
    """
    for site in params.signal.sites:
        if site == "layers":
            for name in params.generate.sites:
                yield f"a layer of {name}", sizes.width_of((name,), 1)
        elif site == "text":
            yield "the text encoder", sizes.d_text
            yield "the projected text", sizes.d_model
        elif site != "bow":
            n_tokens = sizes.n_codebooks * sizes.codebook_size
            widths = {"acoustics": len(ACOUSTIC_NAMES), "tokens": n_tokens, "codec": sizes.d_codec}
            yield f"site {site}", widths[site]


def _sae_faults(params: Params, prompts: pd.DataFrame, sizes: Sizes) -> Iterator[tuple[str, str, str]]:
    """Yield rule, value and advice of every site that no SAE can be trained on.

    The rows of `text` are tokens. Only the tokenizer knows how many there are: refused is what no tokenizer
    could split into enough (`_most_tokens`).
    """
    section = params.sae
    diverse = section.prompts == "diverse"
    texts = text_table(prompts, params.prompts.emotions, diverse=diverse, seed=section.seed)
    for site in section.sites:
        is_text = site in TEXT_SITES
        rows = texts if is_text else texts.loc[texts["source"] == "design"]
        splits = rows["split"]
        if absent := sorted({"train", "val", "test"} - set(splits)):
            rule = f"have a text in every split: whole wordings are held out, and {absent[0]} has none"
            yield rule, site, "Add prompts with other wordings"
        width = sizes.d_text if is_text else sizes.width_of((layer_of(site)[0],), 1)
        if section.architecture in TOP_K and section.k > section.expansion * width:
            rule = f"have sae.k = {section.k} latents, of sae.expansion x {width}"
            yield rule, site, "Lower sae.k or raise sae.expansion"
        rule = f"have as many training rows as dimensions, {width}"
        train = rows.loc[splits == "train", "text"].tolist()
        if site == "text":
            n_rows = sum(_most_tokens(text) for text in train)
            if n_rows < width:
                yield rule, f"at most {n_rows} rows of text", "Take more prompts, or sae.prompts: diverse"
            continue
        n_rows = len(train) * (1 if is_text else _rows_of_prompt(params, sizes))
        if n_rows < width:
            advice = "Take text (its tokens), more prompts, longer clips or more stored steps"
            yield rule, f"{n_rows} rows of {site}", advice


def _most_tokens(text: str) -> int:
    """Return a number of tokens that no tokenizer exceeds: one per byte, one ahead and the end token.

    Normalisation of a tokenizer can take a character apart (NFKD).

    >>> _most_tokens("sad"), _most_tokens("½")  # 1/2, whose stroke is a character of three bytes
    (5, 7)
    """
    return max(len(form.encode()) for form in (text, normalize("NFKD", text))) + 2


def _rows_of_prompt(params: Params, sizes: Sizes) -> int:
    """Return the rows that the clips of a prompt give: stored steps at which every codebook has a token."""
    section = params.generate
    n_steps = steps_for(frames_for(section.duration_s, sizes.frame_rate_hz), sizes.n_delays)
    stored = stored_steps(n_steps, section.step_stride, steps_within(section.windows, sizes.frame_rate_hz))
    whole = complete_steps(n_steps, sizes.n_delays)
    return section.n_seeds * sum(whole.start <= step < whole.stop for step in stored)

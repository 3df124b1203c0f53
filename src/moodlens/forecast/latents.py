"""Memory, disk and time of the stages `sae` and `latents`, whose arrays grow with the SAEs' widths."""

from typing import NamedTuple

from moodlens.forecast.generation import (
    DTYPE_BYTES,
    EFFICIENCY,
    LIBRARIES_BYTES,
    Cost,
    Load,
    Rates,
    loading_seconds,
    n_steps_of,
    with_loading,
)
from moodlens.forecast.sizes import Sizes
from moodlens.forecast.stages import IMPORTED, TOKENS_PER_TEXT, Analysis

SAE_STATES = 6  # weights, gradient, two moments, the best epoch's copy, the checkpoint being written
SAE_ROWS_AT_ONCE, FIT_ROWS = 4096, 8192
SITE_S, SAE_S = 4.0, 2.0  # of the tests of a site, and of each of its SAEs
SAE_STEP_S = 8e-3  # of the calls of a step, at any width
RELABELLED_VALUES = 5 * 256 + 4 * 50  # per relabelling: a block of latents, and the wordings of each emotion
CHUNK_ARRAYS = 4  # as wide as the latents, of the kind of unit that is read: values, firing, and both joined
OTHER_KINDS = 2  # as wide as the latents and pooled beside the SAEs: the untrained SAE and k-means
NARROW_KINDS = 6  # as wide as the site: both halves of dimensions and of components, independent components


class SiteSizes(NamedTuple):
    """Sites of one kind, text or decoder layer."""

    d_in: int
    n_rows: int  # that an SAE can be trained on
    n_sites: int


def sites_of(sizes: Sizes, load: Load, analysis: Analysis) -> tuple[SiteSizes, SiteSizes]:
    """Return the sizes of the text sites and of the decoder layers."""
    n_tokens, n_states = analysis.n_texts * TOKENS_PER_TEXT, load.n_clips * n_steps_of(sizes, load)
    return (
        SiteSizes(sizes.d_text, n_tokens, analysis.text_sites),
        SiteSizes(sizes.d_model, n_states, analysis.layer_sites),
    )


def sae_cost(sizes: Sizes, load: Load, analysis: Analysis, rates: Rates) -> Cost:
    """Return the cost of stage `sae`: model and twin write rows, then SAEs train, one per process."""
    sites = sites_of(sizes, load, analysis)
    tokens = analysis.n_texts * TOKENS_PER_TEXT * sizes.d_text
    layer = n_steps_of(sizes, load) * sizes.d_model
    writing = (
        DTYPE_BYTES[load.dtype] * (2 * sizes.n_model + sizes.n_codec)
        + 3 * 4 * tokens
        + analysis.layer_sites * min(load.clips_per_shard, load.n_clips) * layer * (2 * 4 + 2)
    )
    training = [_training_bytes(site, analysis) for site in sites if site.n_sites]
    per_process = LIBRARIES_BYTES if load.workers > 1 else 0
    memory = {
        "libraries": IMPORTED["sae"],
        "writing rows, or training by all workers": max(
            writing, load.workers * (per_process + max(training, default=0))
        ),
    }
    weights = [4 * site.n_sites * 2 * analysis.expansion * site.d_in**2 for site in sites]
    disk = {
        "texts": 2 * 4 * tokens if analysis.text_sites else 0,
        "twin's layers": 2 * analysis.layer_sites * load.n_clips * layer,
        "SAEs": analysis.n_saes * sum(weights),
    }
    seconds = (
        loading_seconds(sizes)
        + _encoding_seconds(sizes, load, analysis, rates)
        + _training_seconds(sites, analysis, rates) / load.workers
    )
    return Cost("sae", with_loading(memory, sizes, load.dtype), disk, seconds)


def _training_bytes(site: SiteSizes, analysis: Analysis) -> int:
    weights = 4 * 2 * analysis.expansion * site.d_in**2
    row = 4 * (2 * site.d_in + 2 * analysis.expansion * site.d_in)
    batch, evaluation = analysis.batch_rows * row, SAE_ROWS_AT_ONCE * row  # held-out rows, all latents
    buffer = 2 * 4 * site.d_in * min(site.n_rows, analysis.buffer_rows)
    return SAE_STATES * weights + max(batch, evaluation) + buffer


def _training_seconds(sites: tuple[SiteSizes, ...], analysis: Analysis, rates: Rates) -> float:
    """Return the seconds of all training steps on one core."""
    per_row = 1.5 if analysis.topk else 6.0
    n_steps = sum(site.n_sites for site in sites) * analysis.n_saes * analysis.sae_steps
    n_rows = analysis.n_saes * analysis.sae_steps * analysis.batch_rows
    flop = sum(site.n_sites * n_rows * per_row * 2 * analysis.expansion * site.d_in**2 for site in sites)
    return SAE_STEP_S * n_steps + flop / rates.flop_s / EFFICIENCY


def _encoding_seconds(sizes: Sizes, load: Load, analysis: Analysis, rates: Rates) -> float:
    """Return the seconds in which model and twin encode all texts, one text at a time."""
    if not analysis.text_sites:
        return 0.0
    read = DTYPE_BYTES[load.dtype] * sizes.n_text / rates.byte_s
    return 2 * analysis.n_texts * (read + 2 * sizes.n_text * TOKENS_PER_TEXT / rates.flop_s / EFFICIENCY)


def latents_cost(sizes: Sizes, load: Load, analysis: Analysis, rates: Rates) -> Cost:
    """Return the cost of stage `latents`: model and twin, and the latents of one site."""
    word = DTYPE_BYTES[load.dtype]
    clips = min(load.clips_per_shard, load.n_clips)
    passes = 2 * 4 * clips * n_steps_of(sizes, load) * sizes.d_model if analysis.layer_sites else 0
    latents = [_latents_bytes(s, analysis) for s in sites_of(sizes, load, analysis) if s.n_sites]
    memory = {
        "libraries": IMPORTED["latents"],
        "weights": word * (sizes.n_model + sizes.n_codec),
        "untrained twin": word * sizes.n_model,
        "latents, or a shard under null text": max([passes, *latents]),
    }
    null = 2 * 2 * load.n_clips * n_steps_of(sizes, load) * sizes.n_step if analysis.null_text else 0
    n_sites = analysis.text_sites + analysis.layer_sites
    seconds = loading_seconds(sizes) + n_sites * (SITE_S + SAE_S * analysis.n_saes)
    seconds += analysis.layer_sites * null / rates.flop_s / EFFICIENCY
    return Cost("latents", with_loading(memory, sizes, load.dtype), {"table": 100_000 * n_sites}, seconds)


def _latents_bytes(site: SiteSizes, analysis: Analysis) -> int:
    d_sae = analysis.expansion * site.d_in
    sampled = site.n_rows * site.d_in * 2 * 2 + 2 * 4 * FIT_ROWS * site.d_in
    chunk = CHUNK_ARRAYS * 4 * SAE_ROWS_AT_ONCE * d_sae
    # of every SAE mean and firing rate; sums over rows and the means made of them, float64
    kinds = (2 * analysis.n_saes + OTHER_KINDS) * d_sae + NARROW_KINDS * site.d_in
    pooled = 2 * 8 * analysis.n_texts * kinds
    relabelled = 8 * analysis.permutations["latents"] * RELABELLED_VALUES
    matched = 3 * 8 * min(d_sae, 4096) * d_sae
    # float32: encoder and decoder of every SAE and of the untrained one; float64: a copy of every decoder
    weights = (4 * 2 * (analysis.n_saes + 1) + 8 * analysis.n_saes) * d_sae * site.d_in
    return weights + sampled + chunk + pooled + max(relabelled, matched)

"""Memory, disk and time of the stages after `generate`, with formulas as in `forecast.generation`.

A stage of one process holds its imports, its input, and copies while it works. Each formula names the arrays
of the stage's code. What does not grow with the model (tables, tests over prompts) is part of the imports,
measured on the organism's default run. docs/plan.md writes the formulas out and compares them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from moodlens.contracts.tensors import stored_steps
from moodlens.forecast.generation import (
    DTYPE_BYTES,
    EFFICIENCY,
    FLAC_SHARE,
    LIBRARIES_BYTES,
    LOADING_S,
    Cost,
    Load,
    Rates,
    attention_values,
    loading_seconds,
    n_shards_of,
    n_steps_of,
    samples_of,
    with_loading,
)
from moodlens.forecast.sizes import Sizes

IMPORTED = {
    "acoustics": 345_000_000, "check": 315_000_000, "signal": 345_000_000, "probe": 385_000_000,
    "null_text": 370_000_000, "temporal": 365_000_000, "attention": 285_000_000, "geometry": 270_000_000,
    "relate": 310_000_000, "report": 195_000_000, "sae": 680_000_000, "latents": 650_000_000,
}  # fmt: skip
"""Resident bytes of a stage after its imports and reading the tables of a small design."""
NOT_RUN_BYTES = 260_000_000  # of an analysis that only reports why it cannot run
UMAP_BYTES = 290_000_000  # umap-learn and numba, while they compile
DESCRIBED_BYTES = 80  # per sample of a clip: spectra of all descriptors
CHECKED_BYTES = 3_500  # per row of a checked table: frame, conditions and their results
PASSES = 9  # three models, three texts
NULL_TEXT_PROBES = 5
METRIC_COPIES = 3  # statistics of a family, adjusted and standardised
TOKENS_PER_TEXT = 10


@dataclass(frozen=True)
class Analysis:
    """The requested work of the stages after `generate`, as numbers."""

    reencoded_width: int  # values per clip and step at the re-encoded hookpoints, one half
    reencoded_hookpoints: int
    reencoded_steps: int
    n_draws: int  # untrained decoders whose memory of the tokens is stored
    recurrent_units: int
    recurrent_steps: int  # optimizer steps
    permutations: Mapping[str, int]  # stage -> relabellings
    n_metrics: int
    n_windows: int  # of the step sweep
    umap: bool
    text_sites: int
    layer_sites: int
    n_texts: int  # that SAEs are trained on
    expansion: int
    n_saes: int  # per site, the one of the twin included
    sae_steps: int
    batch_rows: int
    buffer_rows: int
    topk: bool
    null_text: bool
    players: int  # audio players on the report page


def embed_cost(sizes: Sizes, load: Load, rates: Rates) -> Cost:
    """Return the cost of stage `embed`: pooled and per token, before and after projection, with the twin."""
    word = DTYPE_BYTES[load.dtype]
    wide = sizes.d_text + sizes.d_model
    per_prompt = 4 * (wide + sizes.d_text + TOKENS_PER_TEXT * wide)
    memory = {
        "libraries": LIBRARIES_BYTES,
        "weights": word * (sizes.n_model + sizes.n_codec),
        "untrained twin": word * sizes.n_model,
        "embeddings": 2 * load.n_prompts * per_prompt,
    }
    encoding = load.n_prompts * 2 * 2 * sizes.n_text * TOKENS_PER_TEXT / rates.flop_s / EFFICIENCY
    disk = {"embeddings": load.n_prompts * per_prompt}
    return Cost("embed", with_loading(memory, sizes, load.dtype), disk, loading_seconds(sizes) + encoding)


def acoustics_cost(sizes: Sizes, load: Load) -> Cost:
    """Return the cost of stage `acoustics`: one clip at a time."""
    n_samples = samples_of(sizes, load)
    memory = {"libraries": IMPORTED["acoustics"], "spectra of a clip": DESCRIBED_BYTES * n_samples}
    workers = min(load.workers, n_shards_of(load))
    seconds = 3.5 + load.n_clips * n_samples * 1e-7 / workers
    return Cost("acoustics", memory, {"table": 130 * load.n_clips}, seconds, workers=workers)


def check_cost(load: Load, analysis: Analysis) -> Cost:
    """Return the cost of stage `check`: tables row by row, every audio file decoded."""
    rows = load.n_clips * (load.hookpoints + PASSES * analysis.reencoded_hookpoints)
    memory = {"libraries": IMPORTED["check"], "tables": CHECKED_BYTES * rows}
    return Cost("check", memory, {"pages": 120_000}, 6.0 + 2e-4 * rows)


def signal_cost(load: Load, analysis: Analysis) -> Cost:
    """Return the cost of stage `signal`: means of all layers and of the twin's, Gram matrices, 12 metrics."""
    families = 2 * load.hookpoints + 8
    statistics = 8 * analysis.n_metrics * (analysis.permutations["signal"])
    memory = {
        "libraries": IMPORTED["signal"],
        **_families(load),
        "relabelled statistics": statistics * (families + METRIC_COPIES * load.hookpoints),
    }
    seconds = 6.0 + 0.15 * families
    return Cost("signal", memory, {}, seconds)


def probe_cost(load: Load, analysis: Analysis) -> Cost:
    """Return the cost of stage `probe`: the same Gram matrices, ridge predictions of every relabelling."""
    predictions = 8 * load.hookpoints * analysis.permutations["probe"] * load.n_prompts
    memory = {"libraries": IMPORTED["probe"], **_families(load), "predictions": predictions}
    seconds = 4.0 + 0.57 * (2 * load.hookpoints + 8)
    return Cost("probe", memory, {}, seconds)


def null_text_cost(load: Load, analysis: Analysis) -> Cost:
    """Return the cost of stage `null_text`: single steps of all layers, one model at a time, and Grams."""
    steps, width = analysis.reencoded_steps, analysis.reencoded_width
    grams = 8 * NULL_TEXT_PROBES * analysis.reencoded_hookpoints * steps * load.n_prompts**2
    memory = {
        "libraries": IMPORTED["null_text"],
        # float64: two conditions, layers of the third, and both concatenated; float16 as read
        "single steps of three conditions": (4 * 8 + 2) * load.n_clips * steps * width,
        "Gram matrices": grams,
    }
    seconds = 7.0 + 0.07 * analysis.reencoded_hookpoints * steps
    return Cost("null_text", memory, {}, seconds)


def temporal_cost(sizes: Sizes, load: Load, analysis: Analysis) -> Cost:
    """Return the cost of stage `temporal`: a layer of a shard at a time; relabelled curves of all layers.

    Without stored steps, or with gaps between them, the stage only reports that it cannot run.
    """
    steps = stored_steps(n_steps_of(sizes, load), load.step_stride, load.windows)
    gaps = any(step - before != load.step_stride for before, step in pairwise(steps))
    if gaps or not load.keep_steps:
        return Cost("temporal", {"libraries": NOT_RUN_BYTES}, {}, 2.0)
    clips = min(load.clips_per_shard, load.n_clips)
    states = clips * n_steps_of(sizes, load) * sizes.d_model if load.keep_steps else 0
    curves = 8 * analysis.permutations["temporal"] * analysis.n_windows * load.hookpoints
    memory = {
        "libraries": IMPORTED["temporal"],
        "states of a layer": states * (DTYPE_BYTES[load.store_dtype] + 2 * 4),
        "covariance": 3 * 8 * sizes.d_model**2,
        "relabelled curves": 2 * curves,
    }
    seconds = 4.0 + 3.3e-8 * load.n_clips * n_steps_of(sizes, load) * load.width
    return Cost("temporal", memory, {}, seconds)


def attention_cost(sizes: Sizes, load: Load, analysis: Analysis) -> Cost:
    """Return the cost of stage `attention`: all summaries of all clips, read shard by shard and joined."""
    values = attention_values(sizes, load, load.n_clips)
    tests = 8 * analysis.permutations["attention"] * sizes.n_layers * sizes.n_heads if load.attention else 0
    memory = {"libraries": IMPORTED["attention"], "summaries": 2 * 2 * values, "tests": 3 * tests}
    return Cost("attention", memory, {}, 3.0 + 5e-9 * values + 1e-8 * tests)


def geometry_cost(load: Load, analysis: Analysis) -> Cost:
    """Return the cost of stage `geometry`: families as in `signal`, and UMAP's compiler."""
    families = sum(_families(load).values())
    memory = {
        "libraries": IMPORTED["geometry"],
        "families, or UMAP's compiler": max(families, UMAP_BYTES if analysis.umap else 0),
    }
    seconds = (
        4.0
        + (12.0 if analysis.umap else 0.0)
        + 5e-9 * load.hookpoints * analysis.permutations["geometry"] * load.n_prompts
    )
    return Cost("geometry", memory, {}, seconds)


def relate_cost(load: Load, analysis: Analysis) -> Cost:
    """Return the cost of stage `relate`: families as in `signal`, descriptors under every relabelling."""
    relabelled = 8 * 11 * load.hookpoints * analysis.permutations["relate"]
    memory = {"libraries": IMPORTED["relate"], **_families(load), "regressions": 4 * relabelled}
    seconds = 4.0 + 1e-7 * load.hookpoints * analysis.permutations["relate"]
    return Cost("relate", memory, {}, seconds)


def _families(load: Load) -> dict[str, int]:
    """Return the terms of the means of all layers and of the twin: read, concatenated, as Gram matrices."""
    n_sites = 2 * load.hookpoints
    return {
        "means read and concatenated": 2 * 4 * load.n_clips * load.width,
        "means of prompts": 2 * 8 * load.n_prompts * load.width,
        "Gram matrices": 8 * n_sites * (load.n_clips**2 + 3 * load.n_prompts**2),
    }


def report_cost(sizes: Sizes, load: Load, analysis: Analysis) -> Cost:
    """Return the cost of stage `report`: figures, and the clips of the players encoded in one page."""
    audio = round(FLAC_SHARE * 2 * analysis.players * samples_of(sizes, load) * sizes.audio_channels)
    waveforms = 4 * analysis.players * samples_of(sizes, load) * sizes.audio_channels
    memory = {"libraries": IMPORTED["report"], "players": 6 * audio + waveforms}
    return Cost("report", memory, {"page": 1_300_000 + round(4 / 3 * audio)}, LOADING_S + 10.0)

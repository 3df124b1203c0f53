"""What configuration and parameters ask of every stage, in the terms of the cost formulas; their answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from moodlens.backends import catalog
from moodlens.base.errors import MoodLensError
from moodlens.base.units import frames_for, steps_for, steps_within
from moodlens.contracts.tables import PROMPTS
from moodlens.contracts.tensors import WHOLE_SITES
from moodlens.forecast import stages
from moodlens.forecast.generation import Cost, Load, generate_cost
from moodlens.forecast.machine import measured_rates
from moodlens.forecast.sizes import Sizes, published_config, sizes_of
from moodlens.forecast.stages import Analysis
from moodlens.params.pipeline import Model, Params
from moodlens.store.tables import read_table

DENSE = ("relu", "jumprelu", "gated")
"""SAE architectures whose steps multiply every latent."""
N_DIVERSE = 420
"""Texts that `sae.prompts: diverse` adds, those that are in the design left out."""


def config_of(model: Model, root: Path) -> Mapping[str, Any]:
    """Return the configuration of a model: of its folder, or of a published one that is not on this machine.

    Raises:
        UsageError, ContractError: as `catalog.find`, for anything but a published id.
    """
    try:
        return catalog.find(model, root).checkpoint.config
    except MoodLensError:
        found = published_config(model.id)
        if found is None:
            raise
        return found


def load_of(params: Params, sizes: Sizes, n_clips: int, n_prompts: int) -> Load:
    """Return what the parameters ask of a model of these sizes."""
    asked = params.generate
    n_layers = sizes.n_layers if asked.layers == "all" else len(set(asked.layers))
    n_halves = 2 if asked.half == "both" else 1
    return Load(
        n_clips=n_clips,
        n_prompts=n_prompts,
        n_frames=frames_for(asked.duration_s, sizes.frame_rate_hz),
        clips_per_shard=asked.clips_per_shard,
        block_clips=asked.block_clips,
        halves_run=2 if asked.guidance_scale != 1 or asked.half != "cond" else 1,
        hookpoints=n_halves * _n_hookpoints(asked.sites, n_layers),
        width=n_halves * sizes.width_of(asked.sites, n_layers),
        step_stride=asked.step_stride,
        keep_steps=not asked.pooled_only,
        dtype=params.model.dtype,
        store_dtype=asked.store_dtype,
        workers=params.compute.workers,
        windows=steps_within(asked.windows, sizes.frame_rate_hz),
        attention=asked.attention,
    )


def analysis_of(params: Params, sizes: Sizes, n_prompts: int) -> Analysis:
    """Return what the parameters ask of the stages after `generate`."""
    section, sae = params.reencode, params.sae
    n_layers = sizes.n_layers if section.layers == "all" else len(set(section.layers))
    n_frames = frames_for(params.generate.duration_s, sizes.frame_rate_hz)
    text_sites = [site for site in sae.sites if "." not in site]
    n_emotions = len(params.prompts.emotions)
    permutations = {
        name: getattr(params, name).n_permutations
        for name in ("signal", "probe", "null_text", "temporal", "attention", "geometry", "relate", "latents")
    }
    return Analysis(
        reencoded_width=sizes.width_of(section.sites, n_layers),
        reencoded_hookpoints=_n_hookpoints(section.sites, n_layers),
        reencoded_steps=section.n_steps,
        permutations=permutations,
        n_metrics=len(params.signal.metrics),
        n_windows=steps_for(n_frames, sizes.n_delays) // params.temporal.steps_per_window,
        umap=params.geometry.umap,
        text_sites=len(text_sites),
        layer_sites=len(sae.sites) - len(text_sites),
        n_texts=n_prompts + (N_DIVERSE if sae.prompts == "diverse" else 0),
        expansion=sae.expansion,
        n_saes=sae.n_seeds + sae.twin,
        sae_steps=sae.n_steps,
        batch_rows=sae.batch_rows,
        buffer_rows=sae.buffer_rows,
        topk=sae.architecture not in DENSE,
        null_text=params.latents.null_text,
        players=params.report.clips_per_emotion * n_emotions,
    )


def _n_hookpoints(sites: Sequence[str], n_layers: int) -> int:
    return sum(1 if site in WHOLE_SITES else n_layers for site in sites)


def n_prompts_of(params: Params, root: Path) -> int:
    """Return the prompts of the workspace, or as many as the parameters ask for where there is no table."""
    path = root / "data" / "prompts.csv"
    if path.is_file():
        return len(read_table(PROMPTS, path))
    return len(params.prompts.emotions) * params.prompts.n_per_emotion


def costs_of(params: Params, root: Path) -> list[Cost]:
    """Return the cost of every stage that takes time, memory or disk, in the order of dvc.yaml."""
    sizes = sizes_of(config_of(params.model, root))
    n_prompts = n_prompts_of(params, root)
    load = load_of(params, sizes, n_prompts * params.generate.n_seeds, n_prompts)
    asked, rates = analysis_of(params, sizes, n_prompts), measured_rates()
    return [
        generate_cost(sizes, load, rates),
        stages.reencode_cost(sizes, load, asked, rates),
        stages.embed_cost(sizes, load, rates),
        stages.acoustics_cost(sizes, load),
        stages.check_cost(load, asked),
        stages.signal_cost(load, asked),
        stages.probe_cost(load, asked),
        stages.state_cost(load, asked),
        stages.temporal_cost(sizes, load, asked),
        stages.attention_cost(sizes, load, asked),
        stages.geometry_cost(load, asked),
        stages.relate_cost(load, asked),
        stages.sae_cost(sizes, load, asked, rates),
        stages.latents_cost(sizes, load, asked, rates),
        stages.report_cost(sizes, load, asked),
    ]

"""The cost of every stage, from the configuration of a model and the parameters of a run."""

from collections.abc import Sequence
from pathlib import Path

from moodlens.backends import catalog, hub
from moodlens.backends.audiocraft.converted import is_audiocraft
from moodlens.backends.requests import halves_run
from moodlens.base.errors import UsageError, must
from moodlens.base.units import frames_for, steps_for, steps_within
from moodlens.contracts.tables import NEUTRAL
from moodlens.contracts.tensors import WHOLE_SITES
from moodlens.forecast import latents, stages
from moodlens.forecast.forks import Forking, fork_steps, forks_cost
from moodlens.forecast.generation import Cost, Load, generate_cost
from moodlens.forecast.interchange import Exchanging, interchange_cost
from moodlens.forecast.machine import measured_rates
from moodlens.forecast.reencode import reencode_cost
from moodlens.forecast.sizes import Sizes, published_config, sizes_of, sizes_of_checkpoint
from moodlens.forecast.stages import Analysis
from moodlens.params.pipeline import Model, Params
from moodlens.prompts.design import REPEATS, split_evenly
from moodlens.prompts.grammar import EMOTION_SETS, wordings

DENSE = ("relu", "jumprelu", "gated")
"""SAE architectures whose training steps multiply every latent."""
DIVERSE_PER_EMOTION, DIVERSE_NEUTRAL = 106, 36
"""Texts that `sae.prompts: diverse` adds to those of the design."""


def sizes_of_model(model: Model, root: Path) -> Sizes:
    """Return the sizes of a model, without converting or downloading anything.

    They are read from its folder or from the hub's cache, or known of a published model.

    Raises:
        UsageError, ContractError: as `catalog.find`; or it is a hub model that is neither published nor whole
            in the cache.
    """
    name = model.id.removeprefix(catalog.AUDIOCRAFT)
    folder, listed = root / Path(name).expanduser(), model.id in catalog.EMBEDDED or model.id in catalog.HUB
    if not listed and is_audiocraft(folder):
        from moodlens.backends.audiocraft.loading import find_audiocraft

        return sizes_of_checkpoint(find_audiocraft(folder))
    on_hub = model.id in catalog.HUB or (not listed and not folder.is_dir() and hub.is_hub_id(model.id))
    if on_hub and not _is_cached(model):
        if published := published_config(model.id):
            return sizes_of(published)
        if not model.id.startswith(catalog.PUBLISHER):
            advice = (
                f"Run `moodlens models download {model.id}`, or correct model.id: there is no such folder"
            )
            raise UsageError(
                must(f"model.id {model.id}", "be in the hub's cache", "nothing", next_step=advice)
            )
    return sizes_of_checkpoint(catalog.find(model, root).checkpoint)


def _is_cached(model: Model) -> bool:
    folder = hub.cached(model.id, model.revision)
    return folder is not None and hub.is_whole(folder)


def load_of(params: Params, sizes: Sizes, n_clips: int, n_prompts: int) -> Load:
    """Return the load that the parameters put on a model of these sizes."""
    section = params.generate
    n_layers = sizes.n_layers if section.layers == "all" else len(set(section.layers))
    n_halves = 2 if section.half == "both" else 1
    return Load(
        n_clips=n_clips,
        n_prompts=n_prompts,
        n_frames=frames_for(section.duration_s, sizes.frame_rate_hz),
        clips_per_shard=section.clips_per_shard,
        block_clips=section.block_clips,
        n_halves_run=len(halves_run(section.guidance_scale, section.half)),
        hookpoints=n_halves * _n_hookpoints(section.sites, n_layers),
        width=n_halves * sizes.width_of(section.sites, n_layers),
        step_stride=section.step_stride,
        keep_steps=not section.pooled_only,
        dtype=params.model.dtype,
        store_dtype=section.store_dtype,
        workers=params.compute.workers,
        windows=steps_within(section.windows, sizes.frame_rate_hz),
        attention=section.attention,
    )


def analysis_of(params: Params, sizes: Sizes, n_prompts: int) -> Analysis:
    """Return the numbers that the parameters set for the stages after `generate`."""
    section, sae = params.reencode, params.sae
    n_layers = sizes.n_layers if section.layers == "all" else len(set(section.layers))
    n_frames = frames_for(params.generate.duration_s, sizes.frame_rate_hz)
    text_sites = [site for site in sae.sites if "." not in site]
    n_emotions = len(params.prompts.emotions)
    n_diverse = DIVERSE_PER_EMOTION * n_emotions + DIVERSE_NEUTRAL
    permutations = {
        name: getattr(params, name).n_permutations
        for name in ("signal", "probe", "null_text", "temporal", "attention", "geometry", "relate", "latents")
    }
    return Analysis(
        reencoded_width=sizes.width_of(section.sites, n_layers),
        reencoded_hookpoints=_n_hookpoints(section.sites, n_layers),
        reencoded_steps=section.n_steps,
        n_draws=section.n_draws,
        recurrent_units=section.recurrent_units,
        recurrent_steps=section.recurrent_steps,
        permutations=permutations,
        n_metrics=len(params.signal.metrics),
        n_windows=steps_for(n_frames, sizes.n_delays) // params.temporal.steps_per_window,
        umap=params.geometry.umap,
        text_sites=len(text_sites),
        layer_sites=len(sae.sites) - len(text_sites),
        n_texts=n_prompts + (n_diverse if sae.prompts == "diverse" else 0),
        expansion=sae.expansion,
        n_saes=sae.n_seeds + sae.twin,
        sae_steps=sae.n_steps,
        batch_rows=sae.batch_rows,
        buffer_rows=sae.buffer_rows,
        topk=sae.architecture not in DENSE,
        null_text=params.latents.null_text,
        players=params.report.clips_per_emotion * n_emotions,
    )


def forking_of(params: Params, sizes: Sizes) -> Forking:
    """Return the forks that the parameters request; those that leave too little to judge are left out."""
    section, generate = params.forks, params.generate
    last_s = generate.duration_s - section.judged_s + 1e-9
    steps_s = [second for second in section.steps_s if second <= last_s]
    where, run = (
        round(second * sizes.frame_rate_hz) if second <= last_s else 0
        for second in (section.where_s, section.run_guidance_s)
    )
    return Forking(
        n_slots=n_slots_of(params),
        n_seeds=section.n_seeds,
        steps=fork_steps(steps_s, sizes.frame_rate_hz),
        where_step=where,
        run_step=run if generate.guidance_scale != section.guidance_scale else 0,
        n_windows=section.n_windows,
        guided=len(halves_run(section.guidance_scale, "cond")) > 1,
        run_guided=len(halves_run(generate.guidance_scale, "cond")) > 1,
        block_clips=section.block_clips,
        rows_per_task=section.rows_per_task,
        judged_s=section.judged_s,
    )


def exchanging_of(params: Params, sizes: Sizes) -> Exchanging:
    """Return the exchanges that the parameters request; none of clips that are too short to judge."""
    section = params.interchange
    long_enough = section.judged_s <= params.generate.duration_s
    return Exchanging(
        n_slots=slots_of_pairs(params, section.pairs) if long_enough else 0,
        n_units=units_of_pairs(params, section.pairs),
        n_seeds=section.n_seeds,
        sites=tuple(section.sites),
        n_windows=section.n_windows,
        n_draws=section.n_draws,
        guided=len(halves_run(section.guidance_scale, "cond")) > 1,
        block_clips=section.block_clips,
        rows_per_task=section.rows_per_task,
        judged_s=section.judged_s,
    )


def n_slots_of(params: Params) -> int:
    """Return the pairs of prompts that share a slot, of all pairs of emotions in forks.pairs."""
    return slots_of_pairs(params, params.forks.pairs)


def slots_of_pairs(params: Params, pairs: Sequence[tuple[str, str]]) -> int:
    """Return the pairs of prompts that share a slot, of all these pairs of emotions.

    Slots come from the grammar, where every emotion has a prompt in each of them; captions have none.
    """
    return len(_known(params, pairs)) * sum(_shares(params).values())


def units_of_pairs(params: Params, pairs: Sequence[tuple[str, str]]) -> int:
    """Return the distinct pairs of wordings that share a slot, of all these pairs of emotions.

    A wording stands in adjacent slots, about REPEATS of them (`prompts.design`), more where words are few.
    """

    def words(name: str, emotion: str, n: int) -> list[int]:
        counts = split_evenly(n, min(len(wordings(name, emotion)), -(-n // REPEATS)))
        return [word for word, count in enumerate(counts) for _ in range(count)]

    return sum(
        len(set(zip(words(name, one, n), words(name, other, n), strict=True)))
        for one, other in _known(params, pairs)
        for name, n in _shares(params).items()
        if n
    )


def _known(params: Params, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [pair for pair in pairs if set(pair) <= set(params.prompts.emotions)]


def _shares(params: Params) -> dict[str, int]:
    """Return set of the grammar -> its slots."""
    emotional = [name for name in params.prompts.sets if name != NEUTRAL]
    shares = split_evenly(params.prompts.n_per_emotion, len(emotional)) if emotional else []
    return {name: n for name, n in zip(emotional, shares, strict=True) if name in EMOTION_SETS}


def _n_hookpoints(sites: Sequence[str], n_layers: int) -> int:
    return sum(1 if site in WHOLE_SITES else n_layers for site in sites)


def n_prompts_of(params: Params) -> int:
    """Return the number of prompts that the parameters request, whatever table an earlier run has left."""
    section = params.prompts
    n_neutral = section.n_per_emotion if NEUTRAL in section.sets else 0
    return len(section.emotions) * section.n_per_emotion + n_neutral


def costs_of(params: Params, root: Path) -> list[Cost]:
    """Return the cost of every stage that takes notable time, memory or disk, in the order of dvc.yaml."""
    sizes = sizes_of_model(params.model, root)
    n_prompts = n_prompts_of(params)
    load = load_of(params, sizes, n_prompts * params.generate.n_seeds, n_prompts)
    analysis, rates = analysis_of(params, sizes, n_prompts), measured_rates()
    return [
        generate_cost(sizes, load, rates),
        reencode_cost(sizes, load, analysis, rates),
        stages.embed_cost(sizes, load, rates),
        stages.acoustics_cost(sizes, load),
        stages.check_cost(load, analysis),
        stages.signal_cost(load, analysis),
        stages.probe_cost(load, analysis),
        stages.null_text_cost(load, analysis),
        forks_cost(sizes, load, forking_of(params, sizes), rates),
        interchange_cost(sizes, load, exchanging_of(params, sizes), rates),
        stages.temporal_cost(sizes, load, analysis),
        stages.attention_cost(sizes, load, analysis),
        stages.geometry_cost(load, analysis),
        stages.relate_cost(load, analysis),
        latents.sae_cost(sizes, load, analysis, rates),
        latents.latents_cost(sizes, load, analysis, rates),
        stages.report_cost(sizes, load, analysis),
    ]

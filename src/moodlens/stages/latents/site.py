"""The results of one site: reads its rows, SAEs and clips, and hands arrays to the rooms that compute."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from moodlens.backends.musicgen.backend import MusicgenBackend
from moodlens.backends.musicgen.splice import cross_entropies
from moodlens.base.seeding import rng_for
from moodlens.contracts.tables import ACOUSTICS
from moodlens.contracts.tensors import shard_name
from moodlens.latents import baselines
from moodlens.latents.baselines import UnitMap, pooled_by_text, reconstructions
from moodlens.latents.evidence import Correlations, correlations
from moodlens.latents.selectivity import (
    Selectivity,
    SelectivitySettings,
    Transfer,
    UnitResult,
    measure,
    shuffled_counts,
    survival,
    transfer,
)
from moodlens.latents.stability import Stability, stability
from moodlens.params.pipeline import Params
from moodlens.probes.family import ProbeSettings, probe_family
from moodlens.prompts.lexicon import bag_of_words
from moodlens.sae.array_maps import error_map, latent_map, untrained_like
from moodlens.sae.model import Sae
from moodlens.stats.design import Design, design_of
from moodlens.stats.gram import site_gram
from moodlens.store.sae_files import load_sae
from moodlens.store.shards import read_shard
from moodlens.workspace.design import Workspace, acoustic_table
from moodlens.workspace.sae_rows import (
    SiteRows,
    by_text,
    emotional_texts,
    layer_of,
    null_text_blocks,
    open_rows,
)

N_FIT_ROWS = 8192
"""Training rows that PCA, ICA and k-means are fitted on."""
N_ICA = 128
N_BOOTSTRAP = 100
PROBE_PERMUTATIONS = 199
"""Few, because the probes of reconstructions are compared with each other and not tested."""


@dataclass(frozen=True)
class Site:
    """One site and what all of its measurements share."""

    work: Workspace
    params: Params
    name: str
    rows: SiteRows
    sae: Sae  # the chosen seed
    chosen: str  # name of that seed
    emotional: np.ndarray  # indices of the texts that intend an emotion
    design: Design  # of those texts
    sample: np.ndarray  # (row, d_in) training rows, float32

    @property
    def folder(self) -> Path:
        """Folder that holds the SAEs of the site."""
        return sae_folder(self.work.root, self.name)

    @property
    def settings(self) -> SelectivitySettings:
        section = self.params.latents
        return SelectivitySettings(
            n_permutations=section.n_permutations,
            min_wordings=section.min_wordings,
            fdr=section.fdr,
            seed=section.seed,
        )


@dataclass(frozen=True)
class SiteResults:
    """All results of one site."""

    site: str
    rows: SiteRows
    sae: Sae
    design: Design
    pooled: np.ndarray  # (prompt of the design, latent)
    units: dict[str, UnitResult]  # by kind of unit; the SAE's own is "sae"
    shuffled: dict[str, float]  # mean counts of the SAE over shuffled labels
    stability: Stability
    transfer: Transfer
    accuracy: dict[str, float]  # balanced, wording held out
    related: Correlations
    null: Selectivity | None  # of the SAE under null text; None for text sites or if not requested
    null_numbers: dict[str, float]
    losses: dict[str, float]  # nats per token: original, sae, mean, zero


def sae_folder(root: Path, site: str) -> Path:
    """Return the folder of a site's SAEs; the "/" of a site becomes "-"."""
    return root / "models" / "sae" / site.replace("/", "-")


def open_site(work: Workspace, name: str, chosen: str, params: Params) -> Site:
    """Return a site, read from data/sae and models/sae."""
    rows = open_rows(work, name)
    emotional = emotional_texts(rows)
    columns = (rows.texts[column].iloc[emotional].tolist() for column in ("text_id", "emotion", "wording"))
    return Site(
        work=work,
        params=params,
        name=name,
        rows=rows,
        sae=load_sae(sae_folder(work.root, name) / chosen),
        chosen=chosen,
        emotional=emotional,
        design=design_of(*columns),
        sample=_sample(rows, params.latents.seed),
    )


def measure_site(site: Site, backend: MusicgenBackend, twin: MusicgenBackend) -> SiteResults:
    """Return the results of a site; a decoder layer is also measured under null text and by splicing."""
    section, rows = site.params.latents, site.rows
    pooled = pooled_by_text(rows.by_text(), _unit_maps(site), len(rows.texts))
    units = _units(site, pooled)
    results = {name: measure(values, site.design, site.settings) for name, values in units.items()}
    own, latents = results["sae"].selectivity, units["sae"]
    null, null_numbers, losses = None, {}, {}
    if rows.clips is not None and section.null_text:
        null, null_numbers = _under_null_text(site, own, backend, twin)
    if rows.clips is not None and section.splice_clips:
        losses = _losses(site, backend)
    held_out = (rows.texts["split"].iloc[site.emotional] == "test").to_numpy()
    transfer_rng = rng_for("transfer", site.name, section.seed)
    return SiteResults(
        site=site.name,
        rows=rows,
        sae=site.sae,
        design=site.design,
        pooled=latents,
        units=results,
        shuffled=shuffled_counts(latents, site.design, site.settings),
        stability=_stability(site, pooled["sae"].sum(axis=0)),
        transfer=transfer(latents, site.design, held_out, site.settings, transfer_rng),
        accuracy=_accuracies(site, pooled["states"][site.emotional], latents, own.selective(section.fdr)),
        related=_correlations(site, latents),
        null=null,
        null_numbers=null_numbers,
        losses=losses,
    )


def _sample(rows: SiteRows, seed: int) -> np.ndarray:
    """N_FIT_ROWS training rows (or all of them), drawn without replacement, float32."""
    train = np.concatenate(list(rows.source("train")()))
    picks = np.sort(rng_for("latents fit", seed).permutation(len(train))[:N_FIT_ROWS])
    return train[picks].astype(np.float32)


def _unit_maps(site: Site) -> dict[str, UnitMap]:
    """The units measured on the model's own rows; `states` (the rows themselves) is for the probes only."""
    sample, sae, seed = site.sample, site.sae, site.params.latents.seed
    return {
        "sae": latent_map(sae),
        "untrained_sae": latent_map(untrained_like(sae, sample.mean(axis=0), seed)),
        "dimensions": baselines.dimensions(sample),
        "pca": baselines.components(sample),
        "ica": baselines.independent_components(sample, min(N_ICA, sample.shape[1]), seed),
        "kmeans": baselines.clusters(sample, min(sae.config.d_sae, len(sample) // 2), seed),
        "states": lambda x: x,
    }


def _units(site: Site, pooled: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Kind of unit -> (prompt, unit): the model's own, words at text sites, those of the untrained twin."""
    texts = site.rows.texts
    units = {name: values[site.emotional] for name, values in pooled.items() if name != "states"}
    if site.rows.clips is None:
        words, _ = bag_of_words(texts["text"].iloc[site.emotional].tolist())
        units["words"] = words.astype(np.float64)
    if (site.folder / "twin").is_dir():
        rows = open_rows(site.work, site.name, twin=True)
        maps = {
            "twin_sae": latent_map(load_sae(site.folder / "twin")),
            "twin_dimensions": baselines.dimensions(_sample(rows, site.params.latents.seed)),
        }
        of_twin = pooled_by_text(rows.by_text(), maps, len(texts))
        units |= {name: values[site.emotional] for name, values in of_twin.items()}
    return units


def _stability(site: Site, activation: np.ndarray) -> Stability:
    paths = sorted(path for path in site.folder.glob("seed-*") if path.name != site.chosen)
    decoder, *others = (sae.W_dec.detach().numpy() for sae in (site.sae, *(load_sae(path) for path in paths)))
    return stability(decoder, others, activation, rng_for("random decoders", site.params.latents.seed))


def _accuracies(
    site: Site, states: np.ndarray, latents: np.ndarray, selective: np.ndarray
) -> dict[str, float]:
    """Probe accuracy on the states, on reconstructions with and without selective latents, on latents."""
    W_dec, b_dec = site.sae.W_dec.detach().numpy(), site.sae.b_dec.detach().numpy()
    rebuilt = reconstructions(latents, W_dec, b_dec, selective)
    vectors = {
        "states": states,
        "reconstruction": rebuilt.pop("reconstruction"),
        "latents": latents,
        **rebuilt,
    }
    probe = site.params.probe
    settings = ProbeSettings(
        n_folds=probe.n_folds,
        ridge=probe.ridge,
        n_permutations=PROBE_PERMUTATIONS,
        n_bootstrap=N_BOOTSTRAP,
        confidence=probe.confidence,
        seed=probe.seed,
    )
    prompts = np.arange(site.design.n_prompts)
    grams = [site_gram(name, values, prompts) for name, values in vectors.items()]
    family = probe_family(grams, site.design, "wording", settings)
    return {measured.site: measured.accuracy for measured in family.sites}


def _correlations(site: Site, latents: np.ndarray) -> Correlations:
    """Correlations of every latent with valence, arousal and each descriptor, over prompts with clips."""
    texts: Any = site.rows.texts.iloc[site.emotional]
    table: Any = acoustic_table(site.work)
    prompt_of = {clip_id: clip_id.rpartition("-s")[0] for clip_id in table.index}
    means: Any = table.groupby(prompt_of).mean()
    with_clips = texts["text_id"].isin(means.index).to_numpy()
    affect = texts.loc[with_clips, ["valence", "arousal"]].to_numpy(dtype=np.float64)
    acoustic = means.loc[texts.loc[with_clips, "text_id"]].to_numpy(dtype=np.float64)
    section = site.params.latents
    return correlations(
        pooled=latents[with_clips],
        described=np.hstack([affect, acoustic]),
        names=("valence", "arousal", *ACOUSTICS.names[1:]),
        wordings=np.unique(site.design.wordings[with_clips], return_inverse=True)[1],
        n_permutations=section.n_permutations,
        rng=rng_for("correlations", section.seed),
    )


def _under_null_text(
    site: Site, own: Selectivity, backend: MusicgenBackend, twin: MusicgenBackend
) -> tuple[Selectivity, dict[str, float]]:
    """Selectivity on the re-encoded music without text, and how well the SAE still fits those states."""
    rows, fdr = site.rows, site.params.latents.fdr
    maps = {"sae": latent_map(site.sae), "error": error_map(site.sae, site.sample.mean(axis=0))}
    blocks = by_text(null_text_blocks(site.work, rows, backend))
    pooled = pooled_by_text(blocks, maps, len(rows.texts))
    null = measure(pooled["sae"][site.emotional], site.design, site.settings).selectivity
    error, distance = pooled["error"].mean(axis=0)
    numbers = {
        "null_selective": float(null.selective(fdr).sum()),
        "null_survive": float(survival(own, null, fdr).sum()),
        "null_fvu": float(error / distance),
    }
    if (site.folder / "twin").is_dir():
        twin_map = {"sae": latent_map(load_sae(site.folder / "twin"))}
        twin_blocks = by_text(null_text_blocks(site.work, rows, twin))
        of_twin = pooled_by_text(twin_blocks, twin_map, len(rows.texts))["sae"]
        counts = measure(of_twin[site.emotional], site.design, site.settings).counts
        numbers["null_twin_selective"] = float(counts.n_selective)
    return null, numbers


def _losses(site: Site, backend: MusicgenBackend) -> dict[str, float]:
    """Cross-entropy on clips of held-out wordings with the layer's output replaced; {} without such clips."""
    rows, sae = site.rows, site.sae
    assert rows.clips is not None, "a decoder layer has clips"
    held_out = rows.texts.loc[rows.texts["split"] == "test", ["text_id", "text"]]
    text_of = dict(zip(held_out["text_id"], held_out["text"], strict=True))
    clips = rows.clips[rows.clips["prompt_id"].isin(text_of)].head(site.params.latents.splice_clips)
    if clips.empty:
        return {}
    codes = []
    for shard, row in zip(clips["shard"], clips["row"], strict=True):
        path = site.work.root / "data" / "codes" / shard_name("shard", int(shard))
        codes.append(read_shard(path, ["codes"])["codes"][int(row)])
    mean = torch.from_numpy(site.sample.mean(axis=0).astype(np.float32))
    edits = {
        "original": None,
        "sae": lambda x: sae(x),
        "mean": lambda x: mean.expand_as(x),
        "zero": torch.zeros_like,
    }
    name, layer, _ = layer_of(rows.site)
    texts = [text_of[prompt_id] for prompt_id in clips["prompt_id"]]
    return cross_entropies(backend, np.stack(codes), texts, (name, layer), edits)

"""The latents of one site: selectivity beside every baseline, stability, transfer, null text, splice."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
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
from moodlens.latents.baselines import THRESHOLDS, Reader, matched_cosines, most_used, random_decoder
from moodlens.latents.evidence import Correlations, correlations
from moodlens.latents.selectivity import Counts, Selectivity, Transfer, counts_of, selectivity, transfer
from moodlens.params.pipeline import Params
from moodlens.probes.family import ProbeSettings, probe_family
from moodlens.prompts.lexicon import bag_of_words
from moodlens.sae.catalog import new_sae
from moodlens.sae.model import Sae
from moodlens.stages.latents.rows import (
    error_reader,
    latents_reader,
    null_blocks,
    pooled_by_text,
    sample_of,
)
from moodlens.stats.design import Design, design_of
from moodlens.stats.gram import site_gram
from moodlens.stats.permutation import relabellings
from moodlens.store.sae_files import load_sae
from moodlens.store.shards import read_shard
from moodlens.workspace.design import Workspace, acoustic_table
from moodlens.workspace.sae_rows import SiteRows, felt_texts, layer_of, open_rows

N_FIT_ROWS = 8192
"""Training rows that PCA, ICA and k-means are fitted on."""
N_ICA = 128
N_SHUFFLES = 5
MOST_MATCHED = 4096
"""Latents matched between seeds at most; the Hungarian algorithm is cubic."""
PROBE_PERMUTATIONS = 199
"""The probes of reconstructions are compared, not tested."""


@dataclass(frozen=True)
class Reading:
    """One kind of unit at one site."""

    name: str
    counts: Counts
    found: Selectivity


@dataclass(frozen=True)
class SiteFindings:
    """Everything found at one site."""

    site: str
    rows: SiteRows
    sae: Sae
    design: Design
    pooled: np.ndarray  # (prompt of the design, latent)
    readings: dict[str, Reading]  # the SAE's own is "sae"
    shuffled: dict[str, float]  # mean counts over shuffled labels, of the SAE
    stability: np.ndarray  # (latent,) mean matched decoder cosine over the other seeds, NaN for one seed
    shares: dict[str, float]  # stable_70, stable_90 and the same of random decoders
    moved: Transfer
    accuracy: dict[str, float]  # balanced, wording held out
    related: Correlations
    null: Selectivity | None  # of the own SAE under null text, tested only where selective under own text
    null_numbers: dict[str, float]
    losses: dict[str, float]  # nats per token: original, sae, mean, zero


def examine(
    work: Workspace, site: str, chosen: str, params: Params, backend: MusicgenBackend, twin: MusicgenBackend
) -> SiteFindings:
    """Return the findings of a site from data/sae, models/sae and the model."""
    section = params.latents
    folder = work.root / "models" / "sae" / site.replace("/", "-")
    rows, sae = open_rows(work, site), load_sae(folder / chosen)
    felt = felt_texts(rows)
    design = design_of(*(rows.texts[name].iloc[felt].tolist() for name in ("text_id", "emotion", "wording")))
    fit = sample_of(rows, N_FIT_ROWS, rng_for("latents fit", section.seed))
    readers = _readers(sae, fit, params)
    pooled = pooled_by_text(rows.blocks(), readers, len(rows.texts))
    units = {name: values[felt] for name, values in pooled.items() if name != "states"}
    if rows.clips is None:
        units["words"] = bag_of_words(rows.texts["text"].iloc[felt].tolist())[0].astype(np.float64)
    twin_sae = folder / "twin"
    if twin_sae.is_dir():
        theirs = open_rows(work, site, twin=True)
        sample = sample_of(theirs, N_FIT_ROWS, rng_for("latents fit", section.seed))
        reading = {
            "twin_sae": latents_reader(load_sae(twin_sae)),
            "twin_dimensions": baselines.dimensions(sample),
        }
        units |= {
            name: values[felt]
            for name, values in pooled_by_text(theirs.blocks(), reading, len(rows.texts)).items()
        }
    readings = {name: _reading(name, values, design, params) for name, values in units.items()}
    found = readings["sae"].found
    held_out = (rows.texts["split"].iloc[felt] == "test").to_numpy()
    null, null_numbers = None, {}
    if rows.clips is not None and section.null_text:
        null, null_numbers = _under_null_text(
            work, rows, sae, found, design, felt, fit, params, backend, twin
        )
    losses = {}
    if rows.clips is not None and section.splice_clips:
        losses = _losses(work, rows, sae, fit.mean(axis=0), section.splice_clips, backend)
    stability, shares = _stability(folder, chosen, sae, pooled["sae"].sum(axis=0), section.seed)
    return SiteFindings(
        site=site,
        rows=rows,
        sae=sae,
        design=design,
        pooled=units["sae"],
        readings=readings,
        shuffled=_shuffled(units["sae"], design, params),
        stability=stability,
        shares=shares,
        moved=transfer(
            units["sae"], design, held_out, section.fdr, section.n_permutations, section.min_wordings,
            rng_for("transfer", site, section.seed),
        ),
        accuracy=_accuracies(pooled["states"][felt], units["sae"], sae, found, design, params),
        related=_related(work, rows, design, felt, units["sae"], params),
        null=null,
        null_numbers=null_numbers,
        losses=losses,
    )  # fmt: skip


def _readers(sae: Sae, fit: np.ndarray, params: Params) -> dict[str, Reader]:
    """The readers of the model's own rows; `states` (the plain mean) is for probes, not a reading."""
    seed = params.latents.seed
    untrained = new_sae(sae.config, seed + 1_000_003).eval().requires_grad_(False)
    with torch.no_grad():
        untrained.b_dec.copy_(torch.from_numpy(fit.mean(axis=0)))
    return {
        "sae": latents_reader(sae),
        "untrained_sae": latents_reader(untrained),
        "dimensions": baselines.dimensions(fit),
        "pca": baselines.components(fit),
        "ica": baselines.independent_components(fit, min(N_ICA, fit.shape[1]), seed),
        "kmeans": baselines.clusters(fit, min(sae.config.d_sae, len(fit) // 2), seed),
        "states": lambda x: x,
    }


def _reading(name: str, pooled: np.ndarray, design: Design, params: Params) -> Reading:
    section = params.latents
    rng = rng_for("selectivity", section.seed)  # the same relabellings for every reading
    found = selectivity(pooled, design, section.n_permutations, section.min_wordings, rng)
    return Reading(name, counts_of(found, pooled, section.fdr, design.n_classes), found)


def _shuffled(pooled: np.ndarray, design: Design, params: Params) -> dict[str, float]:
    """Mean counts when whole wordings are dealt to emotions at random."""
    labels = design.unit_labels("wording")
    table = relabellings(labels, N_SHUFFLES, rng_for("shuffled labels", params.latents.seed))[1:]
    counts = [
        _reading(
            "shuffled", pooled, replace(design, labels=row[design.wordings].astype(np.int64)), params
        ).counts
        for row in table
    ]
    names = ("n_over_2", "n_over_4", "n_selective")
    return {name: float(np.mean([getattr(count, name) for count in counts])) for name in names}


def _stability(
    folder: Path, chosen: str, sae: Sae, use: np.ndarray, seed: int
) -> tuple[np.ndarray, dict[str, float]]:
    others = sorted(path for path in folder.glob("seed-*") if path.name != chosen)
    d_sae, d_in = sae.config.d_sae, sae.config.d_in
    stability = np.full(d_sae, np.nan)
    used = most_used(use, MOST_MATCHED)
    if not others or not len(used):
        return stability, {}
    decoder = sae.W_dec.detach().numpy()[used]
    cosines = np.stack([matched_cosines(decoder, load_sae(path).W_dec.detach().numpy()) for path in others])
    stability[used] = cosines.mean(axis=0)
    rng = rng_for("random decoders", seed)
    chance = matched_cosines(random_decoder(len(used), d_in, rng), random_decoder(d_sae, d_in, rng))
    shares = {}
    for threshold in THRESHOLDS:
        name = f"stable_{100 * threshold:.0f}"
        shares[name] = float((cosines > threshold).mean())
        shares[f"{name}_random"] = float((chance > threshold).mean())
    return stability, shares


def _accuracies(
    states: np.ndarray, latents: np.ndarray, sae: Sae, found: Selectivity, design: Design, params: Params
) -> dict[str, float]:
    """Probe accuracy on the states, their reconstruction, the latents, and without the selective latents.

    Reconstruction is linear in the latents, so the mean reconstruction is that of the mean latents. Selective
    latents were chosen with all labels: taking them out can only be judged against taking out as many others
    of the same mean activation.
    """
    W_dec, b_dec = sae.W_dec.detach().numpy(), sae.b_dec.detach().numpy()
    chosen = found.selective(params.latents.fdr)
    vectors = {
        "states": states,
        "reconstruction": latents @ W_dec + b_dec,
        "latents": latents,
    }
    if chosen.any() and not chosen.all():
        other = _matched_others(latents.mean(axis=0), chosen)
        vectors["without_selective"] = np.where(chosen, 0, latents) @ W_dec + b_dec
        vectors["without_others"] = np.where(other, 0, latents) @ W_dec + b_dec
    probe = params.probe
    settings = ProbeSettings(
        probe.n_folds, probe.ridge, PROBE_PERMUTATIONS, 100, probe.confidence, probe.seed
    )
    prompts = np.arange(design.n_prompts)
    sites = [site_gram(name, values, prompts) for name, values in vectors.items()]
    return {site.site: site.accuracy for site in probe_family(sites, design, "wording", settings).sites}


def _matched_others(use: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """As many latents that are not chosen, each the nearest in mean activation, greedily."""
    free = list(np.flatnonzero(~chosen))
    picked = np.zeros_like(chosen)
    for latent in np.flatnonzero(chosen)[np.argsort(-use[chosen], kind="stable")]:
        if not free:
            break
        nearest = min(free, key=lambda other: abs(use[other] - use[latent]))
        free.remove(nearest)
        picked[nearest] = True
    return picked


def _related(
    work: Workspace, rows: SiteRows, design: Design, felt: np.ndarray, pooled: np.ndarray, params: Params
) -> Correlations:
    """Correlations of every latent with valence, arousal and, over prompts with clips, each descriptor."""
    texts: Any = rows.texts.iloc[felt]
    table: Any = acoustic_table(work)
    prompt_of = {clip_id: clip_id.rpartition("-s")[0] for clip_id in table.index}
    means: Any = table.groupby(prompt_of).mean()
    heard = texts["text_id"].isin(means.index).to_numpy()
    names = ("valence", "arousal", *ACOUSTICS.names[1:])
    felt_values = texts.loc[heard, ["valence", "arousal"]].to_numpy(dtype=np.float64)
    described = np.hstack([felt_values, means.loc[texts.loc[heard, "text_id"]].to_numpy(dtype=np.float64)])
    section = params.latents
    wordings = np.unique(design.wordings[heard], return_inverse=True)[1]
    rng = rng_for("correlations", section.seed)
    return correlations(pooled[heard], described, names, wordings, section.n_permutations, rng)


def _under_null_text(
    work: Workspace,
    rows: SiteRows,
    sae: Sae,
    own: Selectivity,
    design: Design,
    felt: np.ndarray,
    fit: np.ndarray,
    params: Params,
    backend: MusicgenBackend,
    twin: MusicgenBackend,
) -> tuple[Selectivity, dict[str, float]]:
    """Selectivity on the re-encoded music without text, and how far the SAE still fits those states."""
    section = params.latents
    readers: Mapping[str, Reader] = {"sae": latents_reader(sae), "error": error_reader(sae, fit.mean(axis=0))}
    pooled = pooled_by_text(null_blocks(work, rows, backend), readers, len(rows.texts))
    found = _reading("null", pooled["sae"][felt], design, params).found
    error, distance = pooled["error"].mean(axis=0)
    same = own.selective(section.fdr) & found.selective(section.fdr) & (own.emotion == found.emotion)
    numbers = {
        "null_selective": float(found.selective(section.fdr).sum()),
        "null_survive": float(same.sum()),
        "null_fvu": float(error / distance),
    }
    twin_sae = work.root / "models" / "sae" / rows.site.replace("/", "-") / "twin"
    if twin_sae.is_dir():
        reader = {"sae": latents_reader(load_sae(twin_sae))}
        theirs = pooled_by_text(null_blocks(work, rows, twin), reader, len(rows.texts))["sae"]
        counts = _reading("null twin", theirs[felt], design, params).counts
        numbers["null_twin_selective"] = float(counts.n_selective)
    return found, numbers


def _losses(
    work: Workspace, rows: SiteRows, sae: Sae, mean: np.ndarray, n_clips: int, backend: MusicgenBackend
) -> dict[str, float]:
    """Cross-entropy on clips of held-out wordings with the layer's output replaced; {} without such clips."""
    assert rows.clips is not None, "a decoder layer has clips"
    held_out = rows.texts.loc[rows.texts["split"] == "test", ["text_id", "text"]]
    said = dict(zip(held_out["text_id"], held_out["text"], strict=True))
    clips = rows.clips[rows.clips["prompt_id"].isin(said)].head(n_clips)
    if clips.empty:
        return {}
    codes = []
    for shard, row in zip(clips["shard"], clips["row"], strict=True):
        path = work.root / "data" / "codes" / shard_name("shard", int(shard))
        codes.append(read_shard(path, ["codes"])["codes"][int(row)])
    centre = torch.from_numpy(mean.astype(np.float32))
    edits = {
        "original": None,
        "sae": lambda x: sae(x),
        "mean": lambda x: centre.expand_as(x),
        "zero": torch.zeros_like,
    }
    name, layer, _ = layer_of(rows.site)
    texts = [said[prompt_id] for prompt_id in clips["prompt_id"]]
    return cross_entropies(backend, np.stack(codes), texts, (name, layer), edits)

"""One site of the stage: its rows, its SAEs and the means over the rows of each prompt."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from moodlens.base.seeding import rng_for
from moodlens.latents import baselines
from moodlens.latents.baselines import UnitMap, pooled_by_text, with_firing
from moodlens.latents.matching import Activity
from moodlens.latents.selectivity import SelectivitySettings
from moodlens.params.pipeline import Params
from moodlens.prompts.lexicon import bag_of_words
from moodlens.sae.array_maps import latent_map, untrained_like
from moodlens.sae.model import Sae
from moodlens.stats.design import Design, design_of
from moodlens.store.sae_files import load_sae
from moodlens.workspace.design import Workspace, acoustic_table
from moodlens.workspace.sae_rows import SiteRows, emotional_texts, open_rows
from moodlens.workspace.units import merged_wordings

N_FIT_ROWS = 8192
"""Training rows that PCA, ICA and k-means are fitted on."""
N_ICA = 128
TWIN = "twin"


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
class SaeArrays:
    """One SAE on the rows of the prompts."""

    name: str  # seed-<number>, or twin
    W_dec: np.ndarray  # (latent, d_in)
    b_dec: np.ndarray  # (d_in,)
    total: np.ndarray  # (latent,) activation summed over all texts, with or without an emotion
    latents: np.ndarray  # (prompt of the design, latent) mean activation
    rates: np.ndarray  # (prompt of the design, latent) share of rows on which a latent fires

    @property
    def activity(self) -> Activity:
        return Activity(self.rates.mean(axis=0), self.latents.mean(axis=0))

    @property
    def reconstruction(self) -> np.ndarray:
        """Return the mean reconstruction of each prompt, (prompt, d_in)."""
        return self.latents @ self.W_dec + self.b_dec


@dataclass(frozen=True)
class Pooled:
    """Means over the rows of each prompt of the design, of the model and of its untrained twin."""

    units: dict[str, np.ndarray]  # kind of unit -> (prompt, unit); "sae" is the chosen SAE
    states: np.ndarray  # (prompt, d_in)
    saes: list[SaeArrays]  # the chosen seed first
    twin_states: np.ndarray | None  # None where no SAE was trained on the twin
    twin: SaeArrays | None


def sae_folder(root: Path, site: str) -> Path:
    """Return the folder of a site's SAEs; the "/" of a site becomes "-"."""
    return root / "models" / "sae" / site.replace("/", "-")


def open_site(work: Workspace, name: str, chosen: str, params: Params) -> Site:
    """Return a site, read from data/sae and models/sae.

    Wordings of one emotion that share a content word are one unit, and labels move within the strata of the
    prompts, as in every other stage. The texts that only the text encoder reads have no strata.
    """
    rows = open_rows(work, name)
    emotional = emotional_texts(rows)
    ids, emotions, wordings, texts = (
        rows.texts[column].iloc[emotional].tolist() for column in ("text_id", "emotion", "wording", "text")
    )
    design = design_of(ids, emotions, merged_wordings(emotions, wordings, texts))
    prompts = work.index_of(ids)
    if (prompts >= 0).all():
        design = replace(design, strata=work.strata.codes[prompts])
    return Site(
        work=work,
        params=params,
        name=name,
        rows=rows,
        sae=load_sae(sae_folder(work.root, name) / chosen),
        chosen=chosen,
        emotional=emotional,
        design=design,
        sample=_sample(rows, params.latents.seed),
    )


def pool(site: Site) -> Pooled:
    """Return the means of every kind of unit and of every SAE of the site, each set of rows read once."""
    seeds = sorted(path.name for path in site.folder.glob("seed-*") if path.name != site.chosen)
    saes = {site.chosen: site.sae, **{name: load_sae(site.folder / name) for name in seeds}}
    of_seeds: dict[str, UnitMap] = {name: with_firing(latent_map(sae)) for name, sae in saes.items()}
    maps: dict[str, UnitMap] = {**of_seeds, **_unit_maps(site), "states": lambda x: x}
    texts = site.rows.texts
    pooled = pooled_by_text(site.rows.by_text(), maps, len(texts))
    arrays = [_arrays(name, sae, pooled.pop(name), site.emotional) for name, sae in saes.items()]
    units = {"sae": arrays[0].latents} | {name: values[site.emotional] for name, values in pooled.items()}
    states = units.pop("states")
    if site.rows.clips is None:
        words, _ = bag_of_words(texts["text"].iloc[site.emotional].tolist())
        units["words"] = words.astype(np.float64)
    if not (site.folder / TWIN).is_dir():
        return Pooled(units, states, arrays, None, None)
    rows, sae = open_rows(site.work, site.name, twin=True), load_sae(site.folder / TWIN)
    twin_maps: dict[str, UnitMap] = {
        TWIN: with_firing(latent_map(sae)),
        "dimensions": baselines.dimensions(_sample(rows, site.params.latents.seed)),
        "states": lambda x: x,
    }
    of_twin = pooled_by_text(rows.by_text(), twin_maps, len(texts))
    twin = _arrays(TWIN, sae, of_twin[TWIN], site.emotional)
    units |= {"twin_sae": twin.latents, "twin_dimensions": of_twin["dimensions"][site.emotional]}
    return Pooled(units, states, arrays, of_twin["states"][site.emotional], twin)


def _arrays(name: str, sae: Sae, pooled: np.ndarray, emotional: np.ndarray) -> SaeArrays:
    latents, rates = np.split(pooled, 2, axis=1)
    W_dec, b_dec = (tensor.detach().numpy().astype(np.float64) for tensor in (sae.W_dec, sae.b_dec))
    return SaeArrays(name, W_dec, b_dec, latents.sum(axis=0), latents[emotional], rates[emotional])


def _sample(rows: SiteRows, seed: int) -> np.ndarray:
    """N_FIT_ROWS training rows (or all of them), drawn without replacement, float32."""
    train = np.concatenate(list(rows.source("train")()))
    picks = np.sort(rng_for("latents fit", seed).permutation(len(train))[:N_FIT_ROWS])
    return train[picks].astype(np.float32)


def _unit_maps(site: Site) -> dict[str, UnitMap]:
    """The kinds of unit that the SAE is compared with, on the model's own rows."""
    sample, sae, seed = site.sample, site.sae, site.params.latents.seed
    return {
        "untrained_sae": latent_map(untrained_like(sae, sample.mean(axis=0), seed)),
        "dimensions": baselines.dimensions(sample),
        "pca": baselines.components(sample),
        "ica": baselines.independent_components(sample, min(N_ICA, sample.shape[1]), seed),
        "kmeans": baselines.clusters(sample, min(sae.config.d_sae, len(sample) // 2), seed),
    }


def acoustic_means(site: Site) -> tuple[np.ndarray, Any]:
    """Return which prompts of the design have clips (a mask), and the means of their descriptors."""
    table: Any = acoustic_table(site.work)
    prompt_of = {clip_id: clip_id.rpartition("-s")[0] for clip_id in table.index}
    means: Any = table.groupby(prompt_of).mean()
    ids = site.rows.texts["text_id"].iloc[site.emotional]
    with_clips = ids.isin(means.index).to_numpy()
    return with_clips, means.loc[ids[with_clips]]

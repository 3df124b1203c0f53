"""The results of one site: hands pooled arrays to the rooms that compute, and collects what they return."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from moodlens.backends.musicgen.backend import MusicgenBackend
from moodlens.base.seeding import rng_for
from moodlens.contracts.tables import ACOUSTIC_NAMES
from moodlens.latents.baselines import reconstructions
from moodlens.latents.evidence import Correlations, correlations
from moodlens.latents.selectivity import (
    Selectivity,
    Transfer,
    UnitResult,
    measure,
    shuffled_counts,
    transfer,
)
from moodlens.latents.stability import Stability, stability
from moodlens.sae.model import Sae
from moodlens.stages.latents.claims import claims_of
from moodlens.stages.latents.opening import Pooled, Site, acoustic_means, pool
from moodlens.stages.latents.readers import accuracies, reader_settings
from moodlens.stages.latents.with_model import losses, under_null_text
from moodlens.stats.design import Design
from moodlens.workspace.sae_rows import SiteRows


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
    accuracy: dict[str, float]  # accuracy_<vector> with _low and _high, wording held out
    no_control: str  # why the selective latents have no matched control; "" where they have one
    claims: dict[str, Any]  # nested numbers, see `claims`
    related: Correlations
    null: Selectivity | None  # of the SAE under null text; None for text sites or if not requested
    null_numbers: dict[str, float]
    losses: dict[str, float]  # nats per token: original, sae, mean, zero


def measure_site(site: Site, backend: MusicgenBackend, twin: MusicgenBackend) -> SiteResults:
    """Return the results of a site; a decoder layer is also measured under null text and by splicing."""
    section, rows, pooled = site.params.latents, site.rows, pool(site)
    results = {name: measure(values, site.design, site.settings) for name, values in pooled.units.items()}
    own, latents = results["sae"].selectivity, pooled.units["sae"]
    under_null, lost = None, {}
    if rows.clips is not None and section.null_text:
        under_null = under_null_text(site, own, backend, twin)
    if rows.clips is not None and section.splice_clips:
        lost = losses(site, backend)
    held_out = (rows.texts["split"].iloc[site.emotional] == "test").to_numpy()
    vectors, no_control = _vectors(pooled, own.selective(section.fdr), section.match_factor)
    reader = reader_settings(site.params.probe)
    return SiteResults(
        site=site.name,
        rows=rows,
        sae=site.sae,
        design=site.design,
        pooled=latents,
        units=results,
        shuffled=shuffled_counts(latents, site.design, site.settings),
        stability=_stability(site, pooled),
        transfer=transfer(
            latents, site.design, held_out, site.settings, rng_for("transfer", site.name, section.seed)
        ),
        accuracy=accuracies(vectors | (under_null.vectors if under_null else {}), site.design, reader),
        no_control=no_control,
        claims=claims_of(site, pooled, reader),
        related=_correlations(site, latents),
        null=under_null.selectivity if under_null else None,
        null_numbers=under_null.numbers if under_null else {},
        losses=lost,
    )


def _stability(site: Site, pooled: Pooled) -> Stability:
    own, *others = pooled.saes
    rng = rng_for("random decoders", site.params.latents.seed)
    return stability(own.W_dec, [sae.W_dec for sae in others], own.total, rng)


def _vectors(pooled: Pooled, selective: np.ndarray, factor: float) -> tuple[dict[str, np.ndarray], str]:
    """What the readers read: states, latents and reconstructions of model and twin; and why no control."""
    own, twin = pooled.saes[0], pooled.twin
    rebuilt, shortage = reconstructions(own.latents, own.W_dec, own.b_dec, selective, own.activity, factor)
    vectors = {"states": pooled.states, "latents": own.latents, **rebuilt}
    if twin is not None and pooled.twin_states is not None:
        vectors |= {
            "twin_states": pooled.twin_states,
            "twin_latents": twin.latents,
            "twin_reconstruction": twin.reconstruction,
        }
    return vectors, shortage.sentence if shortage else ""


def _correlations(site: Site, latents: np.ndarray) -> Correlations:
    """Correlations of every latent with valence, arousal and each descriptor, over prompts with clips."""
    with_clips, means = acoustic_means(site)
    texts: Any = site.rows.texts.iloc[site.emotional]
    affect = texts.loc[with_clips, ["valence", "arousal"]].to_numpy(dtype=np.float64)
    section = site.params.latents
    return correlations(
        pooled=latents[with_clips],
        described=np.hstack([affect, means.to_numpy(dtype=np.float64)]),
        names=("valence", "arousal", *ACOUSTIC_NAMES),
        wordings=np.unique(site.design.wordings[with_clips], return_inverse=True)[1],
        n_permutations=section.n_permutations,
        rng=rng_for("correlations", section.seed),
    )

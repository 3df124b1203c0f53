"""What is measured of single latents beside their selectivity, as nested numbers of metrics/latents.json.

Every measure is by wording and out of fold, and is taken of every seed's SAE; controls and baselines stand
beside that of the chosen seed. `seeds` holds the intervals over seeds.
"""

from dataclasses import asdict
from typing import Any

import numpy as np

from moodlens.base.seeding import rng_for
from moodlens.latents.absorption import Shares, absorption, shares_of
from moodlens.latents.baselines import principal_axes
from moodlens.latents.detectors import Wordings
from moodlens.latents.evidence import by_wording
from moodlens.latents.factors import Errors, errors_of, factor_scores, measures_of, most_varying
from moodlens.latents.perturbation import Removing, matrix_of, perturb, remove_and_refit, selective
from moodlens.latents.seeds import SEEDS_FOR_CLAIM, OverSeeds, over_pairs, over_seeds
from moodlens.latents.selectivity import measure
from moodlens.latents.sparse_probe import N_RANDOM, parts_of_bases, sparse_parts, sparse_scores
from moodlens.latents.stability import agreement
from moodlens.probes.family import ProbeSettings
from moodlens.stages.latents.opening import Pooled, SaeArrays, Site, acoustic_means
from moodlens.stats.bootstrap import resamples

N_RESAMPLES = 1999
"""Resamples of wordings and sign flips: the smallest p is .0005."""
FACTORS = {
    "onset rate": "onset_rate_hz",
    "loudness": "loudness_db",
    "brightness": "centroid_hz",
    "mode": "mode_margin",
}
"""Factor -> its descriptor. Brightness is its logarithm. Tempo is read as onset rate: clips are short."""
BASES = ("untrained_sae", "twin_sae")
"""Units that the SAE is compared with, beside random directions, principal components, dense directions."""
AGAINST = ("random", "pca")
"""Bases over which every seed's gain is taken."""


def claims_of(site: Site, pooled: Pooled, settings: ProbeSettings) -> dict[str, Any]:
    """Return sparse probes, perturbation, removal, absorption, factors (with clips) and intervals over seeds.

    Args:
        site: the site.
        pooled: means of its rows by prompt.
        settings: folds, penalty and confidence of the readers.
    """
    design, own = site.design, pooled.saes[0]
    ks, confidence = site.params.latents.sparse_k, settings.confidence
    wordings, removing = _wordings(site, settings), _removing(site, settings)

    def rng(what: str) -> np.random.Generator:
        return rng_for(what, site.name, site.params.latents.seed)

    bases = {
        "sae": pooled.units["sae"],
        **{name: pooled.units[name] for name in BASES if name in pooled.units},
    }
    rows = {name: by_wording(values, design.wordings) for name, values in bases.items()}
    states, axes = by_wording(pooled.states, design.wordings), principal_axes(site.sample).astype(np.float64)
    parts = parts_of_bases(rows, states, axes, wordings, ks, settings.ridge, rng("random directions"))
    scores = sparse_scores(parts, wordings, ks, N_RESAMPLES, confidence, rng("sparse"))
    drops = perturb(rows["sae"], own.W_dec, wordings, own.activity, removing, rng("matched draws"))
    perturbed = asdict(selective(drops, wordings, N_RESAMPLES, confidence, rng("perturbation")))
    matrix = matrix_of(drops, wordings.labels)
    whole, each = _absorption(own, wordings, settings, design.wordings)
    found: dict[str, Any] = {
        "sparse": {k: {name: asdict(score) for name, score in by.items()} for k, by in scores.items()},
        "perturbation": perturbed
        | {
            "matrix": {
                row: dict(zip(design.emotions, matrix[i], strict=True))
                for i, row in enumerate(design.emotions)
            }
        },
        "removal": _removal(rows["sae"], own, wordings, removing),
        "absorption": asdict(whole)
        | {"by_emotion": {name: asdict(one) for name, one in zip(design.emotions, each, strict=True)}},
    }
    known = _known_factors(site)
    if known is not None:
        found["factors"] = _factors(site, pooled, *known, axes, settings)
    against = {name: parts[name].sum(axis=1) for name in AGAINST}
    found["seeds"] = _over_seeds(site, pooled, wordings, known, against, settings)
    return found


def _wordings(site: Site, settings: ProbeSettings) -> Wordings:
    design = site.design
    _, first = np.unique(design.wordings, return_index=True)
    folds = settings.folds(design, "wording")[first]
    return Wordings(design.unit_labels("wording"), folds, design.n_classes, settings.n_folds)


def _removing(site: Site, settings: ProbeSettings) -> Removing:
    section = site.params.latents
    return Removing(section.n_removed, section.match_factor, section.n_draws, settings.ridge)


def _removal(rows: np.ndarray, own: SaeArrays, wordings: Wordings, removing: Removing) -> dict[str, Any]:
    removal = remove_and_refit(rows, own.W_dec, wordings, own.activity, removing)
    found: dict[str, Any] = {"n_removed": removal.n_removed, "accuracy": float(removal.whole.sum())}
    found["no_control"] = removal.shortage.sentence if removal.shortage else ""
    if removal.without_chosen is not None and removal.without_matched is not None:
        found["accuracy_without_chosen"] = float(removal.without_chosen.sum())
        found["accuracy_without_matched"] = float(removal.without_matched.sum())
    return found


def _absorption(
    sae: SaeArrays, wordings: Wordings, settings: ProbeSettings, members: np.ndarray
) -> tuple[Shares, list[Shares]]:
    latents, rates = by_wording(sae.latents, members), by_wording(sae.rates, members)
    result = absorption(latents, rates, sae.W_dec, wordings, settings.ridge)
    return shares_of(result, wordings.labels, settings.confidence)


def _known_factors(site: Site) -> tuple[list[str], np.ndarray] | None:
    """Names and values (prompt, factor) of the factors that vary; None without clips or below two."""
    if site.rows.clips is None:
        return None
    with_clips, means = acoustic_means(site)
    if not with_clips.all():
        return None
    values = np.stack([means[column].to_numpy(dtype=np.float64) for column in FACTORS.values()], axis=1)
    names = list(FACTORS)
    bright = names.index("brightness")
    values[:, bright] = np.log2(np.maximum(values[:, bright], 1.0))
    varies = values.std(axis=0) > 1e-9 * np.abs(values).max(axis=0)
    kept = [name for name, keep in zip(names, varies, strict=True) if keep]
    if len(kept) < 2:
        return None
    return kept, (values[:, varies] - values[:, varies].mean(axis=0)) / values[:, varies].std(axis=0)


def _n_units(site: Site, pooled: Pooled) -> int:
    """Units of every basis of the factors: no more than a basis of the site has."""
    return min(site.sample.shape[1], int(pooled.saes[0].activity.fires.sum()))


def _factors(
    site: Site,
    pooled: Pooled,
    names: list[str],
    values: np.ndarray,
    axes: np.ndarray,
    settings: ProbeSettings,
) -> dict[str, Any] | None:
    n, folds = _n_units(site, pooled), settings.folds(site.design, "wording")
    if n < 2:
        return None
    rng = rng_for("factors", site.name, site.params.latents.seed)
    units = {name: most_varying(pooled.units[name], n) for name in ("sae", *BASES) if name in pooled.units}
    units |= {"pca": pooled.states @ axes[:, -n:], "ideal": values}
    bases: dict[str, list[Errors]] = {name: [errors_of(rows, values, folds)] for name, rows in units.items()}
    random = [rng.standard_normal((len(axes), n)) for _ in range(N_RANDOM)]
    bases["random"] = [errors_of(pooled.states @ directions, values, folds) for directions in random]
    counts = resamples(site.design, "wording", N_RESAMPLES, rng)
    scores = factor_scores(bases, names, counts, settings.confidence)
    return {"n_units": n, "bases": {name: asdict(score) for name, score in scores.items()}}


def _over_seeds(
    site: Site,
    pooled: Pooled,
    wordings: Wordings,
    known: tuple[list[str], np.ndarray] | None,
    against: dict[str, np.ndarray],
    settings: ProbeSettings,
) -> dict[str, Any]:
    section, n = site.params.latents, _n_units(site, pooled)
    removing = Removing(section.n_removed, section.match_factor, 0, settings.ridge)
    each: list[dict[str, float]] = []
    for sae in pooled.saes:
        rows = by_wording(sae.latents, site.design.wordings)
        drops = perturb(
            rows, sae.W_dec, wordings, sae.activity, removing, np.random.default_rng(0)
        )  # no draw
        numbers = selective(drops, wordings, 1, settings.confidence, np.random.default_rng(0))
        shares, _ = _absorption(sae, wordings, settings, site.design.wordings)
        parts = sparse_parts(rows, wordings, section.sparse_k, settings.ridge).sum(axis=1)
        counts = measure(sae.latents, site.design, site.settings).counts
        values = {f"sparse_{k}": float(part) for k, part in zip(section.sparse_k, parts, strict=True)}
        for name, theirs in against.items():
            gains = zip(section.sparse_k, parts - theirs, strict=True)
            values |= {f"gain_{name}_{k}": float(gain) for k, gain in gains}
        values |= {
            "selectivity": numbers.selectivity,
            "absorbed": shares.absorbed,
            "leaders": shares.n_leaders,
        }
        values["selective_share"] = counts.n_selective / counts.n_units
        if known is not None and n >= 2:
            errors = errors_of(most_varying(sae.latents, n), known[1], settings.folds(site.design, "wording"))
            means = measures_of(errors, np.ones((1, site.design.n_prompts))).mean(axis=1)[:, 0]
            values |= {"factor_gap": float(means[1]), "factor_modularity": float(means[2])}
        each.append(values)
    found: dict[str, OverSeeds | None] = {
        name: over_seeds(np.array([values[name] for values in each]), settings.confidence) for name in each[0]
    }
    agree = agreement([sae.W_dec for sae in pooled.saes], [sae.total for sae in pooled.saes])
    found |= {name: over_pairs(matrix, settings.confidence) for name, matrix in agree.items()}
    n_seeds = len(pooled.saes)
    return {
        "n": n_seeds,
        "needed": SEEDS_FOR_CLAIM,
        "claims": n_seeds >= SEEDS_FOR_CLAIM,
        **{name: asdict(value) for name, value in found.items() if value is not None},
    }

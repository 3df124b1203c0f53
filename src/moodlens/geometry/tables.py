"""Results of the geometry of a set of sites, as the rows and numbers of its files."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from moodlens.geometry.circumplex import EmotionMap, smallest_emotion_p
from moodlens.geometry.dimension import Components
from moodlens.stats.design import Design
from moodlens.stats.site_names import site_columns

N_SHARES = 20
"""Principal components whose share of the variance is written."""


@dataclass(frozen=True)
class SiteGeometry:
    """Results at one site. Tests relabel whole wordings; p values are corrected over the site's family."""

    family: str
    site: str
    silhouette: float  # of the wordings, original space
    silhouette_null: float  # its mean under relabelling
    p_silhouette: float
    score: float  # silhouette in standard deviations of its null
    silhouette_clips: float  # of single clips: descriptive
    rho: float  # distances against valence-arousal distances, all pairs of wordings
    rho_chance: float  # 95th percentile under relabelling
    p_rho: float
    components: Components  # of the prompts
    emotions: EmotionMap | None  # None where the emotions are not apart


@dataclass(frozen=True)
class Projection:
    """Coordinates of the prompts at one site, for a figure."""

    site: SiteGeometry
    pca: np.ndarray  # (prompt, 2), or (prompt, 1) where the site has one component
    umap: np.ndarray | None  # (prompt, 2)


@dataclass(frozen=True)
class Geometry:
    """The geometry of all sites."""

    design: Design
    sites: tuple[SiteGeometry, ...]
    null_best: dict[str, float]  # family -> 95th percentile of the best silhouette under relabelling
    smallest_p: float
    n_permutations: int


def best_of(results: Geometry, family: str) -> SiteGeometry | None:
    """Return the site with the largest silhouette in units of its null, which is what maxT compares.

    None without the family.
    """
    members = (site for site in results.sites if site.family == family)
    return max(members, key=lambda site: site.score, default=None)


def shown_sites(results: Geometry) -> list[SiteGeometry]:
    """Return the sites that are drawn: text, first, best and last layer, acoustics; each once."""
    layers = [site for site in results.sites if site.family == "layers"]
    best = best_of(results, "layers")
    drawn = [layers[0], best, layers[-1]] if layers and best else []
    others = [site for site in results.sites if site.family == "text" or site.site == "acoustics"]
    chosen = [*others[:1], *drawn, *others[1:]]
    return list({(site.family, site.site): site for site in chosen}.values())


def metrics_of(results: Geometry) -> dict[str, object]:
    """Return metrics/geometry.json; the gate of the SAE stage reads `silhouette` of the best layer.

    It is over wordings, whose means are less noisy than clips: `silhouette_clips` is lower. The best layer is
    the one with the largest silhouette in units of its own null. Its p is corrected for that choice, its size
    is not: `silhouette_null_best` is the size of the best one under relabelling (95th percentile).
    """
    metrics: dict[str, object] = {
        "n_prompts": results.design.n_prompts,
        "n_wordings": int(results.design.wordings.max()) + 1,
        "n_permutations": results.n_permutations,
        "smallest_p": results.smallest_p,
        "smallest_p_emotions": smallest_emotion_p(results.design.n_classes),
    }
    best = best_of(results, "layers")
    if best is not None:
        metrics |= {
            "silhouette": best.silhouette,
            "silhouette_p": best.p_silhouette,
            "silhouette_clips": best.silhouette_clips,
            "silhouette_site": best.site,
            "silhouette_null_best": results.null_best["layers"],
            "rsa_rho": best.rho,
            "rsa_p": best.p_rho,
            "participation": best.components.participation,
            **_map_numbers(results, best.emotions),
        }
        twins = [s for s in results.sites if s.family == "twin_layers" and s.site == best.site]
        if twins:
            metrics["silhouette_twin"], metrics["rsa_rho_twin"] = twins[0].silhouette, twins[0].rho
    for site in results.sites:
        if site.site in ("text", "acoustics"):
            metrics[f"silhouette_{site.site}"] = site.silhouette
    return metrics


def layer_rows(results: Geometry) -> pd.DataFrame:
    """Return one row per site: metrics/geometry_layers.csv."""
    return pd.DataFrame([_row(results, site) for site in results.sites])


def _row(results: Geometry, site: SiteGeometry) -> dict[str, object]:
    emotions = results.design.emotions
    row: dict[str, object] = {
        **site_columns(site.family, site.site),
        "silhouette": site.silhouette,
        "silhouette_null": site.silhouette_null,
        "p_silhouette_maxt": site.p_silhouette,
        "silhouette_clips_descriptive": site.silhouette_clips,
        "rsa_rho": site.rho,
        "rsa_chance_95": site.rho_chance,
        "p_rsa_maxt": site.p_rho,
        "participation": site.components.participation,
        "n_components_90": site.components.n_for_90,
        **_map_numbers(results, site.emotions),
    }
    pairs = combinations(range(len(emotions)), 2)
    return row | {
        f"distance_{emotions[a]}_{emotions[b]}": None
        if site.emotions is None
        else site.emotions.distances[a, b]
        for a, b in pairs
    }


def _map_numbers(results: Geometry, emotions: EmotionMap | None) -> dict[str, float | None]:
    if emotions is None:
        return {}
    numbers = {
        "circumplex_r": emotions.r,
        "circumplex_low": emotions.low,
        "circumplex_high": emotions.high,
        "circumplex_p": emotions.p,
    }
    for (first, second), near in emotions.near.items():
        name = f"near_{results.design.emotions[first]}_{results.design.emotions[second]}"
        numbers |= {name: near.value, f"{name}_low": near.low, f"{name}_high": near.high}
    return numbers


def spectrum_rows(results: Geometry) -> pd.DataFrame:
    """Return the share of variance of the leading components: metrics/geometry_spectrum.csv."""
    return pd.DataFrame(
        [
            {**site_columns(site.family, site.site), "component": number, "share": share}
            for site in results.sites
            for number, share in enumerate(site.components.shares[:N_SHARES].tolist(), start=1)
        ]
    )


def point_rows(results: Geometry, projections: list[Projection]) -> pd.DataFrame:
    """Return the coordinates of every prompt in every projection: metrics/geometry_points.csv."""
    frames = []
    for projection in projections:
        site, pca, umap = projection.site, projection.pca, projection.umap
        frames.append(
            pd.DataFrame(
                {
                    **site_columns(site.family, site.site),
                    "prompt_id": results.design.prompt_ids,
                    "emotion": [results.design.emotions[label] for label in results.design.labels],
                    "pc1": pca[:, 0],
                    "pc2": pca[:, 1] if pca.shape[1] > 1 else 0.0,
                    "pc1_share": site.components.shares[0],
                    "pc2_share": site.components.shares[1] if pca.shape[1] > 1 else 0.0,
                    "umap1": np.nan if umap is None else umap[:, 0],
                    "umap2": np.nan if umap is None else umap[:, 1],
                }
            )
        )
    columns = ["family", "site", "layer", "half", "model", "prompt_id", "emotion", "pc1", "pc2"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)

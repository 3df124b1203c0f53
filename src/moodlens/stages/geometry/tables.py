"""What stage `geometry` found, as the rows and numbers of its files."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from moodlens.geometry.circumplex import EmotionMap, smallest_emotion_p
from moodlens.geometry.dimension import Components
from moodlens.params.pipeline import Geometry
from moodlens.stats.design import Design
from moodlens.workspace.sites import place_of

N_SHARES = 20
"""Principal components whose share of the variance is written."""


@dataclass(frozen=True)
class Site:
    """Everything measured at one site; tests relabel whole wordings, p is corrected over its family."""

    family: str
    site: str
    silhouette: float  # of the wordings, original space
    silhouette_null: float  # its mean under relabelling
    p_silhouette: float
    score: float  # silhouette in standard deviations of its null
    silhouette_clips: float  # of the clips as they are: descriptive
    rho: float  # distances against valence-arousal distances, all pairs of wordings
    rho_chance: float  # 95th percentile under relabelling
    p_rho: float
    components: Components  # of the prompts
    emotions: EmotionMap | None  # None where the emotions are not apart


@dataclass(frozen=True)
class Picture:
    """Coordinates of the prompts that a figure shows."""

    site: Site
    pca: np.ndarray  # (prompt, 2), or (prompt, 1) where the site has one component
    umap: np.ndarray | None  # (prompt, 2)


@dataclass(frozen=True)
class Found:
    """Everything the stage writes."""

    design: Design
    sites: tuple[Site, ...]
    null_best: dict[str, float]  # family -> 95th percentile of the best silhouette under relabelling
    smallest_p: float


def best_of(found: Found, family: str) -> Site | None:
    """Return the site that stands out most from its null (what maxT looks at), None without the family."""
    return max(
        (site for site in found.sites if site.family == family), key=lambda site: site.score, default=None
    )


def shown_sites(found: Found) -> list[Site]:
    """Return the sites that are drawn: text, first, best and last layer, sound; each once."""
    layers = [site for site in found.sites if site.family == "layers"]
    best = best_of(found, "layers")
    drawn = [layers[0], best, layers[-1]] if layers and best else []
    others = [site for site in found.sites if site.family == "text" or site.site == "acoustics"]
    chosen = [*others[:1], *drawn, *others[1:]]
    return list({(site.family, site.site): site for site in chosen}.values())


def metrics_of(found: Found, section: Geometry) -> dict[str, object]:
    """Return metrics/geometry.json; `silhouette` of the best layer is what the gate of the SAE stage reads.

    It is over wordings, whose means are less noisy than clips: `silhouette_clips` is lower. The best layer is
    the one that stands out most from its own null. Its p is corrected for that choice, its size is not:
    `silhouette_null_best` says how large the best one gets by chance.
    """
    metrics: dict[str, object] = {
        "n_prompts": found.design.n_prompts,
        "n_wordings": int(found.design.wordings.max()) + 1,
        "n_permutations": section.n_permutations,
        "smallest_p": found.smallest_p,
        "smallest_p_emotions": smallest_emotion_p(found.design.n_classes),
    }
    best = best_of(found, "layers")
    if best is not None:
        metrics |= {
            "silhouette": best.silhouette,
            "silhouette_p": best.p_silhouette,
            "silhouette_clips": best.silhouette_clips,
            "silhouette_site": best.site,
            "silhouette_null_best": found.null_best["layers"],
            "rsa_rho": best.rho,
            "rsa_p": best.p_rho,
            "participation": best.components.participation,
            **_map_numbers(found, best.emotions),
        }
        twins = [s for s in found.sites if s.family == "twin_layers" and s.site == best.site]
        if twins:
            metrics["silhouette_twin"], metrics["rsa_rho_twin"] = twins[0].silhouette, twins[0].rho
    for site in found.sites:
        if site.site in ("text", "acoustics"):
            metrics[f"silhouette_{site.site}"] = site.silhouette
    return metrics


def layer_rows(found: Found) -> pd.DataFrame:
    """Return one row per site: metrics/geometry_layers.csv."""
    return pd.DataFrame([_row(found, site) for site in found.sites])


def _row(found: Found, site: Site) -> dict[str, object]:
    emotions = found.design.emotions
    row: dict[str, object] = {
        **_place(site),
        "silhouette": site.silhouette,
        "silhouette_null": site.silhouette_null,
        "p_silhouette_maxt": site.p_silhouette,
        "silhouette_clips_descriptive": site.silhouette_clips,
        "rsa_rho": site.rho,
        "rsa_chance_95": site.rho_chance,
        "p_rsa_maxt": site.p_rho,
        "participation": site.components.participation,
        "n_components_90": site.components.n_for_90,
        **_map_numbers(found, site.emotions),
    }
    pairs = combinations(range(len(emotions)), 2)
    return row | {
        f"distance_{emotions[a]}_{emotions[b]}": None
        if site.emotions is None
        else site.emotions.distances[a, b]
        for a, b in pairs
    }


def _map_numbers(found: Found, emotions: EmotionMap | None) -> dict[str, float | None]:
    if emotions is None:
        return {}
    said = {
        "circumplex_r": emotions.r,
        "circumplex_low": emotions.low,
        "circumplex_high": emotions.high,
        "circumplex_p": emotions.p,
    }
    for (first, second), near in emotions.near.items():
        name = f"near_{found.design.emotions[first]}_{found.design.emotions[second]}"
        said |= {name: near.value, f"{name}_low": near.low, f"{name}_high": near.high}
    return said


def spectrum_rows(found: Found) -> pd.DataFrame:
    """Return the share of variance of the leading components: metrics/geometry_spectrum.csv."""
    return pd.DataFrame(
        [
            {**_place(site), "component": number, "share": share}
            for site in found.sites
            for number, share in enumerate(site.components.shares[:N_SHARES].tolist(), start=1)
        ]
    )


def point_rows(found: Found, pictures: list[Picture]) -> pd.DataFrame:
    """Return the coordinates of every prompt in every picture: metrics/geometry_points.csv."""
    frames = []
    for picture in pictures:
        pca, layout = picture.pca, picture.umap
        frames.append(
            pd.DataFrame(
                {
                    **_place(picture.site),
                    "prompt_id": found.design.prompt_ids,
                    "emotion": [found.design.emotions[label] for label in found.design.labels],
                    "pc1": pca[:, 0],
                    "pc2": pca[:, 1] if pca.shape[1] > 1 else 0.0,
                    "pc1_share": picture.site.components.shares[0],
                    "pc2_share": picture.site.components.shares[1] if pca.shape[1] > 1 else 0.0,
                    "umap1": np.nan if layout is None else layout[:, 0],
                    "umap2": np.nan if layout is None else layout[:, 1],
                }
            )
        )
    columns = ["family", "site", "layer", "half", "model", "prompt_id", "emotion", "pc1", "pc2"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def _place(site: Site) -> dict[str, object]:
    hookpoint, layer, half = place_of(site.site) if "layers" in site.family else (site.site, None, "")
    return {
        "family": site.family,
        "site": hookpoint,
        "layer": pd.NA if layer is None else layer,
        "half": half,
        "model": "twin" if site.family.startswith("twin") else "model",
    }

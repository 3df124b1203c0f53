"""Stage `geometry`: how the emotions lie to one another at each site, and pictures of it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from moodlens.base.seeding import rng_for
from moodlens.geometry.circumplex import EmotionMap, affect_distances, emotion_map, rank_correlations
from moodlens.geometry.dimension import Components, components, umap_points
from moodlens.geometry.silhouette import silhouettes, squared_distances
from moodlens.params.pipeline import Params
from moodlens.prompts.lexicon import AFFECT
from moodlens.stages.geometry import tables
from moodlens.stages.signal import load_families
from moodlens.stats.design import Design
from moodlens.stats.gram import SiteGram, centred, group_means
from moodlens.stats.multiplicity import max_t, standard_scores
from moodlens.stats.permutation import relabellings, smallest_p
from moodlens.store.tables import write_metrics, write_plot
from moodlens.store.tracking import Run, log_runs
from moodlens.workspace.design import open_workspace, wording_labels, wording_resamples

PREDICTED = (("happy", "energetic"), ("sad", "calm"))
"""Pairs of emotions that valence and arousal put near each other."""


@dataclass(frozen=True)
class Null:
    """Relabellings and resamples of the wordings, for one family of sites."""

    table: np.ndarray  # (perm, wording)
    counts: np.ndarray  # (boot, wording)


def run(params: Params, root: Path) -> None:
    """Write metrics/geometry.json, its curves and points, and an MLflow run."""
    work, section = open_workspace(root), params.geometry
    labels = wording_labels(work.design)
    # Means of few prompts scatter more and look apart from the rest: only wordings of one size change places.
    sizes = np.bincount(work.design.wordings)
    rows: list[tables.Site] = []
    null_best = {}
    for family, grams in load_families(work, section.sites).items():
        null = Null(
            relabellings(labels, section.n_permutations, rng_for("geometry", family, section.seed), sizes),
            wording_resamples(
                work.design, section.n_bootstrap, rng_for("geometry", family, "boot", section.seed)
            ),
        )
        sites, best = _family(family, grams, work.design, null, section.confidence)
        rows.extend(sites)
        null_best[family] = best
    found = tables.Found(
        design=work.design,
        sites=tuple(rows),
        null_best=null_best,
        smallest_p=smallest_p(labels, section.n_permutations),
    )
    pictures = _pictures(found, params)
    metrics = tables.metrics_of(found, section)
    folder = root / "metrics"
    write_metrics(metrics, folder / "geometry.json")
    write_plot(tables.layer_rows(found), folder / "geometry_layers.csv")
    write_plot(tables.spectrum_rows(found), folder / "geometry_spectrum.csv")
    write_plot(tables.point_rows(found, pictures), folder / "geometry_points.csv")
    log_runs(root, "geometry", _logged(found, metrics, params))


def _family(
    family: str, grams: list[SiteGram], design: Design, null: Null, confidence: float
) -> tuple[list[tables.Site], float]:
    """Return the sites of a family and the 95th percentile of its best silhouette under relabelling."""
    expected = affect_distances(np.array([AFFECT[emotion] for emotion in design.emotions]))
    places = {emotion: place for place, emotion in enumerate(design.emotions)}
    predicted = tuple(
        (min(places[a], places[b]), max(places[a], places[b]))
        for a, b in PREDICTED
        if a in places and b in places and design.n_classes > 2
    )
    labels = null.table[0].astype(np.intp)
    measured: list[tuple[Components, EmotionMap | None, float]] = []
    silhouette_null, rho_null = [], []
    for gram in grams:
        prompts = group_means(gram.values, gram.prompts)
        wordings = centred(group_means(prompts, design.members("wording")))
        squares = squared_distances(wordings)
        silhouette_null.append(silhouettes(np.sqrt(squares), null.table))
        rho_null.append(rank_correlations(squares, expected, null.table))
        by_clip = np.sqrt(squared_distances(gram.values))
        measured.append(
            (
                components(prompts),
                emotion_map(wordings, labels, expected, null.counts, confidence, predicted),
                float(silhouettes(by_clip, design.labels[gram.prompts][None])[0]),
            )
        )
    silhouette, rho = np.stack(silhouette_null), np.stack(rho_null)
    p_silhouette, p_rho = max_t(silhouette), max_t(rho)
    scores = standard_scores(silhouette)[:, 0]
    sites = [
        tables.Site(
            family=family,
            site=gram.site,
            silhouette=float(silhouette[i, 0]),
            silhouette_null=float(silhouette[i].mean()),
            p_silhouette=float(p_silhouette[i]),
            score=float(scores[i]),
            silhouette_clips=measured[i][2],
            rho=float(rho[i, 0]),
            rho_chance=float(np.quantile(rho[i], 0.95)),
            p_rho=float(p_rho[i]),
            components=measured[i][0],
            emotions=measured[i][1],
        )
        for i, gram in enumerate(grams)
    ]
    return sites, float(np.quantile(silhouette.max(axis=0), 0.95))


def _pictures(found: tables.Found, params: Params) -> list[tables.Picture]:
    """Return the coordinates that are drawn: the text, three layers, the sound; UMAP of two of them."""
    section = params.geometry
    shown = tables.shown_sites(found)
    mapped = [site.site for site in shown if site.family in ("text", "layers")] if section.umap else []
    pictures = []
    for site in shown:
        points = site.components.coordinates
        layout = umap_points(points, section.umap_neighbors, section.seed) if site.site in mapped else None
        pictures.append(tables.Picture(site, points[:, :2], layout))
    return pictures


def _logged(found: tables.Found, metrics: dict[str, object], params: Params) -> Run:
    """Return the MLflow run: a child per family with its curves over sites."""
    children = []
    for family in dict.fromkeys(site.family for site in found.sites):
        sites = [site for site in found.sites if site.family == family]
        curves = {
            "silhouette": [site.silhouette for site in sites],
            "rsa_rho": [site.rho for site in sites],
            "participation": [site.components.participation for site in sites],
        }
        tags = {"sites": ", ".join(site.site for site in sites)}
        children.append(Run(f"geometry/{family}", curves=curves, tags=tags))
    numbers = {key: float(value) for key, value in metrics.items() if isinstance(value, (int, float))}
    inputs = {"geometry": vars(params.geometry), "model": vars(params.model)}
    return Run("geometry", inputs, numbers, children=children)

"""Stage `geometry`: how the emotions lie relative to one another at each site, and projections of it."""

from pathlib import Path

from moodlens.base.seeding import rng_for
from moodlens.geometry import tables
from moodlens.geometry.dimension import umap_points
from moodlens.geometry.family import Resampling, family_geometry
from moodlens.geometry.tables import Geometry, Projection, SiteGeometry
from moodlens.params.pipeline import Params
from moodlens.stats.bootstrap import wording_resamples
from moodlens.store.run_record import Run, stage_run
from moodlens.store.tables import write_metrics, write_plot
from moodlens.workspace.design import open_workspace, wording_labels
from moodlens.workspace.sites import load_families


def run(params: Params, root: Path) -> Run:
    """Write metrics/geometry.json, its curves and points; return the run."""
    work, section = open_workspace(root), params.geometry
    wording_labels(work.design)  # refuses an emotion of a single wording
    sites: list[SiteGeometry] = []
    null_best = {}
    for family, grams in load_families(work, section.sites).items():
        rng = rng_for("geometry", family, section.seed)
        boot_rng = rng_for("geometry", family, "boot", section.seed)
        resampling = Resampling(
            work.design.relabellings("wording", section.n_permutations, rng),
            wording_resamples(work.design, section.n_bootstrap, boot_rng),
            section.confidence,
        )
        members, null_best[family] = family_geometry(family, grams, work.design, resampling)
        sites.extend(members)
    results = Geometry(
        work.design,
        tuple(sites),
        null_best,
        work.design.smallest_p("wording", section.n_permutations),
        section.n_permutations,
    )
    projections = _projections(results, params)
    metrics = tables.metrics_of(results)
    folder = root / "metrics"
    write_metrics(metrics, folder / "geometry.json")
    write_plot(tables.layer_rows(results), folder / "geometry_layers.csv")
    write_plot(tables.spectrum_rows(results), folder / "geometry_spectrum.csv")
    write_plot(tables.point_rows(results, projections), folder / "geometry_points.csv")
    return stage_run("geometry", params, metrics, _family_runs(results))


def _projections(results: Geometry, params: Params) -> list[Projection]:
    """Return the coordinates that are drawn: text, three layers, acoustics; UMAP of text and layers."""
    section = params.geometry
    shown = tables.shown_sites(results)
    mapped = [site.site for site in shown if site.family in ("text", "layers")] if section.umap else []
    projections = []
    for site in shown:
        points = site.components.coordinates
        umap = umap_points(points, section.umap_neighbors, section.seed) if site.site in mapped else None
        projections.append(Projection(site, points[:, :2], umap))
    return projections


def _family_runs(results: Geometry) -> list[Run]:
    """Return a run per family with its curves over sites."""
    runs = []
    for family in dict.fromkeys(site.family for site in results.sites):
        sites = [site for site in results.sites if site.family == family]
        curves = {
            "silhouette": [site.silhouette for site in sites],
            "rsa_rho": [site.rho for site in sites],
            "participation": [site.components.participation for site in sites],
        }
        tags = {"sites": ", ".join(site.site for site in sites)}
        runs.append(Run(f"geometry/{family}", curves=curves, tags=tags))
    return runs

"""The chapter on `geometry`: maps, silhouettes, and the circumplex of valence and arousal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from moodlens.plots.geometry import SiteBar, distance_fit, prompt_map, site_bars
from moodlens.plots.style import draw, figure_svg
from moodlens.report.formatting import (
    NAMES,
    Row,
    figure_id,
    hookpoint_name,
    interval,
    long_name,
    number,
    of_families,
    p_value,
    sample_size,
    share,
    short_name,
    site_key,
    twin_value,
)
from moodlens.report.records import Cell, Figure, Finding, Grid, cells, marked

SHOWN = ("words", "text", "projected", "layers", "music")
CAPTION_PCA = (
    "Each point is a prompt, the mean of its clips. The axes are those of largest variance, computed without "
    "the labels. They show only a part of the distances; the note gives its share. All tests are in the "
    "original space."
)
CAPTION_UMAP = (
    "UMAP is an illustration: its distances, sizes and gaps cannot be interpreted, and it licenses no claim. "
    "It is shown because readers expect it."
)
CAPTION_FIT = (
    "Pairs of emotions, in the order of their distance in valence and arousal. A circumplex gives a line "
    "that rises from left to right; emotions that are equally far apart give a flat line at 1. Distances are "
    "crossvalidated over wordings, so noise does not bias them."
)
NOTE = (
    "RSA ρ: rank correlation of all distances between wordings with valence-arousal distances. It is above "
    "0 wherever emotions differ, because wordings of one emotion have no valence-arousal distance. "
    "Circumplex r uses distances between different emotions only. {n} emotions have {orders} relabellings, "
    "so no p of r can be below {smallest}. Closer: the mean distance of all other pairs minus that of this "
    "pair, as a share of the mean distance, interval by resampled wordings; a dash where the emotions are "
    "not separated."
)


@dataclass(frozen=True)
class SiteScore:
    """A score of metrics/geometry_layers.csv that is drawn by site: its columns and its texts."""

    value: str
    null: str
    p: str
    title: str
    unit: str
    caption: str


SILHOUETTE = SiteScore(
    "silhouette",
    "silhouette_null",
    "p_silhouette_maxt",
    "Silhouette of the emotions by site",
    "mean silhouette",
    "How much closer a wording lies to its own emotion than to the nearest other one, in the original space. "
    "Grey ticks: the mean when whole wordings are relabelled; squares: the untrained twin. Sites differ in "
    "noise and dimension, so heights are comparable along the layers only.",
)
RSA = SiteScore(
    "rsa_rho",
    "rsa_chance_95",
    "p_rsa_maxt",
    "Distances between wordings against valence-arousal distances",
    "Spearman’s ρ",
    "Grey ticks: the 95th percentile over relabellings of whole wordings; squares: the untrained twin. A "
    "height above the tick shows that emotions are separated, or that their distances are graded like "
    "valence and arousal, or both; the next figure distinguishes these.",
)

NOTE_DIMENSION = (
    "Dimension: participation ratio of the prompts’ means. It cannot exceed the number of prompts and is "
    "comparable between sites of one design."
)


def geometry_finding(
    metrics: Mapping[str, Any],
    rows: Sequence[Row],
    points: Sequence[Row],
    affect: Mapping[str, tuple[float, float]],
    alpha: float,
    confidence: float,
) -> Finding:
    """Return the maps, the scores by site and the fit of the circumplex.

    Args:
        metrics: metrics/geometry.json.
        rows: metrics/geometry_layers.csv.
        points: metrics/geometry_points.csv.
        affect: (valence, arousal) of each emotion.
        alpha: level at which a site is significant.
        confidence: of the intervals.
    """
    size = sample_size(metrics, "prompt", "wording")
    figures = [
        _maps(points, size, "pca"),
        _maps([row for row in points if row["umap1"] == row["umap1"]], size, "umap"),
        _columns(rows, size, alpha, SILHOUETTE),
        _columns(rows, size, alpha, RSA),
        _fit(metrics, rows, affect, size),
    ]
    grid = _grid(metrics, rows, _emotions(points, rows, affect), size, alpha, confidence)
    return Finding(_summary(metrics), tuple(figure for figure in figures if figure is not None), (grid,))


def _summary(metrics: Mapping[str, Any]) -> str:
    if "silhouette" not in metrics:
        return "No layers were mapped: geometry.sites does not contain them."
    text = (
        f"Wordings cluster by emotion at {hookpoint_name(metrics['silhouette_site'])}: silhouette "
        f"{number(metrics['silhouette'])} in the original space, p {p_value(metrics['silhouette_p'])} after "
        f"maxT (95 % of relabellings stay below {number(metrics['silhouette_null_best'])}; single clips: "
        f"{number(metrics['silhouette_clips'])}). "
    )
    pairs = [key for key in metrics if key.startswith("near_") and f"{key}_low" in metrics]
    if not pairs:
        return text + "The emotions are too few, or not far enough apart, to test the circumplex."
    shown = []
    for key in sorted(pairs):
        first, second = key.removeprefix("near_").split("_", 1)
        low = metrics[f"{key}_low"]
        verdict = "closer than the other pairs" if low > 0 else "not shown to be closer"
        bounds = interval(low, metrics[f"{key}_high"])
        shown.append(f"{first} and {second} are {verdict} ({number(metrics[key])} {bounds})")
    return text + f"The circumplex’s predictions there: {'; '.join(shown)}."


def _site_title(row: Row) -> str:
    if row["family"] in ("layers", "twin_layers"):
        return long_name({**row, "model": "model"})
    return NAMES.get(str(row["site"]), str(row["site"]))


def _maps(points: Sequence[Row], size: str, kind: str) -> Figure | None:
    titles = list(dict.fromkeys(_site_title(row) for row in points))
    if not titles:
        return None
    keys = ("pc1", "pc2") if kind == "pca" else ("umap1", "umap2")

    def fill(*axes: Any) -> None:
        for ax, title in zip(axes, titles, strict=True):
            own = [row for row in points if _site_title(row) == title]
            drawn = {
                str(emotion): np.array(
                    [[row[keys[0]], row[keys[1]]] for row in own if row["emotion"] == emotion]
                )
                for emotion in dict.fromkeys(row["emotion"] for row in own)
            }
            shown = share(float(own[0]["pc1_share"]) + float(own[0]["pc2_share"]))
            note = f"{shown} of the variance" if kind == "pca" else "illustration, no test"
            names = ("PC 1", "PC 2") if kind == "pca" else ("UMAP 1", "UMAP 2")
            prompt_map(drawn, ax, title=title, note=note, axes=names)

    figure = draw(fill, n_axes=len(titles), height_in=9.8 / max(3, len(titles)) + 0.9)
    method = {"pca": "Principal components", "umap": "UMAP"}[kind]
    alt = f"{method} of the prompts at {', '.join(titles)}, coloured by emotion. {size}."
    caption = CAPTION_PCA if kind == "pca" else CAPTION_UMAP
    return Figure(figure_svg(figure, f"geometry-{kind}", alt), caption)


def _columns(rows: Sequence[Row], size: str, alpha: float, score: SiteScore) -> Figure:
    drawn = tuple(
        SiteBar(
            short_name(row),
            float(row[score.value]),
            float(row[score.null]),
            bool(row[score.p] < alpha),
            twin_value(row, rows, score.value),
        )
        for row in of_families(rows, SHOWN)
    )
    note = f"{size}; filled: p < {alpha:g}, maxT"
    figure = draw(lambda ax: site_bars(drawn, ax, title=score.title, note=note, unit=score.unit))
    values = ", ".join(f"{bar.name} {number(bar.value)}" for bar in drawn)
    name = figure_id("geometry", score.value)
    return Figure(figure_svg(figure, name, f"{score.title}: {values}. {note}."), score.caption)


def _fit(
    metrics: Mapping[str, Any], rows: Sequence[Row], affect: Mapping[str, tuple[float, float]], size: str
) -> Figure | None:
    pairs = {
        (first, second): f"distance_{first}_{second}"
        for first, second in combinations(affect, 2)
        if f"distance_{first}_{second}" in rows[0]
    }
    if len(pairs) < 3:
        return None
    expected = {
        f"{a} – {b}": float(np.hypot(affect[a][0] - affect[b][0], affect[a][1] - affect[b][1]))
        for a, b in pairs
    }
    best = metrics.get("silhouette_site")
    chosen = [
        row for row in rows if _is_layer(row, best) or row["family"] == "text" or row["site"] == "acoustics"
    ]
    chosen = [row for row in chosen if all(row[key] == row[key] for key in pairs.values())]
    measured = {
        _site_title(row): {f"{a} – {b}": float(row[key]) for (a, b), key in pairs.items()} for row in chosen
    }
    title = "Distances between emotions against valence and arousal"
    note = f"{size}; dotted: all pairs equally far"
    figure = draw(lambda ax: distance_fit(expected, measured, ax, title=title, note=note))
    distances = "; ".join(
        f"{site} " + ", ".join(f"{pair} {number(value)}" for pair, value in values.items())
        for site, values in measured.items()
    )
    return Figure(
        figure_svg(figure, figure_id("geometry", "circumplex"), f"{title}: {distances}. {note}."), CAPTION_FIT
    )


def _is_layer(row: Row, key: str | None) -> bool:
    return row["family"] == "layers" and site_key(row) == key


def _emotions(
    points: Sequence[Row], rows: Sequence[Row], affect: Mapping[str, tuple[float, float]]
) -> list[str]:
    present = {str(row["emotion"]) for row in points}
    return [name for name in affect if name in present or any(f"_{name}" in key for key in rows[0])]


def _grid(
    metrics: Mapping[str, Any],
    rows: Sequence[Row],
    emotions: Sequence[str],
    size: str,
    alpha: float,
    confidence: float,
) -> Grid:
    near = [key for key in rows[0] if key.startswith("near_") and not key.endswith(("_low", "_high"))]
    columns = (
        "site",
        "silhouette",
        "p, maxT",
        "single clips, descriptive",
        "RSA ρ",
        "p, maxT",
        "circumplex r",
        "interval",
        "p",
        *(f"{' and '.join(key.removeprefix('near_').split('_', 1))} closer" for key in near),
        "dimension",
        "components for 90 %",
    )
    lines = tuple(
        (
            Cell(long_name(row)),
            marked(number(row["silhouette"]), row["p_silhouette_maxt"] < alpha),
            Cell(p_value(row["p_silhouette_maxt"])),
            Cell(number(row["silhouette_clips_descriptive"]), "void"),
            marked(number(row["rsa_rho"]), row["p_rsa_maxt"] < alpha),
            *cells(
                p_value(row["p_rsa_maxt"]),
                number(row.get("circumplex_r")),
                interval(row.get("circumplex_low"), row.get("circumplex_high")),
                p_value(row.get("circumplex_p")),
                *(_near(row, key) for key in near),
                number(row["participation"]),
                str(int(row["n_components_90"])),
            ),
        )
        for row in rows
    )
    orders = round(1 / metrics["smallest_p_emotions"])
    note = NOTE.format(n=len(emotions), orders=orders, smallest=p_value(metrics["smallest_p_emotions"]))
    caption = f"Geometry by site, {size}, intervals {share(confidence)}"
    return Grid(caption, columns, lines, (note, NOTE_DIMENSION))


def _near(row: Row, key: str) -> str:
    if row[key] != row[key]:
        return "–"
    return f"{number(row[key])} {interval(row[f'{key}_low'], row[f'{key}_high'])}"

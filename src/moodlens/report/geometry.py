"""How the emotions lie to one another: maps, silhouettes, and the circumplex of valence and arousal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from moodlens.plots.geometry import SiteBar, distance_fit, prompt_map, site_bars
from moodlens.plots.style import draw, figure_svg
from moodlens.report.records import Cell, Figure, Finding, Grid
from moodlens.report.wording import (
    NAMES,
    Row,
    count,
    figure_id,
    hookpoint_name,
    interval,
    long_name,
    number,
    of_families,
    p_value,
    share,
    short_name,
    twin_value,
)

SHOWN = ("words", "text", "projected", "layers", "music")
CAPTION_PCA = (
    "Each point is a prompt, the mean of its clips. The axes of largest variance, found without the "
    "labels; they show a part of the distances only, whose share the note gives. What is tested is tested "
    "in the original space."
)
CAPTION_UMAP = (
    "UMAP is a picture: its distances, sizes and gaps mean nothing, and it licenses no claim. It is here "
    "because readers expect it."
)
CAPTION_FIT = (
    "Each pair of emotions, nearest in valence and arousal first. A circumplex rises from left to right; "
    "emotions that merely differ lie flat at 1. Distances are crossvalidated over wordings, so noise adds "
    "nothing to them."
)
NOTE = (
    "RSA ρ: rank correlation of all distances between wordings with valence-arousal distances. It is above "
    "0 already where emotions differ at all, because wordings of one emotion have no valence-arousal "
    "distance. Circumplex r looks at distances between different emotions only. {n} emotions have {orders} "
    "relabellings: no p of r can fall below {smallest}. Nearer: the mean distance of all other pairs minus "
    "this pair’s, as a share of the mean distance, interval by resampled wordings; a dash where the "
    "emotions are not apart at all."
)


@dataclass(frozen=True)
class Reading:
    """A column of metrics/geometry_layers.csv that is drawn by site."""

    value: str
    null: str
    p: str
    title: str
    unit: str
    caption: str


SILHOUETTE = Reading(
    "silhouette",
    "silhouette_null",
    "p_silhouette_maxt",
    "Silhouette of the emotions by site",
    "mean silhouette",
    "How much nearer a wording lies to its own emotion than to the nearest other one, in the original space. "
    "Grey ticks: the mean when whole wordings are relabelled; squares: the untrained twin. Sites differ in "
    "noise and dimension: heights compare along the layers only.",
)
RSA = Reading(
    "rsa_rho",
    "rsa_chance_95",
    "p_rsa_maxt",
    "Distances between wordings against valence-arousal distances",
    "Spearman’s ρ",
    "Grey ticks: 95 % of relabellings of whole wordings stay below; squares: the untrained twin. A height "
    "above the tick says that emotions are apart, or that their distances are graded like valence and "
    "arousal, or "
    "both; the next figure tells these apart.",
)

NOTE_DIMENSION = (
    "Dimension: participation ratio of the prompts’ means; it cannot exceed the number of prompts and "
    "compares sites of one design."
)


def layout_finding(
    metrics: Mapping[str, Any],
    rows: Sequence[Row],
    points: Sequence[Row],
    affect: Mapping[str, tuple[float, float]],
    alpha: float,
    confidence: float,
) -> Finding:
    """Return the chapter on geometry.

    Args:
        metrics: metrics/geometry.json.
        rows: metrics/geometry_layers.csv.
        points: metrics/geometry_points.csv.
        affect: (valence, arousal) of each emotion.
        alpha: level at which a site counts.
        confidence: of the intervals.
    """
    size = f"{count(metrics['n_prompts'], 'prompt')}, {count(metrics['n_wordings'], 'wording')}"
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
        return "The layers were not mapped: geometry.sites leaves them out."
    said = (
        f"Wordings group by emotion at {hookpoint_name(metrics['silhouette_site'])}: silhouette "
        f"{number(metrics['silhouette'])} in the original space, p {p_value(metrics['silhouette_p'])} after "
        f"maxT (chance stays below {number(metrics['silhouette_null_best'])} in 95 % of relabellings; clips "
        f"as they are {number(metrics['silhouette_clips'])}). "
    )
    pairs = [key for key in metrics if key.startswith("near_") and f"{key}_low" in metrics]
    if not pairs:
        return said + "The emotions are too few, or not far enough apart, to form a map."
    shown = []
    for key in sorted(pairs):
        first, second = key.removeprefix("near_").split("_", 1)
        low = metrics[f"{key}_low"]
        verdict = "nearer than the other pairs" if low > 0 else "not shown to be nearer"
        bounds = interval(low, metrics[f"{key}_high"])
        shown.append(f"{first} and {second} are {verdict} ({number(metrics[key])} {bounds})")
    return said + "There, of the circumplex’s two predictions, " + "; ".join(shown) + "."


def _place(row: Row) -> str:
    if row["family"] in ("layers", "twin_layers"):
        return long_name({**row, "model": "model"})
    return NAMES.get(str(row["site"]), str(row["site"]))


def _maps(points: Sequence[Row], size: str, kind: str) -> Figure | None:
    places = list(dict.fromkeys(_place(row) for row in points))
    if not places:
        return None
    keys = ("pc1", "pc2") if kind == "pca" else ("umap1", "umap2")

    def fill(*axes: Any) -> None:
        for ax, place in zip(axes, places, strict=True):
            own = [row for row in points if _place(row) == place]
            drawn = {
                str(emotion): np.array(
                    [[row[keys[0]], row[keys[1]]] for row in own if row["emotion"] == emotion]
                )
                for emotion in dict.fromkeys(row["emotion"] for row in own)
            }
            shown = share(float(own[0]["pc1_share"]) + float(own[0]["pc2_share"]))
            note = f"{shown} of the variance" if kind == "pca" else "a picture, no test"
            names = ("PC 1", "PC 2") if kind == "pca" else ("UMAP 1", "UMAP 2")
            prompt_map(drawn, ax, title=place, note=note, axes=names)

    figure = draw(fill, n_axes=len(places), height_in=9.8 / max(3, len(places)) + 0.9)
    title = {"pca": "Principal components", "umap": "UMAP"}[kind]
    alt = f"{title} of the prompts at {', '.join(places)}, coloured by emotion. {size}."
    caption = CAPTION_PCA if kind == "pca" else CAPTION_UMAP
    return Figure(figure_svg(figure, f"geometry-{kind}", alt), caption)


def _columns(rows: Sequence[Row], size: str, alpha: float, reading: Reading) -> Figure:
    drawn = tuple(
        SiteBar(
            short_name(row),
            float(row[reading.value]),
            float(row[reading.null]),
            bool(row[reading.p] < alpha),
            twin_value(row, rows, reading.value),
        )
        for row in of_families(rows, SHOWN)
    )
    note = f"{size}; filled: p < {alpha:g}, maxT"
    figure = draw(lambda ax: site_bars(drawn, ax, title=reading.title, note=note, unit=reading.unit))
    said = ", ".join(f"{bar.name} {number(bar.value)}" for bar in drawn)
    name = figure_id("geometry", reading.value)
    return Figure(figure_svg(figure, name, f"{reading.title}: {said}. {note}."), reading.caption)


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
        row for row in rows if _key(row) == best or row["family"] == "text" or row["site"] == "acoustics"
    ]
    chosen = [row for row in chosen if all(row[key] == row[key] for key in pairs.values())]
    measured = {
        _place(row): {f"{a} – {b}": float(row[key]) for (a, b), key in pairs.items()} for row in chosen
    }
    title = "Distances between emotions against valence and arousal"
    note = f"{size}; dotted: all pairs equally far"
    figure = draw(lambda ax: distance_fit(expected, measured, ax, title=title, note=note))
    said = "; ".join(
        f"{site} " + ", ".join(f"{pair} {number(value)}" for pair, value in values.items())
        for site, values in measured.items()
    )
    return Figure(
        figure_svg(figure, figure_id("geometry", "circumplex"), f"{title}: {said}. {note}."), CAPTION_FIT
    )


def _key(row: Row) -> str:
    if row["family"] != "layers":
        return ""
    return f"{row['site']}.{row['layer']:.0f}/{row['half']}"


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
        "of clips, descriptive",
        "RSA ρ",
        "p, maxT",
        "circumplex r",
        "interval",
        "p",
        *(f"{' and '.join(key.removeprefix('near_').split('_', 1))} nearer" for key in near),
        "dimension",
        "components for 90 %",
    )
    cells = tuple(
        (
            Cell(long_name(row)),
            Cell(number(row["silhouette"]), "strong" if row["p_silhouette_maxt"] < alpha else ""),
            Cell(p_value(row["p_silhouette_maxt"])),
            Cell(number(row["silhouette_clips_descriptive"]), "void"),
            Cell(number(row["rsa_rho"]), "strong" if row["p_rsa_maxt"] < alpha else ""),
            Cell(p_value(row["p_rsa_maxt"])),
            Cell(number(row.get("circumplex_r"))),
            Cell(interval(row.get("circumplex_low"), row.get("circumplex_high"))),
            Cell(p_value(row.get("circumplex_p"))),
            *(Cell(_near(row, key)) for key in near),
            Cell(number(row["participation"])),
            Cell(str(int(row["n_components_90"]))),
        )
        for row in rows
    )
    orders = round(1 / metrics["smallest_p_emotions"])
    note = NOTE.format(n=len(emotions), orders=orders, smallest=p_value(metrics["smallest_p_emotions"]))
    caption = f"Geometry by site, {size}, intervals {share(confidence)}"
    return Grid(caption, columns, cells, (note, NOTE_DIMENSION))


def _near(row: Row, key: str) -> str:
    if row[key] != row[key]:
        return "–"
    return f"{number(row[key])} {interval(row[f'{key}_low'], row[f'{key}_high'])}"

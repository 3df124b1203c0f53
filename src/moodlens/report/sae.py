"""How the SAEs were trained, or why they were not."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from moodlens.plots.latents import FvuCurve, fvu_curves
from moodlens.plots.style import draw
from moodlens.plots.svg import figure_svg
from moodlens.report.numbers import count, number, share
from moodlens.report.records import Cell, Figure, Finding, Grid
from moodlens.report.site_names import Row

COLUMNS = (
    "site",
    "d_in → latents",
    "FVU held out",
    "FVU training",
    "MSE held out",
    "L0",
    "dead",
    "FVU, twin",
)
CAPTION = (
    "FVU is the fraction of variance unexplained, 1 for the mean of the rows. The twin is the same model "
    "untrained: a low FVU there says that its states are simple, not that they mean something."
)


def sae_finding(metrics: Mapping[str, Any], rows: Sequence[Row]) -> Finding:
    """Return how training went.

    Args:
        metrics: metrics/sae.json.
        rows: metrics/sae_curves.csv.
    """
    if not metrics["trained"]:
        return Finding(
            f"No SAE was trained: a gate of the verdict is closed ({metrics['gates_failed']}). "
            "sae.override_gate trains all the same."
        )
    sites: Mapping[str, Mapping[str, Any]] = metrics["sites"]
    said = []
    if metrics["gate_overridden"]:
        said.append(
            f"Trained although a gate is closed ({metrics['gates_failed']}): sae.override_gate is set."
        )
    for site, found in sites.items():
        said.append(
            f"{site}: {found['d_sae']:.0f} latents, {number(found['l0'], 2)} active per row, leave "
            f"{share(found['fvu'], 1)} of the variance of held-out wordings unexplained "
            f"({share(found['fvu_train'], 1)} of those trained on)."
        )
    cells = tuple(_cells(site, found) for site, found in sites.items())
    grid = Grid("The SAE of each site: the seed with the lowest validation FVU", COLUMNS, cells)
    return Finding(" ".join(said), tuple(_figure(site, rows) for site in sites), (grid,))


def _cells(site: str, found: Mapping[str, Any]) -> tuple[Cell, ...]:
    return (
        Cell(site),
        Cell(f"{found['d_in']:.0f} → {found['d_sae']:.0f}"),
        Cell(number(found["fvu"])),
        Cell(number(found["fvu_train"])),
        Cell(number(found["mse"])),
        Cell(number(found["l0"])),
        Cell(share(found["dead"], 1)),
        Cell(number(found.get("fvu_twin"))),
    )


def _figure(site: str, rows: Sequence[Row]) -> Figure:
    names = sorted({str(row["name"]) for row in rows if row["site"] == site})
    curves = [
        FvuCurve(
            name,
            name == "twin",
            np.array([row["val_fvu"] for row in rows if row["site"] == site and row["name"] == name]),
        )
        for name in names
    ]
    title = f"SAE training, {site}"
    note = f"{count(sum(not curve.twin for curve in curves), 'seed')}; wordings held out whole; dotted: mean"
    figure = draw(lambda ax: fvu_curves(curves, ax, title=title, note=note), height_in=3.2)
    ends = ", ".join(f"{curve.name} {number(float(curve.fvu[-1]))}" for curve in curves)
    name = "sae-" + "".join(letter if letter.isalpha() else "-" for letter in site)
    return Figure(figure_svg(figure, f"{name}-{len(names)}", f"{title}: last FVU {ends}. {note}."), CAPTION)

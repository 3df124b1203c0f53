"""How the SAEs were trained, or why they were not.

What was asked of the text SAE beside what it reached, and why not, in its own figures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from moodlens.params.pipeline import Latents, Report, Sae
from moodlens.plots.style import draw, figure_svg
from moodlens.report.latents import FvuCurve, fvu_curves
from moodlens.report.records import Cell, Figure, Finding, Grid
from moodlens.report.wording import Row, count, number, share

SITE = "text"
TARGET_COLUMNS = ("asked for", "reached", "met", "why not, or what it is worth")
L0_MOST = 200
"""Active latents per row above which a code is no longer called sparse."""


@dataclass(frozen=True)
class _Line:
    asked: str
    reached: str
    met: bool
    why: str  # when it is not met
    worth: str  # when it is


def targets_grid(
    trained: Mapping[str, Any], found: Mapping[str, Any], sae: Sae, latents: Latents, report: Report
) -> Grid | None:
    """Return the table of targets; None where no text SAE was trained and analysed.

    Args:
        trained: metrics/sae.json.
        found: metrics/latents.json.
    """
    fit = trained.get("sites", {}).get(SITE)
    units = found["sites"].get(SITE)
    if fit is None or units is None:
        return None
    lines = (_mse(fit, report), _l0(fit, sae, report), *_selective(units, latents, report))
    cells = tuple(
        (Cell(one.asked), Cell(one.reached), Cell("yes" if one.met else "no"), Cell(_last(one)))
        for one in lines
    )
    return Grid("What was asked of the text SAE", TARGET_COLUMNS, cells)


def _last(line: _Line) -> str:
    return line.worth if line.met else line.why


def _mse(fit: Mapping[str, Any], report: Report) -> _Line:
    reached = f"{number(fit['mse'])} held out, {number(fit['mse_train'])} trained on"
    variance = fit["mse"] / fit["fvu"]
    per_latent = fit["n_rows"] * fit["l0"] / fit["d_sae"]
    why = (
        f"The site's variance is {number(variance)} per dimension, so the target leaves "
        f"{share(report.target_mse / variance, 1)} of it unexplained; {share(fit['fvu_train'], 1)} are "
        f"left of {count(int(fit['n_rows']), 'training token')}, {share(fit['fvu'], 1)} of held-out "
        f"wordings: with {number(per_latent, 2)} firings per latent it learns its texts better than the site."
    )
    worth = f"The site's variance is {number(variance)} per dimension."
    return _Line(
        f"MSE below {number(report.target_mse)}", reached, fit["mse"] < report.target_mse, why, worth
    )


def _l0(fit: Mapping[str, Any], sae: Sae, report: Report) -> _Line:
    chosen = sae.architecture in ("topk", "batchtopk", "matryoshka")
    asked = f"L0 {number(report.target_l0)} to {L0_MOST}" + (f", or k = {sae.k}" if chosen else "")
    within = report.target_l0 <= fit["l0"] <= L0_MOST
    met = within or (chosen and fit["l0"] <= sae.k * (1 + 1e-6))
    worth = "Within the range." if within else f"k is chosen, {sae.k}; the range is not met."
    return _Line(asked, number(fit["l0"]), met, "The penalty (l1, l0) sets it: see the sweep.", worth)


def _selective(units: Mapping[str, Any], latents: Latents, report: Report) -> tuple[_Line, _Line]:
    n, least, random = (
        int(units[name]) for name in ("n_selective", "n_selective_least", "untrained_sae_selective")
    )
    prompts, wordings = int(units["n_prompts"]), int(units["n_wordings"])
    here = f"{count(prompts, 'prompt')} in {count(wordings, 'wording')}"
    shuffled = number(units["shuffled_selective"], 2)
    worth = f"As many random directions: {random} pass, {shuffled} with shuffled labels."
    why = f"{here} at FDR {latents.fdr:g}. {worth}"
    return (
        _Line(
            f"at least {report.target_selective} selective latents, FDR < {latents.fdr:g}",
            f"{n} of {int(units['n_latents'])}", n >= report.target_selective, why, worth,
        ),
        _Line(
            f"at least {report.target_per_emotion} of each emotion",
            f"{least} of the rarest", least >= report.target_per_emotion, why, f"Counted on {here}.",
        ),
    )  # fmt: skip


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

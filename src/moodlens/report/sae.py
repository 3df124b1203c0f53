"""The chapter on `sae`: how the SAEs were trained, and the targets of the text SAE."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from moodlens.params.pipeline import Latents, Report, Sae
from moodlens.plots.style import SIGNAL, TWIN, draw, figure_svg, headline, label_right, null_line
from moodlens.report.formatting import Row, column, count, number, share
from moodlens.report.records import Cell, Figure, Finding, Grid, cells


@dataclass(frozen=True)
class FvuCurve:
    """Held-out FVU of one SAE after each pass over its rows."""

    name: str
    twin: bool  # trained on the untrained twin
    fvu: np.ndarray  # (epoch,)


def fvu_curves(curves: Sequence[FvuCurve], ax: Axes, *, title: str, note: str) -> Axes:
    """Draw held-out FVU by pass of every seed and of the twin; return `ax`. 1 is the FVU of the mean."""
    ax.set_yscale("log")
    for curve in curves:
        colour = TWIN if curve.twin else SIGNAL
        ax.plot(np.arange(1, len(curve.fvu) + 1), curve.fvu, color=colour, linewidth=1.4)
    for twin, colour in ((False, SIGNAL), (True, TWIN)):
        ends = [float(curve.fvu[-1]) for curve in curves if curve.twin == twin]
        if ends:
            label_right(ax, float(np.median(ends)), "untrained twin" if twin else "model, all seeds", colour)
    null_line(ax, 1.0)
    headline(ax, title, note)
    ax.set_ylabel("FVU, held-out wordings")
    ax.set_xlabel("passes over the training rows")
    return ax


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
    "untrained: a low FVU there shows that its states are simple, not that they carry meaning."
)


def sae_finding(metrics: Mapping[str, Any], rows: Sequence[Row]) -> Finding:
    """Return the results of training, or why no SAE was trained.

    Args:
        metrics: metrics/sae.json.
        rows: metrics/sae_curves.csv.
    """
    if not metrics["trained"]:
        return Finding(
            f"No SAE was trained: a gate of the verdict is closed ({metrics['gates_failed']}). "
            "Set sae.override_gate to train nevertheless."
        )
    sites: Mapping[str, Mapping[str, Any]] = metrics["sites"]
    sentences = []
    if metrics["gate_overridden"]:
        sentences.append(
            f"Trained although a gate is closed ({metrics['gates_failed']}): sae.override_gate is set."
        )
    for site, fit in sites.items():
        sentences.append(
            f"{site}: {fit['d_sae']:.0f} latents, {number(fit['l0'], 2)} active per row, leave "
            f"{share(fit['fvu'], 1)} of the variance of held-out wordings unexplained "
            f"({share(fit['fvu_train'], 1)} of that of training wordings)."
        )
    lines = tuple(_cells(site, fit) for site, fit in sites.items())
    grid = Grid("The SAE of each site: the seed with the lowest validation FVU", COLUMNS, lines)
    return Finding(" ".join(sentences), tuple(_figure(site, rows) for site in sites), (grid,))


def _cells(site: str, fit: Mapping[str, Any]) -> tuple[Cell, ...]:
    return cells(
        site,
        f"{fit['d_in']:.0f} → {fit['d_sae']:.0f}",
        number(fit["fvu"]),
        number(fit["fvu_train"]),
        number(fit["mse"]),
        number(fit["l0"]),
        share(fit["dead"], 1),
        number(fit.get("fvu_twin")),
    )


def _figure(site: str, rows: Sequence[Row]) -> Figure:
    names = sorted({str(row["name"]) for row in rows if row["site"] == site})
    curves = [
        FvuCurve(
            name,
            name == "twin",
            column([row for row in rows if row["site"] == site and row["name"] == name], "val_fvu"),
        )
        for name in names
    ]
    title = f"SAE training, {site}"
    seeds = count(sum(not curve.twin for curve in curves), "seed")
    note = f"{seeds}; whole wordings held out; dotted: mean of the rows"
    figure = draw(lambda ax: fvu_curves(curves, ax, title=title, note=note), height_in=3.2)
    ends = ", ".join(f"{curve.name} {number(float(curve.fvu[-1]))}" for curve in curves)
    name = "sae-" + "".join(letter if letter.isalpha() else "-" for letter in site)
    return Figure(figure_svg(figure, f"{name}-{len(names)}", f"{title}: last FVU {ends}. {note}."), CAPTION)


TARGET_SITE = "text"
TARGET_COLUMNS = ("target", "reached", "met", "why, or how to judge it")
L0_MOST = 200
"""Active latents per row above which a code is not called sparse."""


@dataclass(frozen=True)
class Target:
    """One target of the text SAE beside the value that was reached."""

    target: str
    reached: str
    met: bool
    if_missed: str  # why it is not met
    if_met: str  # how to judge that it is met


def targets_grid(
    trained: Mapping[str, Any], analysed: Mapping[str, Any], sae: Sae, latents: Latents, report: Report
) -> Grid | None:
    """Return the table of targets; None where no text SAE was trained and analysed.

    Args:
        trained: metrics/sae.json.
        analysed: metrics/latents.json.
    """
    fit = trained.get("sites", {}).get(TARGET_SITE)
    units = analysed["sites"].get(TARGET_SITE)
    if fit is None or units is None:
        return None
    targets = (_mse(fit, report), _l0(fit, sae, report), *_selective(units, latents, report))
    lines = tuple(
        cells(
            each.target,
            each.reached,
            "yes" if each.met else "no",
            each.if_met if each.met else each.if_missed,
        )
        for each in targets
    )
    return Grid("Targets of the text SAE", TARGET_COLUMNS, lines)


def _mse(fit: Mapping[str, Any], report: Report) -> Target:
    reached = f"{number(fit['mse'])} held out, {number(fit['mse_train'])} training"
    variance = fit["mse"] / fit["fvu"]
    per_latent = fit["n_rows"] * fit["l0"] / fit["d_sae"]
    if_met = f"The site's variance is {number(variance)} per dimension."
    if_missed = (
        f"The site's variance is {number(variance)} per dimension, so the target allows "
        f"{share(report.target_mse / variance, 1)} of it to stay unexplained. The SAE leaves "
        f"{share(fit['fvu_train'], 1)} unexplained on {count(int(fit['n_rows']), 'training token')} and "
        f"{share(fit['fvu'], 1)} on held-out wordings: with {number(per_latent, 2)} firings per latent it "
        "fits its training texts better than the site."
    )
    return Target(
        target=f"MSE below {number(report.target_mse)}",
        reached=reached,
        met=fit["mse"] < report.target_mse,
        if_missed=if_missed,
        if_met=if_met,
    )


def _l0(fit: Mapping[str, Any], sae: Sae, report: Report) -> Target:
    chosen = sae.architecture in ("topk", "batchtopk", "matryoshka")
    target = f"L0 {number(report.target_l0)} to {L0_MOST}" + (f", or k = {sae.k}" if chosen else "")
    within = report.target_l0 <= fit["l0"] <= L0_MOST
    met = within or (chosen and fit["l0"] <= sae.k * (1 + 1e-6))
    return Target(
        target=target,
        reached=number(fit["l0"]),
        met=met,
        if_missed="The penalty (l1, l0) sets it: see the sweep.",
        if_met="Within the range." if within else f"k is set to {sae.k}; the range is not met.",
    )


def _selective(units: Mapping[str, Any], latents: Latents, report: Report) -> tuple[Target, Target]:
    n, least, random = (
        int(units[name]) for name in ("n_selective", "n_selective_least", "untrained_sae_selective")
    )
    prompts, wordings = int(units["n_prompts"]), int(units["n_wordings"])
    here = f"{count(prompts, 'prompt')} in {count(wordings, 'wording')}"
    shuffled = number(units["shuffled_selective"], 2)
    controls = (
        f"As many random directions: {random} pass, {shuffled} with shuffled labels. A count describes the "
        "site and is no evidence."
    )
    if_missed = f"{here} at FDR {latents.fdr:g}. {controls}"
    return (
        Target(
            target=f"at least {report.target_selective} selective latents, FDR < {latents.fdr:g}",
            reached=f"{n} of {int(units['n_latents'])}",
            met=n >= report.target_selective,
            if_missed=if_missed,
            if_met=controls,
        ),
        Target(
            target=f"at least {report.target_per_emotion} of each emotion",
            reached=f"{least} of the rarest",
            met=least >= report.target_per_emotion,
            if_missed=if_missed,
            if_met=f"Counted on {here}.",
        ),
    )

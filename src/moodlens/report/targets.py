"""What was asked of the text SAE beside what it reached, and why not, in its own figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moodlens.contracts.params import Latents, Report, Sae
from moodlens.report.numbers import count, number, share
from moodlens.report.records import Cell, Grid

SITE = "text"
COLUMNS = ("asked for", "reached", "met", "why not, or what it is worth")
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
    return Grid("What was asked of the text SAE", COLUMNS, cells)


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

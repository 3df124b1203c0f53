"""The tables of the chapter on `latents` beyond counts: probes, removal, factors, absorption, seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

from moodlens.report.formatting import count, interval, number, p_value, share
from moodlens.report.latent_claims import ALPHA, BASES, SPARSE_CAPTION, bases_of
from moodlens.report.records import Cell, Grid, cells, marked

READERS = {"states": "states", "reconstruction": "reconstruction", "latents": "latents"}
OVER_SEEDS = {
    "selectivity": "targeted perturbation, selectivity",
    "factor_gap": "factors, gap",
    "factor_modularity": "factors, modularity",
    "absorbed": "absorbed wordings, share",
    "leaders": "leading latents of an emotion",
    "stable_70": "latents with a partner above .7 cosine, share over pairs of seeds",
    "stable_90": "latents with a partner above .9 cosine, share over pairs of seeds",
    "selective_share": "selective latents, share (a count, no evidence)",
}
MATRIX_NOTE = (
    "Row: emotion whose latents were set to their mean. Column: emotion of the held-out wordings. Entry: "
    "mean drop of their own score, 1 = the gap between an emotion and the others. Measured on the SAE's "
    "reconstruction; what the model generates without these latents is not measured here."
)
FACTOR_NOTE = (
    "Out of fold, means over the factors. R²: from the best unit. Gap: less that of the second unit. "
    "Modularity: less that of another factor from the same unit. All bases have equally many units. The "
    "modularity of the factors themselves is what correlated factors allow; units at right angles can have a "
    "larger gap than theirs."
)
ABSORPTION_NOTE = (
    "Missed: the emotion's best latent does not fire. Absorbed: missed, and another latent carries the "
    "emotion. Leaders: different latents that carry most of the emotion on its wordings."
)
READER_NOTE = "Balanced accuracy, whole wordings held out, the same reader for model and untrained twin."


def claim_grids(site: str, units: Mapping[str, Any]) -> list[Grid]:
    """Return the tables of one site; those without numbers are left out."""
    tables = []
    if units.get("sparse"):
        tables.append(_sparse_grid(site, units["sparse"]))
    if units.get("perturbation"):
        tables.append(_matrix_grid(site, units["perturbation"]))
    if units.get("factors"):
        tables.append(_factor_grid(site, units["factors"]))
    if units.get("absorption"):
        tables.append(_absorption_grid(site, units["absorption"]))
    if "accuracy_states_low" in units:
        tables.append(_reader_grid(site, units))
    if units.get("seeds"):
        tables.append(_seed_grid(site, units["seeds"]))
    return tables


def _sparse_grid(site: str, scores: Mapping[str, Mapping[str, Any]]) -> Grid:
    rows = []
    for k in sorted(scores, key=int):
        for base in bases_of(scores[k]):
            one = scores[k][base]
            ahead = one["gain_p"] is not None and one["gain_p"] < ALPHA
            rows.append(
                (
                    *cells(f"{BASES[base]}, k = {k}", share(one["accuracy"])),
                    *cells(interval(one["low"], one["high"], percent=True), number(one["gain"], 2)),
                    Cell(interval(one["gain_low"], one["gain_high"])),
                    marked(p_value(one["gain_p"]), ahead),
                )
            )
    columns = ("basis", "accuracy", "interval", "gain of the SAE", "interval", "p")
    return Grid(f"k-sparse probes, {site}", columns, tuple(rows), (SPARSE_CAPTION,))


def _matrix_grid(site: str, found: Mapping[str, Any]) -> Grid:
    matrix: Mapping[str, Mapping[str, float]] = found["matrix"]
    rows = tuple(
        cells(f"latents of {row}", *(number(matrix[row][column], 2) for column in matrix)) for row in matrix
    )
    notes = (MATRIX_NOTE, found["no_control"]) if found["no_control"] else (MATRIX_NOTE,)
    return Grid(f"Targeted perturbation, {site}", ("removed", *matrix), rows, notes)


def _factor_grid(site: str, found: Mapping[str, Any]) -> Grid:
    bases, rows = found["bases"], []
    for base in bases_of(bases):
        mean, low, high = (bases[base][key] for key in ("mean", "low", "high"))
        texts = [
            f"{number(mean[key], 2)} {interval(low[key], high[key])}" for key in ("r2", "gap", "modularity")
        ]
        rows.append(cells(BASES[base], *texts))
    caption = f"Known acoustic factors from {int(found['n_units'])} units, {site}"
    return Grid(caption, ("basis", "R²", "gap", "modularity"), tuple(rows), (FACTOR_NOTE,))


def _absorption_grid(site: str, found: Mapping[str, Any]) -> Grid:
    columns = ("emotion", "wordings", "missed", "absorbed", "interval", "leaders", "largest leader")
    lines: Sequence[tuple[str, Mapping[str, Any]]] = [*found["by_emotion"].items(), ("all", found)]
    rows = tuple(
        cells(
            name,
            f"{one['n_wordings']:.0f}",
            share(one["missed"]),
            share(one["absorbed"]),
            interval(one["low"], one["high"], percent=True),
            number(one["n_leaders"], 2),
            share(one["largest"]),
        )
        for name, one in lines
    )
    return Grid(f"Absorption and splitting, {site}", columns, rows, (ABSORPTION_NOTE,))


def _reader_grid(site: str, units: Mapping[str, Any]) -> Grid:
    def text(name: str) -> str:
        key = f"accuracy_{name}"
        if key not in units:
            return "–"
        low, high = units[f"{key}_low"], units[f"{key}_high"]
        return f"{share(units[key])} {interval(low, high, percent=True)}"

    rows = tuple(
        cells(shown, *(text(f"{side}{name}") for side in ("", "twin_", "null_", "null_twin_")))
        for name, shown in READERS.items()
    )
    columns = ("vector", "model", "untrained twin", "model, null text", "twin, null text")
    return Grid(f"Whole-clip probes, {site}", columns, rows, (READER_NOTE,))


def _seed_grid(site: str, found: Mapping[str, Any]) -> Grid:
    sparse = sorted((name for name in found if name.startswith("sparse_")), key=lambda name: int(name[7:]))
    names = {**{name: f"{name[7:]}-sparse probes, accuracy" for name in sparse}, **OVER_SEEDS}
    rows = tuple(
        cells(shown, number(found[name]["mean"]), interval(found[name]["low"], found[name]["high"]))
        for name, shown in names.items()
        if name in found
    )
    about = "intervals over SAE seeds" if found["claims"] else "descriptive, too few seeds for a claim"
    caption = f"SAEs of {count(int(found['n']), 'seed')}, {site}: {about}"
    return Grid(caption, ("measure", "mean", "interval"), rows)

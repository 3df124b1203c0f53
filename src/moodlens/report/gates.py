"""Go or no-go: the gates before SAE training, and which look at the data this is."""

from collections.abc import Mapping, Sequence
from typing import Any

from moodlens.report.numbers import number, p_value, share
from moodlens.report.records import Cell, Finding, Grid
from moodlens.report.site_names import Row

ASKED = {
    "clips_per_emotion": ("clips per emotion", "at least", lambda value: number(value)),
    "effect": ("within − between similarity, best layer", "above", lambda value: number(value)),
    "acoustic_match": ("clips whose sound fits the emotion", "above", lambda value: share(value, 1)),
    "p_layers": ("p of the layers (maxT)", "below", p_value),
    "silhouette": ("silhouette of the emotions, best layer", "above", lambda value: number(value)),
}
REPORTED_ONLY = ("silhouette",)


POWER_COLUMNS = ("threshold", "asked", "p below", "power", "prompts per emotion", "by formula")
POWER_NOTE = (
    "From the spectrum and the prompt share of variance of this run's best layer; p is divided by the number "
    "of layers. Effects by simulated pseudo-F beside noncentral F, accuracies by the binomial beside the "
    "normal."
)


def gates_finding(decided: Mapping[str, Any], power: Sequence[Row]) -> Finding:
    """Return the gates of metrics/decide.json with their bars, the look, and the prompts thresholds need.

    Args:
        decided: metrics/decide.json.
        power: metrics/decide_power.csv.
    """
    gates, look = decided["gates"], decided["look"]
    rows = tuple(_row(name, gates[name]) for name in ASKED)
    caption = "Gates before a sparse autoencoder is trained"
    note = "The silhouette is reported and stops nothing."
    grids = [Grid(caption, ("gate", "asked", "measured", "outcome"), rows, (note,))]
    if power:
        caption = "Prompts per emotion that the thresholds need"
        grids.append(Grid(caption, POWER_COLUMNS, tuple(_power_row(row) for row in power), (POWER_NOTE,)))
    return Finding(f"{_summary(gates)} {_look(look)}", grids=tuple(grids))


def _power_row(row: Row) -> tuple[Cell, ...]:
    texts = (
        number(row["value"]),
        p_value(row["alpha"]),
        share(row["power"]),
        _count(row["n"]),
        _count(row["n_approximate"]),
    )
    return (Cell(str(row["threshold"])), *(Cell(text) for text in texts))


def _count(n: float) -> str:
    """Return a number of prompts; an empty cell of the CSV is one that no search reached."""
    return "more than 2,000" if n != n else f"{n:.0f}"


def _summary(gates: Mapping[str, Any]) -> str:
    if gates["passed"]:
        return "Go: every gate before SAE training is open."
    names = ", ".join(ASKED[name][0] for name in gates["failed"])
    return f"No go: SAE training is stopped by {names}."


def _look(look: Mapping[str, Any]) -> str:
    if look["planned"] == 1:
        return (
            "This run is treated as the only look at the data. Whoever means to add prompts and test again "
            "plans it in decide.looks, so that the looks share one alpha."
        )
    return (
        f"Look {look['number']} of {look['planned']} at {look['n_per_emotion']} prompts per emotion: "
        f"tested at {p_value(look['alpha_weak'])} (weak) and {p_value(look['alpha_strong'])} (strong); "
        f"{p_value(look['alpha_spent'])} of alpha is spent so far."
    )


def _row(name: str, gate: Mapping[str, Any]) -> tuple[Cell, ...]:
    title, relation, said = ASKED[name]
    outcome = "open" if gate["passed"] else "closed" if gate["value"] is not None else "not measured"
    if name in REPORTED_ONLY:
        outcome = "above" if gate["passed"] else "not above"
    mark = "strong" if gate["passed"] else "void"
    return (
        Cell(title),
        Cell(f"{relation} {said(gate['bar'])}"),
        Cell(said(gate["value"])),
        Cell(outcome, mark),
    )

"""Go or no-go: the gates before SAE training, and which look at the data this is.

The verdict of `metrics/decide.json`: as records for the page, as plain text for a terminal.
"""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

from moodlens.decision.ladder import RUNGS
from moodlens.report.records import Bar, Cell, Finding, Grid, Rung, Verdict
from moodlens.report.wording import MINUS, Row, interval, number, p_value, share

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


TITLES = {
    "": "No rung of the ladder is reached",
    "words": "Emotion is in the words",
    "text_code": "Emotion is in the text code",
    "music": "Emotion reaches the music",
    "state": "Emotion is in the model’s state",
    "use": "The model uses emotion",
}
QUESTIONS = {
    "words": "Do the prompts’ words carry emotion?",
    "text_code": "Does the text encoder carry it beyond the words?",
    "music": "Does the generated audio carry it beyond the words?",
    "state": "Does a decoder layer carry it beyond what it is fed?",
    "use": "Do interventions on that state change the music?",
}
SHOWN = {"untested": "not tested"}
"""Verdicts whose word on the page differs from the one in the metrics."""


def verdict_of(decided: Mapping[str, Any], n_emotions: int, n_prompts: int) -> Verdict:
    """Return the verdict as the page shows it.

    Args:
        decided: metrics/decide.json.
        n_emotions: classes; chance is one over it.
        n_prompts: prompts that intend an emotion.
    """
    rungs = tuple(
        _rung(place, name, decided[name], n_emotions, n_prompts) for place, name in enumerate(RUNGS)
    )
    open_rung = rungs[RUNGS.index(_open_rung(decided))]
    step = f"{open_rung.next_step} (rung: {open_rung.name})" if open_rung.next_step else ""
    return Verdict(TITLES[decided["highest_rung"]], decided["headline"], step, rungs)


def _open_rung(decided: Mapping[str, Any]) -> str:
    """Return the rung to work on next: from the highest reached upwards, the first that is not strong."""
    start = RUNGS.index(decided["highest_rung"]) if decided["highest_rung"] else 0
    return next((name for name in RUNGS[start:] if decided[name]["verdict"] != "strong"), RUNGS[-1])


def _rung(place: int, name: str, found: Mapping[str, Any], n_emotions: int, n_prompts: int) -> Rung:
    verdict = SHOWN.get(str(found["verdict"]), str(found["verdict"]))
    said = name.replace("_", " ")
    if found["accuracy"] is None:
        return Rung(place, said, QUESTIONS[name], verdict, "", found["rule"], _step(found))
    evidence = f"{found['statistic'][:1].upper()}{found['statistic'][1:]}; p (maxT) {_equals(found['p'])}."
    if found["effect"] is not None:
        evidence += f" Effect {number(found['effect'])} (centred within − between similarity)."
    reading = Bar(
        "this rung",
        found["accuracy"],
        share(found["accuracy"], 1),
        f"{interval(found['low'], found['high'], percent=True)}, {n_prompts} prompts",
        found["low"],
        found["high"],
        "reading",
    )
    baselines = tuple(_baseline(said, base) for said, base in found["baselines"].items())
    chance = Bar("chance", 1 / n_emotions, share(1 / n_emotions, 1), kind="chance")
    bars = (reading, *baselines, chance)
    return Rung(place, said, QUESTIONS[name], verdict, evidence, found["rule"], _step(found), bars)


def _step(found: Mapping[str, Any]) -> str:
    """Return what to do next; that a rung is not tested is said by its verdict."""
    return str(found["next_step"]).removeprefix("not tested yet: ")


def _baseline(name: str, base: Mapping[str, float]) -> Bar:
    gap, low, high = (f"{100 * base[key]:+.0f}".replace("-", MINUS) for key in ("difference", "low", "high"))
    note = f"rung − this: {gap} [{low}, {high}] points, p {_equals(base['p'])}"
    return Bar(name, base["accuracy"], share(base["accuracy"], 1), note)


def _equals(p: float | None) -> str:
    said = p_value(p)
    return said if said.startswith(("<", "–")) else f"= {said}"


def verdict_text(decided: Mapping[str, Any], width: int = 100) -> str:
    """Return the verdict for a terminal: the sentence, one line per rung, what to do next.

    Args:
        decided: metrics/decide.json.
        width: columns to wrap at.
    """
    header = ("rung", "verdict", "accuracy", "interval", "p (maxT)", "effect")
    lines = [_line(place, name, decided[name]) for place, name in enumerate(RUNGS)]
    verdict = [TITLES[decided["highest_rung"]].upper(), fill(decided["headline"], width), ""]
    open_rung = _open_rung(decided)
    step = f"Next ({open_rung.replace('_', ' ')}): {_step(decided[open_rung])}"
    return "\n".join([*verdict, *columns([header, *lines]), "", fill(step, width)])


def _line(place: int, name: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    verdict = SHOWN.get(str(found["verdict"]), str(found["verdict"]))
    title = f"{place} {name.replace('_', ' ')}"
    if found["accuracy"] is None:
        return title, verdict, "", "", "", ""
    accuracy, bounds = f"{found['accuracy']:.3f}", f"[{found['low']:.3f}, {found['high']:.3f}]"
    return title, verdict, accuracy, bounds, p_value(found["p"]), number(found["effect"])


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines with aligned columns: the first two to the left, the others to the right.

    >>> columns([("rung", "verdict", "p"), ("0 words", "strong", "0.001")])
    ['rung     verdict      p', '0 words  strong   0.001']
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines

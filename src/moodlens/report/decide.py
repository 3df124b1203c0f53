"""The chapter on `decide`: the gates before SAE training. The ladder and what stands beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from textwrap import fill
from typing import Any

from moodlens.decision.ladder import CLIMBED, RUNGS, SOURCES
from moodlens.null_text.evidence import REQUIRED
from moodlens.report.formatting import MINUS, Row, interval, number, p_value, share
from moodlens.report.records import Bar, Cell, Fact, Finding, Grid, Rung, Verdict, cells

GATES = {
    "clips_per_emotion": ("clips per emotion", "at least", lambda value: number(value)),
    "effect": ("within − between similarity, best layer", "above", lambda value: number(value)),
    "acoustic_match": ("clips whose acoustics match the emotion", "above", lambda value: share(value, 1)),
    "p_layers": ("p of the layers (maxT)", "below", p_value),
    "silhouette": ("silhouette of the emotions, best layer", "above", lambda value: number(value)),
}
"""Gate -> its name, the relation to the threshold, and how its values are written."""
REPORTED_ONLY = ("silhouette",)

POWER_COLUMNS = ("threshold", "required", "p below", "power", "prompts per emotion", "by formula")
POWER_NOTE = (
    "Computed from the spectrum and the prompt share of variance of this run's best layer; the level is "
    "divided by the number of layers. Effects: simulated pseudo-F, by formula noncentral F. Accuracies: "
    "binomial, by formula normal."
)


def decide_finding(decided: Mapping[str, Any], power: Sequence[Row]) -> Finding:
    """Return the gates with their thresholds, the look, and the prompts that the thresholds need.

    Args:
        decided: metrics/decide.json.
        power: metrics/decide_power.csv.
    """
    gates, look = decided["gates"], decided["look"]
    rows = tuple(_row(name, gates[name]) for name in GATES)
    caption = "Gates before a sparse autoencoder is trained"
    note = "The silhouette is reported and stops nothing."
    grids = [Grid(caption, ("gate", "required", "measured", "outcome"), rows, (note,))]
    if power:
        caption = "Prompts per emotion that the thresholds need"
        grids.append(Grid(caption, POWER_COLUMNS, tuple(_power_row(row) for row in power), (POWER_NOTE,)))
    return Finding(f"{_summary(gates)} {_look(look)}", grids=tuple(grids))


def _power_row(row: Row) -> tuple[Cell, ...]:
    return cells(
        str(row["threshold"]),
        number(row["value"]),
        p_value(row["alpha"]),
        share(row["power"]),
        _count(row["n"]),
        _count(row["n_approximate"]),
    )


def _count(n: float) -> str:
    """Return a number of prompts; an empty cell of the CSV lies beyond the range searched."""
    return "more than 2,000" if n != n else f"{n:.0f}"


def _summary(gates: Mapping[str, Any]) -> str:
    if gates["passed"]:
        return "Go: every gate before SAE training is open."
    names = ", ".join(GATES[name][0] for name in gates["failed"])
    return f"No go: closed gates stop SAE training ({names})."


def _look(look: Mapping[str, Any]) -> str:
    if look["planned"] == 1:
        return (
            "This run is treated as the only look at the data. If you intend to add prompts and test again, "
            "plan the looks in decide.looks, so that they share one alpha."
        )
    return (
        f"Look {look['number']} of {look['planned']} at {look['n_per_emotion']} prompts per emotion: "
        f"tested at {p_value(look['alpha_weak'])} (weak) and {p_value(look['alpha_strong'])} (strong); "
        f"{p_value(look['alpha_spent'])} of alpha is spent so far."
    )


def _row(name: str, gate: Mapping[str, Any]) -> tuple[Cell, ...]:
    title, relation, written = GATES[name]
    outcome = "open" if gate["passed"] else "closed" if gate["value"] is not None else "not measured"
    if name in REPORTED_ONLY:
        outcome = "above" if gate["passed"] else "not above"
    mark = "strong" if gate["passed"] else "void"
    return (
        Cell(title),
        Cell(f"{relation} {written(gate['bar'])}"),
        Cell(written(gate["value"])),
        Cell(outcome, mark),
    )


TITLES = {
    "": "No rung of the ladder is reached",
    "text_code": "The text encoder encodes emotion",
    "music": "Emotion reaches the music",
    "use": "Exchanging one layer’s states moves the emotion",
}
"""Highest rung reached -> the title of the page."""
QUESTIONS = {
    "text_code": "Does the text encoder encode emotion beyond the words of the prompts?",
    "music": "Does the generated audio carry it beyond the words?",
    "source_music": "At a given moment, does the music played so far carry the emotion into what follows?",
    "source_memory": "Does the model’s memory of the text carry it, with the same music and no text ahead?",
    "source_reading": "Does the text read again carry it, with the same music and the same memory?",
    "use": "Does an exchange of one layer’s states between two prompts move the music to the other emotion?",
}
OF_SHARES = {**dict.fromkeys(SOURCES, " (maxT over steps)"), "use": ""}
"""Rungs whose effect is a share of the total -> what p is adjusted for."""
DESIGN = "Check of the design (balance)"
CHECK, FINDING = "Check of the design (words)", "Finding (states under null text)"
"""Names of what stands beside the ladder."""
NOT_MEASURED = {
    CHECK: "Not measured: add bow to signal.sites and probe.sites.",
    FINDING: "Not measured: run `dvc repro null_text`.",
}
SHOWN = {"untested": "not tested"}
"""Verdict in the metrics -> its word on the page, where they differ."""


def verdict_of(decided: Mapping[str, Any], n_emotions: int, n_prompts: int) -> Verdict:
    """Return the verdict as the page shows it.

    Args:
        decided: metrics/decide.json.
        n_emotions: number of emotions; chance is 1 / n_emotions.
        n_prompts: prompts that intend an emotion.
    """
    rungs = tuple(
        _rung(position, name, decided["rungs"][name], n_emotions, n_prompts)
        for position, name in enumerate(RUNGS, start=1)
    )
    open_rung = rungs[RUNGS.index(_open_rung(decided))]
    step = f"{open_rung.next_step} (rung: {open_rung.name})" if open_rung.next_step else ""
    title = TITLES[decided["highest_rung"]]
    return Verdict(title, decided["headline"], step, rungs, beside_ladder(decided))


def beside_ladder(decided: Mapping[str, Any]) -> tuple[Fact, ...]:
    """Return balance of the design, check of its words, finding on null-text states: sentences with numbers.

    Args:
        decided: metrics/decide.json.
    """
    words, null_text = decided["design"]["words"], decided["findings"]["null_text"]
    check, finding = (Fact(name, NOT_MEASURED[name]) for name in (CHECK, FINDING))
    design = Fact(DESIGN, *design_sentences(decided["design"].get("check", {})))
    if words is not None:
        check = Fact(CHECK, f"{words['sentence']} {words['note']}", f"{_measured(words)}.")
    if null_text is not None:
        untrained = ", ".join(
            f"{name} {share(null_text['baselines'][name]['accuracy'], 1)}"
            for name in REQUIRED
            if name in null_text["baselines"]
        )
        numbers = f"{_measured(null_text)}; untrained decoders, fed the same tokens: {untrained}."
        finding = Fact(FINDING, null_text["sentence"], numbers)
    return design, check, finding


def design_sentences(check: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
    """Return what the check of the design found, in a sentence, and the findings that change a test.

    Args:
        check: decide.json `design.check`.
    """
    if not check:
        return "Not measured: run `dvc repro decide`.", ""
    changed = [one["sentence"] for one in check.values() if one["form"] in ("robust", "undecided")]
    if any(one["form"] == "undecided" for one in check.values()):
        return "The design allows no verdict on the rungs that relabel wordings.", " ".join(changed)
    if changed:
        return "The design is not balanced; the tests use a form that keeps its level.", " ".join(changed)
    return "Prompts, wordings and nuisances are balanced over the emotions.", ""


def _measured(finding: Mapping[str, Any]) -> str:
    bounds = interval(finding["low"], finding["high"], percent=True)
    return f"Accuracy {share(finding['accuracy'], 1)} {bounds}, p (maxT) {_equals(finding['p'])}"


def _open_rung(decided: Mapping[str, Any]) -> str:
    """Return the rung to work on next: from the highest reached upwards, the first that is not strong."""
    start = CLIMBED.index(decided["highest_rung"]) if decided["highest_rung"] else 0
    rungs = decided["rungs"]
    return next((name for name in CLIMBED[start:] if rungs[name]["verdict"] != "strong"), CLIMBED[-1])


def _rung(position: int, name: str, judged: Mapping[str, Any], n_emotions: int, n_prompts: int) -> Rung:
    claim = Rung(
        number=position,
        name=name.replace("_", " "),
        question=QUESTIONS[name],
        verdict=_word(judged),
        evidence="",
        rule=judged["rule"],
        next_step=judged["next_step"],
    )
    statistic = str(judged["statistic"])
    if name in OF_SHARES and judged["effect"] is not None:
        bounds = interval(judged["low"], judged["high"], percent=True)
        held = f"{statistic[:1].upper()}{statistic[1:]}; p{OF_SHARES[name]} {_equals(judged['p'])}."
        bar = Bar(
            "share of the total", _inside(judged["effect"]), share(judged["effect"], 0), bounds,
            _inside(judged["low"]), _inside(judged["high"]), "result",
        )  # fmt: skip
        return replace(claim, evidence=held, bars=(bar,))
    if judged["accuracy"] is None:
        return claim
    evidence = f"{statistic[:1].upper()}{statistic[1:]}; p (maxT) {_equals(judged['p'])}."
    if judged["effect"] is not None:
        evidence += f" Effect {number(judged['effect'])} (centred within − between similarity)."
    result = Bar(
        name="this rung",
        value=judged["accuracy"],
        text=share(judged["accuracy"], 1),
        note=f"{interval(judged['low'], judged['high'], percent=True)}, {n_prompts} prompts",
        low=judged["low"],
        high=judged["high"],
        kind="result",
    )
    baselines = (_baseline(baseline, numbers) for baseline, numbers in judged["baselines"].items())
    chance = Bar("chance", 1 / n_emotions, share(1 / n_emotions, 1), kind="chance")
    return replace(claim, evidence=evidence, bars=(result, *baselines, chance))


def _inside(value: float) -> float:
    """Return a share as it can be drawn, between 0 and 1."""
    return min(1.0, max(0.0, value))


def _word(judged: Mapping[str, Any]) -> str:
    verdict = str(judged["verdict"])
    return SHOWN.get(verdict, verdict)


def _baseline(name: str, base: Mapping[str, float]) -> Bar:
    gap, low, high = (f"{100 * base[key]:+.0f}".replace("-", MINUS) for key in ("difference", "low", "high"))
    note = f"rung − this: {gap} [{low}, {high}] points, p {_equals(base['p'])}"
    return Bar(name, base["accuracy"], share(base["accuracy"], 1), note)


def _equals(p: float | None) -> str:
    text = p_value(p)
    return text if text.startswith(("<", "–")) else f"= {text}"


def verdict_text(decided: Mapping[str, Any], width: int = 100) -> str:
    """Return the verdict for a terminal: headline, one line per rung, what stands beside them, next step.

    Args:
        decided: metrics/decide.json.
        width: columns to wrap at.
    """
    header = ("rung", "verdict", "accuracy", "interval", "p (maxT)", "effect")
    lines = [_line(position, name, decided["rungs"][name]) for position, name in enumerate(RUNGS, start=1)]
    verdict = [TITLES[decided["highest_rung"]].upper(), fill(decided["headline"], width), ""]
    open_rung = _open_rung(decided)
    step = f"Next ({open_rung.replace('_', ' ')}): {decided['rungs'][open_rung]['next_step']}"
    beside = [
        fill(f"{fact.name}: {fact.value} {fact.note}".strip(), width) for fact in beside_ladder(decided)
    ]
    return "\n".join([*verdict, *columns([header, *lines]), "", *beside, "", fill(step, width)])


def _line(position: int, name: str, judged: Mapping[str, Any]) -> tuple[str, ...]:
    verdict = _word(judged)
    title = f"{position} {name.replace('_', ' ')}"
    if name in OF_SHARES and judged["effect"] is not None:
        bounds = f"[{judged['low']:.3f}, {judged['high']:.3f}]"
        return title, verdict, "", bounds, p_value(judged["p"]), number(judged["effect"])
    if judged["accuracy"] is None:
        return title, verdict, "", "", "", ""
    accuracy, bounds = f"{judged['accuracy']:.3f}", f"[{judged['low']:.3f}, {judged['high']:.3f}]"
    return title, verdict, accuracy, bounds, p_value(judged["p"]), number(judged["effect"])


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines with aligned columns, the first two left-aligned, the others right-aligned.

    >>> columns([("rung", "verdict", "p"), ("2 music", "strong", "0.001")])
    ['rung     verdict      p', '2 music  strong   0.001']
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        padded = [
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    return lines

"""The chapter on `null_text`: what states tell of the music they are fed, beside readers of its tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from moodlens.plots.style import (
    INK,
    MUTED,
    SIGNAL,
    TWIN,
    bars,
    draw,
    figure_svg,
    headline,
    label_apart,
    null_line,
    percent_axis,
)
from moodlens.report.formatting import Row, count, interval, number, p_value, share
from moodlens.report.records import Cell, Figure, Finding, Grid, cells

STYLES = {
    "state": (SIGNAL, "-", "o", 2.0),
    "random": (TWIN, "-", "s", 1.3),
    "fed": (INK, "--", "", 1.1),
}
"""Kind of a line -> (colour, line, marker, width)."""


@dataclass(frozen=True)
class Line:
    """Accuracy of one reader; arrays are (place,), `low` and `high` NaN where there is no band."""

    name: str
    kind: str  # state: the model; random: an untrained decoder; fed: a reader of the tokens without a decoder
    accuracy: np.ndarray
    low: np.ndarray
    high: np.ndarray


def reader_lines(
    lines: tuple[Line, ...],
    places: tuple[float, ...],
    chance: float,
    ax: Axes,
    *,
    title: str,
    note: str,
    xlabel: str,
    banded: bool,
) -> Axes:
    """Draw the accuracy of every reader over the same places, and chance; return `ax`.

    Args:
        lines: the readers, the state first.
        places: decoder steps, or prompts per emotion.
        chance: accuracy without signal.
        ax: where to draw.
        title: above the axes.
        note: n and what the bars or bands are.
        xlabel: what the places are.
        banded: draw low..high as a band (the range over layers), else as bars (an interval).
    """
    percent_axis(ax)
    null_line(ax, chance)
    names = {"chance": (chance, MUTED)}
    x = np.arange(len(places))
    for lane_index, line in enumerate(lines):
        colour, style, marker, width = STYLES[line.kind]
        at = x if banded else x + 0.05 * (lane_index - (len(lines) - 1) / 2)
        ax.plot(
            at, line.accuracy, style, color=colour, marker=marker, markersize=5, linewidth=width, zorder=3
        )
        if banded and np.isfinite(line.low).all():
            ax.fill_between(at, line.low, line.high, color=colour, alpha=0.14, linewidth=0, zorder=1)
        elif not banded:
            bars(ax, at, line.accuracy, line.low, line.high, colour)
        names[line.name] = (float(line.accuracy[-1]), colour)
    ax.set_xticks(x, [f"{place:g}" for place in places])
    label_apart(ax, names)
    headline(ax, title, note)
    ax.set_ylabel("accuracy on unseen wordings")
    ax.set_xlabel(xlabel)
    return ax


RANDOM = ("random decoder, trained text", "random twin")
TARGETS = ("valence", "arousal", "tempo", "loudness", "brightness", "mode")

STEPS_CAPTION = (
    "Each probe reads one step of the clip under null text: nothing but the tokens so far reaches the state. "
    "Untrained decoders of the same shape get the same tokens. Bands: lowest and highest layer. The dashed "
    "readers see the tokens themselves; with prompts enough they are as good: a state is made from them."
)
CURVE_CAPTION = (
    "All readers train on the same few prompts and are tested on other wordings; layers are pooled and steps "
    "averaged, so none is chosen. A state is made from its tokens: to need fewer prompts than they do would "
    "show another form of the same content, not more content."
)
LEADS = {
    "random decoder, trained text": "ahead of random decoder",
    "random twin": "of random twin",
    "token history": "of the tokens so far",
    "codec history": "of codec vectors so far",
    "other descriptors": "of all other descriptors",
}
"""Reader of a factor -> its column."""
FACTOR_NOTE = (
    "Target: the factor as measured in the clip's own audio, by wording, layers pooled, steps averaged. The "
    "prediction is correlated with what the prompt asks for (arousal; valence for mode). This is a "
    "description: no verdict is passed on a factor. "
    "The factor's own descriptor is no baseline: it is what is measured."
)
NOTE = (
    "The layer and step of the accuracy are chosen inside each training fold; baselines are read at the same "
    "layer and step. A baseline's p is that of two readings, this one and the mean over all steps and layers"
    ", the smaller counted twice. Partial R2 is beyond a linear reading of the descriptors."
)


def null_text_finding(
    metrics: Mapping[str, Any],
    steps: Sequence[Row],
    curve: Sequence[Row],
    confidence: float,
    decided: Mapping[str, Any] | None,
) -> Finding:
    """Return accuracy by step and by prompts, the comparisons, the factors and the exchanged texts.

    Args:
        metrics: metrics/null_text.json.
        steps: metrics/null_text_steps.csv.
        curve: metrics/null_text_curve.csv.
        confidence: of the intervals.
        decided: the finding `null_text` of metrics/decide.json; None before stage `decide`.
    """
    state, chance = metrics["state"], metrics["chance"]
    size = f"{count(metrics['n_prompts'], 'prompt')}, {count(state['n_units'], 'wording')}"
    figures = (_by_step(steps, chance, size), _by_shots(curve, chance, size, confidence))
    factors = () if decided is None else (_factors(metrics["factors"], decided["factors"], confidence),)
    grids = (_against(state, confidence), *factors, _targets(state), _swaps(state))
    summary = _summary(state, chance)
    if decided is None:
        return Finding(summary, figures, grids)
    return Finding(f"{decided['sentence']} {summary}", figures, grids, "described", decided["note"])


def _summary(state: Mapping[str, Any], chance: float) -> str:
    random = ", ".join(f"{name} {share(state['baselines'][name]['accuracy'], 1)}" for name in RANDOM)
    fed = ", ".join(f"{name} {share(base['accuracy'], 1)}" for name, base in state["beside"].items())
    return (
        f"With the text cut off, one step's state names the emotion of unseen wordings in "
        f"{share(state['accuracy'], 1)} {interval(state['low'], state['high'], percent=True)} (p = "
        f"{p_value(state['p'])}, best of all layers and steps); untrained decoders, same tokens: {random}; "
        f"readers of the tokens themselves: {fed}; chance {share(chance, 1)}."
    )


def _by_step(rows: Sequence[Row], chance: float, size: str) -> Figure:
    places = tuple(sorted({float(row["step"]) for row in rows}))
    lines = []
    for name in dict.fromkeys(str(row["reader"]) for row in rows):
        values = [
            [float(r["accuracy"]) for r in rows if r["reader"] == name and r["step"] == s] for s in places
        ]
        layered = len(values[0]) > 1
        middle = np.array([np.median(accuracies) for accuracies in values])
        low, high = ([f(accuracies) if layered else np.nan for accuracies in values] for f in (min, max))
        lines.append(Line(name, _kind(name), middle, np.array(low), np.array(high)))
    note = f"{size}, folds hold wordings out; closed-form probe; line: median layer, band: all layers"
    title = "One step at a time, under null text"
    return _figure(
        "null-text-steps", tuple(lines), places, chance, title, note, "decoder step", STEPS_CAPTION, True
    )


def _by_shots(rows: Sequence[Row], chance: float, size: str, confidence: float) -> Figure:
    single = [row for row in rows if row["reading"] == "single step"]
    places = tuple(sorted({float(row["n_shots"]) for row in single}))
    lines = []
    for name in dict.fromkeys(str(row["reader"]) for row in single):
        mine = sorted((r for r in single if r["reader"] == name), key=lambda row: row["n_shots"])
        accuracy = np.array([float(row["accuracy"]) for row in mine])
        ahead = np.array([float(row["difference"]) for row in mine])
        # The interval is that of the state's lead; drawn at the reader, it holds the state where undecided.
        low, high = (np.array([float(row[end]) for row in mine]) for end in ("low", "high"))
        own = name == "state"
        ends = (np.full(len(mine), np.nan),) * 2 if own else (accuracy + ahead - high, accuracy + ahead - low)
        lines.append(Line(name, _kind(name), accuracy, *ends))
    note = f"{size}; bars: {share(confidence)} interval of the distance to the state, bootstrap over wordings"
    title = "How few prompts suffice"
    xlabel = "training prompts per emotion"
    return _figure("null-text-curve", tuple(lines), places, chance, title, note, xlabel, CURVE_CAPTION, False)


def _kind(name: str) -> str:
    return "state" if name == "state" else "random" if name in RANDOM else "fed"


def _figure(
    key: str,
    lines: tuple[Line, ...],
    places: tuple[float, ...],
    chance: float,
    title: str,
    note: str,
    xlabel: str,
    caption: str,
    banded: bool,
) -> Figure:
    figure = draw(
        lambda ax: reader_lines(
            lines, places, chance, ax, title=title, note=note, xlabel=xlabel, banded=banded
        )
    )
    values = [f"{line.name} {', '.join(share(float(v)) for v in line.accuracy)}" for line in lines]
    return Figure(figure_svg(figure, key, f"{title}: {'; '.join(values)}. {note}."), caption)


def _against(state: Mapping[str, Any], confidence: float) -> Grid:
    rows = []
    for group, needed in (("baselines", "untrained decoder"), ("beside", "reader of the tokens")):
        for name, base in state[group].items():
            ends = interval(base["low"], base["high"], percent=True)
            rows.append(cells(name, needed, share(base["accuracy"], 1), share(base["difference"], 1), ends))
    for prefix, what in (("", "single step"), ("whole_", "whole clip")):
        lead = f"{prefix}shots_over_"
        for key in (k for k in state if k.startswith(lead) and not k.endswith(("_low", "_high"))):
            name = (
                f"{key.removeprefix(lead).replace('_', ' ')}, {count(state[f'{prefix}shots'], 'prompt')} each"
            )
            own = state[f"{prefix}shots_accuracy"]
            ends = interval(state[f"{key}_low"], state[f"{key}_high"], percent=True)
            rows.append(cells(name, what, share(own - state[key], 1), share(state[key], 1), ends))
    if state["partial_r2"] is not None:
        ends = interval(state["partial_r2_low"], state["partial_r2_high"])
        rows.append(
            cells(
                f"acoustic descriptors, partial R2 (p = {p_value(state['partial_r2_p'])})",
                "whole clip",
                number(state["acoustics_r2"], 2),
                number(state["partial_r2"], 2),
                ends,
            )
        )
    caption = f"The state against what it is fed; {share(confidence)} intervals over wordings"
    return Grid(
        caption, ("reader", "reading", "its value", "state ahead by", "interval"), tuple(rows), (NOTE,)
    )


def _factors(measured: Mapping[str, Any], described: Mapping[str, Any], confidence: float) -> Grid:
    """Return how well states tell every factor, with the lead over every other reader."""
    readers = [name for name in LEADS if all(name in factor["leads"] for factor in measured.values())]
    rows = tuple(
        (
            Cell(name),
            Cell(f"{number(factor['r2'], 2)} {interval(factor['low'], factor['high'])}"),
            Cell(p_value(factor["p"])),
            Cell(f"{number(factor['prompted_r'], 2)} (p {p_value(factor['prompted_p'])})"),
            *(_lead(factor["leads"][reader]) for reader in readers),
            Cell("; ".join(described[name]["better_than"]) or "none"),
        )
        for name, factor in measured.items()
    )
    leads = (LEADS[name] for name in readers)
    columns = ("factor", "R2", "p, maxT", "follows the prompt", *leads, "lower error than")
    return Grid(
        f"Factors of the music in the states, {share(confidence)} intervals over wordings", columns, rows,
        (FACTOR_NOTE,),
    )  # fmt: skip


def _lead(lead: Mapping[str, float]) -> Cell:
    return Cell(f"{number(lead['difference'], 2)} (p {p_value(lead['p'])})")


def _targets(state: Mapping[str, Any]) -> Grid:
    rows = tuple(
        cells(
            name,
            number(state[f"{name}_r2"], 2),
            p_value(state[f"{name}_p"]),
            number(state[f"{name}_over_random_low"], 2),
        )
        for name in TARGETS
        if f"{name}_r2" in state
    )
    columns = ("target", "R2", "p, maxT", "lead over untrained decoders, low end")
    notes = ("Valence and arousal as the prompt intends them; the others as measured in the clip's audio.",)
    return Grid(
        "What one step's state tells under null text, layers pooled, unseen wordings", columns, rows, notes
    )


def _swaps(state: Mapping[str, Any]) -> Grid:
    rows = (
        cells("own text", share(state["swap_own"], 1), "–", "–", "–"),
        cells("null text", share(state["swap_null"], 1), "–", "–", "–"),
        cells(
            "another emotion's text",
            share(state["swap_read_as_music"], 1),
            share(state["swap_read_as_text"], 1),
            share(state["swap_random_read_as_music"], 1),
            share(state["swap_random_read_as_text"], 1),
        ),
    )
    first = f"{share(state['first_step_own'], 1)} with own text, {share(state['first_step_null'], 1)} without"
    columns = (
        "text beside the tokens",
        "read as the music",
        "read as the text",
        "untrained: as the music",
        "untrained: as the text",
    )
    notes = (f"Probe trained under own text. At the first kept step: {first}.",)
    return Grid(
        "What a probe reads when the text is taken away or exchanged, share of clips", columns, rows, notes
    )

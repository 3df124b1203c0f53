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
from moodlens.report.null_text_factors import factor_grid
from moodlens.report.records import Figure, Finding, Grid, cells

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
UNTRAINED = "untrained decoder, "
"""Begins the names of the families of untrained decoders, one per kind of memory."""
BEST_KIND = "untrained decoders, best memory"
"""Their highest accuracy at every size, as one line of the figure."""
TARGETS = ("valence", "arousal", "tempo", "loudness", "brightness", "mode")

STEPS_CAPTION = (
    "Each probe reads one step of the clip under null text: nothing but the tokens so far reaches the state. "
    "Untrained decoders of the same shape get the same tokens. Bands: lowest and highest layer. The dashed "
    "readers see the tokens themselves; with prompts enough they are as good: a state is made from them."
)
CURVE_CAPTION = (
    "All readers train on the same few prompts. Each is read on other wordings, at the step and layer that "
    "it chose inside the training folds. A state is made from its tokens: to need fewer prompts than other "
    "readers do would show another form of the same content, not more content."
)
MEMORY_NOTE = (
    "Area: accuracy on unseen wordings, mean over the sizes. P, wordings: signs of whole wordings flipped. "
    "P, draws: were the model one more untrained decoder, how often it would lie so far above the others. "
    "The larger p counts, and the state must be ahead of every reader. Intervals resample wordings and draws."
)
NOTE = (
    "Described; no claim rests on it. With all prompts the tokens are as good as any state made from them. "
    "Every reader is read at the step and layer that it chose inside the training folds. Partial R2 is "
    "beyond a linear reading of the descriptors."
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
    factors = () if decided is None else (factor_grid(metrics["factors"], decided["factors"], confidence),)
    tables = (_memory(state, confidence), _beside(state, confidence))
    grids = (*tables, *factors, _targets(state), _swaps(state))
    summary = _summary(state, chance)
    if decided is None:
        return Finding(summary, figures, grids)
    return Finding(f"{decided['sentence']} {summary}", figures, grids, "described", decided["note"])


def _summary(state: Mapping[str, Any], chance: float) -> str:
    beside = ", ".join(f"{name} {share(base['accuracy'], 1)}" for name, base in state["beside"].items())
    few = state["few_shot"]
    nearest = min(few["families"], key=lambda name: state["baselines"][name]["difference"])
    lead = state["baselines"][nearest]
    sizes = ", ".join(str(size) for size in few["shots"])
    return (
        f"With the text cut off, one step's state names the emotion of unseen wordings in "
        f"{share(state['accuracy'], 1)} {interval(state['low'], state['high'], percent=True)} (p = "
        f"{p_value(state['p'])}, best of all layers and steps); {beside}; chance {share(chance, 1)}. "
        f"Trained on {sizes} prompts per emotion, its accuracy is {share(few['area'], 1)} on average; the "
        f"nearest reader that knows no emotion ({nearest}) has {share(lead['accuracy'], 1)}; largest p "
        f"against all of them {p_value(few['p'])}."
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
    single = _with_best_kind([row for row in rows if row["reading"] == "single step"])
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
    resampled = "bootstrap over wordings and untrained decoders"
    note = f"{size}; bars: {share(confidence)} interval of the distance to the state, {resampled}"
    title = "How few prompts suffice"
    xlabel = "training prompts per emotion"
    return _figure("null-text-curve", tuple(lines), places, chance, title, note, xlabel, CURVE_CAPTION, False)


def _with_best_kind(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with those of all untrained memories replaced by the most accurate one of each size."""
    kept = [row for row in rows if not str(row["reader"]).startswith(UNTRAINED)]
    best: dict[float, Row] = {}
    for row in rows:
        if str(row["reader"]).startswith(UNTRAINED):
            size = float(row["n_shots"])
            if size not in best or float(row["accuracy"]) > float(best[size]["accuracy"]):
                best[size] = row
    return [*kept, *({**row, "reader": BEST_KIND} for row in best.values())]


def _kind(name: str) -> str:
    return "state" if name == "state" else "random" if name in (*RANDOM, BEST_KIND) else "fed"


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


def _memory(state: Mapping[str, Any], confidence: float) -> Grid:
    """Return the few-shot area of every reader that knows no emotion, and the state's lead over it."""
    few, rows = state["few_shot"], []
    for name, base in state["baselines"].items():
        family = few["families"].get(name, {})
        p_draws = family.get("p_draws")
        rows.append(
            cells(
                name,
                count(family["n_draws"], "draw") if family.get("n_draws", 1) > 1 else "–",
                family.get("site", "–"),
                share(base["accuracy"], 1),
                share(base["difference"], 1),
                interval(base["low"], base["high"], percent=True),
                p_value(family.get("p_wordings", base["p"])),
                "–" if p_draws is None else p_value(p_draws),
            )
        )
    own = f"{share(few['area'], 1)} {interval(few['low'], few['high'], percent=True)}"
    caption = f"Few-shot area: the state's {own} beside untrained memory; {share(confidence)} intervals"
    columns = (
        "reader",
        "draws",
        "usual site",
        "its area",
        "state ahead by",
        "interval",
        "p, wordings",
        "p, draws",
    )
    return Grid(caption, columns, tuple(rows), (MEMORY_NOTE,))


def _beside(state: Mapping[str, Any], confidence: float) -> Grid:
    rows = []
    for name, base in state["beside"].items():
        what = "untrained decoder" if name in RANDOM else "reader of the tokens"
        ends = interval(base["low"], base["high"], percent=True)
        rows.append(cells(name, what, share(base["accuracy"], 1), share(base["difference"], 1), ends))
    lead = "whole_shots_over_"
    for key in (k for k in state if k.startswith(lead) and not k.endswith(("_low", "_high"))):
        name = f"{key.removeprefix(lead).replace('_', ' ')}, {count(state['whole_shots'], 'prompt')} each"
        ends = interval(state[f"{key}_low"], state[f"{key}_high"], percent=True)
        value = share(state["whole_shots_accuracy"] - state[key], 1)
        rows.append(cells(name, "whole clip", value, share(state[key], 1), ends))
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
    caption = f"The state beside other readers, all prompts; {share(confidence)} intervals over wordings"
    columns = ("reader", "reading", "its value", "state ahead by", "interval")
    return Grid(caption, columns, tuple(rows), (NOTE,))


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

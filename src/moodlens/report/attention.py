"""The chapter on `attention`: which words the heads attend to, how evenly over time, and how far back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from moodlens.plots.heat import heat
from moodlens.plots.style import (
    MUTED,
    colour_of,
    draw,
    figure_svg,
    headline,
    in_order,
    label_apart,
    null_line,
)
from moodlens.report.formatting import Row, column, count, interval, number, p_value, sample_size, share
from moodlens.report.records import Cell, Figure, Finding, Grid, cells, marked


@dataclass(frozen=True)
class Band:
    """A curve with its interval; every array is (bin,)."""

    step: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def entropy_over_time(curves: Mapping[str, Band], ax: Axes, *, title: str, note: str) -> Axes:
    """Draw one curve per emotion beside the line of uniform attention; return `ax`."""
    null_line(ax, 1.0)
    ends = {"uniform": (1.0, MUTED)}
    for emotion in in_order(list(curves)):
        band, colour = curves[emotion], colour_of(emotion)
        ax.fill_between(band.step, band.low, band.high, color=colour, alpha=0.18, linewidth=0)
        ax.plot(band.step, band.value, color=colour, linewidth=1.7, zorder=3)
        ends[emotion] = (float(band.value[-1]), colour)
    headline(ax, title, note)
    ax.set_ylabel("entropy / ln(tokens)")
    ax.set_xlabel("decoder step")
    label_apart(ax, ends)
    return ax


MOST_ROWS = 12
"""Heads in the table: those with the largest difference of either sign."""

CAUTION = (
    "Attention is descriptive: it shows where a head attends, not what the music would be without it. The "
    "text encoder mixes words, so the token of any word may carry the emotion of another."
)
HEADS_CAPTION = (
    "Left: attention per token on the words that bear the emotion minus that on matched content words of the "
    "same prompt, in units of uniform attention; 0 is no preference. Middle: entropy over the prompt’s "
    "tokens, 1 is uniform. Right: mean distance of self-attention, in decoder steps."
)
TIME_CAPTION = (
    "How evenly attention is spread over the prompt’s tokens during the clip, mean over layers and heads. "
    "Dotted: uniform."
)
COLUMNS = (
    "head",
    "emotion − matched words",
    "p",
    "p, maxT",
    "untrained twin",
    "p beyond the twin, maxT",
    "mood words",
    "scenes",
    "entropy",
    "p by emotion, maxT",
)
NOTE = (
    "p flips the sign of whole wordings’ differences, or relabels whole wordings (by emotion); maxT runs "
    "over all layers and heads. Control words are content words of the same prompt outside its wording, as "
    "many as emotion words, the nearest first; attention is per token. The same few instrument and genre "
    "words recur as controls, so the result holds for these words, not for words in general."
)


def attention_finding(
    attention: Mapping[str, Any],
    heads: Sequence[Row],
    curves: Sequence[Row],
    alpha: float,
    confidence: float,
) -> Finding:
    """Return which words the heads attend to, and how evenly.

    Args:
        attention: metrics/attention.json, of a run that captured attention.
        heads: metrics/attention_heads.csv.
        curves: metrics/attention_time.csv.
        alpha: level at which a head is significant.
        confidence: of the intervals.
    """
    size = sample_size(attention, "prompt", "wording")
    chosen = sorted(heads, key=lambda row: -abs(row["difference"]))[:MOST_ROWS]
    caption = f"The {count(len(chosen), 'head')} that differ most, {size}"
    grid = Grid(caption, COLUMNS, tuple(_cells(row, alpha) for row in chosen), (NOTE,))
    figures = (_heads(heads, size, alpha), _time(curves, size, confidence))
    return Finding(_summary(attention), figures, (grid,))


def _summary(attention: Mapping[str, Any]) -> str:
    mass, entropy, distance = attention["mass"], attention["entropy"], attention["distance"]
    heads = count(attention["n_heads"], "head")
    bounds = interval(mass["low"], mass["high"])
    return (
        f"{mass['n_more']} of {heads} attend more to emotion words than to matched words of the same prompt, "
        f"{mass['n_less']} attend less (p < 0.05 after maxT). The standardised difference is largest at "
        f"{mass['best']}: {number(mass['difference'])} {bounds} times uniform attention, in the untrained "
        f"twin {number(mass['twin_difference'])}; averaged over all heads it is {number(mass['mean'])}. "
        f"Entropy differs between emotions in {count(entropy['n_significant'], 'head')} (best p "
        f"{p_value(entropy['p'])}; untrained twin {p_value(entropy['twin_p'])}, length of the prompts "
        f"{p_value(entropy['text_length_p'])}). Self-attention reaches {number(distance['mean_steps'])} "
        f"steps back on average, uniform attention {number(distance['uniform_steps'])}. {CAUTION}"
    )


def _table(heads: Sequence[Row], key: str) -> np.ndarray:
    n_layers = 1 + max(int(row["layer"]) for row in heads)
    n_heads = 1 + max(int(row["head"]) for row in heads)
    values = np.full((n_layers, n_heads), np.nan)
    for row in heads:
        values[int(row["layer"]), int(row["head"])] = row[key]
    return values


def _heads(heads: Sequence[Row], size: str, alpha: float) -> Figure:
    shown = (
        ("difference", "p_maxt", "Emotion − matched words", "times uniform", True, None),
        ("entropy", "entropy_p_maxt", "Entropy over the prompt", "of ln(tokens)", False, None),
        ("distance", "distance_p_maxt", "Reach of self-attention", "steps", False, None),
    )

    def fill(*axes: Axes) -> None:
        for ax, (key, p, title, unit, signed, limits) in zip(axes, shown, strict=True):
            values = _table(heads, key)
            heat(
                values, _table(heads, p) < alpha, ax, title=title, unit=unit, signed=signed, limits=limits,
                note="dot: differs from 0" if signed else "dot: differs by emotion",
                row_labels=[str(i) for i in range(len(values))],
                column_labels=[str(i) for i in range(values.shape[1])],
            )  # fmt: skip
            ax.set_xlabel("head")
        axes[0].set_ylabel("decoder layer")

    means = [f"layer {i} {number(float(row.mean()))}" for i, row in enumerate(_table(heads, "difference"))]
    alt = f"Three tables of layers and heads. Mean difference by layer: {', '.join(means)}. {size}."
    caption = f"{HEADS_CAPTION} Dots: p < {alpha:g} after maxT over all heads, {size}."
    return Figure(figure_svg(draw(fill, n_axes=3, height_in=3.8), "attention-heads", alt), caption)


def _time(curves: Sequence[Row], size: str, confidence: float) -> Figure:
    whole = [row for row in curves if row["layer"] != row["layer"]]
    bands = {}
    for emotion in dict.fromkeys(row["emotion"] for row in whole):
        rows = [row for row in whole if row["emotion"] == emotion]
        bands[emotion] = Band(
            *(column(rows, key) for key in ("step", "entropy", "entropy_low", "entropy_high"))
        )
    note = f"{size}; bands: {share(confidence)} bootstrap over wordings"
    title = "Cross-attention entropy over time"
    figure = draw(lambda ax: entropy_over_time(bands, ax, title=title, note=note))
    ends = [f"{name} {number(band.value[0])} to {number(band.value[-1])}" for name, band in bands.items()]
    return Figure(figure_svg(figure, "attention-time", f"{title}: {'; '.join(ends)}. {note}."), TIME_CAPTION)


def _cells(row: Row, alpha: float) -> tuple[Cell, ...]:
    return (
        Cell(f"layer {row['layer']:.0f} head {row['head']:.0f}"),
        marked(number(row["difference"]), row["p_maxt"] < alpha),
        *cells(
            p_value(row["p"]),
            p_value(row["p_maxt"]),
            number(row["twin_difference"]),
            p_value(row["p_beyond_twin_maxt"]),
            number(row.get("difference_generic")),
            number(row.get("difference_scenes")),
            number(row["entropy"]),
            p_value(row["entropy_p_maxt"]),
        ),
    )

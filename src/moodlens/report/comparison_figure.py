"""The picture of a comparison: one panel per rung, one row per experiment, effects with intervals."""

from pathlib import Path
from textwrap import shorten

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes

from moodlens.plots.style import INK, MUTED, PAPER, RC, RULE, SIGNAL, draw, headline
from moodlens.report.comparison import Comparison, Entry, changes_beside_model, interval_kind, model_name

FACES = {"strong": SIGNAL, "weak": RULE}
"""Verdict -> fill of its point: filled strong, grey weak; others are hollow. The word stands beside it."""
ROW_IN, MARGIN_IN = 0.58, 1.4
"""Inches: height of a row, and of title and axis together."""
LABELS_IN, PANEL_IN = 2.4, 4.4
"""Inches: width of the names of the entries, and of a panel with its verdicts."""
MOST_CHARACTERS = 40
"""Characters of a changed parameter beside the axis; longer ones are cut."""


def rungs_with_effect(comparison: Comparison) -> tuple[str, ...]:
    """Return the rungs for which any entry has an effect; each becomes a panel."""
    return tuple(
        rung for rung in comparison.rungs if any(rung in entry.effects for entry in comparison.entries)
    )


def rung_panel(comparison: Comparison, rung: str, ax: Axes, *, named: bool) -> Axes:
    """Draw the effect of one rung in every entry, with interval and verdict; return `ax`.

    Args:
        comparison: entries, drawn from top to bottom.
        rung: with an effect in at least one entry.
        ax: axes to fill.
        named: whether the y axis names the entries.
    """
    nan = float("nan")
    ends = [entry.effects.get(rung) for entry in comparison.entries]
    numbers = [(nan, nan, nan) if end is None else (end.effect, end.low, end.high) for end in ends]
    effect, low, high = np.array(numbers, dtype=float).T
    y = np.arange(len(ends))
    ax.hlines(y, low, high, color=SIGNAL, linewidth=1.6, zorder=3)
    for row, entry in enumerate(comparison.entries):
        verdict = entry.verdicts.get(rung, "no verdict")
        face = FACES.get(verdict, PAPER)
        ax.scatter(effect[row], y[row], s=46, color=face, edgecolors=SIGNAL, linewidths=1.6, zorder=4)
        ax.annotate(
            verdict,
            (1.0, y[row]),
            xycoords=ax.get_yaxis_transform(),
            xytext=(6, 0),
            textcoords="offset points",
            color=INK if verdict in FACES else MUTED,
            va="center",
            annotation_clip=False,
        )
    ax.axvline(0.0, color=MUTED, linewidth=1.2, dashes=(1, 2), zorder=1.5)
    names = [_label(entry) if named else "" for entry in comparison.entries]
    ax.set_yticks(y, names)
    ax.set_ylim(len(ends) - 0.5, -0.5)
    ax.margins(x=0.08)
    ax.grid(visible=True, axis="x")
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("effect: within − between similarity, centred")
    headline(ax, rung.replace("_", " "), f"bars: {interval_kind(comparison)}; dotted: no effect")
    return ax


def _label(entry: Entry) -> str:
    """Return name, model, and the first changed parameter without its section."""
    changes = changes_beside_model(entry)
    first = [shorten(change.partition(".")[2], MOST_CHARACTERS, placeholder="…") for change in changes[:1]]
    more = [f"{first[0]} (+{len(changes) - 1})"] if len(changes) > 1 else first
    return "\n".join(line for line in (entry.name, model_name(entry), *more) if line)


def save_picture(comparison: Comparison, path: Path) -> None:
    """Write the picture; the suffix of `path` is its format. One panel per rung that has effects."""
    rungs = rungs_with_effect(comparison)

    def fill(*axes: Axes) -> None:
        for rung, ax in zip(rungs, axes, strict=True):
            rung_panel(comparison, rung, ax, named=ax is axes[0])

    height_in = MARGIN_IN + ROW_IN * len(comparison.entries)
    figure = draw(fill, width_in=LABELS_IN + PANEL_IN * len(rungs), height_in=height_in, n_axes=len(rungs))
    metadata = {"Date": None} if path.suffix == ".svg" else None
    with mpl.rc_context(RC):
        figure.savefig(path, facecolor=PAPER, dpi=150, metadata=metadata)

"""How far the states' distances follow the sound's, layer by layer, beside what sees no layer.

Acoustics and states: do places far apart in the sound lie far apart in the states, and is it the text?
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from moodlens.plots.heat import heat
from moodlens.plots.layers import label_apart
from moodlens.plots.style import (
    INK,
    MUTED,
    PAPER,
    SIGNAL,
    TWIN,
    draw,
    figure_svg,
    headline,
    null_line,
    sites_axis,
)
from moodlens.report.records import Cell, Figure, Finding, Grid
from moodlens.report.wording import count, hookpoint_name, interval, named, number, p_value, share


@dataclass(frozen=True)
class Association:
    """A correlation by layer; arrays are (layer,)."""

    name: str
    twin: bool  # of the untrained twin
    within: bool  # pairs of one emotion only: drawn dashed
    r: np.ndarray
    certain: np.ndarray  # bool; significant after maxT over the layers


def associations(
    curves: tuple[Association, ...], baselines: Mapping[str, float], ax: Axes, *, title: str, note: str
) -> Axes:
    """Draw each curve by layer, baselines as thin dashed lines, and no association; return `ax`.

    A filled point is significant after maxT over the layers, a hollow one is not.
    """
    n_layers = max(len(curve.r) for curve in curves)
    null_line(ax, 0.0)
    names = {"none": (0.0, MUTED)}
    for name, value in baselines.items():
        ax.axhline(value, color=INK, linewidth=1.0, dashes=(5, 3), alpha=0.55, zorder=1.6)
        names[name] = (value, INK)
    for curve in curves:
        colour, marker = (TWIN, "s") if curve.twin else (SIGNAL, "o")
        x = np.arange(len(curve.r))
        ax.plot(x, curve.r, "--" if curve.within else "-", color=colour, linewidth=1.6, zorder=3)
        faces = np.where(curve.certain, colour, PAPER)
        ax.scatter(x, curve.r, s=34, c=faces, edgecolors=colour, linewidths=1.5, marker=marker, zorder=5)
        names[curve.name] = (float(curve.r[-1]), colour)
    sites_axis(ax, [str(layer) for layer in range(n_layers)])
    label_apart(ax, names)
    headline(ax, title, note)
    ax.set_ylabel("correlation of distances, r")
    ax.set_xlabel("decoder layer")
    return ax


Row = Mapping[str, Any]

BESIDE = {"text": "text encoder", "tokens": "audio tokens", "words": "words"}
"""Families of one place that see no layer."""
COLUMNS = (
    "place",
    "distances, r",
    "p, maxT",
    "given the text, r",
    "p, maxT",
    "within emotions, r",
    "p, maxT",
    "effect, all clips",
    "effect, matching clips",
    "by choice alone",
    "p, maxT",
)
NOTES = (
    "p relabels whole wordings; maxT runs over the places of one family. Given the text: the text encoder’s "
    "distances held linearly constant, which cannot hold what acts otherwise: shown, decides nothing.",
    "To keep the clips that sound as asked makes the emotions differ by itself: under each relabelling the "
    "clips are chosen anew, and “by choice alone” is what that gives on average. The p asks for more.",
    "Within emotions the sound follows the wording; a place that beats neither the words nor the untrained "
    "twin there shows no more than that it can tell wordings apart.",
)
DISTANCE_CAPTION = (
    "Correlation of the distances between wordings in the states with their distances in eleven acoustic "
    "descriptors. The text made both, so a high value does not yet say that a layer holds the music."
)
DESCRIPTOR_CAPTION = (
    "Left: each descriptor (as normal scores) predicted for wordings never seen; what has read the text "
    "predicts it too. Right: clips of one prompt around their mean. The text is the same for both, so what "
    "predicts there is what this clip’s music left in the state. Values below 0 are drawn as 0."
)


def relate_finding(
    relate: Mapping[str, Any],
    layers: Sequence[Row],
    descriptors: Sequence[Row],
    alpha: float,
    confidence: float,
) -> Finding:
    """Return how the states hang together with the sound.

    Args:
        relate: metrics/relate.json.
        layers: metrics/relate_layers.csv.
        descriptors: metrics/relate_descriptors.csv.
        alpha: adjusted p below which a value is marked.
        confidence: of the interval of the acoustic match.
    """
    size = f"{count(relate['n_wordings'], 'wording')}, {count(relate['n_clips'], 'clip')}"
    grid = Grid(f"By place, {size}", COLUMNS, tuple(_cells(row, alpha) for row in layers), NOTES)
    figures = (_distances(layers, size, alpha), _descriptors(descriptors, size, alpha))
    return Finding(_summary(relate, confidence), figures, (grid,))


def _summary(relate: Mapping[str, Any], confidence: float) -> str:
    distance = relate["distance"]
    bounds = interval(relate["acoustic_match_low"], relate["acoustic_match_high"], percent=True)
    chance, site = share(relate["acoustic_match_chance"]), hookpoint_name(distance["best"])
    said = (
        f"{share(relate['acoustic_match'])} of the clips clearly sound as their prompt asks "
        f"({share(confidence)} interval {bounds}; {chance} if labels are dealt out anew). Distances in the "
        f"states follow distances in the sound best at {site}: r {number(distance['r'])}, p "
        f"{p_value(distance['p'])} after maxT; the text encoder {number(distance['text_r'])}, the untrained "
        f"twin {number(distance['twin_r'])}."
    )
    if "within_prompts" in relate:
        inner = relate["within_prompts"]
        descriptor, _, site = inner["best"].partition(" at ")
        said += (
            f" Between clips of one prompt, where the text is constant, {_plain(descriptor)} is read best: "
            f"R² {number(inner['r2'])} at {hookpoint_name(site)} (p {p_value(inner['p'])} after maxT; audio "
            f"tokens {number(inner['tokens_r2'])}, untrained twin {number(inner['twin_r2'])}). Over all "
            f"descriptors the mean is {number(inner['mean_r2'])} at the best layer, "
            f"{number(inner['tokens_mean_r2'])} for tokens, {number(inner['twin_mean_r2'])} for the twin."
        )
    return said


def _plain(descriptor: str) -> str:
    """Return a descriptor's name without its unit.

    >>> _plain("tempo_bpm"), _plain("zero_crossing_rate_hz"), _plain("flatness")
    ('tempo', 'zero crossing rate', 'flatness')
    """
    words = descriptor.split("_")
    return " ".join(words[:-1] if words[-1] in ("bpm", "hz", "db") else words)


def _of(rows: Sequence[Row], family: str) -> list[Row]:
    found = [row for row in rows if row["family"] == family]
    return sorted(found, key=lambda row: row["layer"]) if "layers" in family else found


def _distances(rows: Sequence[Row], size: str, alpha: float) -> Figure:
    kinds = (("mantel", ""), ("mantel_within_emotion", ", within emotions"))
    curves = []
    for family, name in (("layers", "model"), ("twin_layers", "untrained twin")):
        for column, addition in kinds:
            r = np.array([row[column] for row in _of(rows, family)], dtype=np.float64)
            p = np.array([row[f"{column}_p_maxt"] for row in _of(rows, family)], dtype=np.float64)
            if len(r) and np.isfinite(r).all():
                curves.append(Association(name + addition, family != "layers", bool(addition), r, p < alpha))
    beside = {said: float(row["mantel"]) for family, said in BESIDE.items() for row in _of(rows, family)}
    note = f"{size}; filled: p < {alpha:g} after maxT, wordings relabelled; dashed: places that are no layer"
    title = "Distances in the states against distances in the sound"
    figure = draw(lambda ax: associations(tuple(curves), beside, ax, title=title, note=note), height_in=4.4)
    said = [f"{curve.name} {', '.join(number(float(v), 2) for v in curve.r)}" for curve in curves]
    said += [f"{name} {number(value, 2)}" for name, value in beside.items()]
    return Figure(
        figure_svg(figure, "relate-distances", f"{title}: {'; '.join(said)}. {note}."), DISTANCE_CAPTION
    )


def _descriptors(rows: Sequence[Row], size: str, alpha: float) -> Figure:
    both = (("r2", "Wordings never seen"), ("r2_within_prompt", "Same prompt, other seed"))
    shown = tuple(each for each in both if _places(rows, each[0]))
    names = list(dict.fromkeys(row["descriptor"] for row in rows))

    def fill(*axes: Axes) -> None:
        for ax, (column, title) in zip(axes, shown, strict=True):
            places = _places(rows, column)
            found = {(_label(row), row["descriptor"]): row for row in rows}
            values = np.array([[found[place, name][column] for place in places] for name in names])
            p = np.array([[found[place, name][f"{column}_p_maxt"] for place in places] for name in names])
            heat(
                np.clip(values.astype(np.float64), 0, 1), p < alpha, ax, title=title, unit="R², out of fold",
                note=f"dot: p < {alpha:g} after maxT", row_labels=[_plain(name) for name in names],
                column_labels=places, signed=False, limits=(0.0, 1.0),
            )  # fmt: skip
            ax.tick_params(axis="x", rotation=90)

    said = []
    for column, title in shown:
        best = max((row for row in rows if row["family"] == "layers"), key=lambda row: row[column])
        said.append(
            f"{title}: best {_plain(best['descriptor'])} {number(best[column])} at layer {best['layer']:.0f}"
        )
    figure = draw(fill, n_axes=len(shown), height_in=5.0)
    alt = f"Descriptors by place. {'; '.join(said)}. {size}."
    return Figure(figure_svg(figure, "relate-descriptors", alt), f"{DESCRIPTOR_CAPTION} {size}.")


def _places(rows: Sequence[Row], column: str) -> list[str]:
    """Return the places that have a reading, from the words over the twin and the layers to the tokens."""
    order = ("words", "text", "twin_layers", "layers", "tokens")
    known = [row for family in order for row in _of(rows, family) if row[column] == row[column]]
    return list(dict.fromkeys(_label(row) for row in known))


def _label(row: Row) -> str:
    if "layers" not in row["family"]:
        return BESIDE[row["family"]]
    half = "" if row["half"] == "cond" else f" {row['half']}"
    site = "" if row["site"] == "residual" else f"{named(row)} "
    return f"{'twin ' if row['model'] == 'twin' else ''}{site}{row['layer']:.0f}{half}"


def _cells(row: Row, alpha: float) -> tuple[Cell, ...]:
    def pair(column: str) -> tuple[Cell, Cell]:
        mark = "strong" if row[f"{column}_p_maxt"] < alpha else ""
        return Cell(number(row[column]), mark), Cell(p_value(row[f"{column}_p_maxt"]))

    matched, p_matched = pair("effect_matched")
    return (
        Cell(_label(row)),
        *pair("mantel"),
        *pair("mantel_given_text"),
        *pair("mantel_within_emotion"),
        Cell(number(row["effect_all"])),
        matched,
        Cell(number(row["effect_by_choice"])),
        p_matched,
    )

"""The chapter on `relate`: how far the states follow the acoustics, beside text, tokens and the twin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from moodlens.plots.heat import heat
from moodlens.plots.style import (
    MUTED,
    PAPER,
    SIGNAL,
    TWIN,
    draw,
    figure_svg,
    headline,
    label_apart,
    null_line,
    reference_lines,
    sites_axis,
)
from moodlens.report.formatting import (
    Row,
    column,
    hookpoint_name,
    interval,
    named,
    number,
    p_value,
    sample_size,
    share,
)
from moodlens.report.records import Cell, Figure, Finding, Grid, cells, marked


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
    """Draw each curve by layer, baselines as thin dashed lines, and the line of no association; return `ax`.

    A filled point is significant after maxT over the layers, a hollow one is not.
    """
    n_layers = max(len(curve.r) for curve in curves)
    null_line(ax, 0.0)
    names = {"none": (0.0, MUTED), **reference_lines(ax, baselines)}
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


BASELINES = {"text": "text encoder", "tokens": "audio tokens", "words": "words"}
"""Families of one site that is no layer -> name."""
COLUMNS = (
    "site",
    "distances, r",
    "p, maxT",
    "given the text, r",
    "p, maxT",
    "within emotions, r",
    "p, maxT",
    "effect, all clips",
    "effect, matching clips",
    "expected by selection",
    "p, maxT",
)
NOTES = (
    "p relabels whole wordings; maxT runs over the sites of one family. Given the text: the text encoder’s "
    "distances are partialled out linearly; nonlinear influence of the text remains, so no verdict uses it.",
    "Selecting the clips whose acoustics match their prompt makes the emotions differ by itself. Under each "
    "relabelling the clips are therefore selected again; “expected by selection” is the mean effect that "
    "this gives, and p is small only where the effect is larger than that.",
    "Within emotions the acoustics follow the wording. A site that beats neither the words nor the untrained "
    "twin there shows only that it distinguishes wordings.",
)
DISTANCE_CAPTION = (
    "Correlation of the distances between wordings in the states with their distances in eleven acoustic "
    "descriptors. Both depend on the text, so a high value alone does not show that a layer holds the music."
)
DESCRIPTOR_CAPTION = (
    "Left: each descriptor (as normal scores) predicted for held-out wordings; sites that have read the text "
    "predict it too. Right: clips of one prompt around their mean. These clips have the same text, so a "
    "prediction there uses what the music of the clip left in the state. Values below 0 are drawn as 0."
)


def relate_finding(
    relate: Mapping[str, Any],
    layers: Sequence[Row],
    descriptors: Sequence[Row],
    alpha: float,
    confidence: float,
) -> Finding:
    """Return how the states follow the acoustics.

    Args:
        relate: metrics/relate.json.
        layers: metrics/relate_layers.csv.
        descriptors: metrics/relate_descriptors.csv.
        alpha: level at which a value is significant.
        confidence: of the interval of the acoustic match.
    """
    size = sample_size(relate, "wording", "clip")
    grid = Grid(f"By site, {size}", COLUMNS, tuple(_cells(row, alpha) for row in layers), NOTES)
    figures = (_distances(layers, size, alpha), _descriptors(descriptors, size, alpha))
    return Finding(_summary(relate, confidence), figures, (grid,))


def _summary(relate: Mapping[str, Any], confidence: float) -> str:
    distance = relate["distance"]
    bounds = interval(relate["acoustic_match_low"], relate["acoustic_match_high"], percent=True)
    chance, site = share(relate["acoustic_match_chance"]), hookpoint_name(distance["best"])
    text = (
        f"The acoustics of {share(relate['acoustic_match'])} of the clips clearly match their prompt "
        f"({share(confidence)} interval {bounds}; {chance} with relabelled emotions). Distances in the "
        f"states follow distances in the acoustics best at {site}: r {number(distance['r'])}, p "
        f"{p_value(distance['p'])} after maxT; text encoder {number(distance['text_r'])}, untrained "
        f"twin {number(distance['twin_r'])}."
    )
    if "within_prompts" in relate:
        inner = relate["within_prompts"]
        descriptor, _, site = inner["best"].partition(" at ")
        text += (
            f" Between clips of one prompt, where the text is constant, {_plain(descriptor)} is predicted "
            f"best: R² {number(inner['r2'])} at {hookpoint_name(site)} (p {p_value(inner['p'])} after maxT; "
            f"audio tokens {number(inner['tokens_r2'])}, untrained twin {number(inner['twin_r2'])}). Over "
            f"all descriptors the mean is {number(inner['mean_r2'])} at the best layer, "
            f"{number(inner['tokens_mean_r2'])} for tokens, {number(inner['twin_mean_r2'])} for the twin."
        )
    return text


def _plain(descriptor: str) -> str:
    """Return a descriptor's name without its unit.

    >>> _plain("tempo_bpm"), _plain("zero_crossing_rate_hz"), _plain("flatness")
    ('tempo', 'zero crossing rate', 'flatness')
    """
    words = descriptor.split("_")
    return " ".join(words[:-1] if words[-1] in ("bpm", "hz", "db") else words)


def _of(rows: Sequence[Row], family: str) -> list[Row]:
    own = [row for row in rows if row["family"] == family]
    return sorted(own, key=lambda row: row["layer"]) if "layers" in family else own


def _distances(rows: Sequence[Row], size: str, alpha: float) -> Figure:
    kinds = (("mantel", ""), ("mantel_within_emotion", ", within emotions"))
    curves = []
    for family, name in (("layers", "model"), ("twin_layers", "untrained twin")):
        for key, addition in kinds:
            r, p = (column(_of(rows, family), name) for name in (key, f"{key}_p_maxt"))
            if len(r) and np.isfinite(r).all():
                curves.append(Association(name + addition, family != "layers", bool(addition), r, p < alpha))
    baselines = {
        label: float(row["mantel"]) for family, label in BASELINES.items() for row in _of(rows, family)
    }
    note = f"{size}; filled: p < {alpha:g} after maxT, wordings relabelled; dashed: sites that are no layer"
    title = "Distances in the states against distances in the acoustics"
    figure = draw(
        lambda ax: associations(tuple(curves), baselines, ax, title=title, note=note), height_in=4.4
    )
    values = [f"{curve.name} {', '.join(number(float(v), 2) for v in curve.r)}" for curve in curves]
    values += [f"{name} {number(value, 2)}" for name, value in baselines.items()]
    return Figure(
        figure_svg(figure, "relate-distances", f"{title}: {'; '.join(values)}. {note}."), DISTANCE_CAPTION
    )


def _descriptors(rows: Sequence[Row], size: str, alpha: float) -> Figure:
    both = (("r2", "Held-out wordings"), ("r2_within_prompt", "Same prompt, other seed"))
    shown = tuple(each for each in both if _labels(rows, each[0]))
    names = list(dict.fromkeys(row["descriptor"] for row in rows))

    def fill(*axes: Axes) -> None:
        for ax, (key, title) in zip(axes, shown, strict=True):
            labels = _labels(rows, key)
            row_of = {(_label(row), row["descriptor"]): row for row in rows}
            values = np.array([[row_of[label, name][key] for label in labels] for name in names])
            p = np.array([[row_of[label, name][f"{key}_p_maxt"] for label in labels] for name in names])
            heat(
                np.clip(values.astype(np.float64), 0, 1), p < alpha, ax, title=title, unit="R², out of fold",
                note=f"dot: p < {alpha:g} after maxT", row_labels=[_plain(name) for name in names],
                column_labels=labels, signed=False, limits=(0.0, 1.0),
            )  # fmt: skip
            ax.tick_params(axis="x", rotation=90)

    maxima = []
    for key, title in shown:
        best = max((row for row in rows if row["family"] == "layers"), key=lambda row: row[key])
        maxima.append(
            f"{title}: best {_plain(best['descriptor'])} {number(best[key])} at layer {best['layer']:.0f}"
        )
    figure = draw(fill, n_axes=len(shown), height_in=5.0)
    alt = f"Descriptors by site. {'; '.join(maxima)}. {size}."
    return Figure(figure_svg(figure, "relate-descriptors", alt), f"{DESCRIPTOR_CAPTION} {size}.")


def _labels(rows: Sequence[Row], key: str) -> list[str]:
    """Return the sites with a value of `key`, in the order words, text, twin, layers, tokens."""
    order = ("words", "text", "twin_layers", "layers", "tokens")
    known = [row for family in order for row in _of(rows, family) if row[key] == row[key]]
    return list(dict.fromkeys(_label(row) for row in known))


def _label(row: Row) -> str:
    if "layers" not in row["family"]:
        return BASELINES[row["family"]]
    half = "" if row["half"] == "cond" else f" {row['half']}"
    site = "" if row["site"] == "residual" else f"{named(row)} "
    return f"{'twin ' if row['model'] == 'twin' else ''}{site}{row['layer']:.0f}{half}"


def _cells(row: Row, alpha: float) -> tuple[Cell, ...]:
    def pair(key: str) -> tuple[Cell, Cell]:
        p = row[f"{key}_p_maxt"]
        return marked(number(row[key]), p < alpha), Cell(p_value(p))

    matched, p_matched = pair("effect_matched")
    return (
        *cells(_label(row)),
        *pair("mantel"),
        *pair("mantel_given_text"),
        *pair("mantel_within_emotion"),
        Cell(number(row["effect_all"])),
        matched,
        Cell(number(row["effect_by_choice"])),
        p_matched,
    )

"""The chapter on `forks`: what carries the emotion into the music that follows a moment.

Its first figure is the first of the page: the share of every source by the second at which clips are forked.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from moodlens.plots.forks import STYLES, Point, SourceLine, same_height, share_points, shares_over_time
from moodlens.plots.style import draw, figure_svg
from moodlens.report.fork_sentences import (
    DIAMOND,
    FACTOR_NOTE,
    FLIPS_NOTE,
    MEAN_NOTE,
    NAMES,
    NEUTRAL,
    OVER_TIME,
    PLACES,
    PLACES_NOTE,
    REACHED,
    UNSEEN,
    in_order,
    seconds,
    summary_of,
)
from moodlens.report.formatting import Row, column, count, interval, number, p_value, share
from moodlens.report.records import Cell, Figure, Finding, Grid, cells, marked


def forks_finding(
    metrics: Mapping[str, Any],
    shares: Sequence[Row],
    places: Sequence[Row],
    factors: Sequence[Row],
    margin: float,
    alpha: float,
    confidence: float,
) -> Finding:
    """Return the shares over time, the verdicts, where the memory lies, and the acoustic factors.

    Args:
        metrics: metrics/forks.json of a model to which forks apply.
        shares: metrics/forks_shares.csv.
        places: metrics/forks_places.csv; empty where single parts of the cache were not exchanged.
        factors: metrics/forks_factors.csv.
        margin: within which a share counts as none.
        alpha: level of a weak claim.
        confidence: of the intervals.
    """
    main = metrics["main"]
    figures = [_over_time(metrics, shares, margin, alpha, confidence)]
    grids = [_sources(main, _of(shares, main), margin, alpha, confidence)]
    if places:
        figures.append(_places(places, margin, alpha, confidence, main["n_units"]))
        grids.append(_places_grid(places, alpha, confidence))
    grids += [_forks_grid(shares, alpha, confidence), _factors(_of(factors, main), confidence)]
    summary = summary_of(metrics, _of(shares, main), margin, alpha)
    return Finding(summary, tuple(figures), tuple(grids))


def _of(rows: Sequence[Row], experiment: Mapping[str, Any]) -> list[Row]:
    return [row for row in rows if row["guidance_scale"] == experiment["guidance_scale"]]


def _over_time(
    metrics: Mapping[str, Any], shares: Sequence[Row], margin: float, alpha: float, confidence: float
) -> Figure:
    main, run = metrics["main"], metrics.get("run")
    rows = _of(shares, main)
    lines = []
    for source, _ in in_order(main):
        own = sorted((row for row in rows if row["source"] == source), key=lambda row: row["step_s"])
        values = (column(own, key) for key in ("step_s", "share", "low", "high", "donor"))
        lines.append(SourceLine(source, NAMES[source], *values))
    aside = next((row for row in rows if row["source"] == NEUTRAL), None)
    neutral = None if aside is None else _point(NAMES[NEUTRAL], aside, alpha)
    neutral_s = 0.0 if aside is None else float(aside["step_s"])
    guided = [] if run is None else [row for row in _of(shares, run) if row["source"] in STYLES]
    points = [_point(NAMES[row["source"]], row, alpha, row["source"]) for row in guided]
    size = count(main["n_units"], "pair of wordings", "pairs of wordings")
    title = "What carries the emotion into the music that follows?"
    note = f"guidance {main['guidance_scale']:g}, {size}; bands: {share(confidence)} t intervals"

    def fill(*axes: Axes) -> None:
        shares_over_time(lines, neutral, neutral_s, margin, axes[0], title=title, note=note)
        if points and run is not None:
            head = f"Guidance {run['guidance_scale']:g}"
            at = f"forked at {guided[0]['step_s']:g} s; filled: p < {alpha:g}"
            share_points(points, margin, axes[1], title=head, note=at)
            same_height(axes)

    figure = draw(fill, n_axes=2 if points else 1, height_in=4.4, ratios=(2.2, 1) if points else None)
    told = [f"{line.name} {_told(line.time_s, line.share)}" for line in lines]
    told += [f"{point.name} {share(point.share)} at {neutral_s:g} s" for point in (neutral,) if point]
    told += [f"guidance {run['guidance_scale']:g}, {p.name} {share(p.share)}" for p in points if run]
    alt = f"Share of the emotion of what follows, by the second of the fork. {'; '.join(told)}. {note}."
    total = "the judge’s own gap" if main["total"]["is_the_judges_gap"] else "the difference of whole clips"
    judged = number(metrics["judged_s"], 2, "s")
    caption = OVER_TIME.format(judged=judged, total=total, neutral=DIAMOND if neutral else "")
    return Figure(figure_svg(figure, "forks-shares", alt), f"{caption} {UNSEEN}")


def _told(time_s: np.ndarray, values: np.ndarray) -> str:
    pairs = zip(time_s, values, strict=True)
    return ", ".join(f"{share(float(value))} at {second:g} s" for second, value in pairs)


def _point(name: str, row: Row, alpha: float, source: str = "memory") -> Point:
    return Point(
        name, float(row["share"]), float(row["low"]), float(row["high"]), bool(row["p"] < alpha), source
    )


def _places(places: Sequence[Row], margin: float, alpha: float, confidence: float, n_units: int) -> Figure:
    kinds = {kind: [row for row in places if row["kind"] == kind] for kind in ("layer", "steps")}
    drawn = {
        kind: [_point(row["place"].removeprefix(f"{kind} "), row, alpha) for row in rows]
        for kind, rows in kinds.items()
        if rows
    }
    titles = {"layer": "One layer exchanged", "steps": "One part of the time"}
    xlabels = {"layer": "decoder layer", "steps": "decoder steps whose states are exchanged"}
    note = f"{share(confidence)} t intervals; filled: p < {alpha:g}"

    def fill(*axes: Axes) -> None:
        for ax, (kind, points) in zip(axes, drawn.items(), strict=True):
            share_points(points, margin, ax, title=titles[kind], note=note)
            ax.set_xlabel(xlabels[kind])
        same_height(axes)
        axes[0].set_ylabel("share of the emotion of what follows")

    ratios = (2, 1.2) if len(drawn) == 2 else None
    figure = draw(fill, n_axes=len(drawn), height_in=3.7, ratios=ratios)
    told = ", ".join(f"{row['place']} {share(row['share'])}" for row in places)
    alt = f"Share of the emotion of what follows when one part of the cached states is exchanged: {told}."
    size = count(n_units, "pair of wordings", "pairs of wordings")
    points = f"Filled points: p < {alpha:g} after maxT over all parts, {size}."
    return Figure(figure_svg(figure, "forks-places", alt), PLACES.format(points=points))


def _sources(
    main: Mapping[str, Any], shares: Sequence[Row], margin: float, alpha: float, confidence: float
) -> Grid:
    columns = (
        "source", "verdict", "fork at", "share", f"{share(confidence)} interval", "p, maxT",
        "donor", "mean over forks", f"{share(1 - 2 * alpha)} interval",
        "nats per token",
    )  # fmt: skip
    lines = []
    for name, found in in_order(main):
        own = [row for row in shares if row["source"] == name]
        nearest = min(own, key=lambda row: abs(row["step_s"] - found["step_s"]))
        lines.append(
            (
                Cell(NAMES[name]),
                Cell(found["verdict"], "strong" if found["verdict"] in REACHED else ""),
                *_numbers(nearest, alpha),
                Cell(share(found["mean_share"])),
                Cell(interval(found["mean_narrow_low"], found["mean_narrow_high"], percent=True)),
                Cell(number(nearest["nats_per_token"])),
            )
        )
    lines += [
        (
            *cells(NAMES[NEUTRAL], "no verdict"),
            *_numbers(row, alpha),
            *cells("–", "–", number(row["nats_per_token"])),
        )
        for row in shares
        if row["source"] == NEUTRAL
    ]
    rules = [
        f"{NAMES[name][:1].upper()}{NAMES[name][1:]}: {found['verdict']}, {found['rule']}."
        for name, found in in_order(main)
    ]
    size = count(main["n_units"], "pair of wordings", "pairs of wordings")
    caption = f"Verdict on each source, {size}, {main['n_continuations']} continuations"
    notes = (*rules, MEAN_NOTE.format(margin=share(margin)), UNSEEN)
    return Grid(caption, columns, tuple(lines), notes)


def _numbers(row: Row, alpha: float) -> tuple[Cell, ...]:
    """Return fork step, share, interval, p and donor of one row of the shares."""
    return (
        Cell(seconds(row["step_s"])),
        marked(share(row["share"]), row["p"] < alpha),
        Cell(interval(row["low"], row["high"], percent=True)),
        Cell(p_value(row["p"])),
        Cell("–" if row["source"] == NEUTRAL else share(row["donor"])),
    )


def _forks_grid(shares: Sequence[Row], alpha: float, confidence: float) -> Grid:
    columns = (
        "source", "guidance", "fork at", "share", f"{share(confidence)} interval", "p, maxT",
        "donor", "nats per token",
    )  # fmt: skip
    rows = tuple(
        (
            Cell(NAMES[row["source"]]),
            Cell(f"{row['guidance_scale']:g}"),
            *_numbers(row, alpha),
            Cell(number(row["nats_per_token"])),
        )
        for row in shares
    )
    return Grid("Every fork", columns, rows, (FLIPS_NOTE,))


def _places_grid(places: Sequence[Row], alpha: float, confidence: float) -> Grid:
    rows = tuple(
        (
            Cell(row["place"]),
            marked(share(row["share"]), row["p"] < alpha),
            *cells(interval(row["low"], row["high"], percent=True), p_value(row["p"])),
        )
        for row in places
    )
    columns = ("part of the cache", "share", f"{share(confidence)} interval", "p, maxT over all parts")
    return Grid("Memory by layer and by time, null text ahead", columns, rows, (PLACES_NOTE,))


def _factors(factors: Sequence[Row], confidence: float) -> Grid:
    names = list(dict.fromkeys(str(row["factor"]) for row in factors))
    by_row: dict[tuple[str, str, float], dict[str, str]] = {}
    for row in factors:
        key = (str(row["pair"]), str(row["source"]), float(row["step_s"]))
        text = f"{number(row['contrast'])} {interval(row['low'], row['high'])}"
        by_row.setdefault(key, {})[str(row["factor"])] = text
    lines = tuple(
        cells(
            f"{pair}, {NAMES[source]}",
            "–" if source == "all" else seconds(second),
            *(texts.get(name, "–") for name in names),
        )
        for (pair, source, second), texts in by_row.items()
    )
    notes = (FACTOR_NOTE.format(level=share(confidence)),)
    return Grid("The same contrasts in acoustic factors", ("exchange", "fork at", *names), lines, notes)

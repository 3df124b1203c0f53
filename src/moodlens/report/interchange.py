"""The chapter on `interchange`: does an exchange of one layer's states exchange the emotion of the music?

The search reads given clips again and says where states matter to their likelihood. The test lets the model
play freely with the states exchanged at the place that was found. Only the test carries the verdict.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from moodlens.plots.forks import Point, same_height, share_points
from moodlens.plots.style import draw, figure_svg
from moodlens.report.formatting import Row, count, interval, number, p_value, share
from moodlens.report.records import Cell, Figure, Finding, Grid, cells, marked
from moodlens.use.places import in_words

ARMS = {
    "mediated": "exchange, mean of both ways",
    "sufficiency": "other states into the text",
    "necessity": "own states kept under the other text",
    "inside": "exchange along the emotion’s directions",
    "outside": "exchange along all other directions",
    "on": "states of a text into null text",
    "off": "states of null text into a text",
    "wording": "control: other words, same emotion",
    "seed": "control: same text, other music",
    "random": "random directions, mean",
}
"""Arm of the test -> its name on the page."""
SHORT = {
    "mediated": "both ways", "sufficiency": "into text", "necessity": "kept", "inside": "inside",
    "outside": "outside", "on": "on", "off": "off", "wording": "same emotion", "seed": "same text",
    "random": "random",
}  # fmt: skip
"""Arm -> its name on an axis."""
SITES = {"residual": "Residual stream", "cross_attention": "What is read of the text",
         "self_attention": "Self-attention", "mlp": "MLP"}  # fmt: skip
STYLE = {"residual": "memory", "cross_attention": "reading", "self_attention": "music", "mlp": "music"}
SEARCHED = (
    "Search, on given clips: the clip of one text is read again under that text, with the output of one "
    "layer replaced by what the same music gives under the other text. 100 % is what the whole other text "
    "costs in likelihood. {note}. The last residual is left out: everything that follows is a function of it."
)
TESTED = (
    "Test, in free play: the model plays under one text while the states at the place are those of the "
    "same music under another text. A judge hears the last {judged}; 100 % is {total}. Inside and outside "
    "exchange the part of the states along the emotion’s {n} directions, or the rest. Same emotion and same "
    "text are controls and should lie on 0, as should random directions of the same length. {note}."
)
HALVES_NOTE = (
    "Each half of the pairs of wordings is tested at the place that the other half found, with directions of "
    "the other half and noise that the search did not use."
)
P_NOTE = (
    "p flips the sign of whole pairs of wordings: the exchange, minus random directions, minus other words "
    "of the same emotion; the largest of this p and those of both ways counts. Rank p is the place of the "
    "exchange among random directions within the emotions, in each half; the larger one counts."
)
SAYS = (
    "An exchange at a late layer replaces most of what the model computes from its text. It shows that the "
    "music follows the states there, not that the emotion is made there."
)


def interchange_finding(
    metrics: Mapping[str, Any],
    places: Sequence[Row],
    arms: Sequence[Row],
    factors: Sequence[Row],
    margin: float,
    alpha: float,
    confidence: float,
) -> Finding:
    """Return the verdict, the shares of the search by layer, the arms of the test, and acoustic factors.

    Args:
        metrics: metrics/interchange.json of a model to which interchange applies.
        places: metrics/interchange_places.csv.
        arms: metrics/interchange_arms.csv.
        factors: metrics/interchange_factors.csv.
        margin: within which a share counts as none.
        alpha: level of a weak claim.
        confidence: of the intervals.
    """
    figures = (
        _searched(places, margin, alpha, confidence),
        _tested(metrics, arms, margin, alpha, confidence),
    )
    grids = (
        _halves(metrics, confidence),
        _arms(arms, alpha, confidence),
        _places(places, alpha, confidence),
        _factors(factors, confidence),
    )
    return Finding(_summary(metrics), figures, grids)


def _summary(metrics: Mapping[str, Any]) -> str:
    use, arms = metrics["use"], metrics["arms"]
    places = " and ".join(
        in_words(name) for name in dict.fromkeys(half["place"] for half in metrics["halves"])
    )
    moved = (
        f"Exchanging {places} between two prompts moves the music by {share(use['share'])} "
        f"{interval(use['low'], use['high'], percent=True)} of the prompted difference. "
    )
    beside = (
        f"Other words of the same emotion move it by {share(arms['wording']['share'])}, random directions by "
        f"{share(arms['random']['share'])}. "
    )
    part = (
        f"Along the emotion’s directions alone it is {share(arms['inside']['share'])}, along all others "
        f"{share(arms['outside']['share'])}. "
    )
    return f"{moved}{beside}{part}Verdict: {use['verdict']}, because {use['rule']}. {SAYS}"


def _point(name: str, row: Row, alpha: float, source: str) -> Point:
    return Point(
        name, float(row["share"]), float(row["low"]), float(row["high"]), bool(row["p"] < alpha), source
    )


def _searched(places: Sequence[Row], margin: float, alpha: float, confidence: float) -> Figure:
    whole = [row for row in places if row["first_s"] != row["first_s"]]
    sites = list(dict.fromkeys(str(row["hookpoint"]).split(".")[0] for row in whole))
    drawn = {
        site: [
            _point(str(row["hookpoint"]).split(".")[1], row, alpha, STYLE[site])
            for row in whole
            if str(row["hookpoint"]).startswith(f"{site}.")
        ]
        for site in sites
    }
    note = f"{share(confidence)} t intervals; filled: p < {alpha:g}, maxT over all places"

    def fill(*axes: Axes) -> None:
        for ax, (site, points) in zip(axes, drawn.items(), strict=True):
            share_points(points, margin, ax, title=SITES[site], note=note if ax is axes[0] else "")
            ax.set_xlabel("decoder layer")
        same_height(axes)
        axes[0].set_ylabel("share of the likelihood")

    figure = draw(
        fill, n_axes=len(drawn), height_in=3.7, ratios=(1,) * len(drawn) if len(drawn) > 1 else None
    )
    told = "; ".join(
        f"{SITES[site]}: " + ", ".join(f"layer {one.name} {share(one.share)}" for one in points)
        for site, points in drawn.items()
    )
    alt = f"Share of the likelihood of given clips that an exchange of one layer’s states moves. {told}."
    return Figure(figure_svg(figure, "interchange-places", alt), SEARCHED.format(note=note))


def _tested(
    metrics: Mapping[str, Any], arms: Sequence[Row], margin: float, alpha: float, confidence: float
) -> Figure:
    by_name = {str(row["arm"]): row for row in arms}
    kind = {"wording": "music", "seed": "music", "random": "music"}
    present = [name for name in ARMS if name in by_name]
    points = [_point(SHORT[name], by_name[name], alpha, kind.get(name, "memory")) for name in present]
    size = count(metrics["n_units"], "pair of wordings", "pairs of wordings")
    note = f"{size}; {share(confidence)} t intervals; filled: p < {alpha:g}, unadjusted"

    def fill(ax: Axes) -> None:
        share_points(points, margin, ax, title="Does the exchange move the music?", note=note)
        ax.set_ylabel("share of the prompted difference")

    told = ", ".join(f"{ARMS[name]} {share(by_name[name]['share'])}" for name in present)
    alt = f"Share of the prompted difference that every arm of the test moves: {told}."
    judged = number(metrics["judged_s"], 2, "s")
    gap = metrics["total"]["is_the_judges_gap"]
    total = "the judge’s own gap" if gap else "the difference between clips of the two texts"
    caption = TESTED.format(judged=judged, total=total, n=metrics["n_directions"], note=note)
    return Figure(figure_svg(draw(fill, height_in=3.9), "interchange-arms", alt), caption)


def _halves(metrics: Mapping[str, Any], confidence: float) -> Grid:
    columns = (
        "tested on", "place", "found by", "share", f"{share(confidence)} interval", "p", "rank p",
    )  # fmt: skip
    found = metrics["companion"]["chosen"]
    rows = [
        cells(
            f"half {number_of + 1}, {count(half['n_units'], 'pair of wordings', 'pairs of wordings')}",
            half["place"],
            f"half {2 - number_of}, p {p_value(found[1 - number_of]['p'])}",
            share(half["share"]),
            interval(half["low"], half["high"], percent=True),
            p_value(half["p"]),
            p_value(half["rank_p"]),
        )
        for number_of, half in enumerate(metrics["halves"])
    ]
    use = metrics["use"]
    rows.append(
        (
            Cell("both"),
            Cell("–"),
            Cell("–"),
            marked(share(use["share"]), use["verdict"] in ("strong", "weak")),
            *cells(
                interval(use["low"], use["high"], percent=True), p_value(use["p"]), p_value(use["rank_p"])
            ),
        )
    )
    caption = f"The frozen test, {metrics['n_continuations']} clips"
    return Grid(caption, columns, tuple(rows), (HALVES_NOTE, P_NOTE))


def _arms(arms: Sequence[Row], alpha: float, confidence: float) -> Grid:
    columns = ("what is exchanged", "share", f"{share(confidence)} interval", "p", "nats per token")
    rows = tuple(
        (
            Cell(ARMS[str(row["arm"])]),
            marked(share(row["share"]), row["p"] < alpha),
            *cells(
                interval(row["low"], row["high"], percent=True),
                p_value(row["p"]),
                number(row["nats_per_token"]),
            ),
        )
        for row in arms
    )
    note = "Nats per token are of the music that is drawn, under the model as it plays; more is less likely."
    return Grid("Every arm of the test", columns, rows, (note,))


def _places(places: Sequence[Row], alpha: float, confidence: float) -> Grid:
    columns = ("place", "share", f"{share(confidence)} interval", "p, maxT", "t, half 1", "t, half 2")
    rows = tuple(
        (
            Cell(str(row["place"])),
            marked(share(row["share"]), row["p"] < alpha),
            *cells(
                interval(row["low"], row["high"], percent=True),
                p_value(row["p"]),
                number(row["t_half_0"]),
                number(row["t_half_1"]),
            ),
        )
        for row in places
    )
    note = "Each half takes the place with its largest t. These shares are of likelihood, not of music."
    return Grid("Every place of the search", columns, rows, (note,))


def _factors(factors: Sequence[Row], confidence: float) -> Grid:
    columns = (
        "pair",
        "factor",
        "prompted difference",
        "moved by the exchange",
        f"{share(confidence)} interval",
    )
    rows = tuple(
        cells(
            str(row["pair"]),
            str(row["factor"]),
            number(row["whole"]),
            number(row["mediated"]),
            interval(row["low"], row["high"]),
        )
        for row in factors
    )
    note = "First emotion minus second, in the factor’s unit; intervals are not adjusted for their number."
    return Grid("The exchange in acoustic factors", columns, rows, (note,))

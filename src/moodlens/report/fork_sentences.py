"""The words of the chapter on `forks`: names, captions and notes, and the sentences of its summary.

A sentence says no more than the test behind it: which exchange moved what follows, by how much, and at which
fork. "None" is said only where every single fork says it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from moodlens.plots.forks import STYLES
from moodlens.report.formatting import THIN, Row, interval, p_value, share

NEUTRAL = "memory, neutral ahead"
NAMES = {
    "music": "music so far",
    "memory": "memory",
    "reading": "re-reading",
    NEUTRAL: "memory, neutral text ahead",
    "all": "whole clips",
}
"""Source in the metrics -> its name on the page."""
EXCHANGED = {
    "music": "Exchanging the music so far, without any text",
    "memory": "Exchanging the cached states, at the same tokens and with null text ahead",
    "reading": "Exchanging the text ahead, at the same tokens and cached states",
}
"""Source -> the exchange that measures it."""
REACHED = ("strong", "weak")

OVER_TIME = (
    "Each clip is forked: the tokens up to a second are kept, and the rest is generated anew with the same "
    "noise. Music so far: the tokens of two emotions, no text. Memory: the same tokens, cached states "
    "computed under two emotions, null text ahead. Re-reading: the same tokens and cached states, two "
    "emotions ahead. A judge hears the last {judged}; 100 % is {total}. The shaded band is the margin of "
    "“none”: every fork must lie inside it. The thin grey lines "
    "are donors: they exchange two wordings of one emotion and should lie on 0.{neutral}"
)
DIAMOND = " The hollow diamond is memory with neutral text ahead in place of null text."
UNSEEN = (
    "Null text behind a text is a place that a model trained by dropping the text of whole clips has never "
    "seen. So two things stand beside the share of memory: the contrast with neutral text ahead, and the "
    "likelihood of the continuations under the model (nats per token; more is less likely). Compare the "
    "likelihood of memory with that of music so far, where null text follows null text."
)
PLACES = (
    "The cached states of one layer, or of one part of the time before the fork, are exchanged alone, with "
    "the same tokens and null text ahead. The shares of the parts need not add up. The states cached in "
    "layer 0 are computed before any text is read, so its share is 0 by construction. {points}"
)
MEAN_NOTE = (
    "“None” is equivalence: no fork is significant, and two one-sided tests place the share at every fork "
    "inside ±{margin}. The mean over the forks is described and decides nothing."
)
FACTOR_NOTE = (
    "First emotion minus second, averaged over pairs of wordings, with {level} t intervals that are not "
    "adjusted for their number: a description, not a test."
)
FLIPS_NOTE = (
    "p flips the sign of whole pairs of wordings: the contrast of two emotions minus that of two wordings of "
    "one emotion (donor). MaxT runs over the forks of one source and their mean."
)
PLACES_NOTE = (
    "These exchanges have no donor of the same emotion: p tests the contrast of the two emotions alone."
)


def in_order(experiment: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the sources of an experiment in the order of STYLES: a metrics file sorts its keys."""
    return [(name, experiment["sources"][name]) for name in STYLES if name in experiment["sources"]]


def seconds(value: float) -> str:
    """Return a time with its unit, e.g. 0.5 s."""
    return f"{value:g}{THIN}s"


def summary_of(metrics: Mapping[str, Any], rows: Sequence[Row], margin: float, alpha: float) -> str:
    """Return the summary of the chapter.

    Args:
        metrics: metrics/forks.json of a model to which forks apply.
        rows: metrics/forks_shares.csv, of the main experiment.
        margin: within which a share counts as none.
        alpha: level of a weak claim.
    """
    main = metrics["main"]
    parts = [_total(main["total"])]
    parts += [_source(name, found, rows, margin, alpha) for name, found in in_order(main)]
    parts += [_donor(rows), _place(main["where"], alpha), _run(metrics.get("run"))]
    return " ".join(part for part in parts if part)


def _reach(row: Row) -> float:
    return max(abs(row["narrow_low"]), abs(row["narrow_high"]))


def _total(total: Mapping[str, Any]) -> str:
    reach = f"{share(total['share_of_gap'])} of the judge’s own gap between them, p {p_value(total['p'])}"
    if total["is_the_judges_gap"]:
        return (
            f"The whole clips of two emotions differ by {reach}. That is too little to divide by, so shares "
            "are shares of the judge’s own gap."
        )
    return f"The whole clips of two emotions differ by {reach}. Shares are shares of that difference."


def _source(name: str, found: Mapping[str, Any], rows: Sequence[Row], margin: float, alpha: float) -> str:
    what, verdict = EXCHANGED[name], found["verdict"]
    if verdict in REACHED:
        bounds = interval(found["low"], found["high"], percent=True)
        return (
            f"{what}, moves what follows a fork at {seconds(found['step_s'])} by "
            f"{share(found['share'])} {bounds} ({verdict}, p {p_value(found['p'])})."
        )
    bounds = interval(found["mean_narrow_low"], found["mean_narrow_high"], percent=True)
    if verdict == "none":
        widest = max((r for r in rows if r["source"] == name), key=_reach)
        single = interval(widest["narrow_low"], widest["narrow_high"], percent=True)
        return (
            f"{what}, moves what follows by less than {share(margin)} at every fork (none, widest "
            f"{share(1 - 2 * alpha)} interval {single}, at {seconds(widest['step_s'])})."
        )
    return (
        f"{what}: whether it moves what follows is undecided ({share(1 - 2 * alpha)} interval of the mean "
        f"{bounds})."
    )


def _donor(rows: Sequence[Row]) -> str:
    """Return the largest effect that a mere change of words has."""
    row = max((row for row in rows if row["source"] in STYLES), key=lambda row: abs(row["donor"]))
    return (
        f"Two wordings of one emotion differ by {share(row['donor'])} at most (donor, "
        f"{NAMES[row['source']]}, {seconds(row['step_s'])})."
    )


def _place(where: Mapping[str, Any] | None, alpha: float) -> str:
    if where is None:
        return ""
    confirmed = "is confirmed" if where["confirmed_p"] < alpha else "is not confirmed"
    return (
        f"Of the parts of the cache exchanged alone, {where['best']} has the largest share. Each half of the "
        f"pairs of wordings chooses a part ({' and '.join(dict.fromkeys(where['found']))}); the choice "
        f"{confirmed} by the other half (larger p {p_value(where['confirmed_p'])})."
    )


def _run(run: Mapping[str, Any] | None) -> str:
    if run is None:
        return ""
    found = ", ".join(
        f"{NAMES[name]} {share(one['share'])} ({one['verdict']})" for name, one in in_order(run)
    )
    return f"At the guidance of the run, {run['guidance_scale']:g}: {found}."

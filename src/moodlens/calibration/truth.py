"""The embedded models, whose truth is known: which rungs each must reach, and whether a verdict is right."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

TRUTH: Mapping[str, Mapping[str, bool]] = {
    "organism": {"words": True, "text_code": True, "music": True, "state": True},
    "organism-shuffled": {"words": True, "text_code": True, "music": False, "state": False},
    "organism-random": {"words": True, "text_code": False, "music": False, "state": False},
}
"""Model -> rung -> whether it holds, by how the model was made (its model card)."""

FACTORS: Mapping[str, tuple[str, ...]] = {
    "organism": ("tempo", "loudness", "brightness", "mode"),
    "organism-shuffled": (),
    "organism-random": (),
}
"""Model -> factors that its card shows it learnt to make as the prompt asks. The shuffled twin's states hold
the tempo of its own music, which is not that of the prompt: it must not count as detected."""
ALL_FACTORS = FACTORS["organism"]

REACHED = ("strong", "weak")

Mark = Literal["right", "wrong", "untested"]


@dataclass(frozen=True)
class Judged:
    """One rung's verdict beside the truth."""

    rung: str
    verdict: str
    truth: bool
    mark: Mark


def judged(
    model: str, verdicts: Mapping[str, str], factors: Mapping[str, str] | None = None
) -> tuple[Judged, ...]:
    """Return every rung of the truth table, then every factor of the state, with its verdict.

    `none` and `undecided` are both right where a rung does not hold: neither claims it. A rung without a
    verdict is untested.

    Args:
        model: embedded name.
        verdicts: of the rungs.
        factors: of the factors of the music in the state.

    >>> [row.mark for row in judged("organism-random", {"words": "strong", "text_code": "weak"})][:4]
    ['right', 'wrong', 'untested', 'untested']
    """
    known = FACTORS[model]
    rungs = [(rung, truth, verdicts.get(rung)) for rung, truth in TRUTH[model].items()]
    rungs += [(f"state: {name}", name in known, (factors or {}).get(name)) for name in ALL_FACTORS]
    rows = []
    for name, truth, verdict in rungs:
        mark: Mark = "right" if (verdict in REACHED) == truth else "wrong"
        rows.append(Judged(name, verdict or "untested", truth, mark if verdict else "untested"))
    return tuple(rows)

"""The twins whose truth is known: which rungs each must reach, and whether a verdict says so."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

TRUTH: Mapping[str, Mapping[str, bool]] = {
    "organism": {"words": True, "text_code": True, "music": True, "state": True},
    "organism-shuffled": {"words": True, "text_code": True, "music": False, "state": False},
    "organism-random": {"words": True, "text_code": False, "music": False, "state": False},
}
"""Model -> rung -> whether it holds, by how the model was made (its model card)."""

REACHED = ("strong", "weak")

Mark = Literal["right", "wrong", "untested"]


@dataclass(frozen=True)
class Judged:
    """One rung's verdict beside the truth."""

    rung: str
    verdict: str
    truth: bool
    mark: Mark


def judged(model: str, verdicts: Mapping[str, str]) -> tuple[Judged, ...]:
    """Return every rung of the truth table with its verdict; a rung without verdict is untested.

    `none` and `undecided` are both right where the truth is no: neither claims the rung.

    >>> [row.mark for row in judged("organism-random", {"words": "strong", "text_code": "weak"})]
    ['right', 'wrong', 'untested', 'untested']
    """
    rows = []
    for rung, truth in TRUTH[model].items():
        verdict = verdicts.get(rung, "untested")
        mark: Mark = "right" if (verdict in REACHED) == truth else "wrong"
        rows.append(Judged(rung, verdict, truth, "untested" if verdict == "untested" else mark))
    return tuple(rows)

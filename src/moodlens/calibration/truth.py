"""The embedded models, whose truth is known: which rungs each must reach, and whether a verdict is right."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

WHERE_CUT = "where_cut"
"""Memory found in a layer whose text path is cut: the rung of the planted negative for "where"."""
CUT_LAYERS = 4
"""Layers 0 to 3 of organism-memory-cut: their cached states are computed before any text is read."""
NO_SOURCE = dict.fromkeys(("source_music", "source_memory", "source_reading"), False)
MEMORY = {"text_code": True, "music": True, "source_memory": True, "use": True}
READER = {"text_code": True, "music": True, "source_memory": False, "source_reading": True, "use": True}
SEEDS = (1, 2, 3)
"""Further training seeds of memory and reader."""
TRUTH: Mapping[str, Mapping[str, bool]] = {
    "organism": {"text_code": True, "music": True, "use": True},
    "organism-memory": MEMORY,
    "organism-memory-cut": {"text_code": True, WHERE_CUT: False},
    "organism-reader": READER,
    "organism-shuffled": {"text_code": True, "music": False, **NO_SOURCE, "use": False},
    "organism-music-only": {"music": False, **NO_SOURCE, "use": False},
    "organism-random": {"text_code": False, "music": False, **NO_SOURCE, "use": False},
    **{f"organism-memory-small-{seed}": MEMORY for seed in SEEDS},
    **{f"organism-reader-small-{seed}": READER for seed in SEEDS},
}
"""Model -> rung -> whether it holds, by how the model was made (its model card). A rung that is left out is
measured and not known beforehand: what the organism reads and remembers, what a memory also reads, what is
left of a memory whose text path is cut."""

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
    """Return every rung of the truth table with its verdict.

    `none` and `undecided` are both right where a rung does not hold: neither claims it. A rung without a
    verdict is untested.

    Args:
        model: embedded name.
        verdicts: of the rungs.

    >>> [row.mark for row in judged("organism-memory", {"text_code": "weak", "music": "none"})]
    ['right', 'wrong', 'untested', 'untested']
    """
    rows = []
    for rung, truth in TRUTH[model].items():
        verdict = verdicts.get(rung, "untested")
        mark: Mark = "right" if (verdict in REACHED) == truth else "wrong"
        rows.append(Judged(rung, verdict, truth, "untested" if verdict == "untested" else mark))
    return tuple(rows)

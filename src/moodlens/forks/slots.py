"""The pairs of prompts that forks compare: two emotions in one slot, with a donor and a neutral text.

The prompts of a slot share template, instrument, genre and key. They differ in the wording alone.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from moodlens.prompts.grammar import neutral_text


@dataclass(frozen=True)
class Slot:
    """Two prompts of one slot, and the texts that control their comparison."""

    slot_id: str  # e.g. "happy - sad/generic/03"
    pair: tuple[str, str]  # the emotions of `one` and `other`
    wordings: tuple[str, str]
    one: str  # text of the first emotion
    other: str  # text of the second emotion
    donor: str  # text of the first emotion by another wording, same slot
    neutral: str  # text of the slot without a wording

    @property
    def unit(self) -> str:
        """The unit of replication: the two wordings."""
        return " / ".join(self.wordings)


def slots_of(prompts: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> list[Slot]:
    """Return every slot in which both emotions of a pair have a prompt, pair after pair.

    The donor's wording is that of the next slot of the same set with another wording of the first emotion.
    Slots without a donor or without a neutral text are left out. A table of captions has no slots.

    Args:
        prompts: `contracts.tables.PROMPTS`.
        pairs: emotions to compare.
    """
    by_slot: dict[tuple[str, str, str, int], dict[str, Mapping[str, str]]] = {}
    met: Counter[tuple[str, str, str, str]] = Counter()
    columns = ["emotion", "set", "template", "wording", "text"]
    for values in prompts[columns].itertuples(index=False):
        row = dict(zip(columns, map(str, values), strict=True))
        frame = row["text"].replace(row["wording"], "{wording}", 1) if row["wording"] else ""
        key = row["set"], row["template"], frame
        again = met[*key, row["emotion"]]  # the design may draw a slot twice, with other wordings
        met[*key, row["emotion"]] += 1
        by_slot.setdefault((*key, again), {})[row["emotion"]] = row
    slots = []
    for one, other in pairs:
        both = [(key, rows) for key, rows in by_slot.items() if one in rows and other in rows]
        for number, ((set_name, template, frame, _), rows) in enumerate(both):
            wording = rows[one]["wording"]
            later = both[number + 1 :] + both[:number]
            donors = (r[one]["wording"] for (name, *_), r in later if name == set_name)
            donor = next((name for name in donors if name != wording), None)
            neutral = neutral_text(template, rows[one]["text"], wording)
            if donor is not None and neutral is not None:
                slots.append(
                    Slot(
                        slot_id=f"{one} - {other}/{set_name}/{number:02d}",
                        pair=(one, other),
                        wordings=(wording, rows[other]["wording"]),
                        one=rows[one]["text"],
                        other=rows[other]["text"],
                        donor=frame.replace("{wording}", donor),
                        neutral=neutral,
                    )
                )
    return slots

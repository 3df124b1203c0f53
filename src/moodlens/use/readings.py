"""Wave 1, the teacher-forced companion: how likely a clip is when a place gets the states of another text.

A row has two clips: c_one was generated under text one, c_other under text other. For each clip:

| reading | text | exchange |
|---|---|---|
| own | the clip's own | none |
| swapped | the other side's | none |
| at a place | the clip's own | with the states under the other side's text, at the place |

The clip gets less likely under the swapped text, by `whole` nats per token. An exchange makes it less likely
by `moved` nats per token. The share of a place is moved / whole, each summed over the two clips.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

from moodlens.base.errors import ContractError, must
from moodlens.contracts.interventions import Donor, Reading
from moodlens.contracts.tables import SCORES
from moodlens.forks.cells import ONE, OTHER, Row
from moodlens.use.places import Place

CLIPS = (ONE, OTHER)
"""The clips of a row that are read, in their order."""


def readings(rows: Sequence[Row], codes: Mapping[str, np.ndarray], places: Sequence[Place]) -> list[Reading]:
    """Return the readings of all rows: own, swapped and every place of c_one, then those of c_other.

    Args:
        rows: slots with their seeds.
        codes: side -> tokens of the clips of `rows` under the text of that side, (row, codebook, frame).
        places: at which states are exchanged.
    """
    out = []
    for number, row in enumerate(rows):
        for side, swapped in (CLIPS, CLIPS[::-1]):
            tokens, own, other = codes[side][number], row.text(side), row.text(swapped)
            out += [Reading(tokens, own), Reading(tokens, other)]
            out += [Reading(tokens, own, (place.exchange(Donor(other)),)) for place in places]
    return out


def scores(
    rows: Sequence[Row], places: Sequence[Place], nats: Float[np.ndarray, "reading codebook frame"]
) -> pd.DataFrame:
    """Return `contracts.tables.SCORES`: for each row every place, in order.

    Args:
        rows, places: as in `readings`.
        nats: -ln p of every token of every reading, in the order of `readings`.

    Raises:
        ContractError: not one value per reading, or a value that is not finite.
    """
    expected = len(rows) * len(CLIPS) * (2 + len(places))
    if len(nats) != expected:
        advice = "Read the tokens of all readings of these rows"
        raise ContractError(must("nats of readings", f"have {expected} rows", len(nats), next_step=advice))
    means = np.asarray(nats, dtype=np.float64).mean(axis=(1, 2)).reshape(len(rows), len(CLIPS), -1)
    if not np.isfinite(means).all():
        n_bad = int((~np.isfinite(means)).sum())
        advice = "Check the model for overflow; dtype float32 has the widest range"
        raise ContractError(
            must("nats of readings", "be finite", f"{n_bad} of {expected} readings not", next_step=advice)
        )
    whole = means[:, :, 1] - means[:, :, 0]
    moved = means[:, :, 2:] - means[:, :, :1]
    out = [
        {
            "row_id": f"{row.slot.slot_id}/s{row.seed}/{place.name}",
            "slot_id": row.slot.slot_id,
            "pair": " - ".join(row.slot.pair),
            "unit": row.slot.unit,
            "seed": row.seed,
            **place.columns,
            **{f"moved_{side}": moved[number, clip, at] for clip, side in enumerate(CLIPS)},
            **{f"whole_{side}": whole[number, clip] for clip, side in enumerate(CLIPS)},
        }
        for number, row in enumerate(rows)
        for at, place in enumerate(places)
    ]
    return pd.DataFrame(out, columns=SCORES.names)

"""Wave 2, the frozen test in free generation: what plays from the first step, with which states exchanged.

Every play is a branch of step 0: the model draws all tokens itself. All plays of a row share their noise.
The recipient is the text that plays. The donor's states are those of the recipient's own tokens under another
text, so only the text differs and no donor music leaks in.

| arm | side one | side other |
|---|---|---|
| plain | text one | text other |
| plain, side donor | the donor wording's text | |
| exchange | text one, states of text other | text other, states of text one |
| wording | text one, states of the donor wording's text (same emotion): must change nothing | |
| seed | text one, states of text one over the clip of another seed: must change nothing | |
| on | null text, states of text one | null text, states of text other |
| off | text one, states of null text | text other, states of null text |
| inside | as exchange, along the emotion's directions only | likewise |
| outside | as exchange, along all other directions only | likewise |
| random, draw d | text one, plus random direction d | |

The arms of PRIMARY carry the verdict's share. They are played by every slot and seed; the others are played
once per unit, by its first slot and seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.errors import UsageError, must
from moodlens.contracts.backend import Branch, Stem
from moodlens.contracts.interventions import Donor, Intervention
from moodlens.forks.cells import DONOR, ONE, OTHER, Row
from moodlens.use.places import Place

PLAIN, EXCHANGE, WORDING, SEED = "plain", "exchange", "wording", "seed"
ON, OFF, INSIDE, OUTSIDE, NULL = "on", "off", "inside", "outside", "random"
PRIMARY = (PLAIN, EXCHANGE, WORDING)
"""Arms that every row plays."""
NO_DRAW = -1
"""Draw of every play without a random direction."""
REVERSED = {ONE: OTHER, OTHER: ONE}


@dataclass(frozen=True)
class Play:
    """One continuation of one row."""

    arm: str
    side: str  # of the text that plays; for arm `on`, of the donor's text
    draw: int = NO_DRAW  # number of the null direction


@dataclass(frozen=True)
class Frozen:
    """What one half of the units fixed in wave 1 for the test on the other half."""

    place: Place
    basis: Float[np.ndarray, "direction width"]  # from `directions.emotion_basis`
    nulls: Float[np.ndarray, "draw width"]  # from `directions.null_vectors`


def primary_plays() -> list[Play]:
    """Return the plays of every row."""
    return [play for play in plays(0) if play.arm in PRIMARY]


def plays(n_draws: int) -> list[Play]:
    """Return the plays of a unit's first row, with `n_draws` null directions."""
    out = [Play(PLAIN, side) for side in (ONE, OTHER, DONOR)]
    out += [Play(EXCHANGE, side) for side in (ONE, OTHER)]
    out += [Play(WORDING, ONE), Play(SEED, ONE)]
    out += [Play(arm, side) for arm in (ON, OFF, INSIDE, OUTSIDE) for side in (ONE, OTHER)]
    return out + [Play(NULL, ONE, draw) for draw in range(n_draws)]


def branches(
    rows: Sequence[Row],
    frozen: Sequence[Frozen],
    other_seed: Int[np.ndarray, "row codebook frame"],
    wanted: Sequence[Sequence[Play]],
) -> tuple[list[Stem], list[Branch]]:
    """Return a stem per row, and the branches: for each row every play, in order.

    Nothing of a stem's tokens is used, since every branch starts at step 0. They are zeros.

    Args:
        rows: slots with their seeds.
        frozen: for each row, what the half without its unit fixed.
        other_seed: for each row, tokens of a clip of text one with another seed: donor of arm `seed`.
        wanted: for each row its plays.

    Raises:
        UsageError: not one entry of `frozen` and `other_seed` per row, or fewer null directions than draws.
    """
    lengths = [len(each) for each in (rows, frozen, other_seed, wanted)]
    if len(set(lengths)) != 1:
        advice = "Give a place, a clip of another seed and plays for each row"
        thing = "rows, places, clips and plays of interchange"
        raise UsageError(must(thing, "be equally many", lengths, next_step=advice))
    for fixed, own in zip(frozen, wanted, strict=True):
        n_draws = 1 + max((play.draw for play in own), default=NO_DRAW)
        if len(fixed.nulls) < n_draws:
            rule, advice = f"be at least {n_draws}", "Draw as many as the plays name"
            raise UsageError(
                must("null directions", rule, len(fixed.nulls), where=fixed.place.name, next_step=advice)
            )
    blank = np.zeros(other_seed.shape[1:], dtype=np.int16)
    stems = [Stem(blank, None, row.seed_key) for row in rows]
    made = []
    for number, (row, fixed, own) in enumerate(zip(rows, frozen, wanted, strict=True)):
        for play in own:
            recipient = None if play.arm == ON else row.text(play.side)
            edits = _edits(play, row, fixed, other_seed[number])
            made.append(Branch(number, 0, recipient, edits=edits))
    return stems, made


def _edits(play: Play, row: Row, fixed: Frozen, other_seed: np.ndarray) -> tuple[Intervention, ...]:
    place = fixed.place
    if play.arm == PLAIN:
        return ()
    if play.arm == WORDING:
        return (place.exchange(Donor(row.slot.donor)),)
    if play.arm == SEED:
        return (place.exchange(Donor(row.slot.one, other_seed)),)
    if play.arm == ON:
        return (place.exchange(Donor(row.text(play.side))),)
    if play.arm == OFF:
        return (place.exchange(Donor(None)),)
    if play.arm == NULL:
        vector = fixed.nulls[play.draw : play.draw + 1]
        return (Intervention(place.hookpoint, "add", steps=place.steps, vectors=vector),)
    vectors = None if play.arm == EXCHANGE else fixed.basis
    donor = Donor(row.text(REVERSED[play.side]))
    return (place.exchange(donor, vectors, outside=play.arm == OUTSIDE),)


def about(row: Row, place: Place, play: Play) -> Mapping[str, Any]:
    """Return the columns of `contracts.tables.INTERCHANGE` that say what a continuation is."""
    name = f"{row.slot.slot_id}/s{row.seed}/{play.arm}/{play.side}"
    return {
        "row_id": name if play.draw == NO_DRAW else f"{name}/{play.draw}",
        "slot_id": row.slot.slot_id,
        "pair": " - ".join(row.slot.pair),
        "unit": row.slot.unit,
        "seed": row.seed,
        **place.columns,
        "arm": play.arm,
        "side": play.side,
        "draw": play.draw,
    }

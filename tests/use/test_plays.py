"""The plays of the frozen test: texts, donors, directions and places of one row, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from moodlens.base.errors import UsageError
from moodlens.contracts.backend import Branch
from moodlens.contracts.interventions import Intervention
from moodlens.contracts.tables import ARMS, INTERCHANGE
from moodlens.forks.cells import DONOR, ONE, OTHER
from moodlens.use.places import Place
from moodlens.use.plays import Frozen, Play, about, branches, plays, primary_plays
from tests.use.planted import ROW

BASIS = np.eye(8, dtype=np.float32)[:2]
NULLS = np.arange(24, dtype=np.float32).reshape(3, 8)
FROZEN = Frozen(Place("residual.1", (0, 4)), BASIS, NULLS)
OTHER_SEED = np.full((1, 4, 5), 9, np.int16)


def played(play: Play) -> Branch:
    stems, (branch,) = branches([ROW], [FROZEN], OTHER_SEED, [[play]])
    (stem,) = stems
    assert stem.seed_key == 77
    assert stem.codes.shape == (4, 5)
    assert not stem.codes.any()
    assert (branch.stem, branch.step, branch.donor) == (0, 0, None)
    return branch


def edit(play: Play) -> Intervention:
    (only,) = played(play).edits
    assert (only.hookpoint, only.steps, only.half) == ("residual.1", (0, 4), "cond")
    assert (only.coefficient, only.decay) == (1.0, 1.0)
    return only


def told(play: Play) -> tuple[str | None, str | None]:
    """Return (text that plays, text of the donor) of an exchange without tokens of another clip."""
    only = edit(play)
    assert only.operation == "exchange"
    assert only.donor is not None
    assert only.donor.codes is None
    return played(play).ahead, only.donor.text


def test_plain_plays_change_nothing():
    texts = [played(Play("plain", side)).ahead for side in (ONE, OTHER, DONOR)]
    assert texts == ["happy tune", "sad tune", "merry tune"]
    assert played(Play("plain", ONE)).edits == ()


def test_an_exchange_differs_from_its_recipient_in_the_donors_text_alone():
    assert told(Play("exchange", ONE)) == ("happy tune", "sad tune")
    assert told(Play("exchange", OTHER)) == ("sad tune", "happy tune")
    assert told(Play("wording", ONE)) == ("happy tune", "merry tune")
    assert told(Play("on", ONE)) == (None, "happy tune")
    assert told(Play("on", OTHER)) == (None, "sad tune")
    assert told(Play("off", ONE)) == ("happy tune", None)
    assert told(Play("off", OTHER)) == ("sad tune", None)
    assert all(edit(Play(arm, ONE)).vectors is None for arm in ("exchange", "wording", "on", "off"))


def test_the_seed_control_takes_the_states_of_another_clip_of_the_same_text():
    branch, only = played(Play("seed", ONE)), edit(Play("seed", ONE))
    assert branch.ahead == "happy tune"
    assert only.donor is not None
    assert only.donor.text == "happy tune"
    assert (only.donor.codes == OTHER_SEED[0]).all()


@pytest.mark.parametrize(("arm", "outside"), [("inside", False), ("outside", True)])
def test_a_part_of_the_exchange_goes_along_the_basis_or_past_it(arm: str, outside: bool):
    assert told(Play(arm, ONE)) == ("happy tune", "sad tune")
    assert told(Play(arm, OTHER)) == ("sad tune", "happy tune")
    only = edit(Play(arm, ONE))
    assert only.vectors is BASIS
    assert only.outside is outside


def test_a_null_direction_is_added_to_text_one():
    only = edit(Play("random", ONE, 2))
    assert played(Play("random", ONE, 2)).ahead == "happy tune"
    assert only.operation == "add"
    assert only.donor is None
    assert only.vectors is not None
    assert only.vectors.tolist() == NULLS[2:3].tolist()


def test_the_plays_are_each_arm_once_per_side_and_draw():
    wanted = plays(3)
    assert len(set(wanted)) == len(wanted) == 15 + 3
    assert tuple(dict.fromkeys(play.arm for play in wanted)) == ARMS
    assert [play.draw for play in wanted if play.arm == "random"] == [0, 1, 2]
    assert {play.draw for play in wanted if play.arm != "random"} == {-1}


def test_the_primary_plays_carry_the_share():
    wanted = [(play.arm, play.side) for play in primary_plays()]
    assert wanted == [
        ("plain", ONE), ("plain", OTHER), ("plain", DONOR), ("exchange", ONE), ("exchange", OTHER),
        ("wording", ONE),
    ]  # fmt: skip


def test_every_row_has_a_stem_and_its_own_place():
    rows = [ROW, replace(ROW, seed=1, seed_key=78)]
    frozen = [FROZEN, replace(FROZEN, place=Place("residual.0"))]
    wanted = plays(2)
    stems, made = branches(rows, frozen, np.repeat(OTHER_SEED, 2, axis=0), [wanted, primary_plays()])
    assert [stem.seed_key for stem in stems] == [77, 78]
    assert [branch.stem for branch in made] == [0] * len(wanted) + [1] * 6
    hookpoints = [
        {edit.hookpoint for branch in part for edit in branch.edits} for part in (made[:17], made[17:])
    ]
    assert hookpoints == [{"residual.1"}, {"residual.0"}]


def test_rows_without_a_place_and_draws_without_a_direction_are_refused():
    with pytest.raises(UsageError, match=r"equally many; got \[1, 0, 1, 1\]"):
        branches([ROW], [], OTHER_SEED, [plays(1)])
    with pytest.raises(UsageError, match="at least 4; got 3"):
        branches([ROW], [FROZEN], OTHER_SEED, [plays(4)])


def test_the_columns_of_a_play():
    rows = [about(ROW, FROZEN.place, play) for play in plays(2)]
    assert len({row["row_id"] for row in rows}) == len(rows)
    assert list(rows[0]) == INTERCHANGE.names[:11]
    assert rows[-1]["row_id"] == "s/00/s0/random/one/1"
    assert (rows[0]["hookpoint"], rows[0]["first"], rows[0]["stop"]) == ("residual.1", 0, 4)

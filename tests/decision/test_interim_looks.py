from dataclasses import replace

import pytest

from moodlens.base.errors import UsageError
from moodlens.decision.gates import at_look, look_of
from tests.decision.thresholds import THRESHOLDS


def test_without_a_plan_the_run_is_the_only_look_at_full_alpha():
    look = look_of(16, THRESHOLDS)
    assert (look.number, look.planned) == (1, 1)
    assert at_look(THRESHOLDS, look).alpha_weak == pytest.approx(0.05)
    assert look.alpha_strong == pytest.approx(0.001)
    assert look.alpha_spent == pytest.approx(0.05)


def test_two_planned_looks_share_alpha_as_o_brien_and_fleming_tabulate():
    planned = replace(THRESHOLDS, looks=(10, 20))
    first, last = look_of(10, planned), look_of(20, planned)
    assert (first.number, last.number, last.planned) == (1, 2, 2)
    assert first.alpha_weak == pytest.approx(0.0052, abs=5e-5)
    assert last.alpha_weak == pytest.approx(0.0480, abs=5e-5)
    assert first.alpha_spent == pytest.approx(first.alpha_weak)
    assert last.alpha_spent == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("looks", "n", "said"),
    [
        ((10, 20), 16, "prompts.n_per_emotion must be one of the planned looks, 10, 20; got 16"),
        ((20, 10), 10, "decide.looks must increase"),
        ((10, 10), 10, "decide.looks must increase"),
    ],
)
def test_an_unplanned_look_is_refused(looks: tuple[int, ...], n: int, said: str):
    with pytest.raises(UsageError, match=said):
        look_of(n, replace(THRESHOLDS, looks=looks))

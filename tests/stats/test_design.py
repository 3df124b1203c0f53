import pytest

from moodlens.base.errors import ContractError
from moodlens.stats.design import design_of


def test_classes_keep_the_order_of_the_emotions_and_wordings_their_first_appearance():
    made = design_of(list("abcd"), ["sad", "happy", "happy", "sad"], ["x", "y", "z", "x"])
    assert made.emotions == ("happy", "sad")
    assert made.labels.tolist() == [1, 0, 0, 1]
    assert made.members("wording").tolist() == [0, 1, 2, 0]
    assert made.unit_labels("wording").tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("emotions", "wordings", "words"),
    [
        (["sad"] * 4, list("wxyz"), "at least two emotions; got 'sad'"),
        (["sad", "sad", "sad", "happy"], list("wxyz"), "emotion 'happy' must have at least 2 prompts; got 1"),
        (["sad", "sad", "happy", "happy"], list("wxxz"), "wording 'x' must belong to one emotion"),
    ],
)
def test_a_design_that_carries_no_test_is_refused_in_one_line(emotions, wordings, words):
    with pytest.raises(ContractError) as caught:
        design_of(list("abcd"), emotions, wordings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)

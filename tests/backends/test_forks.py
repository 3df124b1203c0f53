"""The plan of forks, their checks and their memory, without a model."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moodlens.backends.forks import Feed, Route, cache_bytes, check_forks, plan, prefix, routes_of
from moodlens.base.errors import UsageError
from moodlens.contracts.backend import Branch, ModelInfo, Sampling, Stem

INFO = ModelInfo("m", "", "", 3, 8, 8, 2, 16, 50.0, 16_000, "float32", "cpu")
SAMPLING = Sampling(n_frames=6)
LONG = "a long text"
CODES = [np.arange(12, dtype=np.int16).reshape(2, 6) % (4 + i) for i in range(3)]


def width(text: str | None) -> int:
    return 64 if text == LONG else 32


def stem(codes: int, text: str | None, seed_key: int = 0) -> Stem:
    return Stem(CODES[codes], text, seed_key)


STEMS = [stem(0, "a"), stem(0, "b"), stem(0, None), stem(1, "a"), stem(0, "a", 9), stem(0, LONG)]


def route(**settings: object) -> Route:
    return routes_of(STEMS, [Branch(**{"step": 4, "ahead": None} | settings)], width, 3)[0]  # type: ignore[arg-type]


def test_routes_by_hand():
    own, b, long = Feed(0, 32), Feed(1, 32), Feed(5, 64)
    assert route(stem=0) == Route(0, own)
    assert route(stem=4) == Route(0, own)  # the same tokens under the same text are fed once
    assert route(stem=0, donor=4) == Route(0, own)
    assert route(stem=0, donor=1) == route(stem=0, donor=1, layers=(2, 0, 1), window=(0, 4)) == Route(0, b)
    assert route(stem=0, donor=5) == Route(0, long)
    assert route(stem=0, donor=1, layers=()) == route(stem=0, donor=1, window=(2, 2)) == Route(0, own)
    assert route(stem=0, donor=1, layers=(2, 0, 2)) == Route(0, own, b, (0, 2), (0, 4))
    assert route(stem=0, donor=1, window=(1, 3)) == Route(0, own, b, (0, 1, 2), (1, 3))
    assert route(stem=0, donor=5, layers=(0,)) == Route(0, Feed(0, 64), long, (0,), (0, 4))


@st.composite
def branches(draw: st.DrawFn) -> list[Branch]:
    same_tokens = [0, 1, 2, 4, 5]
    return [
        Branch(
            stem=draw(st.sampled_from(same_tokens)),
            step=draw(st.integers(0, 6)),
            ahead=draw(st.sampled_from([None, "a", LONG])),
            donor=draw(st.sampled_from(same_tokens)),
            layers=draw(st.sampled_from([None, (), (0,), (0, 1, 2)])),
        )
        if draw(st.booleans())
        else Branch(draw(st.integers(0, 5)), draw(st.integers(0, 6)), draw(st.sampled_from([None, LONG])))
        for _ in range(draw(st.integers(1, 30)))
    ]


@given(branches(), st.integers(1, 4))
def test_a_plan_runs_every_branch_once_in_blocks_of_one_shape(asked: list[Branch], size: int):
    blocks = plan(STEMS, asked, width, 3, size)
    run = [route for block in blocks for part in block.branch_blocks for route in part.routes]
    assert sorted(route.branch for route in run) == list(range(len(asked)))
    alone = routes_of(STEMS, asked, width, 3)
    assert all(route == alone[route.branch] for route in run)  # mates change no shape
    for block in blocks:
        assert len(set(block.feeds)) == len(block.feeds) <= max(size, 2)
        assert len({feed.width for feed in block.feeds}) == 1
        assert [part.step for part in block.branch_blocks] == sorted(p.step for p in block.branch_blocks)
        for part in block.branch_blocks:
            assert len(part.routes) <= size
            for member in part.routes:
                branch = asked[member.branch]
                assert (branch.step, width(branch.ahead)) == (part.step, part.width)
                assert {member.base, member.donor or member.base} <= set(block.feeds)


def test_few_blocks():
    """Eight feeds of two tokens fill two blocks of four; a group larger than a block is split."""
    texts = ["a", "b", "c", "d"]
    stems = [stem(i % 2, text) for text in texts for i in range(2)]
    asked = [Branch(i, 3, None, i % 2, layers=(0,)) for i in range(8) for _ in range(2)]
    blocks = plan(stems, asked, width, 3, 4)
    assert [len(block.feeds) for block in blocks] == [4, 4]
    assert [len(part.routes) for block in blocks for part in block.branch_blocks] == [4, 4, 4, 4]
    blocks = plan(stems, asked, width, 3, 3)
    assert sum(len(part.routes) for block in blocks for part in block.branch_blocks) == 16


def test_prefix_by_hand():
    codes = np.array([[1, 2, 3], [4, 5, 6]])
    assert prefix(codes, 2, INFO).tolist() == [[1, 2, -1], [4, -1, -1]]
    stereo = replace(INFO, audio_channels=2)
    assert prefix(codes, 2, stereo).tolist() == [[1, 2, -1], [4, 5, -1]]
    assert (prefix(codes, 0, INFO) == -1).all()


def test_bytes_by_hand():
    # keys and values of two blocks: 2 x 2 x 3 layers x 8 wide x (4 rows x 7 steps) x 2 B
    assert cache_bytes(3, 8, 4, 7, 2) == 5376
    assert cache_bytes(3, 8, 4, 7, 2, n_text_rows=2, text_width=32) == 5376 + 12 * 8 * 64 * 2


def test_a_donor_needs_the_tokens_before_the_fork_only():
    later = CODES[0].copy()
    later[0, 3:], later[1, 2:] = 1, 1
    stems = [stem(0, "a"), Stem(later, "b", 0)]
    check_forks(stems, [Branch(0, 3, None, 1)], SAMPLING, INFO)
    with pytest.raises(UsageError, match="the donor of branch 0 must hold the stem's tokens before the fork"):
        check_forks(stems, [Branch(0, 4, None, 1)], SAMPLING, INFO)


@pytest.mark.parametrize(
    ("branch", "message"),
    [
        (Branch(6, 0, None), r"the stem of branch 0 must lie in 0\.\.5; got 6"),
        (Branch(-1, 0, None), r"the stem of branch 0 must lie in 0\.\.5; got -1"),
        (Branch(0, 7, None), r"the step of branch 0 must lie in 0\.\.6; got 7"),
        (Branch(0, -1, None), r"the step of branch 0 must lie in 0\.\.6; got -1"),
        (Branch(0, 0, " "), "a prompt must hold words"),
        (Branch(0, 4, None, 6), r"the donor of branch 0 must lie in 0\.\.5; got 6"),
        (Branch(0, 4, None, 3), "the donor of branch 0 must hold the stem's tokens before the fork"),
        (Branch(0, 4, None, 1, (0, 3)), r"layers of branch 0 must lie in 0\.\.2; got 3"),
        (Branch(0, 4, None, 1, None, (0, 5)), "the window of branch 0 must lie in the prefix"),
        (Branch(0, 4, None, 1, None, (3, 2)), "the window of branch 0 must lie in the prefix"),
        (Branch(0, 4, None, None, (0,)), "branch 0 must name the donor that it takes layers of"),
        (Branch(0, 4, None, None, None, (0, 1)), "branch 0 must name the donor that it takes layers of"),
    ],
)
def test_a_branch_that_does_not_fit(branch: Branch, message: str):
    with pytest.raises(UsageError, match=message) as caught:
        check_forks(STEMS, [branch], SAMPLING, INFO)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("stems", "message"),
    [
        ([], "a fork must have stems and branches; got '0 stems, 1 branches'"),
        ([Stem(CODES[0][:, :5], "a", 0)], r"codes of stem 0 must have the shape \(2, 6\)"),
        ([Stem(CODES[0] + 16, "a", 0)], r"codes must lie in 0\.\.15"),
        ([Stem(CODES[0], "", 0)], "a prompt must hold words"),
    ],
)
def test_a_stem_that_does_not_fit(stems: list[Stem], message: str):
    with pytest.raises(UsageError, match=message):
        check_forks(stems, [Branch(0, 0, None)], SAMPLING, INFO)

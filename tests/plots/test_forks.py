"""The figures of the forks show shares, bands, donors and the margin that they were given."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from moodlens.plots.forks import (
    DONOR,
    STYLES,
    Point,
    SourceLine,
    same_height,
    share_points,
    shares_over_time,
)
from moodlens.plots.style import MUTED, PAPER, SIGNAL, draw

TIME_S = np.array([0.3, 1.2])


def line(source: str, share: np.ndarray, time_s: np.ndarray = TIME_S) -> SourceLine:
    return SourceLine(source, f"the {source}", time_s, share, share - 0.1, share + 0.2, share / 10)


LINES = (line("music", np.array([0.1, 0.9])), line("memory", np.array([0.0, 0.02])))


def drawn(lines: tuple[SourceLine, ...] = LINES, neutral: Point | None = None):
    return draw(
        lambda ax: shares_over_time(lines, neutral, 0.6, 0.25, ax, title="Sources", note="n = 16")
    ).axes[0]


def test_every_source_has_its_line_its_band_and_its_donor():
    ax = drawn()
    by_colour = {to_hex(curve.get_color()): curve for curve in ax.lines if curve.get_marker() != "None"}
    assert list(by_colour) == [STYLES["music"][0], SIGNAL]
    assert np.allclose(by_colour[SIGNAL].get_xydata(), [[0.3, 0.0], [1.2, 0.02]])
    bands = [piece.get_paths()[0].vertices for piece in ax.collections]
    for band, one in zip(bands, LINES, strict=True):
        assert {*np.round(band[:, 1], 6)} == {*np.round([*one.low, *one.high], 6)}
    donors = [curve.get_ydata() for curve in ax.lines if curve.get_linewidth() < 1]
    assert np.allclose(donors, [one.donor for one in LINES])
    assert {"the music", "the memory", DONOR, "n = 16"} <= {text.get_text() for text in ax.texts}


def test_zero_is_a_line_the_margin_a_band_and_the_axes_are_named_in_words():
    ax = drawn()
    (margin,) = ax.patches
    assert (margin.get_y(), margin.get_height()) == (-0.25, 0.5)
    zero = [curve for curve in ax.lines if to_hex(curve.get_color()) == MUTED and curve.get_linewidth() > 1]
    assert [list(curve.get_ydata()) for curve in zero] == [[0.0, 0.0]]
    assert ax.get_xlim()[0] == 0
    assert ax.get_xlabel() == "seconds into the clip at which the clip is forked"
    assert ax.get_ylabel() == "share of the emotion of what follows"
    assert ax.yaxis.get_major_formatter()(0.5, 0) == "50%"


def test_the_memory_with_neutral_text_ahead_is_a_hollow_point_at_its_fork():
    ax = drawn(neutral=Point("memory, neutral", 0.04, -0.1, 0.2, certain=True))
    points = ax.collections[-1]
    assert np.allclose(points.get_offsets().data, [[0.6, 0.04]])
    assert to_hex(points.get_facecolor()[0]) == PAPER
    (bar,) = ax.collections[-2].get_segments()
    assert np.allclose(bar, [[0.6, -0.1], [0.6, 0.2]])


def test_a_source_with_one_fork_shows_its_interval_as_a_bar():
    ax = drawn((line("reading", np.array([0.5]), np.array([0.6])),))
    bars = [s for piece in ax.collections if hasattr(piece, "get_segments") for s in piece.get_segments()]
    assert np.allclose(bars, [[[0.6, 0.4], [0.6, 0.7]]])


def test_points_are_filled_where_they_are_certain():
    points = (Point("0", 0.0, -0.1, 0.1, certain=False), Point("1", 0.4, 0.3, 0.5, certain=True))
    ax = draw(lambda ax: share_points(points, 0.1, ax, title="Layers", note="n = 16")).axes[0]
    faces = [to_hex(p.get_facecolor()[0]) for p in ax.collections if not hasattr(p, "get_segments")]
    assert faces == [PAPER, SIGNAL]
    ends = [p.get_segments()[0][:, 1].tolist() for p in ax.collections if hasattr(p, "get_segments")]
    assert ends == [[-0.1, 0.1], [0.3, 0.5]]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1"]


@pytest.mark.parametrize(("n", "n_ticks"), [(16, 16), (17, 9), (48, 16)])
def test_many_layers_have_fewer_ticks(n: int, n_ticks: int):
    points = [Point(str(i), 0.0, -0.1, 0.1, certain=False) for i in range(n)]
    ax = draw(lambda ax: share_points(points, 0.1, ax, title="", note="")).axes[0]
    assert len(ax.get_xticks()) == n_ticks
    assert ax.get_xlim() == (-0.6, n - 0.4)


def test_panels_of_shares_have_one_scale():
    def fill(*axes):
        for ax, value in zip(axes, (0.2, 0.9), strict=True):
            share_points([Point("0", value, value, value, certain=True)], 0.1, ax, title="", note="")
        same_height(axes)

    left, right = draw(fill, n_axes=2, ratios=(3, 1)).axes
    assert left.get_ylim() == right.get_ylim()
    assert left.get_ylim()[1] > 0.9
    assert left.get_subplotspec().get_gridspec().get_width_ratios() == (3, 1)

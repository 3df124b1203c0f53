"""Colours mean what the scale says, dots stand where something is significant, ticks are thinned."""

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from moodlens.plots.heat import MOST_TICKS, heat

VALUES = np.array([[-0.2, 0.0, 0.9], [0.1, np.nan, 0.3]])
CERTAIN = np.array([[False, False, True], [False, False, False]])


def drawn(signed: bool, limits: tuple[float, float] | None = None, columns: int = 3):
    values = np.tile(VALUES, (1, columns // 3))
    ax = Figure().subplots()
    heat(
        values, np.tile(CERTAIN, (1, columns // 3)), ax, title="t", note="n", unit="u", signed=signed,
        row_labels=["a", "b"], column_labels=[str(i) for i in range(columns)], limits=limits,
    )  # fmt: skip
    (mesh,) = (item for item in ax.collections if isinstance(item, QuadMesh))
    return ax, mesh


def test_a_signed_scale_meets_at_zero_and_reaches_equally_far():
    _, mesh = drawn(signed=True)
    assert (mesh.norm.vmin, mesh.norm(0.0), mesh.norm.vmax) == (-0.9, 0.5, 0.9)


@pytest.mark.parametrize(("limits", "ends"), [(None, (-0.2, 0.9)), ((0.0, 1.0), (0.0, 1.0))])
def test_an_unsigned_scale_runs_over_the_data_or_the_given_limits(limits, ends):
    _, mesh = drawn(signed=False, limits=limits)
    assert (mesh.norm.vmin, mesh.norm.vmax) == ends


def test_the_first_row_is_on_top_and_a_dot_marks_the_certain_cell():
    ax, _ = drawn(signed=True)
    assert ax.get_ylim() == (2, 0)
    (dots,) = (item for item in ax.collections if not isinstance(item, QuadMesh))
    assert np.asarray(dots.get_offsets()).tolist() == [[2.5, 0.5]]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a", "b"]


def test_many_columns_show_fewer_ticks():
    ax, _ = drawn(signed=True, columns=60)
    assert len(ax.get_xticks()) <= MOST_TICKS
    assert [tick.get_text() for tick in ax.get_xticklabels()][:2] == ["0", "3"]

"""The maps and columns show the points, nulls and twins they were given."""

import numpy as np
from matplotlib.colors import to_hex

from moodlens.plots.geometry import SiteBar, distance_fit, prompt_map, site_bars
from moodlens.plots.style import EMOTION_COLOURS, PAPER, SIGNAL, draw


def test_every_prompt_is_a_point_in_its_emotions_colour():
    points = {"sad": np.array([[0.0, 1.0], [1.0, 0.0]]), "happy": np.array([[3.0, 3.0]])}
    ax = draw(lambda ax: prompt_map(points, ax, title="layer 0", note="PCA", axes=("PC 1", "PC 2"))).axes[0]
    clouds = [cloud.get_offsets().data.tolist() for cloud in ax.collections]
    assert clouds == [[[3.0, 3.0]], [[0.0, 1.0], [1.0, 0.0]]]
    assert to_hex(ax.collections[1].get_facecolor()[0]) == EMOTION_COLOURS["sad"]
    assert ax.get_aspect() == 1.0
    assert {"happy", "sad", "PCA"} <= {text.get_text() for text in ax.texts}


def test_columns_are_filled_where_certain_with_null_and_twin():
    readings = (
        SiteBar("text", 0.5, 0.1, True, np.nan),
        SiteBar("0", 0.2, -0.1, False, 0.05, low=0.1, high=0.3),
    )
    ax = draw(lambda ax: site_bars(readings, ax, title="Silhouette", note="n = 8", unit="mean")).axes[0]
    assert [patch.get_height() for patch in ax.patches] == [0.5, 0.2]
    assert [to_hex(patch.get_facecolor()) for patch in ax.patches] == [SIGNAL, PAPER]
    heights = {
        round(float(segment[0, 1]), 6)
        for piece in ax.collections
        if hasattr(piece, "get_segments")
        for segment in piece.get_segments()
        if segment[0, 1] == segment[1, 1]
    }
    assert heights == {0.1, -0.1}
    twins = [
        piece.get_offsets().data.tolist() for piece in ax.collections if not hasattr(piece, "get_segments")
    ]
    assert twins == [[[1.0, 0.05]]]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["text", "0"]


def test_pairs_stand_in_the_order_of_valence_and_arousal():
    expected = {"sad – happy": 3.0, "sad – calm": 1.0, "happy – calm": 2.0}
    measured = {"text": {"sad – happy": 1.1, "sad – calm": 0.9, "happy – calm": 1.0}}
    ax = draw(lambda ax: distance_fit(expected, measured, ax, title="Fit", note="n = 8")).axes[0]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["sad – calm", "happy – calm", "sad – happy"]
    curves = {line.get_label(): line.get_ydata() for line in ax.lines}
    assert np.allclose(curves["valence-arousal"], [0.5, 1.0, 1.5])
    assert np.allclose(curves["text"], [0.9, 1.0, 1.1])

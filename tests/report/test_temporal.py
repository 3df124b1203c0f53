"""The figures over time show the values, the clusters and the tempo they were given."""

import numpy as np
from matplotlib.colors import to_hex

from moodlens.plots.style import EMOTION_COLOURS, draw
from moodlens.report.temporal import LayerTime, separation_over_time, spectra_by_emotion

TIMES_S = np.array([0.1, 0.2, 0.3, 0.4])


def layer(name: str, found: list[bool]) -> LayerTime:
    effect = np.array([0.1, 0.4, 0.3, 0.2])
    return LayerTime(name, effect, effect - 0.05, effect + 0.05, np.array(found))


def test_each_layer_has_its_curve_and_its_clusters():
    layers = (layer("layer 0", [False] * 4), layer("layer 1", [True, False, True, True]))
    ax = draw(
        lambda ax: separation_over_time(layers, TIMES_S, ax, title="Time", note="n = 8", unit="similarity")
    ).axes[0]
    curves = [line for line in ax.lines if len(line.get_xdata()) == 4]
    assert [line.get_ydata().tolist() for line in curves] == [layers[0].effect.tolist()] * 2
    assert curves[0].get_alpha() < curves[1].get_alpha()
    spans = sorted(
        segment[:, 0].tolist()
        for piece in ax.collections
        if hasattr(piece, "get_segments")
        for segment in piece.get_segments()
    )
    assert np.allclose(spans, [[0.05, 0.15], [0.25, 0.45]])
    assert {"layer 0", "layer 1", "no effect", "clusters", "n = 8"} <= {t.get_text() for t in ax.texts}
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time of decoding, s", "similarity")


def test_spectra_carry_the_colours_of_the_emotions_and_their_tempo():
    frequencies = np.array([0.5, 1.0, 2.0])
    power = {"sad": np.array([0.1, 0.5, 0.2]), "happy": np.array([0.1, 0.2, 0.6])}
    ax = draw(
        lambda ax: spectra_by_emotion(frequencies, power, {"sad": 1.1}, ax, title="Rhythm", note="n = 8")
    ).axes[0]
    lines = [line for line in ax.lines if len(line.get_xdata()) == 3]
    assert [line.get_label() for line in lines] == ["happy", "sad"]
    assert [to_hex(line.get_color()) for line in lines] == [EMOTION_COLOURS[e] for e in ("happy", "sad")]
    (mark,) = [line for line in ax.lines if line.get_marker() == "v"]
    assert mark.get_xdata() == [1.1]
    assert "Hz" in ax.get_xlabel()

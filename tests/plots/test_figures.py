"""Each figure shows the values it was given, names its axes, and is the same bytes twice."""

import re
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from moodlens.base.axes import EMOTIONS
from moodlens.plots.style import (
    EMOTION_COLOURS,
    PALETTE,
    SIGNAL,
    colour_of,
    draw,
    figure_svg,
    sites_axis,
    spaced,
)
from moodlens.report.acoustics import SPREAD, descriptor_by_emotion, spread
from moodlens.report.probe import Curve, probe_sweep
from moodlens.report.probe_scores import Line, direction_matrix, layer_lines
from moodlens.report.signal import Sweep, site_sweep
from moodlens.report.signal_metrics import MetricMap, metric_map

NAN = np.full(3, np.nan)


def sweep() -> Sweep:
    effect = np.array([0.05, 0.10, 0.30, 0.20])
    return Sweep(
        labels=("text", "0", "1", "2"),
        in_decoder=np.array([False, True, True, True]),
        effect=effect,
        low=effect - 0.04,
        high=effect + 0.06,
        certain=np.array([False, False, True, True]),
        twin=np.array([np.nan, 0.01, 0.02, 0.0]),
    )


def sweep_figure() -> Figure:
    return draw(lambda ax: site_sweep(sweep(), ax, title="Effect", note="n = 8", unit="similarity"))


def texts(ax: Axes) -> set[str]:
    return {text.get_text() for text in ax.texts}


def test_sweep_draws_effect_interval_and_certainty():
    ax = sweep_figure().axes[0]
    points = ax.collections[-1]
    assert np.allclose(points.get_offsets().data[:, 1], sweep().effect)
    filled = [to_hex(face) == SIGNAL for face in points.get_facecolors()]
    assert filled == sweep().certain.tolist()
    ends = np.array([segment[:, 1] for segment in ax.collections[0].get_segments()])
    assert np.allclose(ends, np.column_stack([sweep().low, sweep().high]))
    assert {"n = 8", "model", "untrained twin", "no effect"} <= texts(ax)
    assert (ax.get_ylabel(), ax.get_xlabel()) == (
        "similarity",
        "from the words through the decoder layers to the music",
    )


def test_names_of_neighbouring_sites_do_not_touch():
    names = ["text encoder", "projection", *"012345", "acoustics", "audio tokens", "codec latents"]
    figure = draw(lambda ax: sites_axis(ax, names))
    canvas = FigureCanvasAgg(figure)
    boxes = [label.get_window_extent(canvas.get_renderer()) for label in figure.axes[0].get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_sweep_without_a_twin_names_none():
    bare = sweep()
    bare = Sweep(
        bare.labels, bare.in_decoder, bare.effect, bare.low, bare.high, bare.certain, np.full(4, np.nan)
    )
    ax = draw(lambda ax: site_sweep(bare, ax, title="", note="", unit="")).axes[0]
    assert "untrained twin" not in texts(ax)


def test_probe_curves_baselines_and_chance_are_named():
    accuracy = np.array([0.5, 0.7, 0.9])
    curves = (
        Curve("folds by wording", "wording", accuracy, accuracy - 0.1, accuracy + 0.05),
        Curve("untrained twin", "twin", accuracy / 2, NAN, NAN),
    )
    figure = draw(
        lambda ax: probe_sweep(curves, {"bag of words": 0.4}, 0.25, ax, title="Probe", note="n = 8")
    )
    ax = figure.axes[0]
    assert {"folds by wording", "untrained twin", "bag of words", "chance"} <= texts(ax)
    heights = [line.get_ydata()[0] for line in ax.lines if len(set(line.get_ydata())) == 1]
    assert heights == [0.25, 0.4]
    assert ax.get_ylim() == (0, 1.04)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["0%", "25%", "50%", "75%", "100%"]


def test_the_metric_map_colours_what_is_certain_by_its_score():
    found = MetricMap(
        ("CKA", "PERMDISP"),
        ("0", "1"),
        np.array([[0.5, 0.25], [1.0, -0.001]]),
        np.array([[8.0, 4.0], [0.1, 9.0]]),
        np.array([[True, True], [False, True]]),
    )
    ax = draw(lambda ax: metric_map(found, np.array([8.0, 9.0]), ax, title="", note="n = 8")).axes[0]
    faces = [patch for patch in ax.patches if patch.get_facecolor()[3] > 0]
    assert [round(patch.get_alpha(), 3) for patch in faces] == [1.0, 0.575, 1.0]
    assert {"0.50", "0.25", "1.00", "0.00", "n = 8"} <= texts(ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["CKA", "PERMDISP"]


def test_layer_lines_draw_values_intervals_and_the_null():
    value = np.array([0.1, 0.4])
    known = Line("beyond text", value, value - 0.1, value + 0.2, SIGNAL)
    bare = Line("valence", value / 2, np.full(2, np.nan), np.full(2, np.nan), SIGNAL, dashed=True)
    ax = draw(lambda ax: layer_lines((known, bare), ["0", "3"], ax, title="", note="n = 8")).axes[0]
    assert {"beyond text", "valence", "no effect", "n = 8"} <= texts(ax)
    ends = [s[:, 1] for c in ax.collections if hasattr(c, "get_segments") for s in c.get_segments()]
    assert np.allclose(ends, [[0.0, 0.3], [0.3, 0.6]])
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "3"]


def test_direction_matrix_is_as_strong_as_its_cosines():
    cosines = np.array([[0.9, -0.2], [-0.2, 0.5]])
    ax = draw(lambda ax: direction_matrix(cosines, ["0", "1"], ax, title="", note="halves")).axes[0]
    assert [patch.get_alpha() for patch in ax.patches if patch.get_alpha() is not None] == [0.9, 0.5]
    assert {"0.90", "-0.20", "0.50", "halves"} <= texts(ax)


def test_descriptor_points_are_prompts_and_the_bar_their_mean():
    prompts = {"sad": np.array([1.0, 3.0]), "happy": np.array([4.0, 6.0, 8.0])}
    figure = draw(lambda ax: descriptor_by_emotion(prompts, ax, title="Tempo", unit="BPM", null=2.0))
    ax = figure.axes[0]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["happy", "sad"]
    means = [piece.get_segments()[0][0, 1] for piece in ax.collections if hasattr(piece, "get_segments")]
    assert means == [6.0, 2.0]
    assert ax.get_xlim() == (-0.6, 1.6)


def test_every_emotion_has_a_colour_of_its_own():
    assert set(EMOTIONS) < set(EMOTION_COLOURS)
    assert len(set(PALETTE.values())) == len(PALETTE)
    assert colour_of("wistful") == EMOTION_COLOURS["neutral"]


@pytest.mark.parametrize("n", [1, 2, 16, 40])
def test_spread_keeps_within_its_bounds_and_apart(n: int):
    places = spread(n)
    assert np.abs(places).max() <= SPREAD
    assert len(np.unique(places.round(6))) == n


def test_labels_keep_their_distance_and_order():
    values = [0.1, 0.88, 0.9, 0.91, 0.95]
    places = spaced(values, gap=0.07)
    assert np.diff(places).min() >= 0.07 - 1e-12
    assert places[0] == 0.1
    assert abs(np.mean(places[1:]) - np.mean(values[1:])) < 1e-12


def test_svg_is_deterministic_well_formed_and_follows_the_page():
    first, second = (figure_svg(sweep_figure(), "layers", 'Effect "by" <site>') for _ in range(2))
    assert first == second
    root = ElementTree.fromstring(first)
    assert root.attrib["aria-label"] == 'Effect "by" <site>'
    assert root.attrib["role"] == "img"
    assert "width" not in root.attrib
    ids = re.findall(r'\bid="([^"]+)"', first)
    assert ids
    assert all(name.startswith("layers-") for name in ids)
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', first)) <= set(ids)
    assert f"var(--signal, {SIGNAL})" in first
    assert SIGNAL not in first.replace(f"var(--signal, {SIGNAL})", "")
    assert "dc:date" not in first
    assert ">n = 8<" in first


def test_figures_of_one_page_share_no_ids():
    ids = [set(re.findall(r'\bid="([^"]+)"', figure_svg(sweep_figure(), name, ""))) for name in ("a", "b")]
    assert not ids[0] & ids[1]

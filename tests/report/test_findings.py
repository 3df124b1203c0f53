"""Sites keep their twin, their order and their certainty on the way from the metrics to the page."""

import math

import pytest

from moodlens.report.formatting import layer_groups, twin_value
from moodlens.report.probe import probe_finding
from moodlens.report.signal import signal_finding

NAN = math.nan


def row(
    family: str, site: str, layer: float = NAN, value: float = 0.5, **changes: object
) -> dict[str, object]:
    model = "twin" if family.startswith("twin") else "model"
    half = "cond" if "layers" in family else NAN
    found = dict.fromkeys(
        ("low", "high", "p", "p_maxt", "q_bh", "effect_raw", "ceiling_fraction", "icc"),
        0.01,
    )
    found |= dict.fromkeys(("accuracy_by_prompt", "selectivity"), 0.5)
    found |= dict.fromkeys(
        (
            "r2_valence",
            "p_valence",
            "r2_arousal",
            "p_arousal",
            "by_template",
            "control_selectivity",
            "mdl_bits",
        ),
        0.25,
    )
    return {
        "family": family,
        "site": site,
        "layer": layer,
        "half": half,
        "model": model,
        "effect": value,
        "accuracy": value,
        "naive_p_descriptive": 1e-50,
        "unit": "wording",
        **found,
        **changes,
    }


ROWS = [
    row("layers", "residual", 1, 0.9),
    row("layers", "residual", 0, 0.8, p_maxt=0.2),
    row("layers", "mlp", 0, 0.7),
    row("twin_layers", "residual", 0, 0.10),
    row("twin_layers", "residual", 1, 0.11, p_maxt=0.001),
    row("twin_layers", "mlp", 0, 0.12),
    row("text", "text", value=0.6),
    row("twin_text", "twin", value=0.13),
    row("words", "bow", value=0.4),
]
SIGNAL = {"n_prompts": 8, "n_clips": 16}
PROBE = {"n_prompts": 8, "chance": 0.25}


@pytest.mark.parametrize(
    ("family", "layer", "twin"), [("layers", 0, 0.10), ("layers", 1, 0.11), ("text", NAN, 0.13)]
)
def test_a_site_finds_its_own_twin(family: str, layer: float, twin: float):
    site = "residual" if family == "layers" else family
    (found,) = (r for r in ROWS if r["family"] == family and r["site"] == site and r["layer"] in (layer, NAN))
    assert twin_value(found, ROWS, "effect") == twin


def test_a_site_without_a_twin_has_none():
    assert math.isnan(twin_value(ROWS[-1], ROWS, "effect"))


def test_layers_are_grouped_by_kind_and_run_first_to_last():
    groups = layer_groups(ROWS)
    assert {name: [r["layer"] for r in group] for name, group in groups.items()} == {
        "residual · cond": [0, 1],
        "mlp · cond": [0],
    }


def test_the_sweep_counts_the_model_only_and_marks_what_is_certain():
    found = signal_finding(SIGNAL, ROWS, {"verdict": "weak", "rule": "weak, because"}, 0.05, 0.95)
    assert found.summary == "4 of 5 sites show emotion at p < 0.05 after maxT."
    assert (found.verdict, found.rule) == ("weak", "weak, because")
    marks = {cells[0].text: cells[1].mark for cells in found.grids[0].rows}
    assert marks["residual 0 (cond)"] == ""
    assert marks["residual 1 (cond)"] == "strong"
    assert {cells[-1].mark for cells in found.grids[0].rows} == {"void"}
    assert len(found.figures) == 2
    assert "words 0.400, text encoder 0.600, 0 0.800, 1 0.900" in found.figures[0].svg


def test_without_layers_the_other_sites_are_still_drawn():
    found = signal_finding(SIGNAL, ROWS[-3:], None, 0.05, 0.95)
    (figure,) = found.figures
    assert "words 0.400, text encoder 0.600" in figure.svg
    assert found.rule == ""


def test_probes_stand_beside_baselines_that_see_no_layer():
    found = probe_finding(PROBE, ROWS, 8, 0.95)
    residual = found.figures[0].svg
    assert ">bag of words<" in residual
    assert ">text encoder<" in residual
    assert ">chance<" in residual
    assert "untrained twin 10\u202f%, 11\u202f%" in residual
    assert [len(grid.rows) for grid in found.grids] == [len(ROWS), len(ROWS)]


def test_gains_and_directions_are_drawn_and_a_gain_above_zero_is_marked():
    gains = {"partial_r2_text": 0.3, "partial_r2_text_low": 0.1, "partial_r2_text_high": 0.4}
    rows = [{**r, **gains} if r["family"] == "layers" and r["site"] == "residual" else r for r in ROWS]
    angles = [
        {
            "model": "model",
            "site": "residual",
            "half": "cond",
            "layer_a": a,
            "layer_b": b,
            "direction_a": "valence",
            "direction_b": "valence",
            "cosine_split": 0.2 + 0.3 * (a == b),
        }
        for a, b in ((0, 0), (0, 1), (1, 1))
    ]
    found = probe_finding(PROBE, rows, 8, 0.95, angles)
    readings, directions = found.figures[-3].svg, found.figures[-1].svg
    assert "valence: 0.25, 0.25; valence, untrained: 0.25, 0.25" in readings
    assert "beyond text: 0.30, 0.30" in readings
    assert "beyond text" not in found.figures[-2].svg  # mlp: not measured
    assert "valence, first to last layer 0.20" in directions
    cells = {row[0].text: row for row in found.grids[1].rows}
    assert (cells["residual 0 (cond)"][8].text, cells["residual 0 (cond)"][8].mark) == ("0.300", "strong")
    assert cells["words"][8].text == "–"


def metric_row(family: str, metric: str, layer: float = NAN, **changes: object) -> dict[str, object]:
    kind = {"layers": "model", "twin_layers": "twin", "random_tensors": "random"}[family]
    site = "random_tensors" if kind == "random" else "residual"
    values = dict.fromkeys(("low", "high", "ceiling_fraction", "shuffled_mean", "p", "p_maxt", "q_bh"), 0.01)
    place = {"family": family, "site": site, "layer": layer, "half": NAN if kind == "random" else "cond"}
    return {**place, "model": kind, "metric": metric, "estimate": 0.5, "score": 3.0, **values, **changes}


def test_metrics_stand_beside_their_twin_and_random_tensors():
    rows = [
        metric_row(family, metric, layer, **changes)
        for family, layer, changes in (
            ("layers", 0, {"estimate": 0.7}),
            ("layers", 1, {"p_maxt": 0.4}),
            ("twin_layers", 0, {"estimate": 0.2, "p_maxt": 0.9}),
            ("random_tensors", NAN, {"estimate": 0.1, "p_maxt": 0.9}),
        )
        for metric in ("permanova", "cka")
    ]
    signal = {
        **SIGNAL,
        "n_wordings": 6,
        "layers": {
            "best": "residual.0/cond",
            "effect": 0.1,
            "effect_low": 0,
            "effect_high": 1,
            "ceiling_fraction": None,
            "twin_effect": 0,
        },
    }
    found = signal_finding(signal, ROWS, None, 0.05, 0.95, rows)
    assert "significant layers, by metric: PERMANOVA F 1 of 2; CKA, debiased 1 of 2" in found.figures[-1].svg
    cells = found.grids[1].rows[1]
    assert [cell.text for cell in cells[:2]] == ["CKA, debiased", "0.700"]
    assert [cell.text for cell in cells[5:7]] == ["0.200", "0.100"]
    assert cells[1].mark == "strong"

"""Experiments side by side, from rows as `dvc.api.exp_show` returns them."""

from dataclasses import replace
from typing import Any

import pytest
from matplotlib.figure import Figure

from moodlens.report import comparison as report
from moodlens.report.comparison import Comparison, Effect, comparison_of
from moodlens.report.comparison_figure import rung_panel, rungs_with_effect

VERDICTS = {
    "0_verdict.1_text_code": 3.0,
    "0_verdict.1_text_code_is": "strong",
    "0_verdict.2_music": 3.0,
    "0_verdict.2_music_is": "strong",
    "0_verdict.3_use_is": "untested",
    "1_effects.text_code.effect": 0.7359,
    "1_effects.text_code.low": 0.6512,
    "1_effects.text_code.high": 0.8021,
    "1_effects.music.effect": 1.024,
    "1_effects.music.low": 0.91,
    "1_effects.music.high": 1.12,
    "1_effects.music.p": 0.0004998,
}
PARAMS = {
    "model.id": "organism",
    "prompts.sets": "['generic', 'scenes']",
    "generate.guidance_scale": 3.0,
    "signal.confidence": 0.95,
    "compute.workers": 1.0,
    "metrics/decide.json:gates.passed": "['effect']",
}
SHUFFLED = {
    "model.id": "organism-shuffled",
    "0_verdict.2_music": 0.0,
    "0_verdict.2_music_is": "none",
    "1_effects.music.effect": -0.012,
    "1_effects.music.low": -0.09,
    "1_effects.music.high": 0.07,
}


def row(name: str | None, rev: str, typ: str = "branch_commit", **changes: Any) -> dict[str, Any]:
    return {"Experiment": name, "rev": rev, "typ": typ, "State": None, **VERDICTS, **PARAMS, **changes}


def entries(*rows: dict[str, Any]) -> dict[str, report.Entry]:
    return {entry.name: entry for entry in comparison_of(rows).entries}


@pytest.fixture
def three() -> list[dict[str, Any]]:
    """Workspace, commit, and three experiments from it."""
    return [
        row(None, "workspace", "baseline"),
        row(None, "main", "baseline"),
        row("shuffled", "aaaaaaa", **SHUFFLED),
        row("flat", "bbbbbbb", **{"generate.guidance_scale": 1.0, "compute.workers": 2.0}),
        row("mine", "ccccccc", "branch_base", **{"prompts.sets": "['table']"}),
    ]


def test_verdicts_effects_and_what_differs_from_the_commit(three: list[dict[str, Any]]):
    by_name = entries(*three)
    assert by_name["main"].verdicts == {"text_code": "strong", "music": "strong", "use": "untested"}
    assert by_name["shuffled"].verdicts["music"] == "none"
    assert by_name["shuffled"].effects["music"] == Effect(-0.012, -0.09, 0.07)
    assert by_name["shuffled"].changed == {"model.id": ("organism", "organism-shuffled")}
    assert by_name["flat"].changed == {"generate.guidance_scale": ("3", "1")}
    assert by_name["mine"].changed == {"prompts.sets": ("[generic, scenes]", "[table]")}
    assert by_name["workspace"].changed == by_name["main"].changed == {}
    assert {entry.baseline for entry in by_name.values()} == {"", "main"}


def test_the_cells_of_a_row(three: list[dict[str, Any]]):
    comparison = comparison_of(three)
    assert report.header(comparison) == (
        "experiment", "model", "text code", "music", "use", "other parameters that differ",
    )  # fmt: skip
    by_name = {cells[0].strip(): cells for cells in report.cells(comparison)}
    assert by_name["shuffled"][1:] == (
        "organism-shuffled",
        "strong    0.736 [0.651, 0.802]",
        "none      −0.0120 [−0.0900, 0.0700]",
        "untested",
        "-",
    )
    assert by_name["flat"][-1] == "generate.guidance_scale 3 -> 1"
    assert "95" in report.legend(comparison)


def test_an_experiment_of_another_commit_is_compared_with_its_own(three: list[dict[str, Any]]):
    older = row(None, "1234567", "baseline", **{"generate.guidance_scale": 1.0})
    child = row("old", "ddddddd", **{"generate.guidance_scale": 2.0})
    by_name = entries(*three, older, child)
    assert by_name["old"].changed == {"generate.guidance_scale": ("1", "2")}
    assert by_name["old"].baseline == "1234567"
    assert by_name["1234567"].changed == {}


@pytest.mark.parametrize("state", ["Queued", "Running", "Failed"])
def test_an_unfinished_experiment_does_not_show_the_numbers_of_its_commit(state: str):
    """DVC shows the commit's numbers for an experiment that made none."""
    entry = entries(row(None, "main", "baseline"), row("late", "aaaaaaa", State=state))["late"]
    assert (entry.verdicts, entry.effects) == ({}, {})
    assert entry.note.startswith(state.lower())


def test_a_finished_queued_experiment_shows_its_numbers():
    entry = entries(row(None, "main", "baseline"), row("done", "aaaaaaa", State="Success"))["done"]
    assert entry.verdicts["music"] == "strong"
    assert entry.note == ""


def test_an_earlier_layout_and_a_run_without_verdict_are_dashes_with_a_note():
    old = {"Experiment": None, "rev": "main", "typ": "baseline", **PARAMS, "rungs_reached": 4.0}
    none = {"Experiment": "half", "rev": "aaaaaaa", "typ": "branch_base", **PARAMS, "rungs_reached": "!"}
    comparison = comparison_of([old, none, row("new", "bbbbbbb")])
    assert [cells[2:5] for cells in report.cells(comparison)][:2] == [("-", "-", "-")] * 2
    assert report.notes(comparison) == [
        "main: metrics/overview.json has an earlier layout without verdicts",
        "half: no verdict: stage decide has not run",
    ]


def test_numbers_of_other_parameters_are_not_shown(three: list[dict[str, Any]]):
    reason = "not run with these parameters"
    comparison = comparison_of(three, {"workspace": reason, "aaaaaaa": "a reason for a baseline only"})
    by_name = {entry.name: entry for entry in comparison.entries}
    assert (by_name["workspace"].verdicts, by_name["workspace"].effects) == ({}, {})
    assert by_name["workspace"].note == reason
    assert by_name["shuffled"].verdicts["music"] == "none"


def test_keys_that_two_files_hold_carry_the_path_of_the_file():
    """The SAEs' overview may hold the same key; parameters may share one with metrics."""
    plain = row(None, "main", "baseline")
    moved = ("1_effects.music.effect", "0_verdict.2_music_is")
    prefixed = {f"metrics/overview.json:{key}": plain.pop(key) for key in moved}
    other = {"metrics/sae_overview.json:1_effects.music.effect": 9.0, "sae.text.fvu": 0.1}
    prefixed["params.yaml:prompts.sets"] = plain.pop("prompts.sets")
    by_name = entries({**plain, **prefixed, **other}, row("flat", "bbbbbbb"))
    assert by_name["main"].effects["music"].effect == 1.024
    assert by_name["main"].verdicts["music"] == "strong"
    assert by_name["flat"].changed == {}


def test_many_changes_are_counted_and_long_values_cut():
    changes = {f"probe.{key}": 9.0 for key in ("n_folds", "seed", "ridge", "confidence", "n_bootstrap")}
    long = {"prompts.table_path": "/a/very/long/path/to/a/table/of/captions.csv"}
    comparison = comparison_of([row(None, "main", "baseline"), row("x", "aaaaaaa", **long, **changes)])
    lines = report.cells(comparison)[1][-1].splitlines()
    assert lines[0] == 'prompts.table_path "" -> /a/very/long/path/to/a/…'
    assert len(lines) == 5
    assert lines[-1].startswith("and 2 more")
    assert len(report.as_record(comparison)["entries"][1]["changed"]) == 6


def test_markdown_is_one_line_per_row(three: list[dict[str, Any]]):
    three[2]["model.id"] = "a|b"
    lines = report.markdown(comparison_of(three)).splitlines()
    assert len([line for line in lines if line.startswith("|")]) == 2 + len(three)
    columns = {line.replace("\\|", "").count("|") for line in lines if line.startswith("|")}
    assert columns == {7}


def test_the_picture_draws_every_effect_with_its_interval_and_verdict(three: list[dict[str, Any]]):
    comparison = comparison_of([*three, row("late", "ddddddd", State="Queued")])
    assert rungs_with_effect(comparison) == ("text_code", "music")
    ax = rung_panel(comparison, "music", Figure().subplots(), named=True)
    intervals, *scatters = ax.collections
    points = [tuple(point.get_offsets()[0]) for point in scatters]
    expected = [1.024, 1.024, -0.012, 1.024, 1.024]
    assert points[:5] == [(effect, y) for y, effect in enumerate(expected)]
    segments = [tuple(path.vertices[:, 0]) for path in intervals.get_paths()]
    assert segments[2] == (-0.09, 0.07)
    words = [text.get_text() for text in ax.texts]
    assert words[:6] == ["strong", "strong", "none", "strong", "strong", "no verdict"]
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels[3] == "flat\norganism\nguidance_scale 3 -> 1"


def test_different_levels_of_the_intervals_are_not_named(three: list[dict[str, Any]]):
    three[-1]["signal.confidence"] = 0.9
    comparison = comparison_of(three)
    assert comparison.confidence is None
    assert replace(comparison, confidence=0.9) != comparison
    assert "90" not in report.legend(comparison)
    assert Comparison(()).rungs == ()

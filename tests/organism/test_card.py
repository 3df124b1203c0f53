"""The model card on planted figures: bars that hold, bars that are missed, and for which models."""

import json
from pathlib import Path

import pytest

from moodlens.organism.card import CURVES, MEMORY_COST, MODELS, figure_row, results_in, turn_row


def figures(**values: float) -> dict[str, dict[str, float]]:
    return {
        name: {"value": value, "low": value - 0.05, "high": value + 0.05} for name, value in values.items()
    }


def metrics(**values: float) -> dict[str, object]:
    chance = {"by_prompt": [0.17, 0.33], "by_clip": [0.2, 0.3]}
    return {
        **{name: figures(**values) for name in MODELS},
        "ceiling": figures(accuracy_4=0.98),
        "chance_4": chance,
        "chance_5": {"by_prompt": [0.12, 0.29], "by_clip": [0.16, 0.25]},
    }


def verdicts(row: str) -> list[str]:
    """The verdict of each model in a row of the table of figures; "" without a bar."""
    cells = [cell.strip() for cell in row.strip("|").split("|")][2:]
    return [cell.split("]")[1].strip() if "]" in cell else "" for cell in cells]


HOLDS, MISSED = "holds", "**missed**"


@pytest.mark.parametrize(
    ("figure", "value", "expected"),
    [
        ("accuracy_4", 0.932, [HOLDS] * 3 + [MISSED] * 2),
        ("accuracy_4", 0.930, [MISSED] * 5),
        ("accuracy_4", 0.25, [MISSED] * 3 + [HOLDS] * 2),
        ("accuracy_4_scenes", 0.85, [HOLDS] * 3 + [""] * 2),
        ("accuracy_4_scenes", 0.849, [MISSED] * 3 + [""] * 2),
        ("opening_5", 0.2, [HOLDS] * 5),
        ("opening_5", 0.3, [MISSED] * 5),
        ("opening_5", 0.1, [MISSED] * 5),
        ("tempo_right", 0.979, [MISSED] * 3 + [""] * 2),
        ("accuracy_5", 0.9, [""] * 5),
    ],
)
def test_a_figure_is_held_against_its_bar_for_the_models_that_have_one(
    figure: str, value: float, expected: list[str]
):
    assert verdicts(figure_row(figure, "label", metrics(**{figure: value}))) == [*expected, ""]


def test_a_row_shows_values_and_intervals_and_leaves_out_what_was_not_measured():
    row = figure_row("accuracy_4_scenes", "- scenes", metrics(accuracy_4_scenes=0.9))
    assert row.startswith("| - scenes | >= .85 | .900 [.850, .950] holds |")
    assert row.endswith("|  |"), "the ceiling has no prompts"


def end(lost: float, uncond: float = 2.9) -> dict[str, float]:
    return {"val_cond": 2.0, "val_uncond": 2.1, "turn_cond": 2.5, "turn_lost": lost, "turn_uncond": uncond}


@pytest.mark.parametrize(
    ("name", "lost", "expected"),
    [
        ("organism", 2.51, HOLDS),
        ("organism", 2.49, MISSED),
        ("reader", 2.88, HOLDS),
        ("small-2/reader", 2.5, MISSED),
        ("memory", 2.5 + 0.4 * MEMORY_COST - 0.001, HOLDS),
        ("memory", 2.5 + 0.4 * MEMORY_COST + 0.001, MISSED),
        ("small-1/memory", 2.88, MISSED),
        ("shuffled", 2.88, ""),
    ],
)
def test_lost_text_costs_the_readers_something_and_the_memories_next_to_nothing(
    name: str, lost: float, expected: str
):
    cells = [cell.strip() for cell in turn_row(name, end(lost)).strip("|").split("|")]
    assert cells[0] == name
    assert cells[-1] == expected


def test_the_share_is_the_cost_over_the_gain_of_the_text():
    assert "| .100 | .250 |" in turn_row("organism", end(2.6))


def test_a_model_to_which_text_gives_nothing_is_no_memory():
    row = turn_row("memory", end(2.5, uncond=2.49))
    assert "| - |" in row
    assert MISSED in row


def test_curves_of_small_models_may_be_absent_and_no_others(tmp_path: Path):
    for name in ("metrics.json", "judge.json"):
        (tmp_path / name).write_text(json.dumps({"of": name}))
    shipped = [name for name in CURVES if not name.startswith("small-")]
    for name in shipped:
        (tmp_path / f"{name}_curve.csv").write_text("step,train_loss\n100,2.5\n200,1.5\n")
    results = results_in(tmp_path)
    assert dict(results.ends) == {name: {"step": 200.0, "train_loss": 1.5} for name in shipped}
    assert (results.metrics, results.judge) == ({"of": "metrics.json"}, {"of": "judge.json"})
    (tmp_path / "memory_curve.csv").unlink()
    with pytest.raises(FileNotFoundError, match="memory_curve"):
        results_in(tmp_path)

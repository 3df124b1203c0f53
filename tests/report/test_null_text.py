"""The chapter on null-text states: its figures and tables say what the metrics say."""

from moodlens.report.null_text import BEST_KIND, RANDOM, UNTRAINED, null_text_finding


def base(accuracy: float, difference: float) -> dict[str, float]:
    return {"accuracy": accuracy, "difference": difference, "low": difference - 0.1, "high": difference + 0.1}


LEAKY = f"{UNTRAINED}leak 0.9"
RUNG = {
    "accuracy": 0.828, "low": 0.734, "high": 0.92, "p": 0.0005, "n_units": 36,
    "baselines": {
        LEAKY: {**base(0.41, 0.19), "p": 0.013},
        "echo state network": {**base(0.57, 0.03), "p": 0.31},
        "best of these": {**base(0.56, 0.04), "p": 0.27},
    },
    "beside": {
        RANDOM[0]: base(0.469, 0.359), RANDOM[1]: base(0.594, 0.234), "token history": base(0.922, -0.094)
    },
    "few_shot": {
        "area": 0.6, "low": 0.53, "high": 0.67, "p": 0.31, "shots": [1, 2],
        "sites": ["residual.3 at step 87"],
        "families": {
            LEAKY: {"n_draws": 5, "p_wordings": 0.0123, "p_draws": 0.0087, "site": "residual.5 at step 3"},
            "echo state network": {
                "n_draws": 1, "p_wordings": 0.31, "p_draws": None, "site": "leak 0.8 at step 199"
            },
        },
    },
    "whole_shots": 1, "whole_shots_accuracy": 0.65,
    "whole_shots_over_tokens": 0.08,
    "whole_shots_over_tokens_low": 0.03, "whole_shots_over_tokens_high": 0.13,
    "partial_r2": 0.07, "partial_r2_low": -0.3, "partial_r2_high": 0.35, "partial_r2_p": 0.3,
    "acoustics_r2": 0.94,
    "arousal_r2": 0.91, "arousal_p": 0.0005, "arousal_over_random_low": 0.56,
    "swap_own": 0.945, "swap_null": 0.938, "swap_read_as_music": 0.922, "swap_read_as_text": 0.023,
    "swap_random_read_as_music": 0.0, "swap_random_read_as_text": 1.0,
    "first_step_own": 0.906, "first_step_null": 0.9,
}  # fmt: skip
FOUND = {"state": RUNG, "chance": 0.25, "n_prompts": 64}
STEPS = [
    {"reader": reader, "hookpoint": f"residual.{layer}", "step": step, "accuracy": value + 0.02 * layer}
    for reader, value in (("state", 0.8), (RANDOM[0], 0.4))
    for step in (3, 199)
    for layer in (0, 1)
] + [{"reader": "token history", "hookpoint": "", "step": step, "accuracy": 0.95} for step in (3, 199)]
CURVE = [
    {"reading": "single step", "reader": reader, "n_shots": n, "accuracy": value, "difference": 0.6 - value}
    | {"low": 0.5 - value if n == 1 else float("nan"), "high": 0.7 - value if n == 1 else float("nan")}
    for reader, value in (
        ("state", 0.6),
        (LEAKY, 0.3),
        (f"{UNTRAINED}states", 0.2),
        ("recurrent reader", 0.55),
    )
    for n in (1, 8)
]


def test_the_chapter_says_what_was_measured():
    finding = null_text_finding(FOUND, STEPS, CURVE, 0.95, None)
    for said in ("82.8", "46.9", "59.4", "token history 92.2", "chance 25.0"):
        assert said in finding.summary, said
    cells = {row[0].text: [cell.text for cell in row[1:]] for grid in finding.grids for row in grid.rows}
    assert cells["random twin"][0] == "untrained decoder"
    assert cells["token history"][0] == "reader of the tokens"
    assert (finding.verdict, finding.rule) == ("", "")
    assert cells[LEAKY][:2] == ["5 draws", "residual.5 at step 3"]
    assert cells[LEAKY][2].startswith("41.0")
    assert cells[LEAKY][-2:] == ["0.012", "0.0087"]
    assert cells["echo state network"][-1] == "–"
    assert "echo state network) has 57.0" in finding.summary
    assert "1, 2 prompts per emotion" in finding.summary
    assert finding.summary.endswith("0.310.")
    assert cells["tokens, 1 prompt each"][2].startswith("8.0")
    assert cells["arousal"] == ["0.91", "0.0005", "0.56"]
    assert cells["another emotion's text"][1].startswith("2.3")
    assert any(name.startswith("acoustic descriptors, partial R2") for name in cells)


def lead(difference: float, p: float) -> dict[str, float]:
    return {"value": 0.5, "difference": difference, "low": difference - 0.1, "high": difference + 0.1, "p": p}


def test_every_factor_has_its_lead_over_every_reader_and_no_verdict():
    mode = {
        "r2": 0.7, "low": 0.6, "high": 0.8, "p": 0.0005, "asked_by": "valence",
        "prompted_r": 0.87, "prompted_p": 0.0015,
        "leads": {RANDOM[1]: lead(0.6, 0.003), "token history": lead(0.005, 0.47)},
    }  # fmt: skip
    described = {
        "sentence": "Trained states summarise.",
        "note": "Described, not claimed.",
        "factors": {"mode": {"better_than": [RANDOM[1]]}},
    }
    finding = null_text_finding({**FOUND, "factors": {"mode": mode}}, STEPS, CURVE, 0.95, described)
    assert finding.summary.startswith("Trained states summarise. With the text cut off")
    assert (finding.verdict, finding.rule) == ("described", "Described, not claimed.")
    grid = finding.grids[2]
    (row,) = grid.rows
    assert "verdict" not in grid.columns
    assert grid.columns[-3:] == ("of random twin", "of the tokens so far", "lower error than")
    texts = [cell.text for cell in row]
    assert texts[0] == "mode"
    assert "0.87" in texts[3]
    assert "0.0015" in texts[3]
    assert "0.47" in texts[-2]
    assert texts[-1] == RANDOM[1]


def test_a_design_too_small_for_the_partial_r2_has_no_row_for_it():
    bare = {**RUNG, "partial_r2": None}
    finding = null_text_finding({**FOUND, "state": bare}, STEPS, CURVE, 0.95, None)
    assert not any("partial" in row[0].text for grid in finding.grids for row in grid.rows)


def test_both_figures_tell_their_values_in_words():
    steps, curve = null_text_finding(FOUND, STEPS, CURVE, 0.95, None).figures
    assert steps.svg.startswith("<svg")
    assert "state 81" in steps.svg  # the median layer
    assert "token history 95" in steps.svg
    assert "36 wordings" in curve.svg
    assert "interval of the distance to the state" in curve.svg


def test_the_interval_of_a_lead_is_drawn_about_the_reader_that_trails(monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "moodlens.report.null_text.reader_lines", lambda lines, *args, **kwargs: drawn.append(lines)
    )
    null_text_finding(FOUND, STEPS, CURVE, 0.95, None)
    (lines,) = (found for found in drawn if any(line.name == BEST_KIND for line in found))
    assert [line.name for line in lines] == [
        "state",
        "recurrent reader",
        BEST_KIND,
    ]  # of two memories, the best
    trailing = lines[2]
    # Lead .3, interval .2 .. .4: the reader at .3 would meet the state's .6 only outside .2 .. .4.
    assert abs(trailing.low[0] - 0.2) < 1e-9
    assert abs(trailing.high[0] - 0.4) < 1e-9

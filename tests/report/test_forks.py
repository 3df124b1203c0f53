"""The chapter on forks says what the metrics say, and claims no more than the test shows."""

import json
from pathlib import Path

import pandas as pd
import pytest

from moodlens.decision.ladder import SOURCES
from moodlens.plots.forks import STYLES
from moodlens.report.fork_sentences import EXCHANGED
from moodlens.report.forks import forks_finding
from moodlens.report.records import Finding, Grid
from moodlens.stages.report.chapters import CHAPTERS, chapters_of
from tests.report.forks_tables import (
    FACTORS,
    NEUTRAL,
    PLACES,
    SHARES,
    experiment,
    forks_metrics,
    found,
    share_row,
)
from tests.report.workspace import small_params

THIN = "\u202f"


def chapter(**changes: object) -> Finding:
    return forks_finding(forks_metrics(**changes), SHARES, PLACES, FACTORS, 0.1, 0.05, 0.95)


def grid(finding: Finding, begins: str) -> Grid:
    (one,) = (grid for grid in finding.grids if grid.caption.startswith(begins))
    return one


def row(found_in: Grid, name: str) -> dict[str, str]:
    (cells,) = (cells for cells in found_in.rows if cells[0].text == name)
    return dict(zip(found_in.columns, (cell.text for cell in cells), strict=True))


def test_every_source_of_the_ladder_has_words_and_a_line():
    assert set(EXCHANGED) == set(STYLES) == set(SOURCES.values())


def test_a_strong_source_is_told_with_its_share_at_the_fork_that_decides():
    summary = chapter().summary
    said = "Exchanging the music so far, without any text, moves what follows a fork at 2.2"
    assert said in summary
    assert f"by 85{THIN}% [77, 93]{THIN}% (strong, p 0.0001)." in summary
    assert f"differ by 83{THIN}% of the judge’s own gap" in summary
    assert "Shares are shares of that difference." in summary


def wide(row: dict[str, object]) -> bool:
    return row["source"] == "memory" and row["step_s"] == 1.2


def test_none_is_said_with_the_widest_interval_of_a_single_fork():
    shares = [row | {"narrow_low": -0.09, "narrow_high": 0.08} if wide(row) else row for row in SHARES]
    summary = forks_finding(forks_metrics(), shares, PLACES, FACTORS, 0.1, 0.05, 0.95).summary
    said = f"null text ahead, moves what follows by less than 10{THIN}% at every fork (none, "
    said += f"widest 90{THIN}% interval [−9, 8]{THIN}%, at 1.2{THIN}s)."
    assert said in summary
    notes = grid(chapter(), "Verdict").notes
    assert "Memory: none, the rule of memory." in notes
    assert any(f"the share at every fork inside ±10{THIN}%" in note for note in notes)


def test_the_largest_effect_of_a_mere_change_of_words_is_told():
    shares = [row | {"donor": -0.2} if wide(row) else row for row in SHARES]
    summary = forks_finding(forks_metrics(), shares, PLACES, FACTORS, 0.1, 0.05, 0.95).summary
    assert f"Two wordings of one emotion differ by −20{THIN}% at most (donor, memory, 1.2{THIN}s)." in summary


def test_sources_keep_their_order_where_a_file_has_sorted_its_keys():
    sorted_metrics = json.loads(json.dumps(forks_metrics(), sort_keys=True))
    finding = forks_finding(sorted_metrics, SHARES, PLACES, FACTORS, 0.1, 0.05, 0.95)
    assert finding == chapter()
    assert [cells[0].text for cells in grid(finding, "Verdict").rows][:2] == ["music so far", "memory"]


def test_an_undecided_source_claims_nothing():
    sources = {"memory": found("memory", "undecided", 1)}
    summary = chapter(main=experiment(sources=sources)).summary
    assert "whether it moves what follows is undecided" in summary
    assert "less than" not in summary


def test_where_the_prompts_move_the_judge_too_little_shares_are_of_its_own_gap():
    total = {"log_odds": {}, "is_the_judges_gap": True, "share_of_gap": 0.04, "p": 0.5}
    finding = chapter(main=experiment(total=total))
    assert "too little to divide by, so shares are shares of the judge’s own gap" in finding.summary
    assert "100 % is the judge’s own gap" in finding.figures[0].caption


def test_the_first_figure_tells_every_share_in_words():
    first = chapter().figures[0]
    for said in (
        f"music so far 5{THIN}% at 0.3 s", f"memory 0{THIN}% at 0.3 s", f"re-reading 97{THIN}% at 0.3 s",
        f"memory, neutral text ahead 3{THIN}% at 0.6 s", f"guidance 3, re-reading 45{THIN}%",
        "16 pairs of wordings",
    ):  # fmt: skip
        assert said in first.svg, said
    assert ">seconds into the clip at which the clip is forked<" in first.svg
    assert ">share of the emotion of what follows<" in first.svg
    assert "last 1.7" in first.caption


def test_memory_stands_beside_the_likelihood_and_the_contrast_with_neutral_text_ahead():
    verdicts = grid(chapter(), "Verdict")
    neutral = row(verdicts, "memory, neutral text ahead")
    assert (neutral["verdict"], neutral["share"], neutral["donor"]) == ("no verdict", f"3{THIN}%", "–")
    assert neutral["nats per token"] == "3.25"
    assert row(verdicts, "memory")["nats per token"] == "3.10"
    assert any(
        "model trained by dropping the text of whole clips has never seen" in n for n in verdicts.notes
    )


def test_the_verdict_takes_the_likelihood_of_its_own_fork_and_guidance():
    shares = [
        share_row("music", second, 0.5, guidance_scale=scale, nats_per_token=10 * scale + second)
        for scale in (3.0, 1.0)
        for second in (0.3, 2.2)
    ]
    main = experiment(sources={"music": found("music", "strong", 3)})
    finding = forks_finding(forks_metrics(main=main, run=None), shares, [], FACTORS, 0.1, 0.05, 0.95)
    assert row(grid(finding, "Verdict"), "music so far")["nats per token"] == "12.2"


def test_every_fork_place_and_factor_has_its_row():
    finding = chapter()
    assert len(grid(finding, "Every fork").rows) == len(SHARES)
    places = grid(finding, "Memory by layer")
    assert [cells[0].text for cells in places.rows] == [place["place"] for place in PLACES]
    assert [cells[1].mark for cells in places.rows] == ["", "strong", "", ""]
    assert "layer 1 and steps 0-15" in finding.summary
    assert "is confirmed by the other half (larger p 0.0020)" in finding.summary
    factors = grid(finding, "The same contrasts")
    assert factors.columns[2:] == ("loudness, dB", "mode margin")
    assert [cells[0].text for cells in factors.rows] == [
        f"happy - sad, {name}" for name in ("whole clips", "music so far", "re-reading")
    ]  # those of the run's guidance are left out
    assert row(factors, "happy - sad, music so far")["mode margin"] == "2.50 [2.00, 3.00]"


def test_a_choice_of_the_place_that_fails_on_the_other_half_is_said():
    where = {"found": ["layer 1", "layer 1"], "confirmed_p": 0.2, "best": "layer 1"}
    summary = chapter(main=experiment(where=where)).summary
    assert "chooses a part (layer 1); the choice is not confirmed by the other half" in summary


def test_without_places_and_a_run_of_its_own_guidance_one_panel_remains():
    shares = [r for r in SHARES if r["guidance_scale"] == 1.0 and r["source"] != NEUTRAL]
    metrics = forks_metrics(main=experiment(where=None), run=None)
    finding = forks_finding(metrics, shares, [], FACTORS, 0.1, 0.05, 0.95)
    (figure,) = finding.figures
    assert "Guidance 3" not in figure.svg
    assert "diamond" not in figure.caption
    assert "guidance of the run" not in finding.summary
    assert not [one for one in finding.grids if one.caption.startswith("Memory by layer")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "metrics").mkdir()
    for name, rows in (("shares", SHARES), ("places", PLACES), ("factors", FACTORS)):
        pd.DataFrame(rows).to_csv(tmp_path / "metrics" / f"forks_{name}.csv", index=False)
    (tmp_path / "metrics" / "forks.json").write_text(json.dumps(forks_metrics()))
    return tmp_path


def test_the_chapter_is_the_first_of_the_page_and_read_from_the_files(root: Path):
    first = chapters_of(root, small_params())[0]
    assert CHAPTERS[0].key == first.key == "forks"
    assert first.finding == chapter()


def test_a_model_without_forks_has_the_reason_in_one_line(root: Path):
    for name in ("shares", "places", "factors"):
        (root / "metrics" / f"forks_{name}.csv").write_text("guidance_scale,source\n")
    metrics = {"applies": False, "reason": "the model prepends its text", "judged_s": None}
    (root / "metrics" / "forks.json").write_text(json.dumps(metrics))
    first = chapters_of(root, small_params())[0]
    assert first.finding is None
    assert first.reason == "Forks do not apply: the model prepends its text."

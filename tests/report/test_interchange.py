"""The chapter on interchange says what the metrics say, and claims no more than the test shows."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from moodlens.report.interchange import interchange_finding
from moodlens.report.records import Finding
from moodlens.use.analysis import analyse
from moodlens.use.discovery import find
from moodlens.use.records import arms_table, metrics_of, places_table
from tests.use.planted import GAPS, PLACES, PLAN, continuations, scores_of

PARTS = {"inside": 0.5, "outside": 0.1, "on": 0.4, "off": 0.7}


def finding_of(folder: Path, exchange: float, **about: float) -> Finding:
    """Return the chapter of planted data, its tables read back from CSV as the stage `report` reads them."""
    found = find(scores_of([0.1, 0.2, 0.7, 0.3]), 0, 99, 0.95)
    table, dealt = continuations({"exchange": exchange, **PARTS}, noise=0.3, **about)
    found = type(found)(dealt.half_of, (PLACES[2], PLACES[2]), found.candidates, found.whole, found.whole_p)
    analysis = analyse(table.assign(**PLACES[2].columns), found, GAPS, PLAN)
    about_run = {"judged_s": 1.7, "judge": "a judge", "n_directions": 4, "applies": True, "reason": ""}
    metrics = json.loads(json.dumps(about_run | metrics_of(found, analysis, 50.0), sort_keys=True))
    tables = {"places": places_table(found, 50.0), "arms": arms_table(analysis), "factors": analysis.factors}
    rows = []
    for name, frame in tables.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
        rows.append(pd.read_csv(folder / f"{name}.csv").to_dict("records"))
    return interchange_finding(metrics, *rows, 0.1, 0.05, 0.95)


def test_the_summary_gives_place_share_controls_and_verdict(tmp_path: Path):
    summary = finding_of(tmp_path, 0.6).summary.replace("\u202f", " ")
    assert (
        "Exchanging the residual stream after layer 2 (residual.2) between two prompts moves the music by 60"
        in summary
    )
    assert re.search(
        r"Along the emotion’s directions alone it is (49|50|51) %, along all others (9|10|11) %", summary
    )
    assert "Verdict: weak, because" in summary
    assert "199 draws are needed for strong" in summary
    assert "not that the emotion is made there" in summary


@pytest.mark.parametrize(("exchange", "verdict"), [(0.0, "none"), (0.6, "weak")])
def test_figures_and_tables_hold_every_place_and_arm(tmp_path: Path, exchange: float, verdict: str):
    finding = finding_of(tmp_path, exchange)
    assert f"Verdict: {verdict}" in finding.summary
    searched, tested = finding.figures
    for layer in range(4):
        assert f"layer {layer}" in searched.svg
    for name in ("random directions, mean", "same emotion", "other states into the text", "own states kept"):
        assert name in tested.svg
    halves, arms, places, factors = finding.grids
    assert len(arms.rows) == 10
    assert len(places.rows) == len(PLACES)
    assert [row[0].text for row in halves.rows][-1] == "both"
    marked = [cell.text for row in halves.rows for cell in row if cell.mark]
    assert bool(marked) == (verdict == "weak")
    assert len(factors.rows) == 8
    texts = [cell.text for grid in finding.grids for row in grid.rows for cell in row]
    assert not any("nan" in text for text in texts)


def test_a_model_that_the_prompts_do_not_move_is_measured_by_the_judges_gap(tmp_path: Path):
    finding = finding_of(tmp_path, 0.0, total=0.0)
    assert "the judge’s own gap" in finding.figures[1].caption
    assert "Verdict: none" in finding.summary

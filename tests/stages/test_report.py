"""The report stage on a workspace whose truth is known, whole and in parts."""

import json
import re
import shutil
from pathlib import Path

import pytest

from moodlens.base.errors import ContractError
from moodlens.decision.ladder import RUNGS
from moodlens.params.pipeline import Params
from moodlens.plots import dvc_page
from moodlens.stages import decide, temporal
from moodlens.stages.report.chapters import CHAPTERS
from moodlens.stages.report.stage import gather, run
from moodlens.stages.shell import CHAPTERS as MAY_BE_LEFT_OUT
from moodlens.stages.shell import write_not_run
from moodlens.store.tables import write_metrics
from tests.report.workspace import measure, small_params, write_workspace

MEASURED = {"decide", "signal", "probe", "acoustics"}
"""Chapters of the stages that the test workspace runs."""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Params]:
    root = tmp_path_factory.mktemp("workspace")
    params = write_workspace(root)
    measure(params, root)
    return root, params


def test_every_section_is_filled_from_what_the_stages_wrote(workspace: tuple[Path, Params]):
    root, params = workspace
    page = gather(params, root)
    assert page.verdict is not None
    assert [rung.name for rung in page.verdict.rungs] == [name.replace("_", " ") for name in RUNGS]
    assert page.verdict.rungs[-1].verdict == "not tested"
    design, check, finding = page.verdict.beside
    assert design.value.startswith(("Prompts, wordings and nuisances", "The design"))
    assert "dealt to labels at random" in check.value
    assert finding.value.startswith("Not measured")
    text_code = page.verdict.rungs[0]
    beaten = {bar.name for bar in text_code.bars if bar.kind == "baseline"}
    assert beaten == {"bag of words", "company of the words", "random text encoder"}
    findings = {chapter.key: chapter.finding for chapter in page.chapters if chapter.finding is not None}
    assert set(findings) == MEASURED
    assert "residual 2 (cond)" in findings["signal"].summary
    assert findings["signal"].rule
    assert [row[0].text for row in findings["signal"].grids[0].rows].count("residual 0 (cond)") == 1
    assert "t-test p: descriptive, not valid" in findings["signal"].grids[0].columns
    assert (len(findings["signal"].figures), len(findings["probe"].figures)) == (2, 3)
    assert page.listening is not None
    assert {len(group.players) for group in page.listening.groups} == {params.report.clips_per_emotion}
    assert page.checks is not None
    assert page.checks[0].href == "checks/prompts.html"
    facts = {fact.name: fact.value for fact in page.design}
    assert (facts["prompts"], facts["clips"], facts["wordings"]) == ("24", "48", "12")


def test_run_writes_the_page_and_prints_the_headline(
    workspace: tuple[Path, Params], capsys: pytest.CaptureFixture[str]
):
    root, params = workspace
    overview = (root / "metrics" / "overview.json").read_bytes()
    run(params, root)
    assert (root / "metrics" / "overview.json").read_bytes() == overview  # of decide: not written here
    printed = capsys.readouterr().out
    path = root / "reports" / "index.html"
    assert str(path) in printed
    html = path.read_bytes()
    decided = json.loads((root / "metrics" / "decide.json").read_text())
    assert decided["headline"] in printed
    assert html.count(b"Not run.") == len(CHAPTERS) - len(MEASURED)
    assert html.count(b"<audio") == 4 * params.report.clips_per_emotion
    run(params, root)
    assert path.read_bytes() == html


def test_an_empty_workspace_gives_a_page_that_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run(small_params(), tmp_path)
    html = (tmp_path / "reports" / "index.html").read_text(encoding="utf-8")
    assert "No verdict yet" in html
    assert html.count("Not run.") == 4 + len(CHAPTERS)
    assert "No verdict yet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("gone", "left"),
    [
        ("metrics/signal.json", "probe"),
        ("metrics/probe_layers.csv", "signal"),
        ("data/acoustics.parquet", "signal"),
    ],
)
def test_one_missing_result_leaves_the_others(
    workspace: tuple[Path, Params], tmp_path: Path, gone: str, left: str
):
    root = shutil.copytree(workspace[0], tmp_path / "copy")
    (root / gone).unlink()
    page = gather(workspace[1], root)
    missing = {"metrics/signal.json": "signal", "metrics/probe_layers.csv": "probe"}.get(gone, "acoustics")
    filled = {chapter.key for chapter in page.chapters if chapter.finding is not None}
    assert missing not in filled
    assert left in filled


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (
            {"pooled_only": True},
            "generate.pooled_only must be false to read the states of single steps; got True",
        ),
        ({"windows": [[0, 10], [20, 40]]}, "generate.windows must leave no gap between stored steps; got [["),
    ],
    ids=["pooled_only", "windows"],
)
def test_the_chapter_on_time_says_which_setting_left_no_curves(
    workspace: tuple[Path, Params], tmp_path: Path, policy: dict, said: str
):
    root, params = shutil.copytree(workspace[0], tmp_path / "copy"), workspace[1]
    capture = {"pooled_only": False, "step_stride": 1, "windows": []} | policy
    write_metrics({"n_steps": 53, "capture": capture}, root / "data" / "activations" / "manifest.json")
    temporal.run(params, root)
    run(params, root)
    html = (root / "reports" / "index.html").read_text(encoding="utf-8")
    (section,) = re.findall(r'<section id="temporal".*?</section>', html, re.DOTALL)
    assert f"<strong>Not run.</strong> {said}" in section
    assert "to get curves over time." in section
    assert "has written" not in section


def test_a_missing_clip_is_one_line(workspace: tuple[Path, Params], tmp_path: Path):
    root = shutil.copytree(workspace[0], tmp_path / "copy")
    (root / "data" / "audio" / "happy-000-s0.flac").unlink()
    with pytest.raises(ContractError, match=r"happy-000-s0\.flac"):
        gather(workspace[1], root)


def test_chapters_that_were_not_run_leave_their_reason_and_the_verdict_stands(
    workspace: tuple[Path, Params], tmp_path: Path
):
    root, params = tmp_path / "copy", workspace[1]
    shutil.copytree(workspace[0], root)
    for name in MAY_BE_LEFT_OUT:
        write_not_run(root, name, f"{name} needs more wordings.")
    decide.run(params, root)
    page = gather(params, root)
    assert page.verdict is not None
    assert {chapter.key for chapter in page.chapters if chapter.finding is not None} == MEASURED
    run(params, root)
    html = (root / "reports" / "index.html").read_text(encoding="utf-8")
    for name in MAY_BE_LEFT_OUT:
        assert f"{name} needs more wordings." in html


def test_the_page_of_dvc_plots_is_written_where_a_workspace_lacks_it(
    workspace: tuple[Path, Params], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(dvc_page, "offline_page", lambda: "<!DOCTYPE html>")
    run(workspace[1], tmp_path)
    assert not (tmp_path / dvc_page.PAGE).exists(), "no DVC repository"
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").touch()
    run(workspace[1], tmp_path)
    assert (tmp_path / dvc_page.PAGE).read_text() == "<!DOCTYPE html>"

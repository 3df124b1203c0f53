"""MLflow's pages as `make ui` serves them, in a browser: verdicts at first sight, a comparison, an SAE."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from moodlens.stages.track import track, write_outcome
from tests.browser import needs_chromium, visit
from tests.store.finished import T0_MS, finish

ROOT = Path(__file__).parents[1]
QUESTIONS = {
    "runs": "Which model or setting shows what?",
    "comparison": "What differs between",
    "own": "The run of this workspace",
    "sae": "How good is its SAE of residual.1",
    "saes": "All SAEs",
}
START_S = 180
"""Seconds that the server may take on a busy machine; alone it needs 13."""
SHOWN_MS = 60_000

pytestmark = [pytest.mark.pipeline, needs_chromium]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Serve a store with the organism and its shuffled twin; yield the printed address of each question."""
    root = tmp_path_factory.mktemp("ui")
    organism, shuffled = root / "organism", root / "shuffled"
    finish(organism, "organism", "strong", saes=["residual.1"])
    finish(shuffled, "organism-shuffled", "none", started_ms=T0_MS + 10**6, experiment="calm-tuna")
    (organism / ".git").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{organism}/mlflow.db")
        for workspace in (organism, shuffled):
            outcome, line = track(workspace)
            assert outcome.logged, line
            write_outcome(workspace, outcome)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    command = [sys.executable, "-m", "moodlens.cli", "ui", "--port", str(port)]
    with (root / "server.log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=organism, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", root / "server.log")
        yield addresses((root / "server.log").read_text())
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=60)


def wait_for(address: str, log: Path) -> None:
    """Return when a server answers."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError(f"the server does not answer:\n{log.read_text()[-2000:]}")


def addresses(printed: str) -> dict[str, str]:
    """Return the address below each question."""
    lines = printed.splitlines()
    return {
        key: lines[number + 1].strip()
        for key, question in QUESTIONS.items()
        for number, line in enumerate(lines)
        if line.startswith(question)
    }


def row_of(page: Page, name: str) -> str:
    """Return the row-index of a run in the table, whose cells stand in several containers."""
    row = page.locator(".ag-row", has=page.get_by_role("link", name=name, exact=True)).first
    expect(row).to_be_visible(timeout=SHOWN_MS)
    return str(row.get_attribute("row-index"))


def test_make_ui_runs_the_command_that_prints_the_pages():
    done = subprocess.run(["make", "-n", "ui"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "python -m moodlens.cli ui" in done.stdout


def test_runs_show_model_and_verdicts_and_two_of_them_compare(served: dict[str, str], tmp_path: Path):
    with visit(served["runs"], allowed=("http://127.0.0.1",), width=1600, height=1000) as seen:
        page = seen.page
        indices = {name: row_of(page, name) for name in ("calm-tuna", "organism @ 0123456")}
        shown = {
            name: re.split(r"\n+", "\n".join(page.locator(f'[row-index="{index}"]').all_inner_texts()))
            for name, index in indices.items()
        }
        page.screenshot(path=tmp_path / "runs.png")
        assert {"organism-shuffled", "strong", "none", "untested"} <= set(shown["calm-tuna"])
        assert {"organism", "strong", "untested"} <= set(shown["organism @ 0123456"])
        assert "none" not in shown["organism @ 0123456"]
        expect(page.get_by_text("2 matching runs")).to_be_visible()
        expect(page.get_by_text("Judges")).to_have_count(0)  # of the mode for chat traces

        for index in indices.values():
            page.locator(f'[row-index="{index}"] input[type=checkbox]').first.check()
        page.get_by_role("button", name="Compare", exact=True).click()
        expect(page.get_by_text("Comparing 2 Runs")).to_be_visible(timeout=SHOWN_MS)
        comparison(page, tmp_path)
        assert seen.refused == []


def test_the_printed_comparison_opens_on_the_differing_verdict(served: dict[str, str], tmp_path: Path):
    with visit(served["comparison"], allowed=("http://127.0.0.1",), width=1600, height=1000) as seen:
        expect(seen.page.get_by_text("Comparing 2 Runs")).to_be_visible(timeout=SHOWN_MS)
        comparison(seen.page, tmp_path)


def comparison(page: Page, folder: Path) -> None:
    """Check the page of comparisons: its axes are model and strength on music, its tags the verdicts."""
    expect(page.locator(".js-plotly-plot").get_by_text("strength_music")).to_be_visible(timeout=SHOWN_MS)
    expect(page.locator(".js-plotly-plot").get_by_text("model.id")).to_be_visible()
    page.screenshot(path=folder / "comparison.png")
    (verdicts,) = (
        row for row in page.get_by_role("row").all_inner_texts() if row.startswith("verdict.music")
    )
    assert verdicts.split() == ["verdict.music", "none", "strong"]


def test_an_sae_shows_its_card_its_lineage_and_that_it_is_champion(served: dict[str, str], tmp_path: Path):
    with visit(served["sae"], allowed=("http://127.0.0.1",), width=1600, height=1400) as seen:
        page = seen.page
        expect(page.get_by_role("heading", name="SAE of residual.1, organism")).to_be_visible(
            timeout=SHOWN_MS
        )
        expect(page.get_by_text("champion").first).to_be_visible()
        expect(page.get_by_role("link", name="sae/residual.1")).to_be_visible()
        for name in ("git.revision", "input.data/activations", "output.models/sae"):
            expect(page.get_by_role("cell", name=name).first).to_be_visible()
        page.screenshot(path=tmp_path / "sae.png")


def test_the_run_of_the_workspace_shows_its_stages_data_and_report(served: dict[str, str], tmp_path: Path):
    with visit(served["own"], allowed=("http://127.0.0.1",), width=1600, height=1000) as seen:
        page = seen.page
        for stage in ("generate", "decide", "sae", "report"):
            expect(page.get_by_role("link", name=stage, exact=True)).to_be_visible(timeout=SHOWN_MS)
        page.get_by_text("data/activations").first.click()
        expect(page.get_by_text("shard-0000.safetensors: residual.1/cond")).to_be_visible(timeout=SHOWN_MS)
        page.screenshot(path=tmp_path / "data.png")
        page.goto(served["own"].replace("?", "/artifacts/report/index.html?"))
        expect(page.frame_locator("iframe").get_by_role("heading", name="Page")).to_be_visible(
            timeout=SHOWN_MS
        )

"""The page of `dvc plots`: whole without a network, current or not, and plain about a plot it cannot draw."""

import configparser
from pathlib import Path

import pytest

from moodlens.cli.__main__ import examine
from moodlens.plots import dvc_page
from tests.browser import needs_chromium, visit

ROOT = Path(__file__).parents[2]
POINT = '{"data": {"values": [{"a": 1}]}, "mark": "point", "encoding": {"x": {"field": "a"}}}'


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clone")
    dvc_page.write_page(root)
    return root


def drawn(clone: Path, path: Path, spec: str) -> Path:
    """Write the page of one plot as DVC fills it."""
    plot = f"<div id='a_plot'><script>vegaEmbed('#a_plot', {spec});</script></div>"
    page = (clone / dvc_page.PAGE).read_text(encoding="utf-8")
    path.write_text(page.replace("{plot_divs}", plot).replace("{refresh_tag}", ""), encoding="utf-8")
    return path


def test_dvc_is_told_where_the_page_is_and_git_leaves_it_out():
    config = configparser.ConfigParser()
    config.read(ROOT / ".dvc" / "config")
    assert Path(".dvc", config["plots"]["html_template"]) == dvc_page.PAGE
    assert "/tmp" in (ROOT / ".dvc" / ".gitignore").read_text().splitlines()
    assert dvc_page.COMMAND.removeprefix("python -m ") in (ROOT / "Makefile").read_text()


def test_the_page_is_current_until_it_is_edited_or_gone(clone: Path, tmp_path: Path):
    assert dvc_page.is_current(clone)
    assert not dvc_page.is_current(tmp_path)
    old = tmp_path / dvc_page.PAGE
    old.parent.mkdir(parents=True)
    old.write_text((clone / dvc_page.PAGE).read_text().replace("vl-convert-python 1", "vl-convert-python 0"))
    assert not dvc_page.is_current(tmp_path)


def test_a_changed_skeleton_makes_the_page_stale(clone: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dvc_page, "SKELETON", dvc_page.SKELETON.replace("1360px", "900px"))
    assert not dvc_page.is_current(clone)


def test_doctor_names_the_command_that_writes_the_page(clone: Path, tmp_path: Path):
    def of(root: Path):
        return next(finding for finding in examine(root) if finding.subject == "page of dvc plots")

    assert of(clone).advice == ""
    assert of(tmp_path).result == "missing or of another version"
    assert of(tmp_path).advice == "Run `python -m moodlens.plots.dvc_page`"


def test_outside_a_clone_the_command_says_where_to_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(dvc_page.UsageError, match=r"\.dvc/config.*Run from the top"):
        dvc_page.main()


@needs_chromium
def test_a_plot_is_drawn_without_a_network(clone: Path, tmp_path: Path):
    with visit(drawn(clone, tmp_path / "index.html", POINT).as_uri()) as seen:
        seen.page.wait_for_selector("#a_plot svg .mark-symbol path")
        links = seen.page.eval_on_selector_all("a[href]", "links => links.map((link) => link.href)")
    assert seen.errors == seen.refused == []
    assert [link for link in links if link.startswith("http")] == []


@needs_chromium
@pytest.mark.parametrize(
    ("spec", "words", "n_errors"),
    [
        ("{}", "a plot: no data in these revisions.", 0),
        ('{"data": {"values": []}, "mark": "smear"}', "a plot: cannot be drawn. ", 1),
    ],
)
def test_what_cannot_be_drawn_is_said(clone: Path, tmp_path: Path, spec: str, words: str, n_errors: int):
    with visit(drawn(clone, tmp_path / "index.html", spec).as_uri()) as seen:
        assert seen.page.inner_text("#a_plot p").startswith(words)
    assert len(seen.errors) == n_errors
    assert seen.refused == []

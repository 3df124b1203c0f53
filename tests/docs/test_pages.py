"""The pages themselves: figures as in the tracked files, names that exist, lines that fit a screen."""

import re
import tomllib
from pathlib import Path

import pytest

from moodlens.docs.__main__ import main, pages, stale_lines
from moodlens.docs.names import Project, missing_names
from moodlens.stages import STAGES

ROOT = Path(__file__).parents[2]
PAGES = pages(ROOT)


@pytest.fixture(scope="module")
def project() -> Project:
    return Project(ROOT)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_figure_is_that_of_its_tracked_file(page: Path):
    """Where this fails after a new run, `make docs` writes the figures."""
    assert list(stale_lines(page, ROOT)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_file_module_and_command_named_exists(page: Path, project: Project):
    assert missing_names(page.read_text(), project) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_lines_fit_a_screen(page: Path):
    text = page.read_text().split("\n<!-- figures")[0]
    long = [number for number, line in enumerate(text.splitlines(), 1) if len(line) > 110]
    assert long == []


def test_a_stale_page_is_reported_and_then_written(tmp_path, monkeypatch, capsys):
    for folder in ("docs", "metrics", "src/moodlens/cli"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("README.md", "CONTRIBUTING.md", "Makefile", ".gitignore"):
        (tmp_path / name).write_text("")
    (tmp_path / "params.yaml").write_text("model: {id: organism}\n")
    (tmp_path / "metrics" / "sae.json").write_text('{"fvu": 0.0836}')
    page = tmp_path / "docs" / "sae.md"
    page.write_text("It leaves .91 of it.\n<!-- figures\nleaves {} of it\n  metrics/sae.json fvu .2f\n-->\n")
    monkeypatch.chdir(tmp_path)
    assert main(["--check"]) == 1
    assert "docs/sae.md:1 is stale" in capsys.readouterr().out
    assert main([]) == 0
    assert page.read_text().startswith("It leaves .08 of it.\n")
    assert main(["--check"]) == 0


def test_outside_a_repository_it_says_where_to_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([]) == 2
    assert "the working folder must hold docs/" in capsys.readouterr().err


def test_the_floors_in_the_architecture_are_those_of_the_import_contract():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    floors = [re.split(r" [|:] ", layer) for layer in contract["layers"]]
    section = (ROOT / "docs" / "architecture.md").read_text().split("## Floors")[1].split("##")[0]
    rows = re.findall(r"(?m)^\| (`.*?`) \|", section)
    assert [re.findall(r"`(\w+)`", row) for row in rows] == floors


def test_the_stages_in_the_architecture_are_those_of_the_pipeline():
    section = (ROOT / "docs" / "architecture.md").read_text().split("## Stages")[1].split("##")[0]
    rows = re.findall(r"(?m)^\| (`.*?`) \|", section)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == set(STAGES)


def test_the_five_questions_name_functions_of_their_files():
    section = (ROOT / "docs" / "architecture.md").read_text().split("## Five")[1].split("## Floors")[0]
    rows = re.findall(r"(?m)^\| [^|]* \| `([^`]*)` \| (.*) \|$", section)
    assert len(rows) == 5
    for file, names in rows:
        code = (ROOT / "src" / "moodlens" / file).read_text()
        functions = re.findall(r"`(\w+)`", names)
        assert functions, file
        assert [f"def {name}(" in code for name in functions] == [True] * len(functions), file

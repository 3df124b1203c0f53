"""`dvc plots show` and `diff` with the project's templates, in a browser without a network.

Every plot of dvc.yaml is drawn from a few rows and read back from its SVG: titles, axes, legend, and the path
of every line. A line with two points at one x joins two series.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from moodlens.plots.dvc_page import write_page
from moodlens.stages.shell import QUIET
from tests.browser import needs_chromium, visit
from tests.stages.plot_rows import N_LAYERS, N_STEPS, plot_tables

ROOT = Path(__file__).parents[2]
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
PLOTS = {name: plot for entry in PIPELINE["plots"] for name, plot in entry.items()}
MODEL, TWIN, NULL = "#3b49c4", "#9a6b00", "#626975"
READ = """plot => {
  const texts = (chosen) => [...plot.querySelectorAll(chosen + " text")].map((text) => text.textContent);
  const marks = (chosen) => [...plot.querySelectorAll(chosen)];
  return {
    note: plot.querySelector("p")?.textContent ?? "",
    titles: texts(".role-title-text"),
    axes: texts(".role-axis-title"),
    legend: texts(".role-legend-label"),
    lines: marks(".mark-line.role-mark path").map((line) => [
      line.getAttribute("d"), line.getAttribute("stroke"), line.getAttribute("stroke-dasharray")]),
    points: marks(".mark-symbol.role-mark path, .mark-rect.role-mark path").map(
      (point) => point.getAttribute("fill")),
    labels: texts(".mark-text.role-mark"),
  };
}"""


@dataclass(frozen=True)
class Drawn:
    """What a plot's SVG holds."""

    note: str  # written in place of a plot that could not be drawn
    titles: list[str]  # the plot's and its panels'
    axes: list[str]
    legend: list[str]
    lines: list[tuple[str, str, str]]  # path, colour and dashes
    points: list[str]  # colours of points, bars and cells
    labels: list[str]  # texts among the marks

    def series(self, colour: str) -> list[tuple[str, str, str]]:
        return [line for line in self.lines if line[1] == colour]


@dataclass(frozen=True)
class Seen:
    """A page of plots: its plots in order, what it reported and what it asked for."""

    plots: dict[str, Drawn]
    errors: list[str]
    refused: list[str]


def run(root: Path, *argv: str) -> str:
    env = {key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "GIT_"))}
    env |= {**QUIET, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"}
    done = subprocess.run(argv, cwd=root, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(argv)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def commit(root: Path, strength: float, tag: str) -> None:
    for name, rows in plot_tables(strength).items():
        rows.to_csv(root / "metrics" / f"{name}.csv", index=False)
    run(root, "git", "add", "-A")
    run(root, "git", "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-q", "-m", tag)
    run(root, "git", "tag", tag)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DVC repository of the project's plots: templates, definitions, page, and two revisions of rows."""
    root = tmp_path_factory.mktemp("plots")
    (root / "metrics").mkdir()
    shutil.copytree(ROOT / ".dvc" / "plots", root / ".dvc" / "plots")
    for name in (".dvc/config", ".dvc/.gitignore"):
        shutil.copy(ROOT / name, root / name)
    (root / "dvc.yaml").write_text(yaml.safe_dump({"plots": PIPELINE["plots"]}, sort_keys=False))
    write_page(root)
    run(root, "git", "init", "-q")
    commit(root, 0.5, "weaker")
    commit(root, 0.9, "stronger")
    return root


def read(path: Path) -> Seen:
    with visit(path.as_uri()) as seen:
        seen.page.wait_for_function(
            "[...document.querySelectorAll('body > div')].every((plot) => plot.querySelector('svg, p'))"
        )
        plots = {
            plot.get_attribute("id") or "": Drawn(**plot.evaluate(READ))
            for plot in seen.page.query_selector_all("body > div")
        }
    return Seen(plots, seen.errors, seen.refused)


@pytest.fixture(scope="module")
def shown(repo: Path) -> Seen:
    run(repo, "dvc", "plots", "show", "-o", "shown")
    return read(repo / "shown" / "index.html")


@pytest.fixture(scope="module")
def compared(repo: Path) -> Seen:
    run(repo, "dvc", "plots", "diff", "weaker", "stronger", "-o", "compared")
    return read(repo / "compared" / "index.html")


def n_points(line: tuple[str, str, str]) -> int:
    """Return the number of points of a line; fails if two have the same x, as those of two series have."""
    xs = re.findall(r"[ML](-?[\d.]+),", line[0])
    assert len(set(xs)) == len(xs), f"a line joins several series: {line}"
    return len(xs)


def test_every_plot_names_a_template_an_output_a_title_and_its_axes():
    entries = [out for stage in PIPELINE["stages"].values() for out in stage["outs"]]
    outs = {out if isinstance(out, str) else next(iter(out)) for out in entries}
    for name, plot in PLOTS.items():
        assert set(plot["y"]) <= outs, f"{name} draws a file that no stage writes"
        assert re.search(r": .+", plot["title"]), f"{name}: a title says what is drawn, then in which unit"
    used = {plot["template"] for plot in PLOTS.values()}
    assert {path.stem for path in (ROOT / ".dvc" / "plots").iterdir()} == used
    assert {Path(path).stem for plot in PLOTS.values() for path in plot["y"]} == set(plot_tables(0.5))


@needs_chromium
@pytest.mark.parametrize("page", ["shown", "compared"])
def test_every_plot_is_drawn_and_nothing_is_fetched(page: str, request: pytest.FixtureRequest):
    seen: Seen = request.getfixturevalue(page)
    assert seen.errors == seen.refused == []
    assert [*seen.plots] == [*PLOTS]
    for name, plot in seen.plots.items():
        assert plot.note == "", name
        assert PLOTS[name]["title"] in plot.titles, name
        assert PLOTS[name]["y_label"] in plot.axes or PLOTS[name]["template"] in ("heads", "directions"), name
        assert len(set(plot.axes)) >= 2, f"{name}: an axis has no title"
        assert plot.legend, name
        assert len(plot.lines) + len(plot.points) >= 5, name


@needs_chromium
@pytest.mark.parametrize("page", ["shown", "compared"])
def test_no_line_joins_two_series(page: str, request: pytest.FixtureRequest):
    seen: Seen = request.getfixturevalue(page)
    lines = {name: [n_points(line) for line in plot.lines] for name, plot in seen.plots.items()}
    assert sum(map(len, lines.values())) > 90
    assert all(min(n) >= 2 for n in lines.values() if n)


@needs_chromium
@pytest.mark.parametrize(
    "name", ["signal_effect", "signal_metrics", "probe_accuracy", "geometry_silhouette", "relate_distances"]
)
def test_model_and_twin_are_series_of_their_own(name: str, shown: Seen, compared: Seen):
    n_panels = 2 if name == "signal_metrics" else 1
    for seen, n_revisions in ((shown, 1), (compared, 2)):
        plot = seen.plots[name]
        assert {"model", "untrained twin"} <= {*plot.legend}
        for colour in (MODEL, TWIN):
            lines = plot.series(colour)
            assert [n_points(line) for line in lines] == [N_LAYERS] * n_panels * n_revisions
            assert len({dash for _, _, dash in lines}) == n_revisions
            assert colour in plot.points  # also where a site has no layer


@needs_chromium
@pytest.mark.parametrize("name", list(PLOTS))
def test_a_diff_names_both_revisions_and_draws_each(name: str, shown: Seen, compared: Seen):
    one, both = shown.plots[name], compared.plots[name]
    named = " ".join([*both.legend, *both.titles])
    assert "weaker" in named
    assert "stronger" in named
    assert "workspace" in " ".join([*one.legend, *one.titles])
    assert len(both.lines) == 2 * len(one.lines)
    assert len(both.points) == 2 * len(one.points)


@needs_chromium
def test_the_value_without_signal_is_drawn(shown: Seen):
    for name in ("signal_effect", "probe_accuracy", "null_text_steps", "temporal_spectra", "sae_training"):
        assert [line for line in shown.plots[name].series(NULL) if line[2] == "1,3"], name


@needs_chromium
def test_every_source_of_a_fork_has_a_line_and_a_single_fork_is_a_point(shown: Seen):
    plot = shown.plots["forks_shares"]
    assert plot.legend[:4] == ["music so far", "memory", "re-reading", "memory, neutral text ahead"]
    assert {"guidance 1", "guidance 3"} <= {*plot.titles}
    for colour in ("#1b1f26", MODEL, "#b0416b"):
        assert [n_points(line) for line in plot.series(colour)] == [N_STEPS]
        assert plot.points.count(colour) == N_STEPS + 1  # the run's guidance has one fork
    assert [n_points(line) for line in plot.series(NULL)] == 3 * [N_STEPS]  # donors
    assert plot.points.count("#56b4e9") == 1
    places = shown.plots["forks_places"]
    assert {"one layer", "one part of the time"} <= {*places.titles}
    assert len(places.points) == N_LAYERS + 2


@needs_chromium
def test_emotions_seeds_and_counts_are_told_apart(shown: Seen):
    emotions = ["happy", "sad", "calm", "energetic"]
    for name in ("geometry_components", "attention_entropy"):
        assert shown.plots[name].legend[:4] == emotions
    assert len(set(shown.plots["geometry_components"].points)) == 4
    assert shown.plots["sae_training"].legend[:3] == ["seed 0", "seed 1", "untrained twin"]
    counts = shown.plots["latents_selective"]
    assert {"residual.1", "text"} <= {*counts.titles}
    assert counts.labels[:3] == ["81 of 100", "36 of 100", "0 of 100"]
    assert "0.54" in shown.plots["attention_heads"].labels


@needs_chromium
def test_a_revision_without_the_tables_is_said_in_words(repo: Path):
    for path in (repo / "metrics").iterdir():
        path.unlink()
    run(repo, "dvc", "plots", "show", "-o", "empty")
    seen = read(repo / "empty" / "index.html")
    run(repo, "git", "checkout", "-q", "--", "metrics")
    assert seen.errors == seen.refused == []
    assert {plot.note for plot in seen.plots.values()} == {
        f"{name.replace('_', ' ')}: no data in these revisions." for name in PLOTS
    }

"""The page in which `dvc plots show` and `dvc plots diff` draw, usable without a network.

python -m moodlens.plots.dvc_page    write .dvc/tmp/plots.html; `make repro` does it when it installs, and
                                     stage `report` where the page is absent

DVC's own page loads Vega from a content delivery network and is blank offline. This page contains Vega, which
the installed package vl-convert-python holds. `.dvc/config` names the page as `plots.html_template`; DVC
replaces the placeholders `{refresh_tag}` and `{plot_divs}` in it. Where a plot has no data, or Vega refuses
it, the page says so. The file is generated, not tracked: it has 0.9 MB.
"""

import sys
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from moodlens.base.command import exit_status
from moodlens.base.errors import UsageError, must

PAGE = Path(".dvc", "tmp", "plots.html")
"""Where the page lies in a clone."""
COMMAND = "python -m moodlens.plots.dvc_page"
VEGA_LITE = "6.4"
"""Version of Vega-Lite that draws: the one made for the Vega in vl-convert-python.

The templates of .dvc/plots name schema 5, which other viewers of DVC plots know. Version 6 draws them, and
warns unless the script takes the name out.
"""

SCRIPT = """
const config = {
  font: "sans-serif",
  view: { stroke: "#d9dce1" },
  axis: { gridColor: "#eceef1", domainColor: "#626975", tickColor: "#626975" },
  axisX: { grid: false },
  title: { anchor: "start", fontSize: 15, subtitleColor: "#626975", subtitlePadding: 6, offset: 14 },
  header: { labelFontSize: 11.5, labelFontWeight: "bold" },
  legend: { labelLimit: 320, symbolSize: 80, symbolOpacity: 1 },
  rule: { strokeWidth: 1.4 }
};
const actions = { export: true, source: false, compiled: false, editor: false };
const note = (plot, text) => {
  const line = document.createElement("p");
  line.textContent = plot.id.replaceAll("_", " ") + ": " + text;
  plot.replaceChildren(line);
};
window.vegaEmbed = (target, spec) => {
  const plot = document.querySelector(target);
  if (!spec.data) return note(plot, "no data in these revisions.");
  delete spec.$schema;
  return vegaEmbed(plot, spec, { mode: "vega-lite", renderer: "svg", config, actions }).catch((error) => {
    note(plot, "cannot be drawn. " + error.message);
    console.error(error);
  });
};
"""
"""Replaces the function that DVC calls for each plot, `vegaEmbed(target, spec)`."""

SKELETON = """<html lang="en">
<head>
<meta charset="utf-8">
{refresh_tag}
<title>MoodLens: DVC plots</title>
<style>
body { margin: 1.5rem auto; max-width: 1360px; padding: 0 1rem; color: #1b1f26; font-family: sans-serif; }
body > div { margin-bottom: 2.5rem; border-bottom: 1px solid #d9dce1; overflow-x: auto; }
</style>
<script>%(vega)s</script>
</head>
<body>
{plot_divs}
</body>
</html>
"""


def offline_page() -> str:
    """Return the page with Vega and `SCRIPT` inside; takes about 5 s."""
    import vl_convert

    vega = vl_convert.javascript_bundle(snippet=SCRIPT, vl_version=VEGA_LITE)
    return f"{_first_line()}\n{SKELETON.replace('%(vega)s', vega)}"


def is_current(root: Path) -> bool:
    """Return whether the clone `root` holds the page that this version of the project writes."""
    path = root / PAGE
    if not path.is_file():
        return False
    with path.open(encoding="utf-8") as page:
        return page.readline().rstrip("\n") == _first_line()


def write_page(root: Path) -> Path:
    """Write the page into the clone `root` and return its path."""
    path = root / PAGE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(offline_page(), encoding="utf-8")
    return path


def _first_line() -> str:
    """Return the first line of the page: it differs wherever the rest of the page does."""
    digest = sha256((SCRIPT + SKELETON).encode()).hexdigest()[:12]
    return f"<!DOCTYPE html><!-- vl-convert-python {version('vl-convert-python')}, {VEGA_LITE}, {digest} -->"


def main() -> int:
    """Write the page into the clone that is the current folder, and print where it is.

    Raises:
        UsageError: the current folder has no .dvc/config.
    """
    root = Path.cwd()
    if not (root / ".dvc" / "config").is_file():
        advice = "Run from the top of the MoodLens clone"
        raise UsageError(must("the working folder", "hold .dvc/config", str(root), next_step=advice))
    print(f"page of `dvc plots`: {write_page(root)}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main, kept="nothing was written"))

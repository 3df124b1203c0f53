"""The page as one self-contained HTML document, and the metrics that `dvc metrics diff` prints."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from moodlens.report.records import Page


def render(page: Page) -> str:
    """Return the page as HTML; it makes no request, every text is escaped, equal records give equal bytes."""
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html.j2").render(page=page)


def _template(name: str) -> str:
    return files("moodlens.report").joinpath(name).read_text(encoding="utf-8")


OF_TRAINING = ("dead", "fvu", "l0", "mse")
OF_LATENTS = ("n_selective", "stable_70")
"""Metrics of each SAE in metrics/overview.json, from metrics/sae.json and metrics/latents.json."""


def overview_of(
    summary: Mapping[str, Any] | None, sae: Mapping[str, Any] | None, latents: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return metrics/overview.json; DVC sorts by name, so `sae` follows effects, p and probes.

    Args:
        summary: metrics/summary.json of `decide`.
        sae: metrics/sae.json (held-out wordings; dead: training).
        latents: metrics/latents.json.

    Stages that were not run are left out.

    >>> overview_of({"effect_layers": 0.4}, {"sites": {"text": {"fvu": 0.1, "n_rows": 9}}}, None)
    {'effect_layers': 0.4, 'sae': {'text': {'fvu': 0.1}}}
    """
    analysed = (latents or {}).get("sites", {})
    sites = {
        site: _only(figures, OF_TRAINING) | _only(analysed.get(site, {}), OF_LATENTS)
        for site, figures in (sae or {}).get("sites", {}).items()
    }
    return dict(summary or {}) | ({"sae": sites} if sites else {})


def _only(figures: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: figures[name] for name in names if name in figures}

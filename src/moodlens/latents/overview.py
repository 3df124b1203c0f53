"""The numbers of the SAEs that `dvc metrics diff` and `dvc exp show` print."""

from collections.abc import Mapping
from typing import Any

from moodlens.base.units import at_digits

OF_TRAINING = ("dead", "fvu", "l0", "mse")
OF_LATENTS = ("n_selective", "stable_70")
"""Numbers of each SAE from metrics/sae.json (held-out wordings; dead: training) and metrics/latents.json."""
DIGITS = 4
"""Significant digits: few enough to read, and the same as in metrics/overview.json."""


def sae_overview_of(sae: Mapping[str, Any], latents: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return metrics/sae_overview.json: site -> numbers; None where one was not measured.

    Args:
        sae: metrics/sae.json; without sites where no SAE was trained.
        latents: metrics/latents.json.

    >>> sae_overview_of({"sites": {"text": {"fvu": 0.123456, "n_rows": 9}}}, {"sites": {}})["text"]
    {'dead': None, 'fvu': 0.1235, 'l0': None, 'mse': None, 'n_selective': None, 'stable_70': None}
    """
    analysed = latents.get("sites", {})
    return {
        site: _numbers(trained, OF_TRAINING) | _numbers(analysed.get(site, {}), OF_LATENTS)
        for site, trained in sae.get("sites", {}).items()
    }


def _numbers(measured: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: _rounded(measured.get(name)) for name in names}


def _rounded(value: float | None) -> float | int | None:
    return at_digits(value, DIGITS) if isinstance(value, float) else value

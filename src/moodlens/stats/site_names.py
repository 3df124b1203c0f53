"""Names of sites and of their families: the parts of a name, the unit of a family's tests, columns of a row.

A family is the set of sites that one maxT correction runs over: `layers`, `text`, `music`, `words` and their
baselines. A site within the layers is named `<hookpoint>/<half>`, e.g. `residual.3/cond`.
"""

import pandas as pd

from moodlens.stats.design import Unit

CLAIM_UNITS: dict[str, Unit] = {"words": "prompt", "text": "wording", "music": "wording", "layers": "wording"}
"""Families that a rung of the ladder relies on, and the unit whose labels are permuted for the rung's test.

Whole wordings are relabelled wherever more is claimed than a difference between words.
"""

NOISE = "random_tensors"
"""Family of the control without content: Gaussian numbers in the shape of the layers."""


def unit_of(family: str) -> Unit:
    """Return the unit that is relabelled for a family of sites.

    >>> unit_of("words"), unit_of("twin_layers")
    ('prompt', 'wording')
    """
    return CLAIM_UNITS.get(family, "wording")


def split_site(name: str) -> tuple[str, int, str]:
    """Return (site, layer, half) of a hookpoint and half; sorted by it, layers come in their order.

    >>> split_site("residual.3/cond")
    ('residual', 3, 'cond')
    """
    hookpoint, half = name.split("/")
    site, layer = hookpoint.rsplit(".", 1)
    return site, int(layer), half


def site_columns(family: str, name: str) -> dict[str, object]:
    """Return the columns that identify a site in a table: family, site, layer, half, model.

    Only families of layers have a layer and a half; `model` is "twin" for an untrained twin, "random" for
    random tensors, else "model".

    >>> site_columns("twin_layers", "residual.3/cond")
    {'family': 'twin_layers', 'site': 'residual', 'layer': 3, 'half': 'cond', 'model': 'twin'}
    >>> site_columns("music", "codec")
    {'family': 'music', 'site': 'codec', 'layer': <NA>, 'half': '', 'model': 'model'}
    """
    site, layer, half = split_site(name) if "layers" in family else (name, pd.NA, "")
    model = "random" if family == NOISE else "twin" if family.startswith("twin") else "model"
    return {"family": family, "site": site, "layer": layer, "half": half, "model": model}

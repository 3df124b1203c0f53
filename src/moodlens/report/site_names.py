"""The rows of the layer tables: names of sites, their untrained twins, the layers of one kind together."""

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
"""One site of metrics/signal_layers.csv or metrics/probe_layers.csv, column -> value, NaN where empty."""

NAMES = {
    "bow": "words",
    "text": "text encoder",
    "projected": "projection",
    "twin": "text encoder",
    "codec": "codec latents",
}
TWIN_OF = {"text": "twin_text", "layers": "twin_layers"}


def short_name(row: Row) -> str:
    """Return what stands under the site on an axis: the layer's number, or the site's name."""
    return f"{row['layer']:.0f}" if row["family"] == "layers" else named(row)


def long_name(row: Row) -> str:
    """Return what names the site in a table, the untrained twin said.

    >>> long_name({"site": "residual", "layer": 3.0, "half": "cond", "model": "twin"})
    'residual 3 (cond), untrained'
    >>> nan = float("nan")
    >>> long_name({"site": "bow", "layer": nan, "half": nan, "model": "model"})
    'words'
    """
    name = named(row)
    if row["layer"] == row["layer"]:
        name += f" {row['layer']:.0f}"
    if isinstance(row["half"], str) and row["half"]:
        name += f" ({row['half']})"
    return f"{name}, untrained" if row["model"] == "twin" else name


def hookpoint_name(site: str) -> str:
    """Return the words for a hookpoint and half of the metrics files; any other site by its name.

    >>> hookpoint_name("residual.3/cond"), hookpoint_name("bow")
    ('residual 3 (cond)', 'words')
    """
    hookpoint, slash, half = site.partition("/")
    if not slash:
        return NAMES.get(site, site)
    return f"{hookpoint.replace('.', ' ').replace('_', ' ')} ({half})"


def named(row: Row) -> str:
    """Return the site's name without layer and half."""
    site = str(row["site"])
    return NAMES.get(site, site)


def of_families(rows: Sequence[Row], families: Sequence[str]) -> list[Row]:
    """Return the rows of the families, in the order of the families."""
    return [row for family in families for row in rows if row["family"] == family]


def layer_groups(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return '<site> · <half>' -> its decoder layers, first to last."""
    groups: dict[str, list[Row]] = {}
    for row in of_families(rows, ["layers"]):
        groups.setdefault(f"{row['site']} · {row['half']}", []).append(row)
    return {name: sorted(group, key=lambda row: row["layer"]) for name, group in groups.items()}


def twin_value(row: Row, rows: Sequence[Row], column: str) -> float:
    """Return the value of the untrained twin at the same site, NaN where there is none."""
    for twin in of_families(rows, [TWIN_OF.get(row["family"], "")]):
        same = all(twin[key] == row[key] for key in ("site", "layer", "half"))
        if same or row["family"] != "layers":
            return float(twin[column])
    return float("nan")


def figure_id(kind: str, name: str) -> str:
    """Return an id that is unique on the page.

    >>> figure_id("sweep", "cross_attention · cond")
    'sweep-cross-attention-cond'
    """
    return "-".join([kind, *name.replace("·", " ").replace("_", " ").split()])

"""Numbers as words: one way to write a share, a p-value, an interval, a count.

The rows of the layer tables: names of sites, their untrained twins, the layers of one kind together.
"""

from collections.abc import Mapping, Sequence
from typing import Any

MINUS = "−"
PLACES = 4
"""No number shows more decimals."""

THIN = "\u202f"
"""Narrow no-break space between a number and its unit."""


def number(value: float | None, digits: int = 3, unit: str = "") -> str:
    """Return a number at `digits` significant digits with a true minus; a dash where there is none.

    Small ones end at PLACES decimals.

    >>> number(-0.01234), number(None), number(1523.4, unit="Hz") == f"1523{THIN}Hz"
    ('−0.0123', '–', True)
    """
    if value is None or value != value:
        return "–"
    places = min(max(0, digits - 1 - _exponent(value)), PLACES)
    return f"{value:.{places}f}".replace("-", MINUS) + (f"{THIN}{unit}" if unit else "")


def _exponent(value: float) -> int:
    return int(f"{abs(value):e}".split("e")[1]) if value else 0


def share(value: float | None, places: int = 0) -> str:
    """Return a share as per cent.

    >>> share(0.934) == f"93{THIN}%"
    True
    """
    return (
        "–"
        if value is None or value != value
        else f"{100 * value:.{places}f}".replace("-", MINUS) + f"{THIN}%"
    )


def p_value(value: float | None) -> str:
    """Return a p-value as equals or below; a permutation p is never zero.

    >>> p_value(0.0312), p_value(0.00002), p_value(1.0)
    ('0.031', '< 0.0001', '1.000')
    """
    if value is None or value != value:
        return "–"
    if value < 0.0001:
        return "< 0.0001"
    return f"{value:.4f}" if value < 0.01 else f"{value:.3f}"


def magnitude(p: float | None) -> str:
    """Return a p-value of a textbook test at one digit; one too small for a float as a bound.

    >>> magnitude(3.2e-48), magnitude(0.0), magnitude(None)
    ('3e-48', '< 1e-300', '–')
    """
    if p is None or p != p:
        return "–"
    return f"{p:.1g}" if p > 0 else "< 1e-300"


def interval(low: float | None, high: float | None, *, percent: bool = False) -> str:
    """Return an interval in square brackets, or a dash.

    >>> interval(-0.01, 0.25), interval(None, 1.0)
    ('[−0.0100, 0.250]', '–')
    """
    if low is None or high is None or low != low or high != high:
        return "–"
    if percent:
        return f"[{100 * low:.0f}, {100 * high:.0f}]{THIN}%".replace("-", MINUS)
    return f"[{number(low)}, {number(high)}]"


def count(n: int, one: str, many: str = "") -> str:
    """Return a count with its noun.

    >>> count(1, "clip"), count(128, "clip")
    ('1 clip', '128 clips')
    """
    return f"{n} {one if n == 1 else many or one + 's'}"


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

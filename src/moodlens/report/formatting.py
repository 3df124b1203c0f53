"""How numbers and sites are written on the page, and how the rows of the metrics' CSV files are read."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

MINUS = "−"
MOST_DECIMALS = 4
"""Decimals above which a number is cut off."""

THIN = "\u202f"
"""Narrow no-break space between a number and its unit."""

Row = Mapping[str, Any]
"""One row of a CSV file of `metrics/`: column -> value, NaN where the cell is empty."""


def number(value: float | None, digits: int = 3, unit: str = "") -> str:
    """Return a number with `digits` significant digits and a true minus; a dash where there is none.

    No number has more than MOST_DECIMALS decimals.

    >>> number(-0.01234), number(None), number(1523.4, unit="Hz") == f"1523{THIN}Hz"
    ('−0.0123', '–', True)
    """
    if value is None or value != value:
        return "–"
    decimals = min(max(0, digits - 1 - _exponent(value)), MOST_DECIMALS)
    return f"{value:.{decimals}f}".replace("-", MINUS) + (f"{THIN}{unit}" if unit else "")


def _exponent(value: float) -> int:
    return int(f"{abs(value):e}".split("e")[1]) if value else 0


def share(value: float | None, decimals: int = 0) -> str:
    """Return a share as per cent.

    >>> share(0.934) == f"93{THIN}%"
    True
    """
    if value is None or value != value:
        return "–"
    return f"{100 * value:.{decimals}f}".replace("-", MINUS) + f"{THIN}%"


def p_value(value: float | None) -> str:
    """Return a p-value; below 0.0001 as a bound, because a permutation p is never zero.

    >>> p_value(0.0312), p_value(0.00002), p_value(1.0)
    ('0.031', '< 0.0001', '1.000')
    """
    if value is None or value != value:
        return "–"
    if value < 0.0001:
        return "< 0.0001"
    return f"{value:.4f}" if value < 0.01 else f"{value:.3f}"


def magnitude(p: float | None) -> str:
    """Return a p-value of a textbook test with one digit; one that underflows to 0 as a bound.

    >>> magnitude(3.2e-48), magnitude(0.0), magnitude(None)
    ('3e-48', '< 1e-300', '–')
    """
    if p is None or p != p:
        return "–"
    return f"{p:.1g}" if p > 0 else "< 1e-300"


def interval(low: float | None, high: float | None, *, percent: bool = False) -> str:
    """Return an interval in square brackets; a dash where an end is missing.

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


def sample_size(metrics: Mapping[str, Any], *nouns: str) -> str:
    """Return the counts `n_<noun>s` of a metrics file with their nouns.

    >>> sample_size({"n_prompts": 64, "n_wordings": 1}, "prompt", "wording")
    '64 prompts, 1 wording'
    """
    return ", ".join(count(int(metrics[f"n_{noun}s"]), noun) for noun in nouns)


def column(rows: Sequence[Row], key: str) -> np.ndarray:
    """Return one column as float64, (row,)."""
    return np.array([row[key] for row in rows], dtype=np.float64)


NAMES = {
    "bow": "words",
    "text": "text encoder",
    "projected": "projection",
    "twin": "text encoder",
    "codec": "codec latents",
}
"""Site -> its name on the page; other sites keep theirs."""
TWIN_OF = {"text": "twin_text", "layers": "twin_layers"}
"""Family -> the same family in the untrained twin."""


def short_name(row: Row) -> str:
    """Return the label of a site on an axis: the layer's number, or the site's name."""
    return f"{row['layer']:.0f}" if row["family"] == "layers" else named(row)


def long_name(row: Row) -> str:
    """Return the name of a site in a table, with layer, half and whether it is of the untrained twin.

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


def site_key(row: Row) -> str:
    """Return the key of a site in the metrics' JSON files.

    >>> site_key({"site": "residual", "layer": 3.0, "half": "cond"})
    'residual.3/cond'
    >>> site_key({"site": "tokens", "layer": float("nan"), "half": float("nan")})
    'tokens'
    """
    if row["layer"] != row["layer"]:
        return str(row["site"])
    return f"{row['site']}.{row['layer']:.0f}/{row['half']}"


def hookpoint_name(site: str) -> str:
    """Return the name of a site from its key in the metrics' JSON files.

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


def twin_value(row: Row, rows: Sequence[Row], key: str) -> float:
    """Return the value of column `key` at the same site of the untrained twin, NaN where there is none."""
    for twin in of_families(rows, [TWIN_OF.get(row["family"], "")]):
        same = all(twin[name] == row[name] for name in ("site", "layer", "half"))
        if same or row["family"] != "layers":
            return float(twin[key])
    return float("nan")


def figure_id(kind: str, name: str) -> str:
    """Return an id that is unique on the page.

    >>> figure_id("signal", "cross_attention · cond")
    'signal-cross-attention-cond'
    """
    return "-".join([kind, *name.replace("·", " ").replace("_", " ").split()])

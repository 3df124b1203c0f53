"""Numbers as words: one way to write a share, a p-value, an interval, a count."""

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

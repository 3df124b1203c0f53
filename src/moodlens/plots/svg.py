"""A figure as an inline SVG: the same bytes for the same figure, colours that follow the page."""

import re
from io import StringIO
from xml.sax.saxutils import quoteattr

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from moodlens.plots.style import PALETTE, RC


def figure_svg(figure: Figure, name: str, alt: str) -> str:
    """Return the figure as one `<svg>` element that can stand inside a page.

    Text stays text, so the page's font applies. Every colour of `PALETTE` becomes `var(--name, colour)`.
    Ids carry `name` as a prefix, because a page holds many figures. Nothing depends on date or place.

    Args:
        figure: what is drawn.
        name: unique on the page, letters and hyphens.
        alt: what a reader who cannot see the figure needs to know.
    """
    text = StringIO()
    with mpl.rc_context(RC):
        FigureCanvasSVG(figure).print_svg(text, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    body = text.getvalue()
    body = body[body.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r'(url\(|href=")#', rf"\1#{name}-", body)
    body = re.sub("|".join(PALETTE.values()), _variable, body)
    opening, rest = body.split(">", 1)
    box = re.search(r'viewBox="[^"]+"', opening)
    assert box is not None, "matplotlib writes a viewBox"
    return (
        f'<svg class="figure" xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'{box.group()} role="img" aria-label={quoteattr(alt)}>{rest.strip()}'
    )


_NAMES = {colour: name for name, colour in PALETTE.items()}


def _variable(match: re.Match[str]) -> str:
    return f"var(--{_NAMES[match.group()]}, {match.group()})"

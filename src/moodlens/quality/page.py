"""One page per suite: outcomes in, one self-contained HTML document out; failed expectations come first."""

from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from moodlens.quality.run import MAX_EXAMPLES, Outcome


def render_suite(suite: str, outcomes: Sequence[Outcome]) -> str:
    """Return the page of a suite: no request leaves it, every text is escaped, same outcomes same bytes.

    Args:
        suite: its name.
        outcomes: of this suite only, in the order of its rules.
    """
    source = files("moodlens.quality").joinpath("page.html.j2").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    tables: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        tables.setdefault(outcome.table, []).append(outcome)
    return environment.from_string(source).render(
        suite=suite,
        outcomes=outcomes,
        failed=[outcome for outcome in outcomes if not outcome.success],
        tables=tables,
        max_examples=MAX_EXAMPLES,
        shown=shown,
    )


def shown(value: object) -> str:
    """Return a value as the page shows it: text in quotes, a float at six digits.

    >>> shown(0.12345678), shown(""), shown(3)
    ('0.123457', "''", '3')
    """
    if isinstance(value, float):
        return f"{value:.6g}"
    return repr(value) if isinstance(value, str) else str(value)

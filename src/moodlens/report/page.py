"""The page as one self-contained HTML document."""

from importlib.resources import files

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

"""A headless Chromium for tests of pages: what a page reports, and what it tried to fetch.

@needs_chromium
def test_it(tmp_path):
    with visit((tmp_path / "index.html").as_uri()) as seen:
        assert seen.page.inner_text("h1") == "Title"
    assert seen.errors == seen.refused == []
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import ConsoleMessage, Page, Route, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
LOCAL = ("file:", "data:", "blob:", "about:")

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: apt-get install chromium")


@dataclass(frozen=True)
class Visit:
    """An open page; the lists fill while it is used."""

    page: Page
    errors: list[str] = field(default_factory=list)  # console errors and uncaught exceptions
    refused: list[str] = field(default_factory=list)  # addresses the page asked for and did not get


@contextmanager
def visit(
    url: str, *, allowed: Sequence[str] = LOCAL, width: int = 1280, height: int = 900
) -> Iterator[Visit]:
    """Open `url` in a browser of its own that reaches no address but those allowed.

    Args:
        url: the page to open; returns when its `load` event has fired.
        allowed: what an address may start with; add e.g. "http://127.0.0.1:5000/" for a local server.
        width, height: of the window, pixels.
    """
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            seen = Visit(page)

            def fetch(route: Route) -> None:
                if route.request.url.startswith(tuple(allowed)):
                    route.continue_()
                else:
                    seen.refused.append(route.request.url)
                    route.abort()

            def listen(message: ConsoleMessage) -> None:
                if message.type == "error":
                    seen.errors.append(message.text)

            page.route("**/*", fetch)
            page.on("console", listen)
            page.on("pageerror", lambda error: seen.errors.append(str(error)))
            page.goto(url)
            yield seen
        finally:
            browser.close()

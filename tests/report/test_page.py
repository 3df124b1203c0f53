"""The page stands alone, escapes what it is given, says what is missing, and is the same bytes twice."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from moodlens.report.page import render
from moodlens.report.records import Page
from tests.report.example import example_page

HOSTILE = (
    '</blockquote><script src="http://evil.example/x.js">alert(1)</script><img onerror=x> "quoted" \'&\''
)
VOID = {"meta", "link", "col", "rect", "br", "img", "path", "use"}


class Outline(HTMLParser):
    """Every tag with its attributes, the text, and whether the tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def outline(page: Page) -> Outline:
    parser = Outline()
    parser.feed(render(page))
    assert parser.open == []
    return parser


def test_the_page_makes_no_network_request():
    found = outline(example_page())
    assert not [tag for tag, _ in found.tags if tag in ("script", "iframe", "object", "embed")]
    links = [
        value or ""
        for _, attrs in found.tags
        for key, value in attrs.items()
        if key in ("src", "href", "xlink:href")
    ]
    assert links
    outside = [link for link in links if not link.startswith(("data:", "#", "checks/"))]
    assert outside == []
    html = render(example_page())
    assert not re.search(r"@import|url\((?!#)", html)
    assert "default-src 'none'" in html


def test_a_hostile_prompt_is_text_everywhere():
    page = outline(example_page(HOSTILE))
    assert HOSTILE in page.text
    assert "script" not in {tag for tag, _ in page.tags}
    assert not [attrs for _, attrs in page.tags if "onerror" in attrs]
    (player,) = (attrs for tag, attrs in page.tags if tag == "audio")
    assert player["aria-label"] == f"Clip happy-000-s0, prompt: {HOSTILE}"


def test_the_verdict_and_every_rung_are_in_words():
    text = " ".join(outline(example_page()).text.split())
    assert "Emotion reaches the text code." in text
    assert "Next: Buy prompts." in text
    assert "text code strong" in text
    assert "use not tested" in text
    assert "Rule applied: p < 0.001" in text
    assert "91 % [84, 96] %, 8 prompts" in text


def test_what_stands_beside_the_ladder_is_said_to_be_no_rung():
    text = " ".join(outline(example_page()).text.split())
    assert "Beside the ladder These are no rungs" in text
    assert "Finding (states) States summarise: run it. Accuracy 83 %." in text
    assert example_page().verdict is not None
    bare = replace(example_page(), verdict=replace(example_page().verdict, beside=()))
    assert "Beside the ladder" not in outline(bare).text


@pytest.mark.parametrize(
    ("section", "stage"),
    [
        ("verdict", "decide"),
        ("listening", "generate"),
        ("checks", "check"),
    ],
)
def test_a_missing_section_says_so_and_how_to_get_it(section: str, stage: str):
    whole = outline(example_page()).text
    assert "Not run." not in whole
    text = " ".join(outline(replace(example_page(), **{section: None})).text.split())
    assert "Not run." in text
    assert f"dvc repro {stage} has written" in text


def test_a_chapter_whose_stage_did_not_run_says_so_and_how_to_get_it():
    page = example_page()
    first = replace(page.chapters[0], finding=None, command="dvc repro signal", file="metrics/signal.json")
    text = " ".join(outline(replace(page, chapters=(first, *page.chapters[1:]))).text.split())
    assert "dvc repro signal has written metrics/signal.json" in text


def test_a_chapter_whose_stage_gave_a_reason_shows_it_in_place_of_the_command():
    page = example_page()
    first = replace(
        page.chapters[0], finding=None, command="dvc repro x", reason="a.b is <on>: set it `off`."
    )
    text = " ".join(outline(replace(page, chapters=(first, *page.chapters[1:]))).text.split())
    assert "Not run. a.b is <on>: set it off." in text
    assert "dvc repro x" not in text


def test_a_descriptor_that_disagrees_is_shown_in_words_not_by_colour_alone():
    text = " ".join(outline(example_page()).text.split())
    assert "✓ fast" in text
    assert "✗ not major" in text


def test_a_clip_beyond_the_budget_is_named_not_embedded():
    page = example_page()
    assert page.listening is not None
    group = page.listening.groups[0]
    silent = replace(group.players[0], source="")
    page = replace(page, listening=replace(page.listening, groups=(replace(group, players=(silent,)),)))
    found = outline(page)
    assert not [tag for tag, _ in found.tags if tag == "audio"]
    assert "Not embedded" in found.text


def test_the_first_chapter_stands_directly_behind_the_ladder_and_has_the_first_figure():
    page = example_page()
    for order in (page.chapters, page.chapters[::-1]):
        found = outline(replace(page, chapters=order))
        sections = [attrs["id"] for tag, attrs in found.tags if tag == "section"]
        keys = [chapter.key for chapter in order]
        expected = ["verdict", keys[0], "design", "listen", *keys[1:], "checks", "provenance", "numbers"]
        assert sections == expected
        links = [str(attrs["href"])[1:] for tag, attrs in found.tags if tag == "a" and "href" in attrs]
        assert [link for link in links[1:] if link in expected] == expected
        pictures = [attrs["class"] for tag, attrs in found.tags if tag == "svg"]
        assert pictures[0] == "figure"


def test_same_record_same_bytes():
    assert render(example_page()) == render(example_page())


def test_headings_landmarks_and_ids_are_sound():
    found = outline(example_page())
    ids = [attrs["id"] for _, attrs in found.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = [
        str(attrs["href"])[1:]
        for tag, attrs in found.tags
        if tag == "a" and str(attrs["href"]).startswith("#")
    ]
    assert set(targets) <= set(ids)
    names = [tag for tag, _ in found.tags]
    assert names.count("h1") == 1
    assert {"main", "header", "nav", "footer"} <= set(names)
    assert all("aria-label" in attrs for tag, attrs in found.tags if tag == "audio")
    assert all("scope" in attrs for tag, attrs in found.tags if tag == "th")

"""Figures of a Markdown file, filled from tracked files.

A page lists its figures in comments, so that its text stays readable:

    <!-- figures
    held-out FVU {} on texts, {} on layer 3
      docs/published/sae_overview.json text/fvu .3f
      docs/published/sae_overview.json residual.3/fvu .3f
    -->

The first line of a claim is a piece of the page's text that occurs there once. Spaces and line breaks count
as one space. Each `{}` stands for a figure. Below, indented, stands one source for each figure (`sources`).
"""

import re
from dataclasses import dataclass
from pathlib import Path

from moodlens.base.errors import ContractError, UsageError, must
from moodlens.docs.sources import NUMBER, figure

BLOCK = re.compile(r"^<!-- figures\n(.*?)^-->", re.DOTALL | re.MULTILINE)
RANGE = rf"({NUMBER.pattern}(?: - {NUMBER.pattern})?)"
WORD = r"(\w+)"


@dataclass(frozen=True)
class Claim:
    """A piece of text with `{}` for each figure, and the figures' sources in the same order."""

    text: str
    sources: tuple[str, ...]


def claims(page: str) -> list[Claim]:
    """Return the claims of a page's `figures` comments.

    Raises:
        UsageError: a claim has not one source for each `{}`.
    """
    texts: list[str] = []
    sources: list[list[str]] = []
    for line in (line for block in BLOCK.findall(page) for line in block.splitlines() if line.strip()):
        if not line.startswith(" "):
            texts.append(line)
            sources.append([])
        elif texts:
            sources[-1].append(line.strip())
    result = [Claim(text, tuple(of)) for text, of in zip(texts, sources, strict=True)]
    for claim in result:
        if claim.text.count("{}") != len(claim.sources) or not claim.sources:
            got = f"{claim.text.count('{}')} of {{}}, {len(claim.sources)} sources"
            problem = must(
                "a claim", "have one source for each {}", got, where=claim.text, next_step="Mend it"
            )
            raise UsageError(problem)
    return result


def filled(page: str, root: Path) -> str:
    """Return the page with every figure as its source has it today.

    Args:
        page: the Markdown text.
        root: the folder that the sources' paths start from.

    Raises:
        ContractError: a claim's text does not occur exactly once, or a source has no such value.
        UsageError: a comment cannot be read.
    """
    spans = [block.span() for block in BLOCK.finditer(page)]
    edits: list[tuple[int, int, str]] = []
    for claim in claims(page):
        matches = [
            match
            for match in re.finditer(_pattern(claim), page)
            if not any(start <= match.start() < end for start, end in spans)
        ]
        if len(matches) != 1:
            got = f"{len(matches)} places"
            problem = must(
                "a claim", "occur once on its page", got, where=claim.text, next_step="Mend either"
            )
            raise ContractError(problem)
        edits += [
            (*matches[0].span(number), figure(source, root)) for number, source in enumerate(claim.sources, 1)
        ]
    for start, end, text in sorted(edits, reverse=True):
        page = page[:start] + text + page[end:]
    return page


def _pattern(claim: Claim) -> str:
    """Return the expression that finds the claim's text with any figures in it."""
    pieces = [r"\s+".join(map(re.escape, re.split(r"\s+", piece))) for piece in claim.text.split("{}")]
    holes = [WORD if source.endswith(" s") else RANGE for source in claim.sources]
    text = "".join(piece + hole for piece, hole in zip(pieces, [*holes, ""], strict=True))
    # A number must not begin in the middle of another one.
    return rf"(?<![\w.])(?:{text})(?!\w)" if claim.text.startswith("{}") else rf"(?:{text})(?!\w)"

"""Everything the page shows, as records of finished text; the template computes nothing.

A part that has no result yet is `None` on the `Page`; the page then says so and names the command.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Bar:
    """A value on a scale from 0 to 1, drawn as a bar beside the baselines it must beat."""

    name: str
    value: float
    text: str  # the value with its unit, e.g. "93.8 %"
    note: str = ""  # interval and n
    low: float | None = None
    high: float | None = None
    kind: str = "baseline"  # result | baseline | chance


@dataclass(frozen=True)
class Rung:
    """One claim of the ladder, its verdict and the evidence."""

    number: int
    name: str  # text code | music | use
    question: str
    verdict: str  # strong | weak | none | undecided | not tested
    evidence: str  # the figures in one or two sentences
    rule: str  # the rule that gave the verdict
    next_step: str
    bars: tuple[Bar, ...] = ()


@dataclass(frozen=True)
class Fact:
    """A named value with its unit, and a line on what it means or where it comes from."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Verdict:
    """The verdict in a sentence, its summary, the ladder, and what stands beside it."""

    headline: str
    summary: str
    next_step: str
    rungs: tuple[Rung, ...]
    beside: tuple[Fact, ...] = ()  # check of the design, finding: name, sentence, numbers


@dataclass(frozen=True)
class Descriptor:
    """One acoustic descriptor of a clip beside what its prompt intends."""

    name: str
    measured: str
    expected: str  # "" where the prompt intends nothing
    agrees: bool | None  # None where nothing is expected


@dataclass(frozen=True)
class Player:
    """One clip with its audio."""

    clip_id: str
    prompt: str
    set_name: str
    seed: int
    duration_s: float
    source: str  # data URI of the audio; "" where the page's budget is exhausted
    envelope: tuple[float, ...]  # 0..1, loudest sample of each slice
    descriptors: tuple[Descriptor, ...]


@dataclass(frozen=True)
class Group:
    """The players of one emotion."""

    emotion: str
    players: tuple[Player, ...]


@dataclass(frozen=True)
class Listening:
    """The players and the rule that chose their clips."""

    choice: str
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Cell:
    """One cell of a table; `mark` is "" or the name of an emphasis: strong, weak, void."""

    text: str
    mark: str = ""


def cells(*texts: str) -> tuple[Cell, ...]:
    """Return cells without emphasis."""
    return tuple(Cell(text) for text in texts)


def marked(text: str, significant: bool) -> Cell:
    """Return a cell, emphasised where the test beside it is significant."""
    return Cell(text, "strong" if significant else "")


@dataclass(frozen=True)
class Grid:
    """A table: the first column names its row, the others are numbers."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A figure as inline SVG with its caption."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Finding:
    """The content of a chapter: a summary in sentences, figures, and the tables behind them."""

    summary: str
    figures: tuple[Figure, ...] = ()
    grids: tuple[Grid, ...] = ()
    verdict: str = ""  # of a finding that is no rung of the ladder: strong | weak | none | undecided
    rule: str = ""  # the rule that gave it


@dataclass(frozen=True)
class Chapter:
    """A section of the page that shows one stage; `finding` is None where the stage gave no result."""

    key: str  # anchor on the page, letters and hyphens
    title: str
    finding: Finding | None
    about: str  # what the chapter shows: a noun phrase that begins a sentence
    command: str  # the command that makes it
    file: str  # the file it is made from
    reason: str = ""  # why the stage gave no result, where its metrics say so


@dataclass(frozen=True)
class Check:
    """The outcome of one suite of expectations, and its own page relative to the report."""

    name: str
    passed: bool
    n_expectations: int
    n_failed: int
    n_rows: int | None = None
    href: str = ""  # relative path; "" where the suite's page was not written


@dataclass(frozen=True)
class Provenance:
    """Model, datasets and parameters behind the page."""

    model: tuple[Fact, ...]
    datasets: tuple[Fact, ...]  # path, md5
    params: tuple[Fact, ...]  # dotted key, value


@dataclass(frozen=True)
class Page:
    """Everything on the page."""

    title: str
    subject: str  # the model and the design, one line
    verdict: Verdict | None
    design: tuple[Fact, ...]
    listening: Listening | None
    chapters: tuple[Chapter, ...]
    checks: tuple[Check, ...] | None
    provenance: Provenance
    glossary: tuple[Fact, ...] = field(default=())

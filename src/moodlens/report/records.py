"""Everything the page shows, as records: words and numbers already worded, nothing left to compute.

A part that has no result yet is `None` on the `Page`; the page then says so and names the command.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Bar:
    """One reading on a scale from 0 to 1, drawn as a bar beside those it must beat."""

    name: str
    value: float
    text: str  # the value with its unit, e.g. "93.8 %"
    note: str = ""  # interval and n
    low: float | None = None
    high: float | None = None
    kind: str = "baseline"  # reading | baseline | chance


@dataclass(frozen=True)
class Rung:
    """One claim of the ladder and what became of it."""

    number: int
    name: str  # words | text code | music | state | use
    question: str
    verdict: str  # strong | weak | none | undecided | not tested
    evidence: str  # the figures in one or two sentences
    rule: str  # the rule that fired
    next_step: str
    bars: tuple[Bar, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The answer: one sentence, the highest rung reached, the ladder below it."""

    headline: str
    summary: str
    next_step: str
    rungs: tuple[Rung, ...]


@dataclass(frozen=True)
class Fact:
    """A named value with its unit, and a line on what it means or where it comes from."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Reading:
    """One measured descriptor of a clip beside what the prompt intends."""

    name: str
    measured: str
    expected: str  # "" where the prompt intends nothing
    agrees: bool | None  # None where nothing is expected


@dataclass(frozen=True)
class Player:
    """One clip to hear."""

    clip_id: str
    prompt: str
    set_name: str
    seed: int
    duration_s: float
    source: str  # data URI of the audio; "" where the page's budget is spent
    envelope: tuple[float, ...]  # 0..1, loudest sample of each slice
    readings: tuple[Reading, ...]


@dataclass(frozen=True)
class Group:
    """The players of one emotion."""

    emotion: str
    players: tuple[Player, ...]


@dataclass(frozen=True)
class Listening:
    """The clips to hear and how they were chosen."""

    choice: str
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Cell:
    """One cell of a table; `mark` is "" or the name of an emphasis: strong, weak, void."""

    text: str
    mark: str = ""


@dataclass(frozen=True)
class Grid:
    """A table: the first column names its row, the others are numbers."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A picture as inline SVG with its caption."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Finding:
    """One measurement: what it says in a sentence, the picture, the table behind it."""

    summary: str
    figures: tuple[Figure, ...] = ()
    grids: tuple[Grid, ...] = ()
    verdict: str = ""  # of a finding that is no rung of the ladder: strong | weak | none | undecided
    rule: str = ""  # the rule that fired for it


@dataclass(frozen=True)
class Chapter:
    """A section of the page that shows one analysis; `finding` is None where its stage has none to show."""

    key: str  # anchor on the page, letters and hyphens
    title: str
    finding: Finding | None
    about: str  # what would stand here: a noun phrase that begins a sentence
    command: str  # what makes it
    file: str  # where its figures come from
    reason: str = ""  # why the stage made nothing, where it said so


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
    """What the figures stand on."""

    model: tuple[Fact, ...]
    datasets: tuple[Fact, ...]  # path, md5
    runs: tuple[Fact, ...]  # stage, MLflow run id
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

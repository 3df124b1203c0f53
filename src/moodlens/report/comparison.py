"""DVC experiments side by side: verdict and effect of every rung, and the parameters that differ.

The input is what `dvc.api.exp_show` returns: one flat mapping per row. A row of type `baseline` is a commit
or the workspace. The experiments that follow a commit were started from it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any

from moodlens.params.pipeline import Params
from moodlens.report.formatting import interval, number, share

OVERVIEW, PARAMS = "metrics/overview.json:", "params.yaml:"
"""Prefixes that DVC puts before a key that two files hold."""
VERDICT, EFFECTS = "0_verdict.", "1_effects."
"""Groups of metrics/overview.json."""
NAME = "_is"
"""Ending of the keys of `0_verdict` that hold the verdict's name."""
EARLIER_LAYOUT = ("rungs_reached", "effect_music", "probe_music")
"""Keys of metrics/overview.json before it held verdicts."""
UNFINISHED = {
    "Queued": "queued: `dvc queue start` runs it",
    "Running": "running",
    "Failed": "failed: `dvc queue logs {name}` says why",
}
"""State of an experiment without results -> the note on it."""
WORKSPACE = "workspace"
UNSEEN = ("compute.",)
"""Parameters that no result depends on."""
CONFIDENCE = "signal.confidence"
MOST_CHANGES = 4
"""Changed parameters that a table cell lists; further ones are counted."""
MOST_CHARACTERS = {"value": 24, "model": 30}
"""Characters of a parameter's value and of a model id in a table; longer ones are cut."""
ERROR = "!"
"""DVC's mark of a value that it could not read."""

Row = Mapping[str, Any]
"""One row of `dvc.api.exp_show`: key -> value, None where the row has no such key."""


@dataclass(frozen=True)
class Effect:
    """Mean centred cosine within emotions minus between them, with the ends of its interval."""

    effect: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Entry:
    """One experiment, commit or workspace."""

    name: str  # of the experiment; branch, tag or commit of a baseline
    revision: str
    baseline: str  # commit that the parameters are compared with; "" for that commit itself
    model: str  # model.id
    verdicts: Mapping[str, str] = field(default_factory=dict)  # rung -> verdict, in the order of the ladder
    effects: Mapping[str, Effect] = field(default_factory=dict)  # rung or layers -> effect
    changed: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # parameter -> (baseline, here)
    note: str = ""  # why there is no verdict


@dataclass(frozen=True)
class Comparison:
    """Experiments to show side by side."""

    entries: tuple[Entry, ...]
    confidence: float | None = None  # of the intervals; None where the entries differ or do not say

    @property
    def rungs(self) -> tuple[str, ...]:
        """Return the rungs that any entry has a verdict on, in order."""
        return tuple(dict.fromkeys(rung for entry in self.entries for rung in entry.verdicts))


def comparison_of(rows: Sequence[Row], reasons: Mapping[str, str] | None = None) -> Comparison:
    """Return the entries of the rows that `dvc.api.exp_show` returns, in DVC's order.

    Args:
        rows: as DVC returns them.
        reasons: revision of a baseline -> why its numbers are not of its parameters. Such numbers are not
            shown; the reason is.
    """
    reasons = reasons or {}
    commits = [row for row in rows if row["typ"] == "baseline" and row["rev"] != WORKSPACE]
    baseline: Row | None = None
    entries = []
    for row in rows:
        if row["typ"] == "baseline":
            baseline = None if row["rev"] == WORKSPACE else row
        against = baseline if baseline is not None else next(iter(commits), None)
        entry = _entry(row, None if against is row else against)
        reason = reasons.get(row["rev"], "") if row["typ"] == "baseline" else ""
        entries.append(replace(entry, verdicts={}, effects={}, note=reason) if reason else entry)
    levels = {_metric(row, CONFIDENCE) for row in rows} - {None}
    return Comparison(tuple(entries), levels.pop() if len(levels) == 1 else None)


def _entry(row: Row, baseline: Row | None) -> Entry:
    # DVC shows such a row with the metrics of its commit, which are the baseline's.
    unfinished = row.get("State") in UNFINISHED
    verdicts, effects = ({}, {}) if unfinished else (_verdicts(row), _effects(row))
    params = dict(_params(row))
    before = dict(_params(baseline)) if baseline is not None else params
    changed = {
        key: (_text(before.get(key)), _text(params.get(key)))
        for key in {**before, **params}
        if before.get(key) != params.get(key) and not key.startswith(UNSEEN)
    }
    return Entry(
        name=row["Experiment"] or row["rev"],
        revision=row["rev"],
        baseline=baseline["rev"] if baseline is not None else "",
        model=_text(params.get("model.id")),
        verdicts=verdicts,
        effects=effects,
        changed=changed,
        note="" if verdicts else _without_verdict(row),
    )


def _without_verdict(row: Row) -> str:
    if row.get("State") in UNFINISHED:
        return UNFINISHED[row["State"]].format(name=row["Experiment"] or row["rev"])
    if any(_metric(row, key) is not None for key in EARLIER_LAYOUT):
        return "metrics/overview.json has an earlier layout without verdicts"
    return "no verdict: stage decide has not run"


def _verdicts(row: Row) -> dict[str, str]:
    """Return rung -> verdict from keys such as `0_verdict.2_music_is`, in the order of their numbers."""
    keys = sorted(key.removeprefix(OVERVIEW) for key in row if key.removeprefix(OVERVIEW).startswith(VERDICT))
    verdicts = {key: _metric(row, key) for key in keys if key.endswith(NAME)}
    return {
        key.removeprefix(VERDICT).removesuffix(NAME).partition("_")[2]: str(verdict)
        for key, verdict in verdicts.items()
        if verdict is not None
    }


def _effects(row: Row) -> dict[str, Effect]:
    keys = [key.removeprefix(OVERVIEW) for key in row]
    names = dict.fromkeys(key.split(".")[1] for key in keys if key.startswith(EFFECTS))
    effects = {
        name: Effect(*(_metric(row, f"{EFFECTS}{name}.{end}") for end in ("effect", "low", "high")))
        for name in names
    }
    return {name: effect for name, effect in effects.items() if effect.effect is not None}


def _metric(row: Row, key: str) -> Any:
    value = row.get(OVERVIEW + key, row.get(key))
    return None if value == ERROR else value


KNOWN = {
    f"{section.name}.{key.name}"
    for section in fields(Params)
    if is_dataclass(section.type)
    for key in fields(section.type)
}
"""Parameters of the schema; the other columns of DVC are metrics and dependencies."""


def _params(row: Row) -> Iterator[tuple[str, Any]]:
    for key, value in row.items():
        name = key.removeprefix(PARAMS)
        if ".".join(name.split(".")[:2]) in KNOWN and value != ERROR:
            yield name, value


def _text(value: Any) -> str:
    """Return a parameter as params.yaml has it; DVC returns every number as a float and a list as text.

    >>> _text(16.0), _text(0.0005), _text("['scenes', 'table']"), _text(None)
    ('16', '0.0005', '[scenes, table]', '')
    """
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.15g}"
    return str(value).replace("'", "") if str(value).startswith(("[", "{")) else str(value)


def header(comparison: Comparison) -> tuple[str, ...]:
    """Return the names of the columns of `cells`."""
    rungs = (rung.replace("_", " ") for rung in comparison.rungs)
    return ("experiment", "model", *rungs, "other parameters that differ")


def cells(comparison: Comparison, *, narrow: bool = False) -> list[tuple[str, ...]]:
    """Return the rows of the table; `narrow` breaks verdict, effect and interval into three lines."""
    return [
        (
            entry.name if not entry.baseline or entry.name == WORKSPACE else f"  {entry.name}",
            model_name(entry),
            *(_rung(entry, rung, narrow) for rung in comparison.rungs),
            "\n".join(_changes(entry)) or "-",
        )
        for entry in comparison.entries
    ]


def _rung(entry: Entry, rung: str, narrow: bool) -> str:
    verdict, effect = entry.verdicts.get(rung, "-"), entry.effects.get(rung)
    if effect is None:
        return verdict
    parts = (f"{verdict:<9}", number(effect.effect), interval(effect.low, effect.high))
    return ("\n" if narrow else " ").join(part.strip() if narrow else part for part in parts)


def model_name(entry: Entry) -> str:
    """Return the model id; of a long path, its end."""
    most = MOST_CHARACTERS["model"]
    return entry.model if len(entry.model) <= most else f"…{entry.model[1 - most :]}"


def _changes(entry: Entry) -> Iterator[str]:
    changed = changes_beside_model(entry)
    yield from changed[:MOST_CHANGES]
    if len(changed) > MOST_CHANGES:
        yield f"and {len(changed) - MOST_CHANGES} more (--json lists all)"


def changes_beside_model(entry: Entry) -> list[str]:
    """Return `key before -> here` of every changed parameter except model.id, which has its own column."""
    return [
        f"{key} {_short(before)} -> {_short(here)}"
        for key, (before, here) in entry.changed.items()
        if key != "model.id"
    ]


def _short(value: str) -> str:
    most = MOST_CHARACTERS["value"]
    return (value if len(value) <= most else f"{value[: most - 1]}…") or '""'


def legend(comparison: Comparison) -> str:
    """Return what the cells of a rung hold."""
    effect = "effect (text code, music: similarity within minus between emotions; others: share)"
    return f"Rungs: verdict, {effect}, interval ({interval_kind(comparison)})."


def interval_kind(comparison: Comparison) -> str:
    """Return the level of the intervals, where all entries have one level, and their kind.

    >>> interval_kind(Comparison(()))
    'bootstrap over wordings'
    """
    level = "" if comparison.confidence is None else f"{share(comparison.confidence)} "
    return f"{level}bootstrap over wordings"


def notes(comparison: Comparison) -> list[str]:
    """Return one line for each entry without a verdict."""
    return [f"{entry.name}: {entry.note}" for entry in comparison.entries if entry.note]


def markdown(comparison: Comparison) -> str:
    """Return the table in GitHub's Markdown, with legend and notes below it."""
    rows = [[cell.strip() for cell in row] for row in cells(comparison)]
    lines = [list(header(comparison)), ["---"] * len(header(comparison)), *rows]
    table = [f"| {' | '.join(_escaped(cell) for cell in row)} |" for row in lines]
    return "\n".join([*table, "", legend(comparison), *(f"- {note}" for note in notes(comparison))])


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", "<br>")


def as_record(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as mappings and lists, with every changed parameter in full."""
    return asdict(comparison)

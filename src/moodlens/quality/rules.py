"""Rules of a data contract: each field of a `Column` that limits its values becomes a rule.

A rule is a plain record. `quality.run` turns it into an expectation of Great Expectations, so that a suite
can be built, read and counted without importing that library, which takes 3 s.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pandas as pd

from moodlens.contracts.tables import Column, Table
from moodlens.store.tables import DTYPES

LARGEST = sys.float_info.max
"""Bound of a float column without bounds: infinity exceeds it, and NaN counts as missing."""

SMALLEST = 1e-12
"""Lower bound of a value that must be positive; bounds are inclusive."""

REPEAT = "Run `dvc repro` to make it again; if it comes back, report a bug"
"""Next step where the data can only be wrong by a bug."""

MAX_NAMES = 8
"""Most allowed values that the text of a rule lists in full."""


@dataclass(frozen=True)
class Rule:
    """One expectation on one column, and the text of its failure."""

    column: str  # "" for a rule on the table
    expectation: str  # class name in great_expectations.expectations
    arguments: Mapping[str, object]
    text: str  # what the column must, e.g. "be at least 0.0001"
    next_step: str


@dataclass(frozen=True)
class View:
    """A frame and the contract that it must meet; a suite is a list of views.

    The first view of a suite is the dataset itself, and `table.name` is the suite's name. The others are
    derived from it, e.g. one row per emotion (`quality.derived_views`).
    """

    table: Table
    frame: pd.DataFrame
    next_step: str
    advice: Mapping[str, str] = field(default_factory=dict)  # column -> next step, where it differs
    equal: Mapping[str, str] = field(default_factory=dict)  # column -> column that it must equal


def rules_of(view: View) -> list[Rule]:
    """Return the rules of a view: at least one row, the rules of each column, the equalities."""
    rows = {"min_value": 1}
    rules = [Rule("", "ExpectTableRowCountToBeBetween", rows, "have at least 1 row", view.next_step)]
    for column in view.table.columns:
        rules += column_rules(column, view.advice.get(column.name, view.next_step))
    for column, other in view.equal.items():
        pair = {"column_A": column, "column_B": other}
        advice = view.advice.get(column, view.next_step)
        text = f"equal {other.replace('__', '.')}"
        rules.append(Rule(column, "ExpectColumnPairValuesToBeEqual", pair, text, advice))
    return rules


def column_rules(column: Column, next_step: str) -> list[Rule]:
    """Return the rules of one column.

    >>> [rule.text for rule in column_rules(Column("seed", "int", "seed", low=0), "Look")]
    ['not be missing', 'be of type int64', 'be at least 0']
    """
    rules = []

    def add(expectation: str, text: str, **arguments: object) -> None:
        rules.append(Rule(column.name, expectation, {"column": column.name, **arguments}, text, next_step))

    if not column.nullable:
        add("ExpectColumnValuesToNotBeNull", "not be missing")
    add(
        "ExpectColumnValuesToBeOfType",
        f"be of type {DTYPES[column.kind]}",
        type_=DTYPES[column.kind],
    )
    if column.kind == "str" and not column.nullable:
        add("ExpectColumnValuesToMatchRegex", "not be empty", regex=r"\S")
    if column.kind == "float" or (column.low, column.high) != (None, None):
        low = -LARGEST if column.low is None else column.low
        high = LARGEST if column.high is None else column.high
        add("ExpectColumnValuesToBeBetween", bounds_text(column), min_value=low, max_value=high)
    if column.allowed is not None:
        add("ExpectColumnValuesToBeInSet", allowed_text(column.allowed), value_set=list(column.allowed))
    if column.unique:
        add("ExpectColumnValuesToBeUnique", "be unique")
    return rules


def allowed_text(allowed: tuple[str, ...]) -> str:
    """Return the text of a rule of allowed values; of a long list it names both ends.

    >>> allowed_text(("cond",)), allowed_text(("train", "val", "test"))
    ('be cond', 'be one of train, val, test')
    >>> allowed_text(tuple(f"mlp.{layer}" for layer in range(48)))
    'be one of mlp.0, mlp.1, ..., mlp.47 (48 names)'
    """
    if len(allowed) == 1:
        return f"be {allowed[0]}"
    if len(allowed) > MAX_NAMES:
        return f"be one of {allowed[0]}, {allowed[1]}, ..., {allowed[-1]} ({len(allowed)} names)"
    return f"be one of {', '.join(allowed)}"


def bounds_text(column: Column) -> str:
    """Return the text of the rule of a column's bounds, with the unit.

    >>> bounds_text(Column("x", "float", "", unit="s", low=1, high=1))
    'be 1 s'
    >>> bounds_text(Column("x", "float", "", low=0))
    'be at least 0'
    """
    low, high, unit = column.low, column.high, f" {column.unit}" if column.unit else ""
    if low is None and high is None:
        return "be finite"
    if low is not None and low == high:
        return f"be {low:g}{unit}"
    if high is None:
        return f"be at least {low:g}{unit}"
    if low is None:
        return f"be at most {high:g}{unit}"
    return f"lie in {low:g} .. {high:g}{unit}"


def limit(table: Table, **limits: Mapping[str, object]) -> Table:
    """Return `table` with fields of some columns replaced, e.g. `limit(CLIPS, rms={"low": 0.001})`."""
    unknown = set(limits) - set(table.names)
    assert not unknown, f"no such column: {unknown}"
    return replace(
        table, columns=tuple(replace(column, **limits.get(column.name, {})) for column in table.columns)
    )


def extend(table: Table, *columns: Column) -> Table:
    """Return `table` with further columns, e.g. those that a view derives."""
    return replace(table, columns=(*table.columns, *columns))

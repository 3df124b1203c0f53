"""Views derived from a dataset: rows per name, values per name, files."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from moodlens.contracts.tables import Column, Table
from moodlens.quality.rules import View
from moodlens.quality.stored_files import READABLE
from moodlens.store.tables import values


def count_view(
    name: str,
    key: str,
    expected: Sequence[str],
    present: Sequence[str],
    next_step: str,
    *,
    low: int = 1,
    high: int | None = 1,
) -> View:
    """Return the view that counts the rows of a dataset per expected name.

    Args:
        name: of the view, e.g. "complete".
        key: column of the dataset that holds the names.
        expected: names that must occur; each becomes a row.
        present: the column itself.
        next_step: advice when a count is wrong.
        low, high: fewest and most rows per name; high None is any number.
    """
    counts = Counter(present)
    frame = pd.DataFrame({key: pd.Series(expected, dtype="str")})
    frame["n_rows"] = [counts[each] for each in expected]
    count = Column("n_rows", "int", "rows of the dataset", low=low, high=high)
    return View(Table(name, key, (Column(key, "str", f"the {key}"), count)), frame, next_step)


def one_value_view(
    name: str, frame: Any, key: str, meaning: str, columns: Mapping[str, tuple[str, str]], next_step: str
) -> View:
    """Return the view with one row per value of `key`, beside which some columns must hold one value only.

    Args:
        name: of the view.
        frame: the dataset.
        key: column whose values become rows.
        meaning: of that column.
        columns: column of the view -> (column of the dataset whose different values it counts, meaning).
        next_step: advice when a count is not 1.
    """
    groups: dict[str, list[int]] = {}
    for row, value in enumerate(values(frame, key)):
        groups.setdefault(value, []).append(row)
    counts = pd.DataFrame({key: pd.Series(list(groups), dtype="str")})
    for counted, (column, _) in columns.items():
        cells = values(frame, column)
        counts[counted] = [len({cells[row] for row in rows}) for rows in groups.values()]
    limits = [Column(counted, "int", text, low=1, high=1) for counted, (_, text) in columns.items()]
    return View(Table(name, key, (Column(key, "str", meaning, unique=True), *limits)), counts, next_step)


def files_view(files: pd.DataFrame, next_step: str) -> View:
    """Return the view of stored tensors: every file must be readable.

    Args:
        files: one row per file: file, state (`quality.stored_files`).
        next_step: advice when a file is missing or unreadable.
    """
    columns = (
        Column("file", "str", "stored tensors, relative to data/", unique=True),
        Column("state", "str", "whether the file is whole", allowed=(READABLE,)),
    )
    return View(Table("shards", "file", columns), files, next_step)

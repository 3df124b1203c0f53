"""Tables on disk: CSV or parquet by suffix, with deterministic bytes, checked when read and when written."""

import json
import re
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from moodlens.base.errors import ContractError, must, nearest
from moodlens.contracts.tables import Column, Table
from moodlens.store.atomic import replacing
from moodlens.store.csv_text import rows_of

DTYPES = {"str": "str", "int": "int64", "float": "float64", "bool": "bool"}
DIGITS = 6
"""Significant digits of a float in a metrics or plots file."""


def write_table(frame: pd.DataFrame, table: Table, path: Path) -> None:
    """Write `frame` as a table; columns in the order of the contract, rows as given.

    Raises:
        ContractError: a column is missing, unknown or of the wrong kind, or the file cannot be written.
    """
    lawful = conform(frame, table, path.name)
    with replacing(path) as temporary:
        if path.suffix == ".csv":
            lawful.to_csv(temporary, index=False, lineterminator="\n")
        else:
            lawful.to_parquet(temporary, index=False, engine="pyarrow", compression="zstd")


def read_table(table: Table, path: Path) -> pd.DataFrame:
    """Return the rows of a table file in the kinds of its contract; the quality suites check ranges.

    Raises:
        ContractError: the file is absent, truncated or not a table, or a column breaks the contract.
    """
    advice = "Run `dvc repro` to make it again"
    if not path.is_file():
        raise ContractError(must(f"table {table.name}", "exist as a file", str(path), next_step=advice))
    try:
        if path.suffix == ".csv":
            rows_of(path.read_text(encoding="utf-8"), path.name, f"table {table.name}")
            frame = pd.read_csv(
                path, dtype=_csv_kinds(table), keep_default_na=False, na_values=_csv_blanks(table)
            )
        else:
            frame = pd.read_parquet(path, engine="pyarrow")
    except (OSError, ValueError, pd.errors.ParserError) as error:
        reason = str(error).splitlines()[0]
        raise ContractError(
            must(f"table {table.name}", "be readable", reason, where=str(path), next_step=advice)
        ) from None
    return conform(frame, table, path.name)


def conform(frame: pd.DataFrame, table: Table, file: str) -> pd.DataFrame:
    """Return the columns of `table` in its order and kinds (str, int64, float64, bool).

    Args:
        frame: any frame; an int column passes as float, a whole float column as int.
        table: the contract.
        file: the name an error shows.

    Raises:
        ContractError: a column is missing or unknown, or a value is not of its column's kind; the message
            names file, column, value and row.
    """
    for name in table.names:
        if name not in frame.columns:
            have = nearest(name, [str(column) for column in frame.columns])
            raise ContractError(
                must(file, f"have the column '{name}' of table {table.name}", "none", next_step=have)
            )
    for name in frame.columns:
        if name not in table.names:
            advice = f"Drop it or add it to contracts.tables.{table.name.upper()}"
            raise ContractError(
                must(file, f"hold only the columns of table {table.name}", str(name), next_step=advice)
            )
    keys = values(frame, table.key)
    return pd.DataFrame(
        {column.name: _cast(frame[column.name], column, keys, file) for column in table.columns}
    )


def _cast(values: Any, column: Column, keys: list[object], file: str) -> pd.Series:
    """Return `values` in the dtype of the column; an error names the first value of another kind."""
    lawful = {
        "str": lambda v: isinstance(v, str) or pd.isna(v),
        "int": lambda v: not isinstance(v, (bool, np.bool_)) and _is_whole(v),
        "float": lambda v: v is None or (isinstance(v, (int, float, np.number)) and not isinstance(v, bool)),
        "bool": lambda v: isinstance(v, (bool, np.bool_)),
    }[column.kind]
    if values.dtype != DTYPES[column.kind]:
        for key, value in zip(keys, values.tolist(), strict=True):
            if not lawful(value):
                raise ContractError(
                    must(
                        f"{file} column '{column.name}'",
                        f"hold {column.kind} values",
                        value,
                        where=f"row {key}",
                        next_step="Correct the value or make the file again with `dvc repro`",
                    )
                )
    if column.pattern is not None:
        for key, value in zip(keys, values.tolist(), strict=True):
            if isinstance(value, str) and not re.fullmatch(column.pattern, value):
                rule, advice = f"match {column.pattern}", "Name it with letters, digits, '-', '_' and '.'"
                thing = f"{file} column '{column.name}'"
                raise ContractError(must(thing, rule, value, where=f"row {key}", next_step=advice))
    return values.astype(DTYPES[column.kind]).reset_index(drop=True)


def _is_whole(value: object) -> bool:
    return isinstance(value, (int, np.integer)) or (isinstance(value, float) and value.is_integer())


def _csv_kinds(table: Table) -> Any:
    return {column.name: "str" for column in table.columns if column.kind == "str"}


def _csv_blanks(table: Table) -> dict[str, list[str]]:
    return {column.name: [""] for column in table.columns if column.kind != "str"}


def values(frame: pd.DataFrame, column: str) -> list[Any]:
    """Return a column as a list of Python values.

    >>> values(pd.DataFrame({"seed": [0, 1]}), "seed")
    [0, 1]
    """
    return frame[column].tolist()


def round_digits(value: float) -> float:
    """Return `value` rounded to the significant digits of a metrics file.

    >>> round_digits(0.123456789), round_digits(1234567.0)
    (0.123457, 1234570.0)
    """
    return float(f"{value:.{DIGITS}g}")


def write_metrics(metrics: Mapping[str, object], path: Path) -> None:
    """Write a metrics file: JSON, keys sorted, floats with six significant digits, None where not measured.

    Raises:
        ContractError: a number is not finite, or the file cannot be written.
    """
    text = json.dumps(_plain(metrics, ""), indent=2, sort_keys=True, ensure_ascii=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_metrics(path: Path) -> dict[str, object]:
    """Return the mapping of a metrics file.

    Raises:
        ContractError: the file is absent or not a JSON object.
    """
    advice = "Run `dvc repro` to make it again"
    if not path.is_file():
        raise ContractError(must("a metrics file", "exist", str(path), next_step=advice))
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ContractError(must(path.name, "be valid JSON", str(error), next_step=advice)) from None
    if not isinstance(metrics, dict):
        raise ContractError(must(path.name, "be a JSON object", type(metrics).__name__, next_step=advice))
    return metrics


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def write_plot(frame: pd.DataFrame, path: Path) -> None:
    """Write the CSV of a `dvc plots` figure: floats with six significant digits, no index."""
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n", float_format=f"%.{DIGITS}g")


def _plain(value: object, path: str) -> object:
    """Return `value` as JSON values; numpy scalars and arrays become numbers and lists."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{path}.{key}" if path else str(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item, f"{path}[{i}]") for i, item in enumerate(value)]
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)) and isfinite(value):
        return round_digits(float(value))
    advice = "Write None for a metric that could not be measured"
    raise ContractError(
        must(f"metric {path}", "be a finite number, text, truth value or None", value, next_step=advice)
    )

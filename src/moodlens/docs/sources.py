"""One figure from a tracked file: find the value, then print it as the documentation does.

A source is a line of words, quoted as in a shell: the file, what to read, filters, and last the format.

    docs/published/sae_overview.json text/fvu                     .3f
    calibration/rates.csv   range(rate) test="probe by prompt"    .3f
    benchmarks/results.json sae/output/SAELens/0                  ,.0f

JSON: the keys down to the value, separated by "/". A key may hold dots and spaces. Where the keys end at a
text of several lines, two more follow: the beginning of a line, and a number's position after it, from 0.
CSV: a column, for the one row that the filters leave; `range(column)` and `count(column)` take all rows that
they leave. A filter is column=value or column!=value; * and ? match any text.

Formats are Python's, with these differences: `.2f` drops the zero before the point (.05), `0.2f` keeps it; a
leading `%` multiplies by 100 (`%.0f` prints .833 as 83); `s` prints a word.
"""

import csv
import json
import re
import shlex
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from moodlens.base.errors import ContractError, UsageError, must

Value = float | str
NUMBER = re.compile(r"[+-]?(?:\d[\d,]*)?\.?\d+(?:e[+-]?\d+)?")

FILTER = re.compile(r"(\w+)(!?=)(.*)")


def figure(source: str, root: Path) -> str:
    """Return the figure that a source line names, printed in its format.

    Args:
        source: file, what to read, filters, format; see above.
        root: the folder that the file's path starts from.

    Raises:
        UsageError: the line has too few words, or the format does not fit the value.
        ContractError: the file, the key, the column or the row does not exist.
    """
    words = shlex.split(source)
    if len(words) < 3:
        raise UsageError(
            must("a source", "be a file, a value and a format", source, next_step="Add the rest")
        )
    path, what, filters, form = root / words[0], words[1], words[2:-1], words[-1]
    if not path.is_file():
        raise ContractError(must(words[0], "exist", "nothing", where=source, next_step="Mend the path"))
    read = _from_csv if path.suffix == ".csv" else _from_json
    return " - ".join(dict.fromkeys(printed(value, form) for value in read(path, what, filters)))


def printed(value: Value, form: str) -> str:
    """Return a value in one of the formats.

    >>> printed(0.0836534, ".3f"), printed(-0.0836534, "+.2f"), printed(0.859375, "0.3f")
    ('.084', '-.08', '0.859')
    >>> printed(0.828125, "%.0f"), printed(14377, ",.0f"), printed("weak", "s")
    ('83', '14,377', 'weak')
    """
    if form == "s":
        return str(value)
    scale = 100 if form.startswith("%") else 1
    bare = form.removeprefix("%")
    keeps_zero = bare.startswith("0")
    try:
        text = format(float(value) * scale, bare.removeprefix("0"))
    except ValueError as error:
        problem = must("a format", "fit its value", form, where=str(value), next_step="See docs/sources.py")
        raise UsageError(problem) from error
    return text if keeps_zero else re.sub(r"^([+-]?)0\.", r"\1.", text)


def _from_json(path: Path, what: str, filters: Sequence[str]) -> list[Value]:
    node = json.loads(path.read_text())
    keys = what.split("/")
    for at, key in enumerate(keys):
        if isinstance(node, str) and at:
            return [_from_text(node, keys[at:], path, what)]
        if not isinstance(node, dict) or key not in node:
            known = ", ".join(node) if isinstance(node, dict) else "no keys"
            raise ContractError(
                must(f"{path.name}: {what}", "exist", f"only {known}", next_step="Mend the key")
            )
        node = node[key]
    if filters or isinstance(node, dict | list) or node is None:
        raise ContractError(must(f"{path.name}: {what}", "be one value", node, next_step="Name its key"))
    return [node]


def _from_text(text: str, keys: Sequence[str], path: Path, what: str) -> float:
    label, number = keys
    lines = [line for line in text.splitlines() if line.startswith(label)]
    if len(lines) != 1:
        where = f"{len(lines)} lines"
        raise ContractError(must(f"{path.name}: {what}", "name one line", where, next_step="Mend the label"))
    return float(NUMBER.findall(lines[0].removeprefix(label))[int(number)].replace(",", ""))


def _from_csv(path: Path, what: str, filters: Sequence[str]) -> list[Value]:
    inside = re.fullmatch(r"(range|count)\((\w+)\)", what)
    function, column = inside.groups() if inside else ("value", what)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = [FILTER.fullmatch(part) for part in filters]
    if None in wanted:
        raise UsageError(must("a filter", "be column=value", " ".join(filters), next_step="Fix it"))
    conditions = [match.groups() for match in wanted if match]
    for name in (column, *(name for name, *_ in conditions)):
        if name not in rows[0]:
            known = ", ".join(rows[0])
            raise ContractError(must(f"{path.name}: {name}", "be a column", known, next_step="Mend the name"))
    left = [
        row[column]
        for row in rows
        if all(fnmatchcase(row[name], value) is (sign == "=") for name, sign, value in conditions)
    ]
    if function == "count":
        return [len(left)]
    if not left or (function == "value" and len(left) > 1):
        got = f"{len(left)} rows"
        problem = must(
            f"{path.name}: {what}", "fit one row", got, where=" ".join(filters), next_step="Add a filter"
        )
        raise ContractError(problem)
    if function == "range":
        return [min(map(float, left)), max(map(float, left))]
    return [left[0]]

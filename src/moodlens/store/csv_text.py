"""CSV files of other people, read as they were written or refused with file and line.

Readers guess where a file breaks the rules of CSV: an open quote swallows the rows below it, a row with one
field too many shifts its columns. Neither is visible afterwards. Here every row must have as many fields as
the header, and every quote must be closed in its cell.

The rules are those of RFC 4180: fields apart by commas, quotes around a field, a quote inside it doubled.
"""

import csv
import io
import re
from pathlib import Path

import pandas as pd

from moodlens.base.errors import ContractError, must

DOUBLE_IT = 'Write a quote inside a cell as two quotes ("") and put the cell in quotes'
CLOSE_IT = "Close its quote, or write the cell on one line"
FORBIDDEN = {
    "\0": ("a NUL character", "Save it as text in UTF-8"),
    '\\"': ('a backslash before a quote (\\")', DOUBLE_IT),
}
"""Mark -> what it is, and what to do. A backslash is text in a CSV: the quote after it ends the cell."""
QUOTE = '"'
NEW_LINE = re.compile(r"\r\n|\r|\n")


def read_csv_text(path: Path, what: str) -> pd.DataFrame:
    """Return a user's CSV with every cell as text, "" where empty; no type is inferred.

    The index of the frame is the line of the file at which each row begins. Empty lines are left out.

    Args:
        path: the file.
        what: the parameter that names the file, for the error.

    Raises:
        ContractError: the file is absent or not in UTF-8, or a line breaks the rules of CSV; the message
            names file and line.
    """
    text = _text_of(path, what)
    records = rows_of(text, path.name, what)
    if not records:
        advice = "Write the names of the columns into the first line"
        raise ContractError(
            must(what, "name a CSV with a header", "no line", where=path.name, next_step=advice)
        )
    _, header = records[0]
    names = [name.strip() for name in header]
    if len(names) == 1 and re.search(r"[;\t|]", names[0]):
        advice = "Save it with commas between the columns"
        raise ContractError(
            must(f"{path.name} line 1", "separate columns by commas", names[0], next_step=advice)
        )
    repeated = [name for name in names if name and names.count(name) > 1]
    if repeated:
        rule, advice = "name each column once", "Rename one of them"
        raise ContractError(must(f"{path.name} line 1", rule, repeated[0], next_step=advice))
    _refuse_swallowed_rows(records, text, path.name)
    cells = [row for _, row in records[1:]]
    return pd.DataFrame(cells, columns=names, index=[line for line, _ in records[1:]], dtype="str")


def rows_of(text: str, file: str, what: str) -> list[tuple[int, list[str]]]:
    """Return (line at which it begins, cells) of each row of a CSV, the header first; empty lines left out.

    Raises:
        ContractError: a quote is not closed, text follows a closing quote, or a row has more or fewer cells
            than the header; the message names file and line.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, list[str]]] = []
    begins = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((begins, cells))
                _refuse_other_count(rows[0][1], cells, f"{file} line {begins}")
            begins = reader.line_num + 1
    except csv.Error as error:
        place = f"line {begins}" if reader.line_num <= begins else f"lines {begins} to {reader.line_num}"
        rule = f"be a CSV whose quotes are closed ({what})"
        raise ContractError(must(f"{file} {place}", rule, str(error), next_step=DOUBLE_IT)) from None
    return rows


def _text_of(path: Path, what: str) -> str:
    """Return the text of the file without a byte order mark."""
    advice = f"Set {what} to a CSV file in UTF-8"
    if not path.is_file():
        raise ContractError(must(what, "name a file", str(path), next_step=advice))
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ContractError(
            must(what, "name a readable CSV", reason, where=str(path), next_step=advice)
        ) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = f"{path.name} line {content[: error.start].count(10) + 1}"
        rule, got = "name a readable CSV in UTF-8", f"{error.reason} at byte {error.start}"
        raise ContractError(must(what, rule, got, where=where, next_step="Save it as UTF-8")) from None
    for mark, (name, next_step) in FORBIDDEN.items():
        if mark in text:
            line = text[: text.index(mark)].count("\n") + 1
            place = f"{path.name} line {line}"
            raise ContractError(must(place, f"be a plain CSV ({what})", name, next_step=next_step))
    return text


def _refuse_other_count(header: list[str], cells: list[str], place: str) -> None:
    if len(cells) == len(header):
        return
    rule = f"have {len(header)} cells, as many as the header"
    advice = "Put a cell with commas in quotes, and remove a comma at the end of the line"
    raise ContractError(must(place, rule, f"{len(cells)} cells", next_step=advice))


def _refuse_swallowed_rows(records: list[tuple[int, list[str]]], text: str, file: str) -> None:
    """Refuse a cell over several lines that hold as many commas as whole rows, and a lone quote.

    A quote that is never closed ends at the next quote, which may lie rows below. The row that comes out has
    the right number of cells; its text is that of many rows.
    """
    n_commas = len(records[0][1]) - 1
    for begins, cells in records:
        for cell in cells:
            parts = [part for part in NEW_LINE.split(cell) if part.strip()]
            if len(parts) > 1 and cell.count(",") >= n_commas * (len(parts) - 1):
                got = f"{len(parts)} lines in one cell"
                place = f"{file} line {begins}"
                raise ContractError(must(place, "hold one row", got, next_step=CLOSE_IT))
            if cell.count(QUOTE) % 2 and f'"{cell.replace(QUOTE, QUOTE * 2)}"' not in text:
                place = f"{file} line {begins}"
                raise ContractError(must(place, "close every quote", cell[:60], next_step=DOUBLE_IT))

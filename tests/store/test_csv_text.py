"""CSV files of other people: read as written, or refused with the line; no row takes another's text."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moodlens.base.errors import ContractError
from moodlens.store.csv_text import read_csv_text, rows_of

ROWS = [f"a sad song {n},sad" for n in range(9)]


def read(folder: Path, text: str) -> list[list[str]]:
    path = folder / "captions.csv"
    path.write_bytes(text.encode())
    return read_csv_text(path, "prompts.table_path").to_numpy().tolist()


def refused(folder: Path, text: str) -> str:
    with pytest.raises(ContractError) as caught:
        read(folder, text)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        # closed ten rows below, at a quote that ends another cell: one caption of ten rows
        (
            ['"' + ROWS[0], *ROWS[1:], 'a calm song",calm'],
            "line 2 must hold one row; got '10 lines in one cell'",
        ),
        (['a song,"sad', *ROWS, 'b song,calm"'], "line 2 must hold one row; got '11 lines in one cell'"),
        (['"a sad song,sad', 'a calm song",calm'], "line 2 must hold one row"),
        ([*ROWS, '"a calm song,calm'], "line 11 must be a CSV whose quotes are closed"),
        (['"a sad song,sad', '"calm, slow",calm'], "lines 2 to 3 must be a CSV whose quotes are closed"),
        ([r'"a \"sad\" song",sad'], "line 2 must be a plain CSV"),
        ([r"a \"sad\" song,sad"], "line 2 must be a plain CSV"),
        ([ROWS[0], 'a "calm song,calm'], "line 3 must close every quote; got 'a \"calm song'"),
        (["a sad song,sad,"], "line 2 must have 2 cells, as many as the header; got '3 cells'"),
        ([*ROWS, "a calm, slow song,calm"], "line 11 must have 2 cells"),
        ([ROWS[0], "", "a calm song"], "line 4 must have 2 cells, as many as the header; got '1 cells'"),
        (["a\0 song,sad"], "line 2 must be a plain CSV (prompts.table_path); got 'a NUL character'"),
        (["x" * 200_000 + ",sad"], "field larger than field limit"),
    ],
)
def test_a_row_that_is_not_what_it_seems_is_refused_with_its_line(
    tmp_path: Path, lines: list[str], said: str
):
    assert said in refused(tmp_path, "\n".join(["caption,mood", *lines]) + "\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "prompts.table_path must name a CSV with a header"),
        ("caption;mood\na;sad\n", "line 1 must separate columns by commas; got 'caption;mood'"),
        ("caption,mood,caption\na,sad,b\n", "line 1 must name each column once; got 'caption'"),
    ],
)
def test_a_header_that_is_none_is_refused(tmp_path: Path, text: str, said: str):
    assert said in refused(tmp_path, text)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_the_rules_allow_is_read(tmp_path: Path, end: str):
    lines = [
        "\ufeff caption,mood",
        '"a ""sad"", slow song",sad',
        "",
        'the "calm" one,calm',
        '"12"" mix",NA',
        ",",
        " ",
    ]
    assert read(tmp_path, end.join(lines)) == [
        ['a "sad", slow song', "sad"],
        ['the "calm" one', "calm"],
        ['12" mix', "NA"],
    ]


def test_a_caption_over_two_lines_is_read_where_it_cannot_be_two_rows(tmp_path: Path):
    assert read(tmp_path, 'id,caption,mood\n1,"a song\nin two lines",sad\n') == [
        ["1", "a song\nin two lines", "sad"]
    ]


def test_other_encodings_are_named_with_their_line(tmp_path: Path):
    path = tmp_path / "captions.csv"
    path.write_bytes("caption,mood\na song,sad\ncafé,calm\n".encode("latin-1"))
    with pytest.raises(ContractError, match=r"readable CSV in UTF-8; got .* \(captions\.csv line 3\)"):
        read_csv_text(path, "prompts.table_path")
    path.write_bytes("caption,mood\n".encode("utf-16"))
    with pytest.raises(ContractError, match="readable CSV in UTF-8"):
        read_csv_text(path, "prompts.table_path")


@given(st.lists(st.lists(st.text(max_size=8), min_size=3, max_size=3), max_size=5))
def test_what_a_writer_wrote_comes_back(cells: list[list[str]]):
    """The csv module of Python is the independent writer; NUL and surrogates have no place in a CSV."""
    table = [["a", "b", "c"], *cells]
    written = io.StringIO(newline="")
    try:
        csv.writer(written, quoting=csv.QUOTE_ALL).writerows(table)
        written.getvalue().encode()
    except (csv.Error, UnicodeEncodeError):
        return
    found = [row for _, row in rows_of(written.getvalue(), "t.csv", "t")]
    assert found == [row for row in table if any(cell.strip() for cell in row)]

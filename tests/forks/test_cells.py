"""The cells of the experiment: tokens, caches and texts of every contrast."""

import numpy as np

from moodlens.forks.cells import (
    DONOR,
    MEMORY_NEUTRAL,
    ONE,
    OTHER,
    PREFIXES,
    Cell,
    Row,
    plan,
    source_cells,
    where_cells,
)
from moodlens.forks.slots import Slot

SLOT = Slot("s", ("happy", "sad"), ("happy", "sad"), "happy tune", "sad tune", "merry tune", "tune")
ROW = Row(SLOT, 0, 77)
CODES = {name: np.full((1, 4, 5), index, np.int16) for index, name in enumerate(PREFIXES)}


def told(cell: Cell) -> tuple[str, str | None, str | None, str | None]:
    """Return (tokens of, cached under, donor cache under, text ahead) of a cell."""
    stems, (branch,) = plan([ROW], CODES, [cell])
    stem = stems[branch.stem]
    donor = None if branch.donor is None else stems[branch.donor].text
    assert stem.seed_key == 77
    return PREFIXES[int(stem.codes[0, 0])], stem.text, donor, branch.ahead


def test_each_source_differs_in_one_thing():
    assert told(Cell("music", ONE, 3)) == ("one", None, None, None)
    assert told(Cell("music", OTHER, 3)) == ("other", None, None, None)
    assert told(Cell("music", DONOR, 3)) == ("donor", None, None, None)
    assert told(Cell("memory", ONE, 3)) == ("neutral", "happy tune", None, None)
    assert told(Cell("memory", DONOR, 3)) == ("neutral", "merry tune", None, None)
    assert told(Cell(MEMORY_NEUTRAL, OTHER, 3)) == ("neutral", "sad tune", None, "tune")
    assert told(Cell("reading", ONE, 3)) == ("neutral", "tune", None, "happy tune")
    assert told(Cell("reading", OTHER, 3)) == ("neutral", "tune", None, "sad tune")


def test_a_part_of_the_cache_is_exchanged_on_top_of_the_neutral_one():
    assert told(Cell("memory", ONE, 3, layers=(1,))) == ("neutral", "tune", "happy tune", None)
    assert told(Cell("memory", OTHER, 3, window=(0, 2))) == ("neutral", "tune", "sad tune", None)


def test_the_windows_cover_the_prefix_once():
    windows = [cell.window for cell in where_cells(31, 2, 3) if cell.window and cell.side == ONE]
    assert windows[0][0] == 0
    assert windows[-1][1] == 31
    assert [stop for _, stop in windows[:-1]] == [first for first, _ in windows[1:]]
    layers = [cell.layers for cell in where_cells(31, 2, 3) if cell.layers and cell.side == ONE]
    assert layers == [(0,), (1,)]


def test_rows_share_no_stem_and_cells_of_a_row_do():
    other = Row(SLOT, 1, 78)
    two = {name: np.concatenate([codes, codes]) for name, codes in CODES.items()}
    cells = source_cells([1, 2])
    stems, branches = plan([ROW, other], two, cells)
    assert len(branches) == 2 * len(cells) == 36
    assert len(stems) == 2 * 7  # neutral under one, other, donor, neutral; one, other, donor under null text
    assert {stems[branch.stem].seed_key for branch in branches[:18]} == {77}

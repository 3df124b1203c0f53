"""The cells of the fork experiment: which tokens, cached states and texts each continuation gets.

y(c, p, a): the tokens up to the fork were generated under text p, the cached states of those steps were
computed under text c, and generation goes on under text a. Null text is None.

| source | one side | other side | same on both sides |
|---|---|---|---|
| music | y(0, A, 0) | y(0, B, 0) | null caches, null text ahead |
| memory | y(A, n, 0) | y(B, n, 0) | the tokens, null text ahead |
| memory, neutral ahead | y(A, n, n) | y(B, n, n) | the tokens, neutral text ahead |
| reading | y(n, n, A) | y(n, n, B) | the tokens and the caches |
| all | y(A, A, A) | y(B, B, B) | |

The donor side of a source is side A under another wording of the same emotion. All sides of a slot and seed
share their noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from moodlens.contracts.backend import Branch, Stem
from moodlens.forks.slots import Slot

SOURCES = ("music", "memory", "reading")
"""The sources that get a verdict."""

MEMORY_NEUTRAL, ALL = "memory, neutral ahead", "all"
ONE, OTHER, DONOR = SIDES = ("one", "other", "donor")
PREFIXES = ("one", "other", "donor", "neutral")
"""The clips that are generated for every slot and seed, by the text that they are generated under."""


@dataclass(frozen=True)
class Row:
    """A slot with the noise of one seed: the smallest part of the experiment."""

    slot: Slot
    seed: int
    seed_key: int  # noise of every clip and continuation of the row

    def text(self, name: str) -> str:
        """Return the text of a side, or of the neutral prompt."""
        return getattr(self.slot, name)


@dataclass(frozen=True)
class Cell:
    """One continuation of one row."""

    source: str
    side: str  # one of SIDES
    step: int
    layers: tuple[int, ...] | None = None  # of the exchanged cache; None is all
    window: tuple[int, int] | None = None  # steps of the exchanged cache; None is all


def source_cells(steps: Sequence[int]) -> list[Cell]:
    """Return the cells of every source at every fork step."""
    return [Cell(source, side, step) for step in steps for source in SOURCES for side in SIDES]


def where_cells(step: int, n_layers: int, n_windows: int) -> list[Cell]:
    """Return the cells that say where the memory lies, and those with neutral text ahead, at one fork step.

    Each layer of the cache is exchanged alone, then each of `n_windows` equal parts of the prefix.
    """
    edges = np.linspace(0, step, n_windows + 1).round().astype(int)
    windows = [(int(first), int(stop)) for first, stop in pairwise(edges) if stop > first]
    out = [Cell(MEMORY_NEUTRAL, side, step) for side in (ONE, OTHER)]
    for layer in range(n_layers):
        out += [Cell("memory", side, step, layers=(layer,)) for side in (ONE, OTHER)]
    for window in windows:
        out += [Cell("memory", side, step, window=window) for side in (ONE, OTHER)]
    return out


def plan(
    rows: Sequence[Row], codes: dict[str, np.ndarray], cells: Sequence[Cell]
) -> tuple[list[Stem], list[Branch]]:
    """Return the stems of all rows, and the branches: for each row every cell, in order.

    Args:
        rows: slots with their seeds.
        codes: name of PREFIXES -> tokens of the clips of `rows`, (row, codebook, frame).
        cells: of every row.
    """
    stems: list[Stem] = []
    branches: list[Branch] = []
    for number, row in enumerate(rows):
        index: dict[tuple[str, str | None], int] = {}

        def stem(
            prefix: str, text: str | None, number: int = number, row: Row = row, index: dict = index
        ) -> int:
            key = (prefix, text)
            if key not in index:
                index[key] = len(stems)
                stems.append(Stem(codes[prefix][number], text, row.seed_key))
            return index[key]

        for cell in cells:
            text, neutral = row.text(cell.side), row.slot.neutral
            if cell.source == "music":
                branches.append(Branch(stem(cell.side, None), cell.step, None))
            elif cell.source == "reading":
                branches.append(Branch(stem("neutral", neutral), cell.step, text))
            elif cell.layers is not None or cell.window is not None:
                base, donor = stem("neutral", neutral), stem("neutral", text)
                branches.append(
                    Branch(base, cell.step, None, donor=donor, layers=cell.layers, window=cell.window)
                )
            else:
                ahead = neutral if cell.source == MEMORY_NEUTRAL else None
                branches.append(Branch(stem("neutral", text), cell.step, ahead))
    return stems, branches

"""The published run beside this one: how many of its numbers differ, and by how much.

Another processor adds floats in another order. That moves last digits everywhere and the training of an SAE
noticeably, so numbers are compared at `DIGITS` significant digits and the verdict is compared apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DIGITS = 4
"""Significant digits of published numbers."""


@dataclass(frozen=True)
class Comparison:
    """Published numbers against those of this run."""

    n_numbers: int  # published
    n_different: int  # of these, here another value, or absent
    largest: str  # name of the number with the largest relative difference, "" if none differs
    published: float | None = None  # its value there
    here: float | None = None  # its value here, None if absent

    @property
    def sentence(self) -> str:
        """Return the comparison in words.

        >>> Comparison(5, 1, "sae.fvu", 0.2, 0.3).sentence
        '1 of 5 published numbers differ, the most sae.fvu: 0.2 published, 0.3 here'
        """
        if not self.n_different:
            return f"all {self.n_numbers} published numbers are equal"
        here = "absent" if self.here is None else f"{self.here:g}"
        first = f"{self.n_different} of {self.n_numbers} published numbers differ, the most"
        return f"{first} {self.largest}: {self.published:g} published, {here} here"


def rounded(value: Any, digits: int = DIGITS) -> Any:
    """Return a JSON value with every float at so many significant digits.

    >>> rounded({"p": [0.123456, 2, None, "x", True]})
    {'p': [0.1235, 2, None, 'x', True]}
    """
    if isinstance(value, Mapping):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item, digits) for item in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def numbers_of(values: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the numbers of nested mappings and lists under dotted names.

    >>> numbers_of({"a": {"b": 1.5, "c": "word"}, "d": [2, 3]})
    {'a.b': 1.5, 'd.0': 2.0, 'd.1': 3.0}
    """
    numbers: dict[str, float] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            numbers |= numbers_of(value, f"{name}.")
        elif isinstance(value, list):
            numbers |= numbers_of({str(i): item for i, item in enumerate(value)}, f"{name}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            numbers[name] = float(value)
    return numbers


def compared(published: Mapping[str, Any], here: Mapping[str, Any]) -> Comparison:
    """Return how the numbers of this run differ from the published ones, at `DIGITS` significant digits.

    Args:
        published: published files by name, each a JSON mapping.
        here: the same files of this run.
    """
    theirs, ours = numbers_of(rounded(published)), numbers_of(rounded(here))
    gaps = {name: _gap(value, ours.get(name)) for name, value in theirs.items()}
    different = {name: gap for name, gap in gaps.items() if gap > 0}
    if not different:
        return Comparison(len(theirs), 0, "")
    largest = max(different, key=lambda name: (different[name], name))
    return Comparison(len(theirs), len(different), largest, theirs[largest], ours.get(largest))


def _gap(published: float, here: float | None) -> float:
    """Return the difference as a share of the larger of both; infinite where there is no number here."""
    if here is None:
        return float("inf")
    return abs(published - here) / max(abs(published), abs(here), 1e-12)

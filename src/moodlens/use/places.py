"""The places at which states are exchanged: a hookpoint, at all decoder steps or in a window of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from moodlens.contracts.interventions import Donor, Intervention

ALL_STEPS = -1
"""Stands for `first` and `stop` in tables where a place has all steps."""


IN_WORDS = {
    "residual": "the residual stream after layer {}",
    "cross_attention": "what layer {} reads of the text",
    "self_attention": "what layer {} takes from the music so far",
    "mlp": "the output of the MLP in layer {}",
}
"""Site -> how a sentence names it."""


def in_words(name: str) -> str:
    """Return the name of a place as a sentence has it, the hookpoint in brackets.

    >>> in_words("cross_attention.5"), in_words("residual.3, steps 0-10")
    ('what layer 5 reads of the text (cross_attention.5)', \
'the residual stream after layer 3 (residual.3), steps 0-10')
    """
    hookpoint, comma, steps = name.partition(",")
    site, _, layer = hookpoint.partition(".")
    return f"{IN_WORDS[site].format(layer)} ({hookpoint}){comma}{steps}"


@dataclass(frozen=True)
class Place:
    """A hookpoint with all its steps, or with a window of them."""

    hookpoint: str  # e.g. residual.3
    steps: tuple[int, int] | None = None  # decoder steps (first, stop); None is all

    @property
    def name(self) -> str:
        """Return the name of the place.

        >>> Place("residual.3").name, Place("residual.3", (0, 10)).name
        ('residual.3', 'residual.3, steps 0-10')
        """
        return f"{self.hookpoint}, steps {self.steps[0]}-{self.steps[1]}" if self.steps else self.hookpoint

    @property
    def columns(self) -> dict[str, str | int]:
        """Return the columns hookpoint, first and stop of a table."""
        first, stop = self.steps or (ALL_STEPS, ALL_STEPS)
        return {"hookpoint": self.hookpoint, "first": first, "stop": stop}

    def exchange(
        self, donor: Donor, vectors: np.ndarray | None = None, *, outside: bool = False
    ) -> Intervention:
        """Return the exchange of the states here with those of a donor, or of their part along `vectors`."""
        return Intervention(
            self.hookpoint, "exchange", steps=self.steps, vectors=vectors, outside=outside, donor=donor
        )


def place_at(hookpoint: str, first: int, stop: int) -> Place:
    """Return the place of a table's columns.

    >>> place_at("residual.3", -1, -1)
    Place(hookpoint='residual.3', steps=None)
    """
    return Place(str(hookpoint), None if first == ALL_STEPS else (int(first), int(stop)))


def places(hookpoints: Sequence[str], n_steps: int, n_windows: int) -> list[Place]:
    """Return every hookpoint with all steps, then every hookpoint with each of `n_windows` equal windows.

    Args:
        hookpoints: of the model. The caller leaves out the last residual, which is the model's output.
        n_steps: decoder steps of a clip.
        n_windows: below 2 there are no windows.

    >>> [place.name for place in places(["residual.0"], 10, 2)]
    ['residual.0', 'residual.0, steps 0-5', 'residual.0, steps 5-10']
    """
    out = [Place(hookpoint) for hookpoint in hookpoints]
    if n_windows >= 2:
        edges = np.linspace(0, n_steps, n_windows + 1).round().astype(int)
        windows = [(int(first), int(stop)) for first, stop in pairwise(edges) if stop > first]
        out += [Place(hookpoint, window) for hookpoint in hookpoints for window in windows]
    return out

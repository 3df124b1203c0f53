"""States of parts of the clips as those of all."""

from collections.abc import Sequence

import numpy as np

from moodlens.contracts.backend import States

PARTS = ("values", "summaries", "figures", "attention")


def place(whole: States, found: States, clips: Sequence[int], n_clips: int) -> None:
    """Put the states of some clips into those of all `n_clips`; a part that holds all is taken as it is."""
    for name in PARTS:
        into: dict[str, np.ndarray] = getattr(whole, name)
        part: dict[str, np.ndarray] = getattr(found, name)
        for key, states in part.items():
            if list(clips) == list(range(n_clips)):
                into[key] = states
                continue
            if key not in into:
                into[key] = np.zeros((n_clips, *states.shape[1:]), dtype=states.dtype)
            into[key][list(clips)] = states

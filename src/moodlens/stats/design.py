"""The design of a dataset: the emotion and the wording of every prompt, and the unit of every test.

A wording is the group of words that carries the emotion; wordings of one emotion that share a content word
count as one (`workspace.design`). Every wording belongs to one emotion. Tests of more than the words permute
and resample whole wordings; all other tests use whole prompts.

Labels move within blocks (`Design.blocks`). The units of a block stand in equally many prompts of every
nuisance stratum, so they are of one size, and the relabellings hold the nuisance fixed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int

from moodlens.base.axes import EMOTIONS
from moodlens.base.errors import ContractError, must
from moodlens.stats.permutation import relabellings, smallest_p

Unit = Literal["prompt", "wording"]
UNITS: tuple[Unit, Unit] = ("prompt", "wording")


@dataclass(frozen=True)
class Design:
    """The emotional prompts of a dataset, in the order of every (prompt, ...) array."""

    prompt_ids: tuple[str, ...]
    emotions: tuple[str, ...]  # class names, in the order of `base.axes.EMOTIONS`
    labels: Int[np.ndarray, " prompt"]  # index into `emotions`
    wordings: Int[np.ndarray, " prompt"]  # wording of each prompt, numbered by first appearance
    strata: Int[np.ndarray, " prompt"] | None = None  # nuisance stratum of each prompt; None: one stratum

    @property
    def n_prompts(self) -> int:
        return len(self.prompt_ids)

    @property
    def n_classes(self) -> int:
        return len(self.emotions)

    def members(self, unit: Unit) -> Int[np.ndarray, " prompt"]:
        """Return the unit each prompt belongs to: itself, or its wording."""
        return self.wordings if unit == "wording" else np.arange(self.n_prompts)

    def unit_labels(self, unit: Unit) -> Int[np.ndarray, " unit"]:
        """Return the emotion of every unit."""
        _, first = np.unique(self.members(unit), return_index=True)
        return self.labels[first]

    def blocks(self, unit: Unit) -> Int[np.ndarray, " unit"]:
        """Return the block of every unit: units with equally many prompts in every stratum share a block.

        >>> made = design_of(list("abcde"), ["sad"] * 3 + ["happy"] * 2, ["x", "x", "y", "u", "v"])
        >>> made.blocks("wording").tolist()
        [1, 0, 0, 0]
        """
        return blocks_of(self.members(unit), self.strata)

    def relabellings(
        self, unit: Unit, n_permutations: int, rng: np.random.Generator
    ) -> Int[np.ndarray, "perm unit"]:
        """Return 1 + n_permutations labels of every unit, exchanged within `blocks`; the first is observed.

        Every test of emotion takes its relabellings from here: a table that ignores the blocks takes a
        nuisance, or a difference in size, for emotion.

        >>> made = design_of(list("abcde"), ["sad"] * 3 + ["happy"] * 2, ["x", "x", "y", "u", "v"])
        >>> made.relabellings("wording", 50, np.random.default_rng(0))[:, 0].tolist() == [1] * 51
        True
        """
        return relabellings(self.unit_labels(unit), n_permutations, rng, self.blocks(unit))

    def smallest_p(self, unit: Unit, n_permutations: int) -> float:
        """Return the smallest p that these relabellings of the units can give."""
        return smallest_p(self.unit_labels(unit), n_permutations, self.blocks(unit))


def blocks_of(
    members: Int[np.ndarray, " prompt"], strata: Int[np.ndarray, " prompt"] | None = None
) -> Int[np.ndarray, " unit"]:
    """Return the block of every unit, from the unit and the stratum of each prompt."""
    rows = np.zeros(len(members), dtype=np.int64) if strata is None else strata
    counts = np.zeros((int(members.max()) + 1, int(rows.max()) + 1), dtype=np.int64)
    np.add.at(counts, (members, rows), 1)
    return np.unique(counts, axis=0, return_inverse=True)[1].ravel()


def design_of(prompt_ids: Sequence[str], emotions: Sequence[str], wordings: Sequence[str]) -> Design:
    """Return the design of emotional prompts (leave neutral ones out before).

    Raises:
        ContractError: fewer than two emotions, an emotion with one prompt, a wording under two emotions.

    >>> design_of(["a", "b", "c", "d"], ["sad", "happy", "sad", "happy"], list("wxyz")).labels.tolist()
    [1, 0, 1, 0]
    """
    present = set(emotions)
    names = tuple(e for e in EMOTIONS if e in present) + tuple(sorted(present - set(EMOTIONS)))
    if len(names) < 2:
        got = ", ".join(names) or "none"
        raise ContractError(
            must(
                "the design",
                "hold at least two emotions",
                got,
                next_step="Add an emotion to prompts.emotions",
            )
        )
    labels = np.array([names.index(e) for e in emotions])
    counts = np.bincount(labels, minlength=len(names))
    if counts.min() < 2:
        name = names[int(counts.argmin())]
        raise ContractError(
            must(
                f"emotion '{name}'",
                "have at least 2 prompts",
                int(counts.min()),
                next_step="Raise prompts.n_per_emotion: the prompt is the unit of replication",
            )
        )
    codes: dict[str, int] = {}
    owner: dict[str, str] = {}
    for wording, emotion in zip(wordings, emotions, strict=True):
        codes.setdefault(wording, len(codes))
        if owner.setdefault(wording, emotion) != emotion:
            raise ContractError(
                must(
                    f"wording '{wording}'",
                    "belong to one emotion",
                    f"{owner[wording]} and {emotion}",
                    next_step="Give the prompts of each emotion wordings of their own",
                )
            )
    return Design(tuple(prompt_ids), names, labels, np.array([codes[w] for w in wordings]))

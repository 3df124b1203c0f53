"""A description of each factor of the music: how well null-text states tell the one that prompts ask for.

It is part of the finding on null-text states and has no verdict. A state is computed from the tokens it was
fed, so it is not expected to beat a reader of all of them (docs/null_text.md). The description names the
readers that it beats and those that it is not shown to beat: untrained decoders, the tokens and codec vectors
of the same steps, the other descriptors.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from moodlens.decision import sentences
from moodlens.params.pipeline import Decide

NUMBERS = ("r2", "low", "high", "p", "prompted_r", "prompted_p")
"""Fields of a factor in metrics/null_text.json that its description repeats."""


@dataclass(frozen=True)
class FactorDescription:
    """What null-text states tell of one factor, in sentences and in numbers."""

    sentences: str
    better_than: tuple[str, ...]  # readers whose error is larger, one-sided p < alpha_weak / 2
    not_shown_against: tuple[str, ...]  # the other readers
    r2: float
    low: float
    high: float
    p: float
    prompted_r: float
    prompted_p: float


def describe_factor(name: str, result: Mapping[str, Any], thresholds: Decide) -> FactorDescription:
    """Return the description of one factor.

    Args:
        name: of the factor.
        result: its entry under `factors` in metrics/null_text.json.
        thresholds: the user's, params.yaml `decide`.
    """
    one_sided = thresholds.alpha_weak / 2
    beaten = tuple(reader for reader, lead in result["leads"].items() if lead["p"] < one_sided)
    others = tuple(reader for reader in result["leads"] if reader not in beaten)
    return FactorDescription(
        sentences=sentences.factor_sentences(name, result, beaten, others),
        better_than=beaten,
        not_shown_against=others,
        **{key: result[key] for key in NUMBERS},
    )

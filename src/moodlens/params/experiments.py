"""The typed form of the sections on experiments with the model: forks and interchange."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from moodlens.params.choices import EmotionPair, ExchangeSite
from moodlens.params.quantities import (
    Confidence,
    Count,
    Names,
    Nonnegative,
    Permutations,
    Seed,
    Share,
    SmallShare,
)


@dataclass(frozen=True)
class Forks:
    pairs: Names[EmotionPair]
    n_seeds: Count
    seed: Seed
    steps_s: Names[Nonnegative]
    guidance_scale: Annotated[float, Interval(ge=1, le=100)]
    run_guidance_s: Nonnegative
    where_s: Nonnegative
    n_windows: Count
    judged_s: Annotated[float, Interval(ge=0.5, le=120)]
    block_clips: Count
    rows_per_task: Count
    share_strong: Share
    share_weak: Share
    margin: SmallShare
    n_permutations: Permutations
    confidence: Confidence
    analysis_seed: Seed


@dataclass(frozen=True)
class Interchange:
    pairs: Names[EmotionPair]
    sites: Names[ExchangeSite]
    n_windows: Count
    n_seeds: Count
    seed: Seed
    guidance_scale: Annotated[float, Interval(ge=1, le=100)]
    n_directions: Count
    n_draws: Count
    judged_s: Annotated[float, Interval(ge=0.5, le=120)]
    block_clips: Count
    rows_per_task: Count
    share_strong: Share
    share_weak: Share
    margin: SmallShare
    rank_strong: SmallShare
    rank_weak: SmallShare
    n_permutations: Permutations
    confidence: Confidence
    analysis_seed: Seed

"""The factors of the music: does a null-text state tell each, and is it the one the prompt intends?

Two questions that a shuffled model tells apart. Its states hold the tempo of its own music; that tempo is not
the prompt's. So a factor is first read out of the states (target: the descriptor measured in the clip's own
audio, held-out wordings), and what was read out is then held against what the prompt asks (arousal for tempo,
loudness and brightness, valence for mode): their correlation, wordings relabelled. The reader never saw the
prompts' intentions, so that relabelling them is an exact test.

"Beyond acoustics" has no meaning for a factor and its own descriptor: a state made from the music cannot know
it better than the audio it was measured in. What can be tested is whether the state tells it better than all
other descriptors do, i.e. whether it holds this factor and not just what goes along with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from moodlens.null_text.regression import TargetScore
from moodlens.stats.multiplicity import max_t

OTHERS = "other descriptors"
"""Reader of a factor: all descriptors but the factor's own kin."""


@dataclass(frozen=True)
class Factor:
    """How a factor shows in the audio and what asks for it; the organism's model card names four."""

    descriptor: str
    kin: tuple[str, ...]  # descriptors that measure the same thing
    asked_by: str  # the scale of the prompt that raises it: arousal | valence


FACTORS: Mapping[str, Factor] = {
    "tempo": Factor("onset_rate_hz", ("tempo_bpm", "onset_rate_hz", "pulse_clarity"), "arousal"),
    "loudness": Factor("loudness_db", ("loudness_db", "dynamic_range_db", "low_energy_fraction"), "arousal"),
    "brightness": Factor(
        "centroid_hz", ("centroid_hz", "rolloff_hz", "flatness", "zero_crossing_rate_hz"), "arousal"
    ),
    "mode": Factor("mode_margin", ("mode_margin",), "valence"),
}


@dataclass(frozen=True)
class Told:
    """One factor: how well the states tell it, and how far that follows the prompt."""

    reading: TargetScore
    asked_by: str
    prompted_r: float  # what was read out, against what the prompt asks
    prompted_p: float  # one-sided, maxT over the factors


def follow_prompts(
    readings: Sequence[TargetScore],
    intended: Mapping[str, Float[np.ndarray, " unit"]],
    permutations: Int[np.ndarray, "perm unit"],
) -> tuple[Told, ...]:
    """Return the factors among the readings, each held against what the prompts ask.

    Args:
        readings: from `null_text.regression.read_targets`; those that are no factor are left out.
        intended: valence and arousal of the prompts of each wording.
        permutations: orders of the wordings, the identity first.
    """
    factors = [reading for reading in readings if reading.target in FACTORS]
    if not factors:
        return ()
    scales = [FACTORS[reading.target].asked_by for reading in factors]
    r = np.stack(
        [
            _correlations(reading.predicted, intended[scale][permutations])
            for reading, scale in zip(factors, scales, strict=True)
        ]
    )
    told = zip(factors, scales, r[:, 0].tolist(), max_t(r).tolist(), strict=True)
    return tuple(Told(*each) for each in told)


def _correlations(
    predicted: Float[np.ndarray, " unit"], requested: Float[np.ndarray, "perm unit"]
) -> Float[np.ndarray, " perm"]:
    x = predicted - predicted.mean()
    y = requested - requested.mean(axis=1, keepdims=True)
    length = np.linalg.norm(x) * np.linalg.norm(y, axis=1)
    return np.divide(y @ x, length, out=np.zeros(len(y)), where=length > 0)

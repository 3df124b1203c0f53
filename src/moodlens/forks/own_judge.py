"""Judges for models without a judge of their own: fitted on the model's own clips, wordings held out.

Such a judge is less independent than one that never heard the model. It knows how this model sounds under the
emotions' other wordings, and nothing of the wordings that it judges.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from moodlens.audio.descriptors import Descriptors
from moodlens.audio.judge import Judge, fit_judge
from moodlens.forks.slots import Slot


def judges_of_clips(
    slots: Sequence[Slot],
    sounds: Sequence[Descriptors],
    emotions: Sequence[str],
    wordings: Sequence[str],
    window_s: float,
) -> tuple[dict[str, Judge], dict[str, float]]:
    """Return a judge per unit, fitted without the clips of its wordings, and each pair's gap.

    The gap of a pair is the mean difference of log-odds between the clips of the held-out wordings.

    Args:
        slots: of every unit.
        sounds, emotions, wordings: of the model's clips; the last `window_s` seconds are described.
    """
    names = np.array(wordings)
    judges: dict[str, Judge] = {}
    gaps: dict[tuple[str, str], list[float]] = {}
    for slot in slots:
        if slot.unit in judges:
            continue
        held_out = np.isin(names, slot.wordings)
        kept = np.flatnonzero(~held_out).tolist()
        judge = fit_judge([sounds[i] for i in kept], [emotions[i] for i in kept], window_s)
        judges[slot.unit] = judge
        odds = [
            judge.log_odds([sounds[i] for i in np.flatnonzero(names == wording).tolist()], *slot.pair).mean()
            for wording in slot.wordings
        ]
        gaps.setdefault(slot.pair, []).append(float(odds[0] - odds[1]))
    return judges, {" - ".join(pair): float(np.mean(values)) for pair, values in gaps.items()}


def same_judge(slots: Sequence[Slot], judge: Judge) -> tuple[dict[str, Judge], Mapping[str, float]]:
    """Return one judge for every unit, and its own gaps."""
    return {slot.unit: judge for slot in slots}, judge.gaps

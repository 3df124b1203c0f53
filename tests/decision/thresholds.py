"""Thresholds as the repository's params.yaml has them, written out so that a test reads alone."""

from moodlens.params.pipeline import Decide

THRESHOLDS = Decide(
    alpha_strong=0.001,
    alpha_weak=0.05,
    accuracy_strong=0.667,
    accuracy_weak=0.467,
    effect_strong=0.05,
    effect_weak=0.02,
    equivalence_power=0.95,
    looks=(),
    gate_clips=20,
    gate_effect=0.02,
    gate_acoustic_match=0.80,
    gate_alpha=0.05,
    gate_silhouette=0.2,
)

"""Wordings, folds and SAE-like latents whose truth is known."""

import numpy as np

from moodlens.latents.detectors import Wordings


def wordings_of(n_classes: int = 4, per_class: int = 10, n_folds: int = 5) -> Wordings:
    """Wordings of equally many emotions; every fold holds wordings of each."""
    labels = np.repeat(np.arange(n_classes), per_class)
    folds = np.tile(np.arange(per_class) % n_folds, n_classes)
    return Wordings(labels, folds, n_classes, n_folds)


def decoder(n_latents: int, d_in: int, seed: int = 0) -> np.ndarray:
    """Unit rows, (latent, d_in)."""
    rows = np.random.default_rng(seed).standard_normal((n_latents, d_in))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def latents_with(
    wordings: Wordings, own: dict[int, list[int]], n_latents: int = 60, strength: float = 4.0, seed: int = 1
) -> np.ndarray:
    """Noise at and above zero, (wording, latent); the latents of each emotion are raised on its wordings."""
    latents = np.random.default_rng(seed).gamma(1.0, size=(len(wordings.labels), n_latents))
    for klass, members in own.items():
        latents[np.ix_(wordings.labels == klass, members)] += strength
    return latents

"""Who reads the tokens: the model, untrained decoders, and readers without a decoder, as Gram matrices.

A view is one Gram matrix over prompts. The views of a layered reader are its layers at every kept step; those
of a reader without layers are one per step. What is fed to a state at step s is the token history up to s, so
readers are compared step by step.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from moodlens.stats.design import Design
from moodlens.stats.gram import centred, group_means


@dataclass(frozen=True)
class Reader:
    """One reader of the same tokens at the same steps; Gram matrices centred, mean diagonal 1."""

    name: str
    grams: Float[np.ndarray, "step layer prompt prompt"]  # one layer where there are none

    @property
    def pooled(self) -> Float[np.ndarray, "step prompt prompt"]:
        """Return one Gram matrix per step, the mean over layers: a reading that chooses no layer."""
        return self.grams.mean(axis=1)

    def at(self, site: int, n_layers: int) -> Float[np.ndarray, "prompt prompt"]:
        """Return the Gram matrix that stands beside site `step * n_layers + layer` of a layered reader."""
        step, layer = divmod(site, n_layers)
        return self.grams[step, min(layer, self.grams.shape[1] - 1)]


def by_wording(
    grams: Float[np.ndarray, "view prompt prompt"], design: Design
) -> Float[np.ndarray, "view unit unit"]:
    """Return the centred Gram matrices of the wordings' means."""
    return centred(group_means(grams, design.wordings))


def wording_means(values: Float[np.ndarray, "prompt ..."], design: Design) -> Float[np.ndarray, "unit ..."]:
    """Return the mean of the prompts of each wording.

    >>> from moodlens.stats.design import design_of
    >>> d = design_of(["a", "b", "c", "d"], ["sad", "sad", "calm", "calm"], ["w", "w", "x", "y"])
    >>> wording_means(np.array([1.0, 3.0, 5.0, 6.0]), d).tolist()
    [2.0, 5.0, 6.0]
    """
    onehot = (design.wordings[None, :] == np.arange(design.wordings.max() + 1)[:, None]).astype(np.float64)
    return np.einsum("up,p...->u...", onehot / onehot.sum(axis=1, keepdims=True), values)

"""Who reads the tokens: the model, untrained decoders, and readers without a decoder, as Gram matrices.

A view is one Gram matrix over prompts. The views of a layered reader are its layers at every kept step; those
of a reader without layers are one per step. What is fed to a state at step s is the token history up to s, so
readers are compared step by step.

`reduced` brings the histories of the tokens to the width of a state, inside the training folds.

`swap_shares` asks how far another text pulls a state: a probe trained under own text reads every condition.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from moodlens.probes.kernel_ridge import class_scores
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

    @property
    def sites(self) -> Float[np.ndarray, "site prompt prompt"]:
        """Return the Gram matrices of all sites; site `step * n_layers + layer`."""
        return self.grams.reshape(-1, *self.grams.shape[2:])


def reduced(
    rows: Float[np.ndarray, "step clip dim"], train: Bool[np.ndarray, " clip"], width: int
) -> Float[np.ndarray, "step clip reduced"]:
    """Return the rows on the leading principal axes of the training clips at all steps, at most `width`.

    Rows that span no more than `width` dimensions are returned as they are.

    >>> clips = np.array([[[3.0, 0.0], [1.0, 0.1], [2.0, 0.3], [9.0, 9.0]]])
    >>> reduced(clips, np.array([True, True, True, False]), width=1).shape
    (1, 4, 1)
    """
    fitted = rows[:, train].reshape(-1, rows.shape[2])
    if min(len(fitted) - 1, rows.shape[2]) <= width:
        return rows
    fitted = fitted - fitted.mean(axis=0)
    if len(fitted) < rows.shape[2]:  # the smaller of the two Gram matrices has the same axes
        values, vectors = np.linalg.eigh(fitted @ fitted.T)
        leading = values[-width:]
        axes = fitted.T @ (vectors[:, -width:] / np.sqrt(np.maximum(leading, np.finfo(float).tiny)))
    else:
        axes = np.linalg.eigh(fitted.T @ fitted)[1][:, -width:]
    return rows @ axes


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


@dataclass(frozen=True)
class SwapShares:
    """Share of clips read as the emotion named, by probes that never saw the clip's wording."""

    own: float  # own text: as the prompt's emotion
    null: float  # null text: as the emotion the music was made from
    swapped_music: float  # swapped text: as the emotion the music was made from
    swapped_text: float  # swapped text: as the emotion of the text


def swap_shares(
    rows: dict[str, Float[np.ndarray, "clip dim"]],
    prompts: Int[np.ndarray, " clip"],
    swapped: Int[np.ndarray, " clip"],
    design: Design,
    folds: Int[np.ndarray, " prompt"],
    penalty: float,
) -> SwapShares:
    """Return what the states of each condition are read as.

    The probe is the closed form of `probes.kernel_ridge`, trained on prompt means under own text in the
    other folds.
    Every condition is centred at its own mean over clips, without looking at labels: null text moves all
    states alike, and that is not emotion.

    Args:
        rows: condition (own, null, swapped) -> states.
        prompts: index of each clip's prompt in the design.
        swapped: emotion of the text each clip gets under `swapped`, index into design.emotions; -1: none.
        design: the prompts.
        folds: fold of each prompt, whole wordings.
        penalty: of the ridge.
    """
    centred = {name: values - values.mean(axis=0) for name, values in rows.items()}
    own = centred["own"]
    weights = (prompts[None, :] == np.arange(design.n_prompts)[:, None]).astype(np.float64)
    weights /= weights.sum(axis=1, keepdims=True)
    means = weights @ own
    read = {name: np.empty(len(prompts), dtype=np.int64) for name in centred}
    for fold in np.unique(folds):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds[prompts] == fold)
        seen = means[train] - means[train].mean(axis=0)
        inner, labels = (seen @ seen.T)[None], design.labels[train]
        for name, values in centred.items():
            outer = ((values[test] - means[train].mean(axis=0)) @ seen.T)[None]
            scores = class_scores(inner, outer, labels, design.n_classes, penalty)
            read[name][test] = scores[0].argmax(axis=1)
    music = design.labels[prompts]
    given = swapped >= 0
    return SwapShares(
        float((read["own"] == music).mean()),
        float((read["null"] == music).mean()),
        float((read["swapped"] == music)[given].mean()),
        float((read["swapped"] == swapped)[given].mean()),
    )

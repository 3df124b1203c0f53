"""Gram matrices: one per site is the input of every test, similarity and probe.

A site is any source of one vector per clip (or, for text, per prompt). K = X X^T holds everything that
rotation-invariant statistics need: means over a prompt's clips, centring and cosines are linear algebra on K.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.errors import ContractError, must

CONSTANT = 1e-12
"""Centred variance below this share of the mean square is treated as rounding error."""


@dataclass(frozen=True)
class SiteGram:
    """The raw Gram matrix of one site and the prompt of each of its rows."""

    site: str
    values: Float[np.ndarray, "row row"]  # X X^T, float64
    prompts: Int[np.ndarray, " row"]  # index of the prompt of each row, every prompt at least once
    means: Float[np.ndarray, "prompt dim"] | None = (
        None  # prompt means, for methods that need dimensions or directions
    )

    @property
    def n_prompts(self) -> int:
        return int(self.prompts.max()) + 1


def site_gram(site: str, rows: Float[np.ndarray, "row dim"], prompts: Sequence[int] | np.ndarray) -> SiteGram:
    """Return the Gram matrix of a site.

    Args:
        site: name for errors and tables.
        rows: one vector per clip (or prompt), any float type; constant dimensions are harmless.
        prompts: index of the prompt of each row, 0..n_prompts-1.

    Raises:
        ContractError: a value is not finite, a prompt has no row, or all rows are equal.
    """
    index = np.asarray(prompts, dtype=np.int64)
    if not np.isfinite(rows).all():
        row, dim = np.argwhere(~np.isfinite(rows))[0]
        raise ContractError(
            must(
                f"site {site}",
                "be finite",
                f"{rows[row, dim]} in row {row}, dimension {dim}",
                next_step="Check the capture of that site",
            )
        )
    missing = np.setdiff1d(np.arange(index.max() + 1), index)
    if missing.size:
        raise ContractError(
            must(
                f"site {site}",
                "have a row for every prompt",
                f"none for prompt {missing[0]}",
                next_step="Run `dvc repro`",
            )
        )
    wide = np.asarray(rows, dtype=np.float64)
    gram = SiteGram(site, wide @ wide.T, index, mean_weights(index) @ wide)
    if np.trace(centred(gram.values)) <= CONSTANT * np.trace(gram.values):
        raise ContractError(
            must(
                f"site {site}",
                "differ between rows",
                "one vector for all",
                next_step="Leave the site out or check its capture",
            )
        )
    return gram


def standardised(rows: Float[np.ndarray, "row dim"]) -> Float[np.ndarray, "row varying"]:
    """Return the dimensions at mean 0 and variance 1, constant ones left out. Use it for mixed units.

    >>> standardised(np.array([[1.0, 5.0], [3.0, 5.0]])).tolist()
    [[-1.0], [1.0]]
    """
    spread = rows.std(axis=0)
    varies = spread > CONSTANT * (np.abs(rows).max(axis=0) + 1)
    return (rows[:, varies] - rows[:, varies].mean(axis=0)) / spread[varies]


def centred(
    gram: Float[np.ndarray, "... row row"], weights: Float[np.ndarray, " row"] | None = None
) -> Float[np.ndarray, "... row row"]:
    """Return the Gram matrix of the rows minus their (weighted) mean: (I - 1 w^T) K (I - w 1^T).

    >>> centred(np.array([[1.0, 3.0], [3.0, 9.0]])).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    n = gram.shape[-1]
    w = np.full(n, 1 / n) if weights is None else weights
    mean = gram @ w
    return gram - mean[..., :, None] - mean[..., None, :] + (mean @ w)[..., None, None]


def mean_weights(groups: Int[np.ndarray, " row"]) -> Float[np.ndarray, "group row"]:
    """Return A so that A @ rows are the means of the groups 0..max."""
    onehot = (groups[None, :] == np.arange(groups.max() + 1)[:, None]).astype(np.float64)
    return onehot / onehot.sum(axis=1, keepdims=True)


def group_means(
    gram: Float[np.ndarray, "... row row"], groups: Int[np.ndarray, " row"]
) -> Float[np.ndarray, "... group group"]:
    """Return the Gram matrix of the group means, A K A^T.

    >>> group_means(np.array([[1.0, 3.0], [3.0, 9.0]]), np.array([0, 0])).tolist()
    [[4.0]]
    """
    weights = mean_weights(groups)
    return weights @ gram @ weights.T


def prompt_grams(sites: Sequence[SiteGram]) -> Float[np.ndarray, "layer prompt prompt"]:
    """Return the centred Gram matrices of prompt means, scaled to mean diagonal 1, stacked over sites."""
    stack = np.stack([centred(group_means(site.values, site.prompts)) for site in sites])
    return stack / np.trace(stack, axis1=1, axis2=2)[:, None, None] * stack.shape[1]


def cosines(gram: Float[np.ndarray, "row row"]) -> Float[np.ndarray, "row row"]:
    """Return the cosine similarities, K_ij / sqrt(K_ii K_jj).

    Raises:
        ContractError: a row is the zero vector (after centring: it equals the mean).
    """
    norms = np.sqrt(np.clip(np.diag(gram), 0, None))
    if (norms <= np.sqrt(CONSTANT) * norms.max()).any():
        raise ContractError(
            must(
                "a row",
                "have a direction",
                f"row {int(norms.argmin())} of norm 0",
                next_step="Check that site",
            )
        )
    return np.clip(gram / np.outer(norms, norms), -1, 1)


def squared_distances(gram: Float[np.ndarray, "... row row"]) -> Float[np.ndarray, "... row row"]:
    """Return |x_i - x_j|^2 = K_ii + K_jj - 2 K_ij; values below zero, which are rounding, become zero.

    >>> squared_distances(np.array([[1.0, 3.0], [3.0, 9.0]])).tolist()
    [[0.0, 4.0], [4.0, 0.0]]
    """
    own = np.diagonal(gram, axis1=-2, axis2=-1)
    return np.clip(own[..., :, None] + own[..., None, :] - 2 * gram, 0, None)


def within_groups(
    gram: Float[np.ndarray, "... row row"], groups: Int[np.ndarray, " row"]
) -> Float[np.ndarray, "... row row"]:
    """Return the Gram matrix of the rows minus the mean of their group.

    >>> within_groups(np.array([[1.0, 3.0], [3.0, 9.0]]), np.array([0, 1])).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """
    keep = np.eye(len(groups)) - mean_weights(groups)[groups]
    return keep @ gram @ keep.T


def prompt_pairs(
    similarity: Float[np.ndarray, "row row"], prompts: Int[np.ndarray, " row"]
) -> Float[np.ndarray, "prompt prompt"]:
    """Return the mean similarity of the clips of prompt i with the clips of prompt j.

    The diagonal is the mean over pairs of different clips of one prompt (the ceiling), NaN for a single clip.
    """
    weights = mean_weights(prompts)
    pairs = weights @ similarity @ weights.T
    counts = np.bincount(prompts)
    own = counts * counts * np.diag(pairs) - np.bincount(prompts, weights=np.diag(similarity))
    n_own = counts * (counts - 1)
    ceiling = np.divide(own, n_own, out=np.full(len(counts), np.nan), where=n_own > 0)
    np.fill_diagonal(pairs, ceiling)
    return pairs

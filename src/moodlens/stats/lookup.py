"""Sums over pairs of equal label by looking them up: the method of the four Russians, for many relabellings.

Which of eight prompts share the label of a ninth is one byte, so that eight terms of a sum are one of 256
rows of a table (code, layer). A table takes 256 additions per layer and serves every relabelling: of 10,000
each then takes an eighth of the additions, and no indicator is formed. Four tables are added at a time.

Source: Arlazarov, Dinic, Kronrod and Faradzev 1970, On economical construction of the transitive closure.
"""

import numpy as np
from jaxtyping import Float, Int
from numba import float32, njit

BITS = 8
"""Prompts per table: a code is a byte; four tables of 48 layers, 196 KB, stay in a core's second cache."""
AT_ONCE = 4
MIN_WORK = 1 << 29
"""Layers x pairs x relabellings from which the tables, and their compilation (seconds, then cached), pay."""
_FAST = {"cache": True, "nogil": True, "fastmath": {"reassoc", "contract", "nsz"}}


def pays(n_layers: int, n: int, n_perms: int) -> bool:
    """Return whether sums of this size are ones to look up.

    >>> pays(48, 100, 10_000), pays(12, 36, 10_000)
    (True, False)
    """
    return n_layers * n * (n - 1) // 2 * n_perms >= MIN_WORK


def pair_sums(
    pairs: Float[np.ndarray, "layer prompt prompt"], labels: Int[np.ndarray, "perm prompt"]
) -> Float[np.ndarray, "layer perm"]:
    """Return sum over i < j of equal label of pairs[layer, i, j], in float32.

    Args:
        pairs: symmetric values; the diagonal is not read.
        labels: one labelling per row, from 0.
    """
    n_layers, n, _ = pairs.shape
    padded = -(-n // BITS) * BITS
    values = np.zeros((padded, padded, n_layers), np.float32)
    rows, columns = np.triu_indices(n, 1)
    values[rows, columns] = pairs[:, rows, columns].T
    by_prompt = np.ascontiguousarray(labels.T, dtype=np.int8)
    masks = np.zeros((padded // BITS, int(labels.max()) + 1, len(labels)), np.uint8)
    _mark(by_prompt, masks)
    out = np.zeros((len(labels), n_layers), np.float32)
    _add(values, by_prompt, masks, out)
    return out.T


@njit(**_FAST)
def _mark(labels, masks):  # pragma: no cover - compiled
    """Set bit j of masks[block, label, perm] where prompt j of the block carries the label."""
    for prompt in range(labels.shape[0]):
        bit = np.uint8(1 << (prompt % BITS))
        own = labels[prompt]
        for label in range(masks.shape[1]):
            mask = masks[prompt // BITS, label]
            for perm in range(own.size):
                mask[perm] |= bit * np.uint8(own[perm] == label)


@njit(**_FAST)
def _fill(table, terms):  # pragma: no cover - compiled
    """Write row c of a table: the sum of the terms (prompt, layer) whose bit is set in c."""
    table[0] = float32(0)
    for j in range(BITS):
        term = terms[j]
        for code in range(1 << j):
            without, with_it = table[code], table[(1 << j) + code]
            for layer in range(term.size):
                with_it[layer] = without[layer] + term[layer]


@njit(**_FAST)
def _add(values, labels, masks, out):  # pragma: no cover - compiled
    """Add to out (perm, layer), for every prompt and block of prompts after it, what its code looks up."""
    n, n_perms = labels.shape
    n_layers = out.shape[1]
    tables = np.zeros((AT_ONCE, 1 << BITS, n_layers), np.float32)
    codes = np.zeros((AT_ONCE, n_perms), np.uint8)
    for block in range(masks.shape[0]):
        start = block * BITS
        for first in range(0, min(n, start + BITS), AT_ONCE):
            for q in range(AT_ONCE):
                _fill(tables[q], values[first + q, start : start + BITS])
                own = labels[min(first + q, n - 1)]  # the terms of a prompt that is not there are 0
                for perm in range(n_perms):
                    codes[q, perm] = masks[block, own[perm], perm]
            for perm in range(n_perms):
                a, b = tables[0, codes[0, perm]], tables[1, codes[1, perm]]
                c, d = tables[2, codes[2, perm]], tables[3, codes[3, perm]]
                total = out[perm]
                for layer in range(n_layers):
                    total[layer] += (a[layer] + b[layer]) + (c[layer] + d[layer])

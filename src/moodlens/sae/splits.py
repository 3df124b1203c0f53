"""Which rows train, which stop the training, which are looked at once: 70 / 15 / 15 by prompt."""

from collections.abc import Sequence

import numpy as np

from moodlens.base.errors import ContractError, must
from moodlens.base.seeding import seed_for

SPLITS = ("train", "val", "test")
VAL_SHARE = TEST_SHARE = 0.15


def split_of(prompt_ids: Sequence[str], seed: int) -> np.ndarray:
    """Return the split of every row; all rows of a prompt share it.

    Prompts are put in an order that depends on (seed, id) alone; the first 15 % (at least one) are val, the
    next 15 % (at least one) test, the others train. The order of rows does not matter.

    Args:
        prompt_ids: the prompt of each row, (row,).

    Returns:
        (row,) of "train", "val", "test".

    Raises:
        ContractError: there are fewer than three prompts.

    >>> split_of(["a", "b", "c", "a"], seed=0).tolist()
    ['train', 'test', 'val', 'train']
    """
    prompts = sorted(set(prompt_ids), key=lambda prompt: (seed_for("sae split", seed, prompt), prompt))
    if len(prompts) < len(SPLITS):
        rule = "come from at least 3 prompts, one for each of train, val and test"
        raise ContractError(must("rows of an SAE", rule, len(prompts), next_step="Add prompts"))
    n_val, n_test = (max(1, round(share * len(prompts))) for share in (VAL_SHARE, TEST_SHARE))
    names = ["val"] * n_val + ["test"] * n_test + ["train"] * (len(prompts) - n_val - n_test)
    split = dict(zip(prompts, names, strict=True))
    return np.array([split[prompt] for prompt in prompt_ids])

"""Whether a text encoder reads the prompts apart: unknown tokens, and prompts that are one text to it.

Texts in a script that the vocabulary lacks become sequences of the same unknown token. The clips of two such
prompts differ by their noise alone, and every test then counts one text twice.
"""

from collections.abc import Sequence

from moodlens.base.errors import ContractError, must

MOST_UNKNOWN = 0.1
"""Largest share of unknown tokens over all prompts: above slips of spelling, below a foreign script."""


def unknown_share(tokens: Sequence[Sequence[int]], unknown: int | None) -> float:
    """Return the share of tokens that are `unknown`, 0 where the vocabulary has no such token.

    >>> unknown_share([[5, 2], [2, 1]], 2)
    0.5
    """
    n_tokens = sum(map(len, tokens))
    return (
        sum(list(row).count(unknown) for row in tokens) / n_tokens
        if n_tokens and unknown is not None
        else 0.0
    )


def refuse_unread(
    prompt_ids: Sequence[str], texts: Sequence[str], tokens: Sequence[Sequence[int]], unknown: int | None
) -> None:
    """Raise an error if the text encoder does not read the prompts apart.

    Args:
        prompt_ids: of the prompts.
        texts: of the prompts.
        tokens: token numbers of each text.
        unknown: number of the unknown token, None if there is none.

    Raises:
        ContractError: two prompts have the same tokens, or too many tokens are unknown.
    """
    share = unknown_share(tokens, unknown)
    first: dict[tuple[int, ...], int] = {}
    for row, sequence in enumerate(tokens):
        twin = first.setdefault(tuple(sequence), row)
        if twin != row:
            n_read = len({tuple(each) for each in tokens})
            got = (
                f"{n_read} token sequences for {len(texts)} prompts, '{texts[twin]}' and '{texts[row]}' alike"
            )
            where = f"prompts {prompt_ids[twin]} and {prompt_ids[row]}, {share:.0%} of tokens unknown"
            advice = "Write the prompts in words that the model's text encoder knows"
            raise ContractError(
                must("prompts", "differ to the text encoder", got, where=where, next_step=advice)
            )
    if share > MOST_UNKNOWN:
        rule = f"consist of known tokens but for {MOST_UNKNOWN:.0%}"
        worst = max(range(len(texts)), key=lambda row: unknown_share([tokens[row]], unknown))
        advice = "Write the prompts in words that the model's text encoder knows"
        where = f"prompt {prompt_ids[worst]} most: '{texts[worst]}'"
        raise ContractError(must("prompts", rule, f"{share:.0%} unknown", where=where, next_step=advice))

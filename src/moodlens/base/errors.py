"""The exceptions of the package. Every message names the thing, the rule, the value and the next step."""

from difflib import get_close_matches

MOST_SHOWN = 500
"""Characters of one part of a message."""


class MoodLensError(Exception):
    """Base class of every error that a user may see; `exit_code` becomes the exit status of the process."""

    exit_code = 2


class UsageError(MoodLensError):
    """Wrong use: a parameter, an id, a path, or the working folder of a command."""

    exit_code = 2


class ContractError(MoodLensError):
    """Data that break a contract: a dataset, a shard, or a design too small for a test."""

    exit_code = 1


class Unsupported(ContractError):
    """Whole data that cannot support one analysis, such as too few wordings; other analyses may go on."""


def must(thing: str, rule: str, got: object, *, where: str = "", next_step: str) -> str:
    """Return `<thing> must <rule>; got <value> (<where>). <next step>.` as one line.

    >>> must("prompts.n_per_emotion", "be at least 2", 1, where="params.yaml", next_step="Raise it")
    'prompts.n_per_emotion must be at least 2; got 1 (params.yaml). Raise it.'
    """
    source = f" ({_cut(where)})" if where else ""
    shown = repr(_cut(got)) if isinstance(got, str) else _cut(str(got))
    advice = next_step if next_step.endswith(("?", ".")) else f"{next_step}."
    line = f"{_cut(thing)} must {rule}; got {shown}{source}. {advice}"
    return " ".join(line.split())


def _cut(text: str) -> str:
    """Return a text as a message shows it: what is longer than MOST_SHOWN is a file's content, no name."""
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + " ..."


def nearest(name: str, valid: list[str]) -> str:
    """Return advice with the valid name closest to `name`, or with all valid names if none is close.

    >>> nearest("guidence_scale", ["guidance_scale", "top_k"])
    "Did you mean 'guidance_scale'?"
    >>> nearest("zzz", ["top_k", "top_p"])
    'Valid: top_k, top_p'
    """
    close = get_close_matches(str(name), valid, n=1, cutoff=0.6)
    return f"Did you mean '{_cut(close[0])}'?" if close else _cut("Valid: " + ", ".join(valid))

"""What a user sees of a command: its name checked, a line for a mistake, an exit status, no traceback."""

import sys
from collections.abc import Callable, Sequence

from moodlens.base.errors import MoodLensError, UsageError, must, nearest


def one_name(argv: Sequence[str], names: Sequence[str], thing: str) -> str:
    """Return the only argument, one of `names`.

    Raises:
        UsageError: there is none, more than one, or another; the nearest name is in the message.

    >>> one_name(["rates"], ["rates", "power"], "the command")
    'rates'
    """
    if len(argv) != 1 or argv[0] not in names:
        got = " ".join(argv) or "nothing"
        raise UsageError(must(thing, "be one name", got, next_step=nearest(got, list(names))))
    return argv[0]


def exit_status(work: Callable[[], int | None], *, kept: str) -> int:
    """Run `work` and return its exit status: 0 done (or what it returns), 1 a contract failed, 2 wrong use.

    Args:
        work: what to do; raises MoodLensError for a user's mistake.
        kept: what an interruption leaves intact, for the line that says so.
    """
    try:
        return work() or 0
    except MoodLensError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"interrupted: {kept}; run again to resume", file=sys.stderr)
        return 130

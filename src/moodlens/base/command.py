"""Command lines: check the name of a command, print a mistake as one line, return an exit status."""

import os
import sys
from collections.abc import Callable, Sequence

from moodlens.base.errors import MoodLensError, UsageError, must, nearest


def one_name(argv: Sequence[str], names: Sequence[str], thing: str) -> str:
    """Return the only argument, which must be one of `names`.

    Args:
        argv: the arguments.
        names: valid names.
        thing: what messages call the argument.

    Raises:
        UsageError: there is no argument, more than one, or an unknown one; the message has the nearest name.

    >>> one_name(["rates"], ["rates", "power"], "the command")
    'rates'
    """
    if len(argv) != 1 or argv[0] not in names:
        got = " ".join(argv) or "nothing"
        raise UsageError(must(thing, "be one name", got, next_step=nearest(got, list(names))))
    return argv[0]


def exit_status(work: Callable[[], int | None], *, kept: str) -> int:
    """Run `work` and return the exit status of the process.

    The status is what `work` returns, 0 for None, 1 after a ContractError, 2 after a UsageError and 130 after
    an interruption. Errors and interruptions are printed as one line, without a traceback. A reader that
    closes the pipe early is no error.

    Args:
        work: function to run; raises MoodLensError for a user's mistake.
        kept: what an interruption leaves intact, e.g. "finished shards are kept"; part of the message.
    """
    try:
        status = work() or 0
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader closed the pipe, as `| head` does: it has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MoodLensError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"interrupted: {kept}; run again to resume", file=sys.stderr)
        return 130

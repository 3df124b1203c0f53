"""Command lines: check the name of a command, print a mistake as one line, return an exit status."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from moodlens.base.cache_folders import use_writable_caches
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


def exit_status(work: Callable[[], int | None], *, kept: str, is_reader: bool = False) -> int:
    """Run `work` and return the exit status of the process.

    The status is what `work` returns, 0 for None, 1 after a ContractError, 2 after a UsageError and 130 after
    an interruption. Errors and interruptions are printed as one line, without a traceback. A pipe that closes
    after the work is done is no error. One that closes before ends a stage with status 1, because its work is
    not done; a command that only reads has said what was wanted, as in `moodlens verdict | head`.

    Before, caches of libraries that cannot be written are sent to `.cache` of the working folder.

    Args:
        work: function to run; raises MoodLensError for a user's mistake.
        kept: what an interruption leaves intact, e.g. "finished shards are kept"; part of the message.
        is_reader: whether `work` only reads and prints.
    """
    use_writable_caches(Path(".cache"))
    status = None
    try:
        status = work() or 0
        if sys.stdout is not None:  # None where the caller closed it (`>&-`)
            sys.stdout.flush()
        return status
    except BrokenPipeError:
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if status is not None or is_reader:
            return status or 0
        print(f"error: the pipe of the output was closed before the end: {kept}; run again", file=sys.stderr)
        return 1
    except MoodLensError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"interrupted: {kept}; run again to resume", file=sys.stderr)
        return 130

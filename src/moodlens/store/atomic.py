"""Atomic writes: a file is written under a temporary name in its folder, then renamed."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from moodlens.base.errors import ContractError, must


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, which replaces `path` when the block succeeds.

    The folder is created if it is absent. If the block fails, `path` is left unchanged. What a writer leaves
    when it is killed, `remove_left_behind` removes.

    Raises:
        ContractError: the file cannot be written (a full disk, no permission).
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or str(error)
        advice = "Free disk space or correct the permissions and run again; finished files are kept"
        raise ContractError(must(str(path), "be writable", reason, next_step=advice)) from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


LEFT = re.compile(r"\..+\.(\d+)\.tmp")
"""Names of the temporary files of `replacing`, with the process that writes them."""


def remove_left_behind(folder: Path) -> None:
    """Delete the temporary files of killed writers in a folder and below; those of live processes stay."""
    for path in folder.rglob(".*.tmp"):
        name = LEFT.fullmatch(path.name)
        if name and not _is_alive(int(name[1])):
            with suppress(OSError):  # of a read-only folder, where nothing can be written over it either
                path.unlink()


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True

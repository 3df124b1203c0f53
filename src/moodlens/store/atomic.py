"""Atomic writes: a file is written under a temporary name in its folder, then renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moodlens.base.errors import ContractError, must


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, which replaces `path` when the block succeeds.

    The folder is created if it is absent. If the block fails, `path` is left unchanged.

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
        temporary.unlink(missing_ok=True)

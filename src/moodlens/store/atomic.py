"""Files appear whole or not at all: written beside their place under another name, then renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moodlens.base.errors import ContractError, must


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; it takes the place of `path` when the block ends well.

    The folder is made if it is absent. When the block fails, `path` stays as it was.

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

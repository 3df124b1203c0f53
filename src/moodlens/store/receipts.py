"""Receipts of finished tasks, by which an interrupted run resumes.

A receipt is written after the files of its task. A task counts as finished if its receipt has the current
fingerprint (parameters, weights, code and inputs of this task) and every file still has the bytes that were
written. Every other task runs again.
"""

import ast
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, TypeVar

from moodlens.base.axes import EMOTIONS
from moodlens.base.errors import ContractError, must
from moodlens.contracts.tables import NEUTRAL
from moodlens.store.atomic import replacing

OURS = re.compile(
    r"[a-z]+(?:-\d+)?-\d{4,}\.safetensors|receipt-\d{4,}\.json"
    rf"|(?:{'|'.join((*EMOTIONS, NEUTRAL))})-\d{{2,}}-s\d+\.flac|\..+\.\d+\.tmp"
)
"""Names that the stages write: shards, receipts, clips of our prompt ids, temporary files of `replacing`."""


@dataclass(frozen=True)
class Receipt:
    """The record of a finished task.

    Attributes:
        fingerprint: of everything that the result depends on.
        files: path relative to the root of the dataset -> SHA-256.
        rows: table name -> rows that the task contributes.
    """

    fingerprint: str
    files: Mapping[str, str]
    rows: Mapping[str, list[dict[str, Any]]]


class Task(Protocol):
    """A task with a receipt."""

    @property
    def receipt(self) -> Path: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def data(self) -> Path:
        """Folder that the files of the receipt are relative to."""
        ...


AnyTask = TypeVar("AnyTask", bound=Task)


def fingerprint(parts: Mapping[str, object]) -> str:
    """Return the SHA-256 of `parts` as JSON; the order of keys does not matter.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 1, "b": 3})
    True
    """
    return sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def code_digest(files: Iterable[Path]) -> str:
    """Return the SHA-256 of the code in Python files, without comments, docstrings and layout."""
    digest = sha256()
    for path in sorted(files, key=Path.as_posix):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.body = [part for part in body if not _is_docstring(part)]  # type: ignore[attr-defined]
        digest.update(f"{path.name}\n{ast.dump(tree)}\n".encode())
    return digest.hexdigest()


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def library_versions(names: Iterable[str]) -> dict[str, str]:
    """Return name -> installed version of libraries."""
    return {name: version(name) for name in names}


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    digest = sha256()
    with path.open("rb") as stream:
        while part := stream.read(1 << 22):
            digest.update(part)
    return digest.hexdigest()


def write_receipt(
    path: Path, made_from: str, root: Path, files: Iterable[Path], rows: Mapping[str, list]
) -> None:
    """Write the receipt of a finished task, after all its files.

    Args:
        path: of the receipt.
        made_from: fingerprint of the task.
        root: folder that the names of `files` are relative to.
        files: files that the task wrote.
        rows: table name -> rows that the task contributes.
    """
    named = {file.relative_to(root).as_posix(): file_sha256(file) for file in files}
    record = {"fingerprint": made_from, "files": named, "rows": rows}
    record["digest"] = fingerprint(record)
    with replacing(path) as temporary:
        temporary.write_text(
            json.dumps(record, sort_keys=True, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )


def finished(path: Path, made_from: str, root: Path) -> Receipt | None:
    """Return the receipt of a task that is finished under this fingerprint, else None.

    A receipt that was changed after it was written, so that its digest is another one, counts for nothing.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        digest = record.pop("digest")
        receipt = Receipt(**record)
        if receipt.fingerprint != made_from or digest != fingerprint(record):
            return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    for name, digest in receipt.files.items():
        if not (root / name).is_file() or file_sha256(root / name) != digest:
            return None
    return receipt


def unfinished(tasks: Iterable[AnyTask]) -> list[AnyTask]:
    """Return the tasks without a valid receipt."""
    return [task for task in tasks if finished(task.receipt, task.fingerprint, task.data) is None]


def joined_rows(tasks: Iterable[Task], tables: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return table -> rows of all tasks, in their order.

    Raises:
        ContractError: a task is not finished.
    """
    rows: dict[str, list[dict[str, Any]]] = {table: [] for table in tables}
    for task in tasks:
        receipt = finished(task.receipt, task.fingerprint, task.data)
        if receipt is None:
            advice = "Another run wrote to data/ at the same time: end it and run again"
            raise ContractError(must(task.receipt.name, "be valid", "no valid receipt", next_step=advice))
        for table in tables:
            rows[table].extend(receipt.rows[table])
    return rows


def remove_outdated(folder: Path, current: Iterable[Path], patterns: Iterable[str]) -> list[Path]:
    """Delete the files in `folder` that match a pattern and are not in `current`; return the deleted ones.

    Such files are temporary files of a killed writer (`.<name>.<pid>.tmp`) and shards of an earlier plan. A
    file of another name than those that the stages write (OURS) is a user's own and stays.
    """
    found = (path for pattern in patterns for path in folder.glob(pattern))
    matching = {path for path in found if OURS.fullmatch(path.name) and path.is_file()}
    outdated = sorted(matching - set(current))
    for path in outdated:
        path.unlink()
    return outdated

"""Resume: a task's receipt is written after its files and says what they were made from.

A finished task is recognised by its receipt alone: same fingerprint (parameters, weights, code, inputs of
this task) and every file present with the bytes that were written. Anything else is made again.
"""

import ast
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from moodlens.store.atomic import replacing


@dataclass(frozen=True)
class Receipt:
    """What a finished task left behind.

    Attributes:
        fingerprint: of everything the result depends on.
        files: path relative to the dataset's root -> SHA-256.
        rows: table name -> rows that the task contributes.
    """

    fingerprint: str
    files: Mapping[str, str]
    rows: Mapping[str, list[dict[str, Any]]]


def fingerprint(parts: Mapping[str, object]) -> str:
    """Return the SHA-256 of what JSON makes of `parts`; the order of keys does not matter.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 1, "b": 3})
    True
    """
    return sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def code_digest(files: Iterable[Path]) -> str:
    """Return the SHA-256 of what Python files do: comments, docstrings and layout do not count."""
    digest = sha256()
    for path in sorted(files, key=lambda found: found.as_posix()):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.body = [part for part in body if not _is_text(part)]  # type: ignore[attr-defined]
        digest.update(f"{path.name}\n{ast.dump(tree)}\n".encode())
    return digest.hexdigest()


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def library_versions(names: Iterable[str]) -> dict[str, str]:
    """Return name -> installed version of the libraries whose arithmetic a result depends on."""
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
    """Write the receipt of a finished task; call it last.

    Args:
        path: of the receipt.
        made_from: fingerprint.
        root: folder that the names of `files` are relative to.
        files: what the task wrote.
        rows: table name -> rows.
    """
    named = {file.relative_to(root).as_posix(): file_sha256(file) for file in files}
    record = {"fingerprint": made_from, "files": named, "rows": rows}
    with replacing(path) as temporary:
        temporary.write_text(
            json.dumps(record, sort_keys=True, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
        )


def finished(path: Path, made_from: str, root: Path) -> Receipt | None:
    """Return the receipt of a task that is finished under this fingerprint, else None."""
    try:
        found = Receipt(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    if found.fingerprint != made_from:
        return None
    for name, digest in found.files.items():
        if not (root / name).is_file() or file_sha256(root / name) != digest:
            return None
    return found


def remove_strangers(folder: Path, expected: Iterable[Path], patterns: Iterable[str]) -> list[Path]:
    """Delete the files in `folder` that match a pattern and are not expected; return what was deleted.

    Left-overs of a killed writer (`.<name>.<pid>.tmp`) and shards of an earlier, longer plan go this way.
    """
    keep = set(expected)
    strangers = sorted({path for pattern in patterns for path in folder.glob(pattern)} - keep)
    for path in strangers:
        path.unlink()
    return strangers

"""Columns and types of a dataset, for MLflow's view of a run's inputs.

Tables give columns, safetensors files give tensors with their shapes. A folder gives those of its first file
of each kind (`shard-0000`, `summary-0000`). Only headers are read.
"""

import json
from collections.abc import Iterator
from pathlib import Path

MAX_ENTRIES = 200
"""Columns or tensors that are listed; a folder of a large model holds thousands."""
MAX_HEADER = 50_000_000
"""Bytes of a safetensors header above which the file is taken for damaged."""
SAMPLE_ROWS = 1000
"""Rows of a CSV from which types are inferred."""


def schema_of(path: Path) -> str | None:
    """Return MLflow's JSON of the columns of a file or folder, None where it has none or is not here.

    A damaged file has none either: this describes data, `quality` checks them.
    """
    try:
        entries = list(_entries(path))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if not entries:
        return None
    more = len(entries) - MAX_ENTRIES
    if more > 0:
        entries = [*entries[:MAX_ENTRIES], (f"... and {more} more", "")]
    columns = [{"name": name, "type": kind, "required": True} for name, kind in entries]
    return json.dumps({"mlflow_colspec": columns})


def _entries(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (name, type) of each column or tensor."""
    if path.is_dir():
        for first in _first_of_each_kind(path):
            for name, kind in _entries(first):
                yield f"{first.relative_to(path).as_posix()}: {name}", kind
    elif path.suffix == ".parquet":
        from pyarrow.parquet import read_schema

        schema = read_schema(path)
        for name, kind in zip(schema.names, schema.types, strict=True):
            yield name, str(kind)
    elif path.suffix == ".csv":
        import pandas as pd

        for name, kind in pd.read_csv(path, nrows=SAMPLE_ROWS).dtypes.items():
            yield str(name), str(kind)
    elif path.suffix == ".safetensors":
        yield from _tensors(path)


def _first_of_each_kind(folder: Path) -> list[Path]:
    """Return the first file of each name without its number, tables and tensors alone, sorted."""
    first: dict[tuple[Path, str, str], Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".parquet", ".csv", ".safetensors"):
            first.setdefault((path.parent, path.stem.rstrip("0123456789"), path.suffix), path)
    return sorted(first.values())


def _tensors(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the tensors of a safetensors header: 8 bytes of length, then JSON."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > MAX_HEADER:
            raise ValueError(f"header of {length} bytes")
        header = json.loads(stream.read(length))
    for name, entry in header.items():
        if name != "__metadata__":
            yield name, f"{entry['dtype']} {tuple(entry['shape'])}"

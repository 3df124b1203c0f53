"""A mapping read from YAML as frozen dataclasses: unknown keys, missing keys and wrong types are errors.

A sequence in the file becomes a tuple. Bounds and allowed names stand in the metadata of a dataclass field:
`low`, `high`, `allowed`.
"""

import types
import typing
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal

from moodlens.base.errors import UsageError, must, nearest

FILE = "params.yaml"


def section_of(kind: type, raw: object, name: str) -> Any:
    values = mapping_of(raw, name)
    same_keys(values, [f.name for f in fields(kind)], "key", name)
    hints = typing.get_type_hints(kind)
    out = {}
    for spec in fields(kind):
        key = f"{name}.{spec.name}"
        out[spec.name] = _value(hints[spec.name], values[spec.name], key)
        _bounds(out[spec.name], spec.metadata, key)
    return kind(**out)


def mapping_of(raw: object, name: str) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise UsageError(
            must(
                name,
                "be a mapping",
                type(raw).__name__,
                where=FILE,
                next_step="Compare with the repository's params.yaml",
            )
        )
    return raw


def same_keys(values: Mapping[str, Any], valid: list[str], what: str, section: str = "") -> None:
    prefix = f"{section}." if section else ""
    for key in values:
        if key not in valid:
            raise UsageError(
                must(
                    f"{prefix}{key}",
                    f"be a known {what}",
                    str(key),
                    where=FILE,
                    next_step=nearest(str(key), valid),
                )
            )
    for key in valid:
        if key not in values:
            raise UsageError(
                must(
                    f"{prefix}{key}", "be present", "nothing", where=FILE, next_step=f"Add the {what} '{key}'"
                )
            )


def _value(hint: Any, raw: object, key: str) -> Any:
    """Return raw as the type `hint`; int passes for float, a sequence for a tuple, never bool for int."""
    origin = typing.get_origin(hint)
    if origin is Literal:
        options = [str(o) for o in typing.get_args(hint)]
        if raw not in options:
            raise UsageError(
                must(
                    key,
                    f"be one of {', '.join(options)}",
                    raw,
                    where=FILE,
                    next_step=nearest(str(raw), options),
                )
            )
        return raw
    if origin in (types.UnionType, typing.Union):
        sequence = typing.get_args(hint)[1]
        if isinstance(raw, list):
            return _value(sequence, raw, key)
        if raw != "all":
            raise UsageError(
                must(
                    key,
                    "be 'all' or a list of layers",
                    raw,
                    where=FILE,
                    next_step="Write all, or a list such as [0, 3]",
                )
            )
        return raw
    if origin is tuple and isinstance(raw, (list, tuple)):
        item = typing.get_args(hint)[0]
        return tuple(_value(item, entry, f"{key}[{i}]") for i, entry in enumerate(raw))
    if isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(raw, Mapping):
        inner = typing.get_args(hint)[1]
        return {str(k): _value(inner, v, f"{key}.{k}") for k, v in raw.items()}
    if hint is float and isinstance(raw, int) and not isinstance(raw, bool):
        return float(raw)
    if isinstance(hint, type) and isinstance(raw, hint) and not (hint is int and isinstance(raw, bool)):
        return raw
    wanted = {"tuple": "a list", "Mapping": "a mapping"}.get(
        getattr(origin, "__name__", ""), getattr(hint, "__name__", str(hint))
    )
    raise UsageError(
        must(
            key,
            f"be of type {wanted}",
            "null" if raw is None else raw,
            where=FILE,
            next_step="See the comment beside it in params.yaml",
        )
    )


def _bounds(value: Any, limits: Mapping[str, Any], key: str) -> None:
    if "low" in limits and value < limits["low"]:
        raise UsageError(must(key, f"be at least {limits['low']}", value, where=FILE, next_step="Raise it"))
    if "high" in limits and value > limits["high"]:
        raise UsageError(must(key, f"be at most {limits['high']}", value, where=FILE, next_step="Lower it"))
    if "allowed" in limits:
        for item in value:
            if item not in limits["allowed"]:
                raise UsageError(
                    must(
                        key,
                        "hold known names",
                        item,
                        where=FILE,
                        next_step=nearest(str(item), list(limits["allowed"])),
                    )
                )
        if not value or len(set(value)) != len(value):
            raise UsageError(
                must(
                    key,
                    "hold at least one name, each once",
                    list(value),
                    where=FILE,
                    next_step="Correct the list",
                )
            )

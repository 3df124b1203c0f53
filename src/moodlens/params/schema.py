"""Read what a YAML file holds into frozen dataclasses; a mistake is one line that says what to do.

pydantic checks types and bounds, which stand in the annotations of the dataclasses (see `params.quantities`).
Values are checked as JSON in strict mode: an int passes for a float, a list becomes a tuple, and nothing
else is converted (true is no number, "1" and 1.0 are no int). Every field must be present in the file, one
with a default too, and no other key may be.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from moodlens.base.errors import UsageError, must, nearest

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

MAX_SHOWN = 100
"""Characters of a wrong value that a message shows."""
MAX_KEY = 300
"""Characters of a key's full name in a message."""
MAX_BITS = 63
"""Of a whole number, besides its sign: what numpy, torch and parquet store."""
MAX_DEPTH, MAX_VALUES = 20, 100_000
"""Of a parameter file; anchors of YAML can nest without end and stand for more values than memory holds."""
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
"""Characters that no name, path or title holds: control characters and half of a surrogate pair."""

MARKS = ("<all>", "<list>", "[key]")
"""What pydantic adds to the path of an error; only an unknown key of a file looks like one."""

TYPES = {
    "int_type": "be a whole number",
    "float_type": "be a number",
    "string_type": "be text",
    "bool_type": "be true or false",
    "tuple_type": "be a list",
    "dict_type": "be a mapping",
    "dataclass_type": "be a mapping",
    "string_too_short": "not be empty",
}
"""Type of a pydantic error -> what the value must be."""


def read_section(kind: type[T], raw: object, name: str, file: str) -> T:
    """Return `raw` as the dataclass `kind`.

    Args:
        kind: a dataclass; its fields may be dataclasses in turn.
        raw: parsed YAML.
        name: of the section, e.g. "generate"; "" for a whole file.
        file: what messages call the file.

    Raises:
        UsageError: a key is unknown or missing, a value has the wrong type or is out of bounds. Of several
            mistakes the message names one: the first unknown key, else the first wrong field.
    """
    from pydantic import ValidationError

    text = json.dumps(_plain(raw, name, file, []))
    try:
        values: Any = _adapter(kind).validate_json(text, strict=True, extra="forbid")
    except ValidationError as error:
        errors = error.errors(include_url=False)
        first = min(errors, key=lambda each: each["type"] != "unexpected_keyword_argument")
        raise UsageError(_line(first, kind, name, file)) from None
    for path in _absent(asdict(values), raw):
        raise UsageError(_line({"type": "missing", "loc": path}, kind, name, file))
    return values


@cache
def _adapter(kind: type) -> "TypeAdapter[Any]":
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _plain(raw: object, name: str, file: str, seen: list[str], depth: int = 0) -> Any:
    """Return `raw` as JSON values; refuse what JSON or 64 bits cannot hold, and nesting without end.

    `seen` gathers the names of all values so far.
    """
    seen.append(name)
    if depth > MAX_DEPTH or len(seen) > MAX_VALUES:
        rule = f"be nested at most {MAX_DEPTH} deep and hold at most {MAX_VALUES} values"
        raise UsageError(
            must(name[:MAX_SHOWN] or "the file", rule, "more", where=file, next_step="Simplify it")
        )
    if isinstance(raw, Mapping):
        return {
            str(key): _plain(value, _join(name, str(key)), file, seen, depth + 1)
            for key, value in raw.items()
        }
    if isinstance(raw, (list, tuple)):
        return [_plain(value, f"{name}[{index}]", file, seen, depth + 1) for index, value in enumerate(raw)]
    if isinstance(raw, str) and CONTROL.search(raw):
        rule, advice = "hold no control characters", "Write plain text"
        raise UsageError(must(name or "the file", rule, ascii(raw[:MAX_SHOWN]), where=file, next_step=advice))
    if isinstance(raw, int) and raw.bit_length() > MAX_BITS:
        rule, advice = "fit 64 bits", "Write a smaller number"
    elif isinstance(raw, float) and not math.isfinite(raw):
        rule, advice = "be a finite number", f"See the comment beside it in {file}"
    elif raw is None or isinstance(raw, (bool, int, float, str)):
        return raw
    else:
        rule, advice = "be text, a number, true, false, a list or a mapping", "Write text in quotes"
    raise UsageError(must(name or "the file", rule, _shown(raw), where=file, next_step=advice))


def _absent(values: Mapping[str, Any], raw: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Return the paths of the values that `raw` does not give: those a default stands in for."""
    absent = []
    for key, value in values.items():
        if key not in raw:
            absent.append((*path, key))
        elif isinstance(value, Mapping):
            absent += _absent(value, raw[key], (*path, key))
    return absent


def _line(error: Mapping[str, Any], kind: type, name: str, file: str) -> str:
    """Return a pydantic error as `<key> must <rule>; got <value> (<file>). <next step>.`"""
    *above, last = error["loc"] or ("",)
    path = [part for part in above if part not in MARKS]
    if last not in MARKS or error["type"] == "unexpected_keyword_argument":
        path += [last] if last != "" else []
    key = name
    for part in path:
        key = f"{key}[{part}]" if isinstance(part, int) else _join(key, part)
    limits, got = error.get("ctx", {}), _shown(error.get("input"))
    what = "key" if name or len(path) > 1 else "section"
    advice = f"See the comment beside it in {file}"
    match error["type"]:
        case "unexpected_keyword_argument":
            rule, got = f"be a known {what}", str(last)
            advice = nearest(got, _keys(kind, path[:-1]))
        case "missing":
            rule, got, advice = "be present", "nothing", f"Add the {what} '{path[-1]}'"
        case "literal_error":
            options = re.findall(r"'([^']*)'", limits["expected"])
            rule, advice = f"be one of {', '.join(options)}", nearest(str(error["input"]), options)
        case "greater_than_equal":
            rule, advice = f"be at least {limits['ge']:.12g}", "Raise it"
        case "greater_than":
            rule, advice = f"be more than {limits['gt']:.12g}", "Raise it"
        case "less_than_equal":
            rule, advice = f"be at most {limits['le']:.12g}", "Lower it"
        case "too_short":
            rule, advice = f"hold at least {limits['min_length']} entry", "Add one"
        case "rule":
            rule, advice = limits["rule"], limits["next_step"]
        case other:
            rule = TYPES.get(str(other)) or str(error["msg"]).replace("Input should ", "").lower()
    return must(key or "the file", rule, got, where=file, next_step=advice)


def _keys(kind: type, path: Sequence[str | int]) -> list[str]:
    """Return the valid keys of the dataclass that lies at `path` inside `kind`."""
    for part in path:
        kind = get_type_hints(kind)[str(part)]
    return [spec.name for spec in fields(kind)]


def _join(name: str, key: str) -> str:
    key = ascii(key)[1:-1] if CONTROL.search(key) else key
    return f"{name}.{key[:MAX_SHOWN]}"[:MAX_KEY] if name else key[:MAX_SHOWN]


def _shown(raw: object) -> object:
    """Return a wrong value as a message shows it: null as YAML writes it, a long value cut."""
    if raw is None:
        return "null"
    if isinstance(raw, int) and raw.bit_length() > MAX_SHOWN:
        return f"a whole number of {raw.bit_length()} bits"  # Python writes no number of 4,300 digits or more
    text = raw if isinstance(raw, str) else str(raw)
    return raw if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + " ..."

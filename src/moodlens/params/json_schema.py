"""The JSON Schema of params.yaml: editors use it to complete keys, show descriptions and underline mistakes.

Types and bounds come from the dataclasses of `params.pipeline`; descriptions are the comments of params.yaml.
`python -m moodlens.params.json_schema`, run in the project's root, writes docs/params.schema.json.
"""

import json
import re
from pathlib import Path
from typing import Any

from moodlens.params.pipeline import FILE, Params

WRITTEN = "docs/params.schema.json"
KEY = re.compile(r"(  )?(\w+):((?:\"[^\"]*\"|[^\"#])*)(?:# (.*))?")
COMMENT = re.compile(r"( *)# ?(.*)")


def json_schema(kind: type, text: str) -> dict[str, Any]:
    """Return the JSON Schema of a parameter file of two levels, section and key.

    Args:
        kind: dataclass of the file, one dataclass per section.
        text: the YAML file itself; its comments become descriptions (`comments`).
    """
    from pydantic import TypeAdapter

    schema = TypeAdapter(kind).json_schema()
    described = comments(text)
    sections = {}
    for name, reference in schema["properties"].items():
        section = schema["$defs"][reference["$ref"].rsplit("/", 1)[-1]]
        keys = {}
        for key, rule in section["properties"].items():
            plain = {word: value for word, value in rule.items() if word not in ("title", "default")}
            keys[key] = {"description": described.get(f"{name}.{key}", ""), **plain}
        sections[name] = {"description": described.get(name, ""), **_closed(keys)}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": FILE, **_closed(sections)}


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    """The schema of a mapping that has exactly these keys."""
    required = list(properties)
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


def comments(text: str) -> dict[str, str]:
    """Return what the comments of a YAML file say of each section and key.

    A comment above a name, at its indentation, and the comment beside it belong to the name. A comment line
    that is indented further continues the one before it. An empty line ends a comment.

    >>> comments("# About a.\\na:\\n  # Above.\\n  b: 1  # Beside,\\n       # and below.\\n  c: 2")
    {'a': 'About a.', 'a.b': 'Above. Beside, and below.'}
    """
    parts_of: dict[str, list[str]] = {}
    above: list[tuple[int, str]] = []
    section = name = ""
    for line in text.splitlines():
        comment, key = COMMENT.fullmatch(line), KEY.fullmatch(line)
        if comment and name and len(comment[1]) > 2:
            parts_of[name].append(comment[2])
        elif comment:
            above.append((len(comment[1]), comment[2]))
        elif key:
            section = section if key[1] else key[2]
            name = f"{section}.{key[2]}" if key[1] else section
            parts_of[name] = [words for depth, words in above if depth == len(key[1] or "")]
            parts_of[name] += [key[4]] if key[4] else []
            above = []
        elif not line.strip():
            above, name = [], ""
    return {name: " ".join(" ".join(parts).split()) for name, parts in parts_of.items() if parts}


def main() -> None:
    """Write the schema of the params.yaml in the working folder."""
    schema = json_schema(Params, Path(FILE).read_text(encoding="utf-8"))
    Path(WRITTEN).write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

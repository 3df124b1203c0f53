"""A judge of emotion as a JSON file."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from moodlens.audio.classifier import INPUTS
from moodlens.audio.judge import Judge
from moodlens.base.errors import ContractError, must
from moodlens.base.units import at_digits
from moodlens.store.atomic import replacing

DIGITS = 6
"""Significant digits of a stored number."""


def write_judge(judge: Judge, path: Path) -> None:
    """Write a judge as JSON with six digits; `read_judge` reads it."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(_rounded(asdict(judge)), indent=1) + "\n", encoding="utf-8")


def read_judge(path: Path) -> Judge:
    """Return the judge in a file of `write_judge`.

    Raises:
        ContractError: the file is damaged, or its inputs are not those of this version.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError(f"holds {type(found).__name__}, not named fields")
        fields: dict[str, Any] = {name: _tuples(value) for name, value in found.items()}
        judge = Judge(**fields)
        if len(judge.centre) != len(INPUTS):
            raise ValueError(f"{len(judge.centre)} inputs")
    except (OSError, ValueError, TypeError) as error:
        advice = "Restore it with `git checkout -- models`, or make it with `make organism`"
        raise ContractError(must(str(path), "be a judge", str(error), next_step=advice)) from None
    return judge


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return at_digits(value, DIGITS)
    if isinstance(value, Mapping):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return value


def _tuples(value: object) -> object:
    return tuple(_tuples(part) for part in value) if isinstance(value, list) else value

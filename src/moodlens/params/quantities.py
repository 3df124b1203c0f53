"""Types of single parameter values with their bounds, shared by every parameter file.

A bound is what one value can break by itself. The upper bound of a count is a size at which no run ends: it
catches a slip of the keyboard, not an ambitious plan. pydantic reads the annotations when a file is read
(`params.schema`); until then a value is a plain number, text or tuple.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args

from annotated_types import Interval, MinLen

T = TypeVar("T")

MOST_NAME, MOST_PATH = 255, 4000
"""Bytes of a file name and of a path."""


@dataclass(frozen=True)
class OneOf:
    """Marks text that must be one of `names`."""

    names: tuple[str, ...]

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.literal_schema(list(self.names))


class FilePath:
    """Marks text that must be usable as a path: no part longer than a file name may be."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(_path_of, handler(source))


@dataclass(frozen=True)
class Matching:
    """Marks text that must match a regular expression as a whole."""

    pattern: str
    rule: str
    example: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        return {**handler(schema), "pattern": f"^(?:{self.pattern})$"}

    def _checked(self, text: str) -> str:
        if not re.fullmatch(self.pattern, text, re.ASCII):
            raise _broken(self.rule, f"Write for example {self.example}")
        return text


class Distinct:
    """Marks a list whose entries must differ."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(_refuse_repeats, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        return {**handler(schema), "uniqueItems": True}


class TimeWindow:
    """Marks a pair of numbers that must be [start, end], 0 <= start < end."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(_window_of, handler(source))


class AllOrList:
    """Marks a union of the word `all` and a list, so that an error names the entry that is wrong."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        return core_schema.tagged_union_schema(
            {
                "<all>": core_schema.literal_schema(["all"]),
                "<list>": handler.generate_schema(get_args(source)[1]),
            },
            discriminator=_branch_of,
            custom_error_type="rule",
            custom_error_message="{rule}",
            custom_error_context={
                "rule": "be 'all' or a list of layers",
                "next_step": "Write all, or a list such as [0, 3]",
            },
        )


def _branch_of(raw: Any) -> str | None:
    """Return which side of `AllOrList` a value is on; the brackets mark it as no key of the file."""
    if raw == "all":
        return "<all>"
    return "<list>" if isinstance(raw, list) else None


def _refuse_repeats(entries: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(entries)) < len(entries):
        raise _broken("hold each entry once", "Remove the repeated entry")
    return entries


def _path_of(text: str) -> str:
    if len(text.encode()) > MOST_PATH or any(len(part.encode()) > MOST_NAME for part in text.split("/")):
        raise _broken(f"be a path with parts of at most {MOST_NAME} bytes", "Shorten it")
    return text


def _window_of(raw: Any) -> Any:
    """Return a list of two numbers as a pair, and anything but a list as it is: pydantic refuses that."""
    if not isinstance(raw, list):
        return raw
    is_pair = len(raw) == 2 and all(type(second) in (int, float) for second in raw)
    if not is_pair or not 0 <= raw[0] < raw[1]:
        raise _broken("be a pair [start, end] in seconds, 0 <= start < end", "Write for example [0, 0.5]")
    return tuple(raw)


def _broken(rule: str, next_step: str) -> Exception:
    """Return the error that `params.schema` turns into `<key> must <rule>; got <value>. <next step>.`"""
    from pydantic_core import PydanticCustomError

    return PydanticCustomError("rule", "{rule}", {"rule": rule, "next_step": next_step})


Count = Annotated[int, Interval(ge=1, le=1_000_000)]
CountOrNone = Annotated[int, Interval(ge=0, le=1_000_000)]
"""A count of which 0 means none: off, or not required."""
Steps = Annotated[int, Interval(ge=1, le=100_000_000)]
Rows = Annotated[int, Interval(ge=1, le=1_000_000_000)]
Expansion = Annotated[int, Interval(ge=1, le=1024)]
"""Latents per dimension; with more, the decoder of one SAE exceeds any memory."""
Folds = Annotated[int, Interval(ge=2, le=10_000)]
Permutations = Annotated[int, Interval(ge=99, le=1_000_000)]
Resamples = Annotated[int, Interval(ge=100, le=1_000_000)]
Simulations = Annotated[int, Interval(ge=20, le=1_000_000)]
Processes = Annotated[int, Interval(ge=1, le=1024)]
Layer = Annotated[int, Interval(ge=0, le=9_999)]
Seed = Annotated[int, Interval(ge=0, le=2**32 - 1)]
"""Of any random draw; 32 bits, because the generators of UMAP and scikit-learn take no more."""

Share = Annotated[float, Interval(ge=0, le=1)]
Nonnegative = Annotated[float, Interval(ge=0, le=1_000_000)]
Confidence = Annotated[float, Interval(ge=0.5, le=0.999)]
SmallShare = Annotated[float, Interval(ge=0.001, le=0.5)]
"""A share that is small and not 0: an effect to exclude, a level of a test, a false discovery rate."""
Power = Annotated[float, Interval(ge=0.5, le=1)]
Ridge = Annotated[float, Interval(ge=1e-9, le=1e9)]
"""A ridge penalty as a multiple of the mean kernel diagonal."""

Name = Annotated[str, MinLen(1)]
Path = Annotated[str, FilePath()]
Listed = Annotated[tuple[T, ...], MinLen(1)]
"""A list of at least one entry."""
Names = Annotated[tuple[T, ...], MinLen(1), Distinct()]
"""A list of at least one entry, all different."""
Layers = Annotated[Literal["all"] | Names[Layer], AllOrList()]
Window = Annotated[tuple[float, float], TimeWindow()]

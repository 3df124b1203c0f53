"""The typed form of params.yaml: one frozen dataclass per section; unknown keys and wrong types are errors.

Meaning, unit and effect of every value stand beside it in params.yaml. A sequence in the file becomes a
tuple here. The checks are those a single value can fail; what a whole design cannot reach is refused by the
stage that needs it.
"""

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from moodlens.base.axes import EMOTIONS
from moodlens.base.errors import UsageError, must, nearest
from moodlens.contracts.tables import PROMPT_SETS

FILE = "params.yaml"
SITES = ("bow", "text", "layers", "acoustics", "tokens")
CAPTURE_SITES = ("residual", "self_attention", "cross_attention", "mlp")


@dataclass(frozen=True)
class Model:
    id: str
    revision: str
    dtype: Literal["float32", "bfloat16", "float16"]
    device: str


@dataclass(frozen=True)
class Prompts:
    emotions: tuple[str, ...] = field(metadata={"allowed": EMOTIONS})
    n_per_emotion: int = field(metadata={"low": 2})
    sets: tuple[str, ...] = field(metadata={"allowed": PROMPT_SETS})
    seed: int
    table_path: str
    text_column: str
    emotion_column: str
    mood_column: str
    mood_words: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Generate:
    n_seeds: int = field(metadata={"low": 1})
    seed: int
    duration_s: float = field(metadata={"low": 0.5, "high": 120})
    guidance_scale: float = field(metadata={"low": 1})
    temperature: float = field(metadata={"low": 0})
    top_k: int = field(metadata={"low": 0})
    top_p: float = field(metadata={"low": 0, "high": 1})
    sites: tuple[str, ...] = field(metadata={"allowed": CAPTURE_SITES})
    layers: Literal["all"] | tuple[int, ...]
    half: Literal["cond", "uncond", "both"]
    clips_per_shard: int = field(metadata={"low": 1})


@dataclass(frozen=True)
class Embed:
    twin_seed: int


@dataclass(frozen=True)
class Check:
    min_clips_per_emotion: int = field(metadata={"low": 1})
    max_clipped_fraction: float = field(metadata={"low": 0, "high": 1})
    min_rms: float = field(metadata={"low": 0})
    max_dead_fraction: float = field(metadata={"low": 0, "high": 1})
    min_step_change: float = field(metadata={"low": 0})


@dataclass(frozen=True)
class Signal:
    sites: tuple[str, ...] = field(metadata={"allowed": SITES})
    n_permutations: int = field(metadata={"low": 99})
    n_bootstrap: int = field(metadata={"low": 100})
    confidence: float = field(metadata={"low": 0.5, "high": 0.999})
    equivalence_delta: float = field(metadata={"low": 0.001, "high": 0.5})
    seed: int


@dataclass(frozen=True)
class Probe:
    sites: tuple[str, ...] = field(metadata={"allowed": SITES})
    n_folds: int = field(metadata={"low": 2})
    ridge: float = field(metadata={"low": 1e-9})
    n_permutations: int = field(metadata={"low": 99})
    n_bootstrap: int = field(metadata={"low": 100})
    confidence: float = field(metadata={"low": 0.5, "high": 0.999})
    seed: int


@dataclass(frozen=True)
class Decide:
    alpha_strong: float = field(metadata={"low": 0, "high": 1})
    alpha_weak: float = field(metadata={"low": 0, "high": 1})
    accuracy_strong: float = field(metadata={"low": 0, "high": 1})
    accuracy_weak: float = field(metadata={"low": 0, "high": 1})
    effect_strong: float = field(metadata={"low": 0, "high": 1})
    effect_weak: float = field(metadata={"low": 0, "high": 1})
    tempo_bpm: float = field(metadata={"low": 0})
    equivalence_power: float = field(metadata={"low": 0.5, "high": 1})


@dataclass(frozen=True)
class Report:
    clips_per_emotion: int = field(metadata={"low": 1})
    title: str


@dataclass(frozen=True)
class Compute:
    workers: int = field(metadata={"low": 1})
    threads: int = field(metadata={"low": 1})


@dataclass(frozen=True)
class Params:
    model: Model
    prompts: Prompts
    generate: Generate
    embed: Embed
    check: Check
    signal: Signal
    probe: Probe
    decide: Decide
    report: Report
    compute: Compute


def parse_params(raw: object) -> Params:
    """Return the typed parameters of a parsed params.yaml.

    Raises:
        UsageError: a section or key is unknown or missing, a value has the wrong type or is out of bounds.
    """
    sections = _mapping(raw, "params")
    _same_keys(sections, [f.name for f in fields(Params)], "section")
    hints = typing.get_type_hints(Params)
    parts = {name: _section(hints[name], sections[name], name) for name in hints}
    params = Params(**parts)
    if "table" in params.prompts.sets and not params.prompts.table_path:
        raise UsageError(
            must(
                "prompts.table_path",
                "name a CSV when prompts.sets holds 'table'",
                "",
                where=FILE,
                next_step="Set prompts.table_path or take 'table' out of prompts.sets",
            )
        )
    return params


def _section(kind: type, raw: object, name: str) -> Any:
    values = _mapping(raw, name)
    _same_keys(values, [f.name for f in fields(kind)], "key", name)
    hints = typing.get_type_hints(kind)
    out = {}
    for spec in fields(kind):
        key = f"{name}.{spec.name}"
        out[spec.name] = _value(hints[spec.name], values[spec.name], key)
        _bounds(out[spec.name], spec.metadata, key)
    return kind(**out)


def _mapping(raw: object, name: str) -> Mapping[str, Any]:
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


def _same_keys(values: Mapping[str, Any], valid: list[str], what: str, section: str = "") -> None:
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

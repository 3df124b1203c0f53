"""The typed form of models/organism/params.yaml, which decides the organism's weights and figures.

The file documents the meaning, unit and effect of every value. Unknown keys, missing keys and wrong types are
errors.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from moodlens.base.errors import UsageError, must
from moodlens.base.seeding import seed_for
from moodlens.params.schema import read_section

FILE = "models/organism/params.yaml"

METRICS, JUDGE = Path("metrics.json"), Path("judge.json")
TOKENS = Path("tokens.safetensors")
"""Outputs of the stages `evaluate`, `judge` and `tokens`, relative to models/organism."""

TRAIN, HELD_OUT = "train", "held out"
"""Parts of the corpus."""

ORGANISM = "organism"

T = TypeVar("T")


@dataclass(frozen=True)
class Corpus:
    seed: int
    n_clips: int
    n_held_out: int


@dataclass(frozen=True, kw_only=True)
class Training:
    """The values that every training has."""

    seed: int
    n_steps: int
    learning_rate: float
    warmup_steps: int
    final_share: float
    clip_norm: float
    weight_decay: float
    validate_every_steps: int
    save_every_steps: int


@dataclass(frozen=True, kw_only=True)
class Codec(Training):
    n_pool_clips: int
    n_held_out: int
    batch_crops: int
    crop_s: float
    plant_step: int
    commitment: float
    waveform: float


@dataclass(frozen=True, kw_only=True)
class Text(Training):
    batch_captions: int
    n_pieces: int


@dataclass(frozen=True, kw_only=True)
class Decoder(Training):
    batch_clips: int
    codebook_weights: tuple[float, ...]
    turn_weight: float


@dataclass(frozen=True, kw_only=True)
class Sibling(Decoder):
    early_clips: int
    early_frames: int


@dataclass(frozen=True)
class Regime:
    never: float
    lost: float
    late: float
    paired: bool


@dataclass(frozen=True)
class Family:
    """The text regime of each sibling; the names are those of the models."""

    organism: Regime
    memory: Regime
    reader: Regime
    shuffled: Regime


@dataclass(frozen=True)
class Small:
    d_model: int
    n_layers: int
    n_heads: int
    music_steps: int
    sibling_steps: int


@dataclass(frozen=True)
class Evaluate:
    seed: int
    n_seeds: int
    prompts_per_emotion: int
    n_factor_prompts: int
    n_reference_clips: int
    n_bootstrap: int
    confidence: float


@dataclass(frozen=True)
class Recipe:
    """One section of the file per field."""

    corpus: Corpus
    codec: Codec
    text: Text
    music: Decoder
    siblings: Sibling
    family: Family
    small: Small
    evaluate: Evaluate


def load_recipe(path: Path) -> Recipe:
    """Return the recipe in a YAML file.

    Raises:
        UsageError: the file is absent or not YAML; a section or key is unknown or missing; a type is wrong.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        advice = "Run the organism's commands in models/organism"
        raise UsageError(must(str(path), "be readable YAML", str(error), next_step=advice)) from None
    return parse_recipe(raw)


def parse_recipe(raw: object) -> Recipe:
    """Return the recipe of a parsed file; errors as `load_recipe`."""
    return read_section(Recipe, raw, "", FILE)


def fingerprint(*parts: Any) -> str:
    """Return a short hash of dataclasses, numbers and texts; equal parts give equal hashes.

    >>> fingerprint("a", 1) == fingerprint("a", 1) != fingerprint("a", 2)
    True
    """
    plain = [asdict(part) if hasattr(part, "__dataclass_fields__") else part for part in parts]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def pick(kind: type[T], part: object) -> T:
    """Return the dataclass `kind` with the values of the fields that `part` has too; others keep defaults.

    >>> pick(Corpus, Corpus(seed=1, n_clips=2, n_held_out=3)).n_clips
    2
    """
    names = [field.name for field in fields(kind) if hasattr(part, field.name)]  # pyright: ignore
    return kind(**{name: getattr(part, name) for name in names})


def corpus_seed(seed: int, part: str) -> int:
    """Return the corpus seed of one part (train, held out, text); no piece belongs to two parts."""
    return seed_for("corpus", seed, part)


def folder_of(folder: Path, name: str) -> Path:
    """Return the folder of a model of the family; the organism's is `folder` itself."""
    return folder if name == ORGANISM else folder / name

"""The typed form of params.yaml: one frozen dataclass per section; unknown keys and wrong types are errors.

Meaning, unit and effect of every value stand beside it in params.yaml. The checks are those a single
value can fail; what a whole design cannot reach is refused by the stage that needs it.
"""

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Literal

from moodlens.base.axes import EMOTIONS
from moodlens.base.errors import UsageError, must
from moodlens.contracts.tables import PROMPT_SETS
from moodlens.contracts.tensors import WHOLE_SITES
from moodlens.params.schema import FILE, mapping_of, same_keys, section_of

SITES = ("bow", "text", "layers", "acoustics", "tokens", "codec")
METRICS = (
    "permanova",
    "cosine_raw",
    "cosine_centred",
    "euclidean",
    "cka",
    "cca",
    "mmd_linear",
    "mmd_rbf",
    "energy",
    "wasserstein",
    "dimensions",
    "permdisp",
)
"""Metrics of the sweep, the keys of `stats.metrics.METRICS`."""
NO_CAPTIONS = "data/captions.csv"
"""Holds no caption: what the dependency of stage `prompts` names where no table is given."""
CAPTURE_SITES = ("residual", "self_attention", "cross_attention", "mlp", *WHOLE_SITES)


@dataclass(frozen=True)
class Model:
    id: str
    revision: str
    dtype: Literal["float32", "bfloat16", "float16"]
    device: str
    text_padding: Literal["mask", "attend"] = "mask"


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
    step_stride: int = field(metadata={"low": 1})
    windows: tuple[tuple[float, float], ...]
    store_dtype: Literal["float16", "float32"]
    pooled_only: bool
    attention: bool
    clips_per_shard: int = field(metadata={"low": 1})
    block_clips: int = field(metadata={"low": 1})


@dataclass(frozen=True)
class Reencode:
    sites: tuple[str, ...] = field(metadata={"allowed": CAPTURE_SITES})
    layers: Literal["all"] | tuple[int, ...]
    n_steps: int = field(metadata={"low": 2})
    twin_seed: int
    swap_seed: int
    tolerance: float = field(metadata={"low": 0, "high": 1})


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
    metrics: tuple[str, ...] = field(metadata={"allowed": METRICS})
    cca_rank: int = field(metadata={"low": 1})
    n_slices: int = field(metadata={"low": 1})
    dimension_threshold: float = field(metadata={"low": 0})
    seed: int


@dataclass(frozen=True)
class Probe:
    sites: tuple[str, ...] = field(metadata={"allowed": SITES})
    n_folds: int = field(metadata={"low": 3})
    ridge: float = field(metadata={"low": 1e-9})
    ridge_grid: tuple[float, ...]
    n_permutations: int = field(metadata={"low": 99})
    n_bootstrap: int = field(metadata={"low": 100})
    confidence: float = field(metadata={"low": 0.5, "high": 0.999})
    seed: int


@dataclass(frozen=True)
class NullText:
    n_folds: int = field(metadata={"low": 2})
    ridge: float = field(metadata={"low": 1e-9})
    shots: tuple[int, ...]
    n_draws: int = field(metadata={"low": 10})
    n_permutations: int = field(metadata={"low": 99})
    n_bootstrap: int = field(metadata={"low": 100})
    confidence: float = field(metadata={"low": 0.5, "high": 0.999})
    seed: int


@dataclass(frozen=True)
class Temporal:
    steps_per_window: int = field(metadata={"low": 1})
    cluster_alpha: float = field(metadata={"low": 0.001, "high": 0.5})
    n_components: int = field(metadata={"low": 1})
    n_permutations: int = field(metadata={"low": 99})
    n_bootstrap: int = field(metadata={"low": 100})
    confidence: float = field(metadata={"low": 0.5, "high": 0.999})
    seed: int


@dataclass(frozen=True)
class Attention:
    n_permutations: int = field(metadata={"low": 99})
    n_bootstrap: int = field(metadata={"low": 100})
    confidence: float = field(metadata={"low": 0.5, "high": 0.999})
    n_bins: int = field(metadata={"low": 2})
    seed: int


@dataclass(frozen=True)
class Geometry:
    sites: tuple[str, ...] = field(metadata={"allowed": SITES})
    n_permutations: int = field(metadata={"low": 99})
    n_bootstrap: int = field(metadata={"low": 100})
    confidence: float = field(metadata={"low": 0.5, "high": 0.999})
    umap: bool
    umap_neighbors: int = field(metadata={"low": 2})
    seed: int


@dataclass(frozen=True)
class Relate:
    n_permutations: int = field(metadata={"low": 99})
    n_folds: int = field(metadata={"low": 2})
    ridge: float = field(metadata={"low": 1e-9})
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
    looks: tuple[int, ...]
    gate_clips: int = field(metadata={"low": 1})
    gate_effect: float = field(metadata={"low": 0, "high": 1})
    gate_acoustic_match: float = field(metadata={"low": 0, "high": 1})
    gate_alpha: float = field(metadata={"low": 0, "high": 1})
    gate_silhouette: float = field(metadata={"low": -1, "high": 1})


@dataclass(frozen=True)
class Sae:
    override_gate: bool
    sites: tuple[str, ...]
    prompts: Literal["diverse", "design"]
    architecture: Literal["relu", "topk", "batchtopk", "matryoshka", "jumprelu", "gated"]
    expansion: int = field(metadata={"low": 1})
    k: int = field(metadata={"low": 1})
    l1: float = field(metadata={"low": 0})
    l0: float = field(metadata={"low": 0})
    revive: Literal["auxk", "resample", "none"]
    n_steps: int = field(metadata={"low": 1})
    batch_rows: int = field(metadata={"low": 1})
    buffer_rows: int = field(metadata={"low": 2})
    learning_rate: float = field(metadata={"low": 0})
    patience_epochs: int = field(metadata={"low": 1})
    n_seeds: int = field(metadata={"low": 1})
    twin: bool
    seed: int


@dataclass(frozen=True)
class Latents:
    n_permutations: int = field(metadata={"low": 99})
    fdr: float = field(metadata={"low": 0.001, "high": 0.5})
    min_wordings: int = field(metadata={"low": 1})
    null_text: bool
    splice_clips: int = field(metadata={"low": 0})
    n_shown: int = field(metadata={"low": 1})
    champion_fvu: float = field(metadata={"low": 0})
    champion_selective: int = field(metadata={"low": 0})
    champion_stability: float = field(metadata={"low": 0, "high": 1})
    seed: int


@dataclass(frozen=True)
class Report:
    clips_per_emotion: int = field(metadata={"low": 1})
    title: str
    target_mse: float = field(metadata={"low": 0})
    target_l0: float = field(metadata={"low": 1})
    target_selective: int = field(metadata={"low": 0})
    target_per_emotion: int = field(metadata={"low": 0})


@dataclass(frozen=True)
class Compute:
    workers: int = field(metadata={"low": 1})
    threads: int = field(metadata={"low": 1})


@dataclass(frozen=True)
class Params:
    model: Model
    prompts: Prompts
    generate: Generate
    reencode: Reencode
    embed: Embed
    check: Check
    signal: Signal
    probe: Probe
    null_text: NullText
    temporal: Temporal
    attention: Attention
    geometry: Geometry
    relate: Relate
    decide: Decide
    sae: Sae
    latents: Latents
    report: Report
    compute: Compute


def parse_params(raw: object) -> Params:
    """Return the typed parameters of a parsed params.yaml.

    Raises:
        UsageError: a section or key is unknown or missing, a value has the wrong type or is out of bounds.
    """
    sections = mapping_of(raw, "params")
    same_keys(sections, [f.name for f in fields(Params)], "section")
    hints = typing.get_type_hints(Params)
    parts = {name: section_of(hints[name], sections[name], name) for name in hints}
    params = Params(**parts)
    for window in params.generate.windows:
        if len(window) != 2 or not 0 <= window[0] < window[1]:
            rule, advice = (
                "hold pairs [start, end] in seconds, 0 <= start < end",
                "Write for example [[0, 0.5]]",
            )
            raise UsageError(must("generate.windows", rule, list(window), where=FILE, next_step=advice))
    asked, path = "table" in params.prompts.sets, params.prompts.table_path
    if not path or (asked and path == NO_CAPTIONS):
        rule = "name a CSV of captions when prompts.sets holds 'table'" if asked else "name a file"
        advice = f"Set it, or take 'table' out of prompts.sets and leave {NO_CAPTIONS} here"
        raise UsageError(must("prompts.table_path", rule, path, where=FILE, next_step=advice))
    return params

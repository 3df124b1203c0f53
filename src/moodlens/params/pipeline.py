"""The typed form of params.yaml: one frozen dataclass per section.

Meaning, unit and effect of every value stand beside it in params.yaml. The types here refuse what a single
value can break; a stage refuses what its whole design cannot reach.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Interval

from moodlens.base.errors import UsageError, must
from moodlens.params.choices import (
    NO_CAPTIONS,
    AnalysisSite,
    CaptureSite,
    Emotion,
    Metric,
    PromptSet,
    SaeSite,
)
from moodlens.params.clashes import refuse_clashes
from moodlens.params.experiments import Forks, Interchange
from moodlens.params.quantities import (
    Confidence,
    Count,
    CountOrNone,
    Expansion,
    FilePath,
    Folds,
    Layers,
    Listed,
    Name,
    Names,
    Nonnegative,
    Path,
    Permutations,
    Power,
    Processes,
    Resamples,
    Ridge,
    Rows,
    Seed,
    Share,
    SmallShare,
    Steps,
    Window,
)
from moodlens.params.schema import read_section

FILE = "params.yaml"


@dataclass(frozen=True)
class Model:
    id: Annotated[Name, FilePath()]
    revision: str
    dtype: Literal["float32", "bfloat16", "float16"]
    device: Name
    text_padding: Literal["mask", "attend"] = "mask"


@dataclass(frozen=True)
class Prompts:
    emotions: Names[Emotion]
    n_per_emotion: Annotated[Count, Ge(2)]
    sets: Names[PromptSet]
    seed: Seed
    table_path: Path
    text_column: str
    emotion_column: str
    mood_column: str
    mood_words: Mapping[Name, Listed[Name]]


@dataclass(frozen=True)
class Generate:
    n_seeds: Count
    seed: Seed
    duration_s: Annotated[float, Interval(ge=0.5, le=120)]
    guidance_scale: Annotated[float, Interval(ge=1, le=100)]
    temperature: Annotated[float, Interval(ge=0, le=100)]
    top_k: CountOrNone
    top_p: Share
    sites: Names[CaptureSite]
    layers: Layers
    half: Literal["cond", "uncond", "both"]
    step_stride: Count
    windows: tuple[Window, ...]
    store_dtype: Literal["float16", "float32"]
    pooled_only: bool
    attention: bool
    clips_per_shard: Count
    block_clips: Count


@dataclass(frozen=True)
class Reencode:
    sites: Names[CaptureSite]
    layers: Layers
    n_steps: Annotated[Count, Ge(2)]
    twin_seed: Seed
    n_draws: Annotated[Count, Ge(5)]
    recurrent_units: Count
    recurrent_steps: Count
    swap_seed: Seed
    tolerance: Share


@dataclass(frozen=True)
class Embed:
    twin_seed: Seed


@dataclass(frozen=True)
class Check:
    min_clips_per_emotion: Count
    max_clipped_fraction: Share
    min_rms: Share
    min_distinct_frames: Share
    max_dead_fraction: Share
    min_step_change: Nonnegative


@dataclass(frozen=True)
class Signal:
    sites: Names[AnalysisSite]
    n_permutations: Permutations
    n_bootstrap: Resamples
    confidence: Confidence
    equivalence_delta: SmallShare
    metrics: Names[Metric]
    cca_rank: Count
    n_slices: Count
    dimension_threshold: Nonnegative
    seed: Seed


@dataclass(frozen=True)
class Probe:
    sites: Names[AnalysisSite]
    n_folds: Annotated[Folds, Ge(3)]
    ridge: Ridge
    ridge_grid: Names[Ridge]
    n_permutations: Permutations
    n_bootstrap: Resamples
    confidence: Confidence
    seed: Seed


@dataclass(frozen=True)
class NullText:
    n_folds: Folds
    ridge: Ridge
    shots: Names[Count]
    n_draws: Annotated[Count, Ge(10)]
    n_permutations: Permutations
    n_bootstrap: Resamples
    confidence: Confidence
    seed: Seed


@dataclass(frozen=True)
class Temporal:
    steps_per_window: Count
    cluster_alpha: SmallShare
    n_components: Count
    n_permutations: Permutations
    n_bootstrap: Resamples
    confidence: Confidence
    seed: Seed


@dataclass(frozen=True)
class Attention:
    n_permutations: Permutations
    n_bootstrap: Resamples
    confidence: Confidence
    n_bins: Annotated[Count, Ge(2)]
    seed: Seed


@dataclass(frozen=True)
class Geometry:
    sites: Names[AnalysisSite]
    n_permutations: Permutations
    n_bootstrap: Resamples
    confidence: Confidence
    umap: bool
    umap_neighbors: Annotated[Count, Ge(2)]
    seed: Seed


@dataclass(frozen=True)
class Relate:
    n_permutations: Permutations
    n_folds: Folds
    ridge: Ridge
    n_bootstrap: Resamples
    confidence: Confidence
    seed: Seed


@dataclass(frozen=True)
class Decide:
    alpha_strong: Share
    alpha_weak: Share
    accuracy_strong: Share
    accuracy_weak: Share
    effect_strong: Share
    effect_weak: Share
    equivalence_power: Power
    looks: tuple[Count, ...]
    gate_clips: Count
    gate_effect: Share
    gate_acoustic_match: Share
    gate_alpha: Share
    gate_silhouette: Annotated[float, Interval(ge=-1, le=1)]


@dataclass(frozen=True)
class Sae:
    override_gate: bool
    sites: Names[SaeSite]
    prompts: Literal["diverse", "design"]
    architecture: Literal["relu", "topk", "batchtopk", "matryoshka", "jumprelu", "gated"]
    expansion: Expansion
    k: Count
    l1: Nonnegative
    l0: Nonnegative
    revive: Literal["auxk", "resample", "none"]
    n_steps: Steps
    batch_rows: Rows
    buffer_rows: Annotated[Rows, Ge(2)]
    learning_rate: Annotated[float, Interval(gt=0, le=10)]
    patience_epochs: Count
    n_seeds: Count
    twin: bool
    seed: Seed


@dataclass(frozen=True)
class Latents:
    n_permutations: Permutations
    fdr: SmallShare
    min_wordings: Count
    sparse_k: Names[Count]
    n_removed: Count
    match_factor: Annotated[float, Interval(gt=1, le=100)]
    n_draws: Annotated[Count, Ge(19)]
    null_text: bool
    splice_clips: CountOrNone
    n_shown: Count
    champion_fvu: Nonnegative
    champion_selective: CountOrNone
    champion_stability: Share
    seed: Seed


@dataclass(frozen=True)
class Report:
    clips_per_emotion: Count
    title: str
    target_mse: Nonnegative
    target_l0: Annotated[Nonnegative, Ge(1)]
    target_selective: CountOrNone
    target_per_emotion: CountOrNone


@dataclass(frozen=True)
class Compute:
    workers: Processes
    threads: Processes


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
    forks: Forks
    interchange: Interchange
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
        UsageError: a section or key is unknown or missing, a value has the wrong type or is out of bounds, or
            two values exclude each other.
    """
    params = read_section(Params, raw, "", FILE)
    _refuse_missing_table(params.prompts)
    refuse_clashes(params, FILE)
    return params


def _refuse_missing_table(prompts: Prompts) -> None:
    wants_table, path = "table" in prompts.sets, prompts.table_path
    if not path or (wants_table and path == NO_CAPTIONS):
        rule = "name a CSV of captions when prompts.sets holds 'table'" if wants_table else "name a file"
        advice = f"Set it, or take 'table' out of prompts.sets and leave {NO_CAPTIONS} here"
        raise UsageError(must("prompts.table_path", rule, path, where=FILE, next_step=advice))

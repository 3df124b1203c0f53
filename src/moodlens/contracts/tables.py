"""The columns of every table that the pipeline writes. The suites of `quality` are built from them.

Bounds (`low`, `high`) are inclusive and in the column's unit. Only a `nullable` column may miss values.
"""

from dataclasses import dataclass

from moodlens.contracts.tensors import CONDITIONS, MODELS


@dataclass(frozen=True)
class Column:
    """One column: name, kind, meaning, unit and allowed values."""

    name: str
    kind: str  # "str" | "int" | "float" | "bool"
    meaning: str
    unit: str = ""
    unique: bool = False
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    allowed: tuple[str, ...] | None = None
    pattern: str | None = None  # regular expression that every value matches as a whole


@dataclass(frozen=True)
class Table:
    """A named set of columns. `key` is the column that identifies a row; errors name the row by it."""

    name: str
    key: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]


ID = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"
"""A prompt or clip id. It names files, so it holds no separator and is never `..`."""

PROMPT_SETS = ("generic", "descriptive", "scenes", "neutral", "table")
NEUTRAL = "neutral"
"""Label of prompts that intend no emotion; they are generated and measured, but never tested as a class."""

PROMPTS = Table(
    "prompts",
    "prompt_id",
    (
        Column("prompt_id", "str", "stable id: emotion, number", unique=True, pattern=ID),
        Column("emotion", "str", "the emotion the prompt intends, or 'neutral'"),
        Column("valence", "float", "intended valence", low=-1, high=1, nullable=True),
        Column("arousal", "float", "intended arousal", low=-1, high=1, nullable=True),
        Column("set", "str", "prompt set", allowed=PROMPT_SETS),
        Column("template", "str", "id of the sentence frame, crossed with emotion"),
        Column("wording", "str", "words that carry the emotion; empty if neutral", nullable=True),
        Column("split", "str", "train / val / test, whole wordings each", allowed=("train", "val", "test")),
        Column("text", "str", "the prompt", unique=True),
    ),
)

CLIPS = Table(
    "clips",
    "clip_id",
    (
        Column("clip_id", "str", "prompt_id and seed: <prompt_id>-s<seed>", unique=True, pattern=ID),
        Column("prompt_id", "str", "the prompt the clip was generated from"),
        Column("emotion", "str", "copied from the prompt"),
        Column("seed", "int", "generation seed of the prompt, 0..n_seeds-1", low=0),
        Column("shard", "int", "number of the shard that holds codes and activations", low=0),
        Column("row", "int", "row of the clip inside its shard", low=0),
        Column("n_frames", "int", "codec frames", unit="frames", low=1),
        Column("n_steps", "int", "decoder steps = frames + codebooks - 1", unit="steps", low=1),
        Column("sample_rate_hz", "int", "sampling rate of the audio file", unit="Hz", low=8000),
        Column("duration_s", "float", "length of the audio file", unit="s", low=0.1),
        Column("peak", "float", "largest absolute sample", low=0),
        Column("rms", "float", "root mean square of the samples", low=0),
        Column("clipped_fraction", "float", "share of samples at full scale", low=0, high=1),
        Column("finite_fraction", "float", "share of finite samples", low=1, high=1),
        Column("audio_path", "str", "audio file, relative to data/", unique=True, pattern=rf"audio/{ID}"),
    ),
)

_STORED_STATES = (
    Column("shard", "int", "shard number", low=0),
    Column("row", "int", "row inside the shard", low=0),
    Column("n_steps", "int", "decoder steps of the pass", unit="steps", low=1),
    Column("width", "int", "width of the hookpoint", low=1),
    Column("finite_fraction", "float", "share of finite values", low=1, high=1),
    Column("norm_mean", "float", "mean L2 norm over steps, model units", low=0),
)
_STEP_CHANGE = Column(
    "step_change",
    "float",
    "median relative L2 change between neighbouring steps; 0 = overwritten hook",
    low=0,
)

ACTIVATIONS = Table(
    "activations",
    "row_id",
    (
        Column("row_id", "str", "<clip_id>/<hookpoint>/<half>", unique=True),
        Column("clip_id", "str", "the clip"),
        Column("hookpoint", "str", "site and layer, e.g. residual.3"),
        Column("site", "str", "site, e.g. residual"),
        Column("layer", "int", "decoder layer, 0 = first", low=0),
        Column("half", "str", "classifier-free half", allowed=("cond", "uncond")),
        *_STORED_STATES,
        Column("norm_max", "float", "largest L2 norm over steps, model units", low=0),
        Column("absmax", "float", "largest absolute value, model units", low=0),
        Column("dead_fraction", "float", "share of dimensions with zero variance over steps", low=0, high=1),
        _STEP_CHANGE,
    ),
)

REENCODED = Table(
    "reencoded",
    "row_id",
    (
        Column("row_id", "str", "<clip_id>/<model>/<condition>/<hookpoint>", unique=True),
        Column("clip_id", "str", "the clip whose tokens were fed back"),
        Column("model", "str", "the model that read the tokens", allowed=MODELS),
        Column("condition", "str", "text condition", allowed=CONDITIONS),
        Column("hookpoint", "str", "site and layer, e.g. residual.3"),
        *_STORED_STATES,
        _STEP_CHANGE,
    ),
)
"""One row per clip, model, text condition and hookpoint of stage `reencode`."""

SWAPS = Table(
    "swaps",
    "clip_id",
    (
        Column("clip_id", "str", "the clip", unique=True),
        Column("emotion", "str", "emotion of the prompt that its music was generated from"),
        Column("swapped_prompt_id", "str", "prompt whose text the clip has under swapped text"),
        Column("swapped_emotion", "str", "emotion of that prompt"),
    ),
)

SELFTESTS = Table(
    "selftests",
    "shard",
    (
        Column("shard", "int", "shard number", unique=True, low=0),
        Column(
            "forced_difference",
            "float",
            "largest |re-encoded under own text - generated|, root mean squares of the hookpoint, beyond the "
            "rounding of float16",
            low=0,
        ),
        Column(
            "null_difference", "float", "largest difference of null-text states between texts", low=0, high=0
        ),
        Column("patch_difference", "float", "largest change by an identity patch", low=0, high=0),
        Column("n_states", "int", "values compared with generation", low=1),
    ),
)
"""Results of the self-tests of every shard of stage `reencode`, run before the shard is written."""

EMBEDDINGS = Table(
    "embeddings",
    "row_id",
    (
        Column("row_id", "str", "<prompt_id>/<encoder>", unique=True),
        Column("prompt_id", "str", "the prompt"),
        Column("encoder", "str", "text, projected, twin, bow"),
        Column("n_tokens", "int", "text tokens pooled over", low=1),
        Column("width", "int", "width of the pooled vector", low=1),
        Column("norm", "float", "L2 norm of the pooled vector", low=0),
        Column("finite_fraction", "float", "share of finite values", low=1, high=1),
    ),
)

ACOUSTICS = Table(
    "acoustics",
    "clip_id",
    (
        Column("clip_id", "str", "the clip", unique=True),
        Column(
            "tempo_bpm",
            "float",
            "tempo; missing: not measured",
            unit="bpm",
            nullable=True,
            low=49.5,
            high=200.5,
        ),
        Column("onset_rate_hz", "float", "onsets per second", unit="Hz", low=0, high=20),
        Column("pulse_clarity", "float", "regularity of the onsets", low=0, high=1),
        Column("loudness_db", "float", "rms level re full scale", unit="dB", low=-100, high=0),
        Column("dynamic_range_db", "float", "95th - 10th percentile of levels", unit="dB", low=0, high=120),
        Column("low_energy_fraction", "float", "share of 50 ms frames below the mean rms", low=0, high=1),
        Column("centroid_hz", "float", "centre of the mean spectrum", unit="Hz", low=0, high=24000),
        Column("rolloff_hz", "float", "85 % of the mean power lies below", unit="Hz", low=0, high=24000),
        Column("flatness", "float", "1 is white noise, 0 a pure tone", low=0, high=1),
        Column("zero_crossing_rate_hz", "float", "sign changes per second", unit="Hz", low=0, high=48000),
        Column("mode_margin", "float", "major - minor key correlation; > 0 is major", low=-2, high=2),
        Column(
            "tempo_other_bpm",
            "float",
            "second reading of the tempo, mostly an octave off",
            unit="bpm",
            nullable=True,
            low=49.5,
            high=200.5,
        ),
    ),
)
"""One row per clip; after `clip_id` the fields of `audio.descriptors.Descriptors`, in their order."""

ACOUSTIC_NAMES = tuple(name for name in ACOUSTICS.names[1:] if name != "tempo_other_bpm")
"""The descriptors that analyses read: a second reading of the tempo is no measurement of its own."""

FORKS = Table(
    "forks",
    "row_id",
    (
        Column("row_id", "str", "slot, seed, guidance, source, side, step and place", unique=True),
        Column("slot_id", "str", "the pair of prompts that share a slot"),
        Column("pair", "str", "the two emotions"),
        Column("unit", "str", "the two wordings: the unit of replication"),
        Column("seed", "int", "seed of the noise, 0..n_seeds-1", low=0),
        Column("guidance_scale", "float", "classifier-free guidance of clip and continuation", low=1),
        Column("source", "str", "what differs between the sides: music, memory, reading, all, ..."),
        Column("side", "str", "one | other | donor", allowed=("one", "other", "donor")),
        Column("step", "int", "decoder step of the fork", unit="steps", low=0),
        Column("place", "str", "part of the cache that is exchanged; empty: the whole", nullable=True),
        Column("nats_per_token", "float", "mean -ln p of drawn tokens", unit="nats", nullable=True, low=0),
        *ACOUSTICS.columns[1:],
    ),
)
"""One row per continuation; the descriptors are those of its last seconds."""

_OF_ROW = (
    Column("slot_id", "str", "the pair of prompts that share a slot"),
    Column("pair", "str", "the two emotions"),
    Column("unit", "str", "the two wordings: the unit of replication"),
    Column("seed", "int", "seed of the noise", low=0),
    Column("hookpoint", "str", "site and layer at which states are exchanged"),
    Column("first", "int", "first exchanged step; -1: all steps", unit="steps", low=-1),
    Column("stop", "int", "step after the last exchanged one; -1: all steps", unit="steps", low=-1),
)
_NATS = "nats per token by which {} makes the clip of side {} less likely"

SCORES = Table(
    "scores",
    "row_id",
    (
        Column("row_id", "str", "slot, seed and place", unique=True),
        *_OF_ROW,
        Column("moved_one", "float", _NATS.format("the exchange", "one"), unit="nats"),
        Column("moved_other", "float", _NATS.format("the exchange", "other"), unit="nats"),
        Column("whole_one", "float", _NATS.format("the other side's text", "one"), unit="nats"),
        Column("whole_other", "float", _NATS.format("the other side's text", "other"), unit="nats"),
    ),
)
"""One row per slot, seed and place: the teacher-forced companion of the interchange."""

ARMS = ("plain", "exchange", "wording", "seed", "on", "off", "inside", "outside", "random")

INTERCHANGE = Table(
    "interchange",
    "row_id",
    (
        Column("row_id", "str", "slot, seed, arm, side and draw", unique=True),
        *_OF_ROW,
        Column("arm", "str", "what is exchanged, see use.plays", allowed=ARMS),
        Column("side", "str", "side of the text", allowed=("one", "other", "donor")),
        Column("draw", "int", "number of the null direction; -1: none", low=-1),
        Column("nats_per_token", "float", "mean -ln p of drawn tokens", unit="nats", nullable=True, low=0),
        *ACOUSTICS.columns[1:],
    ),
)
"""One row per play; the descriptors are those of its last seconds."""

TEXTS = Table(
    "texts",
    "text_id",
    (
        Column(
            "text_id", "str", "stable id: prompt_id of the design, or diverse-<emotion>-<number>", unique=True
        ),
        Column("source", "str", "source of the text", allowed=("design", "diverse")),
        Column("emotion", "str", "the emotion the text intends, or 'neutral'"),
        Column("valence", "float", "intended valence, adverb included", low=-1, high=1, nullable=True),
        Column("arousal", "float", "intended arousal, adverb included", low=-1, high=1, nullable=True),
        Column("family", "str", "prompt set of the design, family of the diverse prompts"),
        Column("template", "str", "sentence frame"),
        Column("wording", "str", "words that carry the emotion, without the adverb", nullable=True),
        Column("adverb", "str", "slightly, very, or empty", nullable=True, allowed=("", "slightly", "very")),
        Column("split", "str", "split in SAE training, whole wordings", allowed=("train", "val", "test")),
        Column("text", "str", "the text", unique=True),
    ),
)
"""Texts on which SAEs are trained: every prompt of the design, and the diverse prompts."""

LATENTS = Table(
    "latents",
    "row_id",
    (
        Column("row_id", "str", "<site>/<latent>", unique=True),
        Column("site", "str", "site whose activations the SAE reads"),
        Column("latent", "int", "number of the latent", low=0),
        Column("emotion", "str", "emotion with the largest ratio"),
        Column(
            "ratio",
            "float",
            "mean activation in that emotion over the mean of the others, see latents.selectivity",
            low=0,
        ),
        Column("p", "float", "p of the largest contrast, wordings relabelled; 1 if untested", low=0, high=1),
        Column("q", "float", "false discovery rate over latents; 1 if untested", low=0, high=1),
        Column("use", "float", "mean activation over emotional prompts", low=0),
        Column("stability", "float", "mean matched decoder cosine over seeds", low=-1, high=1, nullable=True),
        Column("null_ratio", "float", "ratio under null text", low=0, nullable=True),
        Column("null_q", "float", "false discovery rate under null text", low=0, high=1, nullable=True),
        Column(
            "valence_r", "float", "correlation with intended valence over wordings", low=-1.001, high=1.001
        ),
        Column("arousal_r", "float", "correlation with intended arousal", low=-1.001, high=1.001),
        Column("descriptor", "str", "acoustic descriptor with the largest correlation"),
        Column("descriptor_r", "float", "that correlation over wordings", low=-1.001, high=1.001),
        Column(
            "descriptor_q",
            "float",
            "false discovery rate over latents and descriptors",
            low=0,
            high=1,
        ),
    ),
)
"""One row per latent of the SAE that represents its site."""

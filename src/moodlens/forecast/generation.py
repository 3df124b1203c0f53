"""Memory, disk and time of stage `generate`, term by term, from sizes and parameters alone.

docs/plan.md writes the formulas out and compares them with measurements. Memory is the peak of one worker
process. States of whole clips are never held in float32, and the decoder's cache is usually the largest term
apart from the weights. Disk is what data/ holds at the end; DVC's cache holds a second copy. The other stages
are in `forecast.stages`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from moodlens.contracts.tensors import stored_steps
from moodlens.forecast.sizes import Sizes

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
LIBRARIES_BYTES = 500_000_000
"""Resident set of a worker that has imported torch and transformers (CPU build) and loaded nothing."""
FLAC_SHARE = 0.55
"""FLAC bytes per byte of 16-bit PCM: 0.46 on the organism's music, 0.6 - 0.9 on noise."""
TEXT_POSITIONS = 32
CHUNK_STEPS = 32
RUNNING_VECTORS = 6  # float64, per clip and hookpoint, beside the chunk's copy
CODEC_COPIES = 4  # full-rate activations alive at once in the codec's last block
ATTENTION_STATISTICS, TWIN_STATISTICS = 7, 4  # per layer, head and step; means of the twin's cross-attention
ROW_BYTES = 600  # of tables and receipts, per clip and hookpoint
STEP_OVERHEAD_S = 0.35e-3  # of the calls of a decoder layer in one step, at any width
LOADING_S, LOADING_S_PER_PARAMETER = 5.0, 30e-9  # imports; checksum, reading, making the twin
MAPPED = "checkpoint, mapped while it is read"
EFFICIENCY = 0.6  # share of the measured product rate that 32 rows reach


@dataclass(frozen=True)
class Load:
    """The requested load of a model: params.yaml and the prompt table as numbers."""

    n_clips: int
    n_prompts: int
    n_frames: int
    clips_per_shard: int
    block_clips: int
    n_halves_run: int  # see `backends.requests.halves_run`
    hookpoints: int  # recorded hookpoints times recorded halves
    width: int  # values per clip and step at all hookpoints
    step_stride: int
    keep_steps: bool
    dtype: str
    store_dtype: str
    workers: int
    windows: tuple[tuple[int, int], ...] = ()  # of stored steps
    attention: bool = False
    twin: bool = True


@dataclass(frozen=True)
class Rates:
    """Rates of one core of this machine."""

    flop_s: float  # float32 products, per second
    byte_s: float  # read from memory, per second


@dataclass(frozen=True)
class Cost:
    """Cost of one stage: terms in bytes, and seconds of wall time with all workers."""

    stage: str
    memory: Mapping[str, int]  # of one process, terms that are held at the same time
    disk: Mapping[str, int]
    seconds: float
    workers: int = field(default=1, kw_only=True)  # processes of that size that run at the same time

    @property
    def memory_bytes(self) -> int:
        """Peak memory of one worker process."""
        return sum(self.memory.values())

    @property
    def held_bytes(self) -> int:
        """Memory that must be free: the peak without a mapped file, whose pages the system can reclaim."""
        return self.memory_bytes - self.memory.get(MAPPED, 0)

    @property
    def disk_bytes(self) -> int:
        """Bytes in data/ (models/sae, reports/) at the end of the stage."""
        return sum(self.disk.values())


def n_steps_of(sizes: Sizes, load: Load) -> int:
    """Return the decoder steps of a clip."""
    return load.n_frames + sizes.n_delays - 1


def n_shards_of(load: Load) -> int:
    """Return the number of shards."""
    return -(-load.n_clips // load.clips_per_shard)


def stored_bytes(sizes: Sizes, load: Load, n_clips: int) -> int:
    """Return the bytes of the stored states of `n_clips` clips."""
    if not load.keep_steps:
        return 0
    n_stored = len(stored_steps(n_steps_of(sizes, load), load.step_stride, load.windows))
    return load.width * n_clips * n_stored * DTYPE_BYTES[load.store_dtype]


def summary_bytes(sizes: Sizes, load: Load, n_clips: int) -> int:
    """Return the bytes of the summaries of clips: mean, var, early, late, the twin's mean, and norms."""
    return n_clips * 4 * (5 * load.width + load.hookpoints * n_steps_of(sizes, load))


def attention_values(sizes: Sizes, load: Load, n_clips: int) -> int:
    """Return the number of attention statistics over steps of `n_clips` clips; 0 without summaries."""
    if not load.attention:
        return 0
    return ATTENTION_STATISTICS * n_clips * sizes.n_layers * sizes.n_heads * n_steps_of(sizes, load)


def attention_bytes(sizes: Sizes, load: Load, n_clips: int) -> int:
    """Return the bytes of the stored attention summaries of clips, the twin's means included."""
    twin = TWIN_STATISTICS * n_clips * sizes.n_layers * sizes.n_heads if load.attention else 0
    return 2 * attention_values(sizes, load, n_clips) + 4 * twin


def samples_of(sizes: Sizes, load: Load) -> int:
    """Return the number of samples of a clip in one channel."""
    return round(load.n_frames * sizes.n_samples_per_frame)


def loading_seconds(sizes: Sizes) -> float:
    """Return the seconds to load a model and make its untrained twin."""
    return LOADING_S + LOADING_S_PER_PARAMETER * (sizes.n_decoder + sizes.n_text)


def loading_bytes(sizes: Sizes, dtype: str) -> int:
    """Return the memory of loading: the weights, and the pages of the file if its dtype is another.

    A file of the same dtype is mapped and is the weights. Any other is read beside them.
    """
    n, word = sizes.n_model + sizes.n_codec, DTYPE_BYTES[dtype]
    stored = DTYPE_BYTES.get(sizes.stored_dtype, 4)
    return n * (word + (stored if sizes.stored_dtype != dtype else 0))


def with_loading(memory: Mapping[str, int], sizes: Sizes, dtype: str) -> dict[str, int]:
    """Return the memory terms of a stage, and `MAPPED` if loading needs more than the work."""
    beyond = loading_bytes(sizes, dtype) - (sum(memory.values()) - memory["libraries"])
    return {**memory, MAPPED: beyond} if beyond > 0 else dict(memory)


def generate_cost(sizes: Sizes, load: Load, rates: Rates) -> Cost:
    """Return the cost of stage `generate`, model and untrained twin loaded."""
    word, d = DTYPE_BYTES[load.dtype], sizes.d_model
    n_steps = n_steps_of(sizes, load)
    positions = n_steps + (sizes.n_prefix + TEXT_POSITIONS if sizes.n_prefix else 0)
    clips = min(load.clips_per_shard, load.n_clips)
    block = min(load.block_clips, clips)
    cached_text = 0 if sizes.n_prefix else load.block_clips * TEXT_POSITIONS
    cache = 2 * word * sizes.n_layers * d * (load.n_halves_run * load.block_clips * positions + cached_text)
    stored = stored_bytes(sizes, load, clips)
    vectors = 8 * RUNNING_VECTORS * load.width * (block + (clips if load.twin else 0))
    decoding = CODEC_COPIES * 4 * sizes.codec_filters * samples_of(sizes, load)
    generating = cache + 4 * load.width * block * CHUNK_STEPS + vectors + sizes.packed_bytes(load.dtype)
    memory = {
        "libraries": LIBRARIES_BYTES,
        "weights": word * (sizes.n_model + sizes.n_codec),
        "untrained twin": word * sizes.n_model if load.twin else 0,
        "states and summaries": stored + 2 * summary_bytes(sizes, load, clips),
        "attention summaries": 4 * attention_values(sizes, load, clips),
        # never together: decoder steps, the codec, the copy of a shard that is written
        "generating, decoding or writing": max(generating, decoding, stored),
    }
    n_pcm = load.n_clips * sizes.audio_channels * samples_of(sizes, load) * 2
    disk = {
        "states": stored_bytes(sizes, load, load.n_clips),
        "summaries": summary_bytes(sizes, load, load.n_clips),
        "attention": attention_bytes(sizes, load, load.n_clips),
        "audio": round(FLAC_SHARE * n_pcm),
        "codes": 2 * load.n_clips * sizes.n_codebooks * load.n_frames,
        "tables and receipts": ROW_BYTES * load.n_clips * (load.hookpoints + 1),
    }
    workers = min(load.workers, n_shards_of(load))
    memory = with_loading(memory, sizes, load.dtype)
    return Cost("generate", memory, disk, _generate_seconds(sizes, load, rates), workers=workers)


def step_seconds(sizes: Sizes, load: Load, rates: Rates) -> float:
    """Return the seconds of one decoder step of one block on one core.

    (2 rows W / f) / e + bytes / b + layers x overhead: arithmetic plus memory traffic (a core hardly overlaps
    them), plus the overhead of calling the layers.
    """
    rows = load.n_halves_run * load.block_clips
    half_way = n_steps_of(sizes, load) / 2 + sizes.n_prefix
    flop = 2 * rows * (sizes.n_step + 2 * sizes.n_layers * sizes.d_model * half_way)
    cached = 2 * rows * sizes.n_layers * sizes.d_model * half_way
    n_bytes = DTYPE_BYTES[load.dtype] * (sizes.n_step + cached)
    return flop / rates.flop_s / EFFICIENCY + n_bytes / rates.byte_s + sizes.n_layers * STEP_OVERHEAD_S


def _generate_seconds(sizes: Sizes, load: Load, rates: Rates) -> float:
    n_steps = n_steps_of(sizes, load)
    n_blocks = n_shards_of(load) * -(-load.clips_per_shard // load.block_clips)
    generating = n_blocks * n_steps * step_seconds(sizes, load, rates)
    forcing = load.n_clips * 2 * n_steps * sizes.n_step / rates.flop_s / EFFICIENCY if load.twin else 0
    # every codec weight is used about ten times per frame
    codec = load.n_clips * 2 * sizes.n_codec * load.n_frames * 10 / rates.flop_s
    return loading_seconds(sizes) + (generating + forcing + codec) / min(load.workers, n_shards_of(load))

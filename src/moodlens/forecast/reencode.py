"""Memory, disk and time of stage `reencode`: three models read every clip, then further readers its tokens.

The stage first feeds every clip back to three models. Then further untrained decoders read the tokens under
null text, one decoder at a time, and a recurrent network reads all clips. docs/plan.md writes the formulas
out.
"""

from moodlens.contracts.tensors import MEMORIES, NETWORKS
from moodlens.forecast.generation import (
    CHUNK_STEPS,
    DTYPE_BYTES,
    EFFICIENCY,
    LIBRARIES_BYTES,
    Cost,
    Load,
    Rates,
    loading_seconds,
    n_shards_of,
    n_steps_of,
    stored_bytes,
    with_loading,
)
from moodlens.forecast.sizes import Sizes
from moodlens.forecast.stages import PASSES, Analysis

PARTS = 10  # bytes per value: mean, early, late in float16, var in float32
ROW_BYTES = 375  # of index and receipts, per clip, pass and hookpoint
SHARED_DRAWS = 2  # untrained decoders among the three models
SELF_TEST_PASSES = 2  # of every clip, beside PASSES
WINDOW_ROWS = 8 * 96  # rows of one optimizer step of the recurrent network
GATES = 8  # values per unit and step that the recurrent network holds: gates, input, output
WORKING_UNITS = 3  # forward and two products of the backward pass


def reencode_cost(sizes: Sizes, load: Load, analysis: Analysis, rates: Rates) -> Cost:
    """Return the cost of stage `reencode`, all of its tasks together."""
    word, width, n_steps = DTYPE_BYTES[load.dtype], analysis.reencoded_width, n_steps_of(sizes, load)
    clips = min(load.clips_per_shard, load.n_clips)
    one_pass = 2 * 4 * width * (n_steps + CHUNK_STEPS)  # float32, both halves
    per_clip = PASSES * width * (PARTS + 2 * analysis.reencoded_steps)
    memory_of_clip = 2 * len(MEMORIES) * analysis.reencoded_steps * width  # of one untrained decoder, float16
    parts = clips * (per_clip + SHARED_DRAWS * memory_of_clip)
    further = word * (sizes.n_model - sizes.n_text) if analysis.n_draws > SHARED_DRAWS else 0
    memory = {
        "libraries": LIBRARIES_BYTES,
        "weights": word * (sizes.n_model + sizes.n_codec),
        "untrained decoders": word * (2 * sizes.n_model - sizes.n_text),
        "inside a pass": 2 * 4 * n_steps * (sizes.d_ffn + 6 * sizes.d_model),
        # never together: the self-test's comparison, two passes, the last clip, a shard that is written, a
        # further decoder with its memory of a shard, the recurrent network
        "passes, or a shard being written": max(
            stored_bytes(sizes, load, clips) + one_pass,
            2 * one_pass,
            parts + one_pass,
            3 * parts,
            further + one_pass + 2 * clips * memory_of_clip,
            _recurrent_bytes(sizes, load, analysis),
        ),
    }
    disk = {
        "states": load.n_clips * (per_clip + 4 * analysis.reencoded_steps * sizes.d_codec),
        "memory of untrained decoders": load.n_clips * analysis.n_draws * memory_of_clip,
        "recurrent network": load.n_clips
        * len(NETWORKS) * 2 * len(MEMORIES) * analysis.reencoded_steps * _units(sizes, analysis),
        "tables and receipts": load.n_clips * PASSES * analysis.reencoded_hookpoints * ROW_BYTES,
    }  # fmt: skip
    n_further = max(0, analysis.n_draws - SHARED_DRAWS)
    rows = load.n_clips * (PASSES + SELF_TEST_PASSES + n_further) + n_shards_of(load) * 8
    flop = 2 * rows * n_steps * sizes.n_step
    flop += 2 * load.n_clips * analysis.n_draws * len(MEMORIES) * analysis.reencoded_steps * n_steps * width
    summing = load.n_clips * PASSES * width * n_steps * 12e-9  # running means in float64
    workers = min(load.workers, n_shards_of(load))
    seconds = 2 * loading_seconds(sizes) + (flop / rates.flop_s / EFFICIENCY + summing) / workers
    seconds += _recurrent_flop(sizes, load, analysis) / rates.flop_s / EFFICIENCY
    return Cost("reencode", with_loading(memory, sizes, load.dtype), disk, seconds, workers=workers)


def _units(sizes: Sizes, analysis: Analysis) -> int:
    return min(analysis.recurrent_units, sizes.d_model)


def _recurrent_bytes(sizes: Sizes, load: Load, analysis: Analysis) -> int:
    """Return the memory of the recurrent network: its states of all clips, twice, and one shard inside it."""
    n_steps, units = n_steps_of(sizes, load), _units(sizes, analysis)
    clips = min(load.clips_per_shard, load.n_clips)
    inside = 4 * clips * n_steps * (2 * sizes.n_codebooks * sizes.d_codec + GATES * units)
    return len(NETWORKS) * 4 * load.n_clips * n_steps * units + inside


def _recurrent_flop(sizes: Sizes, load: Load, analysis: Analysis) -> float:
    """Return the operations of the recurrent network: training windows, and all clips before and after."""
    units = _units(sizes, analysis)
    reading = sizes.n_codebooks * sizes.d_codec * units + 6 * units**2
    trained = analysis.recurrent_steps * WINDOW_ROWS * (reading + units * sizes.codebook_size) * WORKING_UNITS
    read = len(NETWORKS) * load.n_clips * n_steps_of(sizes, load) * reading
    return 2.0 * (trained + read)

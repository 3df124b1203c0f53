"""Memory, disk and time of stage `interchange`, from the number of readings and plays and the model's sizes.

The search takes one row per slot. The test takes one row per slot and seed; the first row of each pair of
wordings (a unit) plays everything. A donor is a further row of its pass or block.

    search   generate   CLIPS clips of S steps per row
             read       CLIPS x (own, swapped, every place) and donors, S steps at once
             displace   DISPLACED clips, S steps at once, the states of every hookpoint held
    test     generate   one further clip per row
             play       PRIMARY plays, or ALL and one per null direction, S steps each

Clips and plays are decoded in blocks of `interchange.block_clips` rows. Readings run together, as many as
that and their donors. Prompts of the grammar have one text width, so blocks have one too.
"""

from dataclasses import dataclass, replace
from math import ceil

from moodlens.backends.forks import cache_bytes
from moodlens.forecast.forks import (
    ANALYSIS_BYTES,
    CODEC_USES,
    DESCRIBING_S,
    ROW_BYTES,
    TOGETHER,
    tasks_of,
)
from moodlens.forecast.generation import (
    CHUNK_STEPS,
    CODEC_COPIES,
    DTYPE_BYTES,
    EFFICIENCY,
    LIBRARIES_BYTES,
    TEXT_POSITIONS,
    Cost,
    Load,
    Rates,
    loading_seconds,
    n_steps_of,
    samples_of,
    step_seconds,
    with_loading,
)
from moodlens.forecast.sizes import Sizes
from moodlens.prompts.design import split_evenly

FEWEST_UNITS = 6  # below, the stage does not apply: `stats.sign_flip.FEWEST_UNITS`
CLIPS = 2  # of a row in the search: under the texts of the two emotions
UNEXCHANGED = 2  # readings of a clip without an exchange: own, swapped
DISPLACED = 3  # readings of one clip for displacements: two emotions and a donor
PRIMARY_PLAYS, PRIMARY_ROWS = 6, 9  # of every row; exchanges (2) and wording (1) have a donor beside them
ALL_PLAYS, ALL_ROWS = 15, 27  # of a unit's first row without null directions; 12 have a donor
WIDTHS_IN_A_LAYER = 4  # values of d_model that a whole sequence holds beside the two of d_ffn
HELD_CLIPS = 2 * DISPLACED + 1  # states of the row before, of this row, and of the clip being read
LOGIT_COPIES = 2  # of all codebooks of one row, float32
SCORE_BYTES = 500  # of receipts and table, per row and place: 470 on the organism
NOT_APPLICABLE = Cost("interchange", {"libraries": LIBRARIES_BYTES}, {}, 3.0)
"""Of a model to which exchanges do not apply, a design with too few slots, or clips too short to judge."""


@dataclass(frozen=True)
class Exchanging:
    """The requested exchanges, as numbers."""

    n_slots: int  # pairs of prompts that share a slot; 0: not applicable
    n_units: int  # distinct pairs of wordings among them
    n_seeds: int  # of the test
    sites: tuple[str, ...]
    n_windows: int
    n_draws: int
    guided: bool  # guidance above 1
    block_clips: int
    rows_per_task: int
    judged_s: float

    @property
    def n_rows(self) -> int:
        """Rows of the test."""
        return self.n_slots * self.n_seeds

    @property
    def n_plays(self) -> int:
        return self.n_rows * PRIMARY_PLAYS + self.n_units * (ALL_PLAYS - PRIMARY_PLAYS + self.n_draws)

    @property
    def n_played_rows(self) -> int:
        """Rows of all plays, donors included."""
        return self.n_rows * PRIMARY_ROWS + self.n_units * (ALL_ROWS - PRIMARY_ROWS + self.n_draws)

    @property
    def n_halves(self) -> int:
        return 2 if self.guided else 1


def n_hookpoints_of(sizes: Sizes, exchanging: Exchanging) -> int:
    """Return the number of hookpoints of the search: every layer of the sites but the last residual."""
    return len(exchanging.sites) * sizes.n_layers - ("residual" in exchanging.sites)


def n_places_of(sizes: Sizes, exchanging: Exchanging, n_steps: int) -> int:
    """Return the number of places: every hookpoint with all steps, and with each window."""
    n_windows = min(exchanging.n_windows, n_steps) if exchanging.n_windows >= 2 else 0
    return n_hookpoints_of(sizes, exchanging) * (1 + n_windows)


def passes_of(n_places: int, block_clips: int) -> list[int]:
    """Return the rows of every pass that reads one clip; a pass with places has a row for their donor.

    >>> passes_of(33, 32), passes_of(3, 2)
    ([33, 4], [2, 3, 2])
    """
    readings = tasks_of(UNEXCHANGED + n_places, block_clips)
    return [n + ((number + 1) * block_clips > UNEXCHANGED) for number, n in enumerate(readings)]


def generated_blocks(n_clips: int, exchanging: Exchanging) -> int:
    """Return the blocks in which the clips of one task are generated."""
    return ceil(n_clips / exchanging.block_clips)


def trial_blocks(exchanging: Exchanging) -> int:
    """Return the blocks of all tasks of the test, about: units are spread evenly over the tasks.

    The blocks of the rows' further clips are among them.
    """
    tasks = tasks_of(exchanging.n_rows, exchanging.rows_per_task)
    size = max(exchanging.block_clips, 2)  # a play and its donor share a block even where that holds one clip
    more = ALL_ROWS - PRIMARY_ROWS + exchanging.n_draws
    return sum(
        ceil((n * PRIMARY_ROWS + n_units * more) / size) + generated_blocks(n, exchanging)
        for n, n_units in zip(tasks, split_evenly(exchanging.n_units, len(tasks)), strict=True)
    )


def interchange_cost(sizes: Sizes, load: Load, exchanging: Exchanging, rates: Rates) -> Cost:
    """Return the cost of stage `interchange`; that of its one line of output where it does not apply."""
    if sizes.n_prefix or not exchanging.n_slots or exchanging.n_units < FEWEST_UNITS:
        return NOT_APPLICABLE
    n_steps = n_steps_of(sizes, load)
    n_hookpoints, n_places = n_hookpoints_of(sizes, exchanging), n_places_of(sizes, exchanging, n_steps)
    searching = tasks_of(exchanging.n_slots, exchanging.rows_per_task)
    testing = tasks_of(exchanging.n_rows, exchanging.rows_per_task)
    memory = {
        "libraries": LIBRARIES_BYTES + ANALYSIS_BYTES,
        "weights": DTYPE_BYTES[load.dtype] * (sizes.n_model + sizes.n_codec),
        **_working(sizes, load, exchanging),
    }
    disk = {
        "plays: table and receipts": ROW_BYTES * exchanging.n_plays,
        "scores: table and receipts": SCORE_BYTES * exchanging.n_slots * n_places,
        "displacements": 4 * exchanging.n_slots * n_hookpoints * (2 * sizes.d_model + 1),
    }
    search = search_seconds(sizes, load, exchanging, rates) / min(load.workers, len(searching))
    trial = trial_seconds(sizes, load, exchanging, rates) / min(load.workers, len(testing))
    # each wave has processes of its own, which load the model
    seconds = 2 * loading_seconds(sizes) + search + trial
    workers = min(load.workers, len(testing))
    return Cost("interchange", with_loading(memory, sizes, load.dtype), disk, seconds, workers=workers)


def _working(sizes: Sizes, load: Load, exchanging: Exchanging) -> dict[str, int]:
    """Return the memory of the work itself: what a task collects, and the largest of what it does in turn."""
    word, n_steps = DTYPE_BYTES[load.dtype], n_steps_of(sizes, load)
    rows, n_places = exchanging.rows_per_task, n_places_of(sizes, exchanging, n_steps)
    # a plan of forks has two caches; nothing is fed back before step 0, so here there is one
    cache = cache_bytes(
        sizes.n_layers, sizes.d_model, exchanging.n_halves * exchanging.block_clips, n_steps, word,
        exchanging.block_clips, TEXT_POSITIONS,
    ) // 2  # fmt: skip
    samples = samples_of(sizes, load)
    decoding = (
        CODEC_COPIES * 4 * sizes.codec_filters * samples + 4 * TOGETHER * samples * sizes.audio_channels
    )
    scored = 2 * 4 * rows * CLIPS * (UNEXCHANGED + n_places) * sizes.n_codebooks * load.n_frames
    played = 2 * 2 * rows * (ALL_PLAYS + exchanging.n_draws) * sizes.n_codebooks * n_steps
    played += 4 * rows * exchanging.n_draws * sizes.d_model
    return {
        "scores, or plays, of a task": max(scored, played),
        # never together
        "generating, reading, displacements or decoding": max(
            cache + sizes.packed_bytes(load.dtype),
            pass_bytes(sizes, load, max(passes_of(n_places, exchanging.block_clips))),
            displacing_bytes(sizes, load, exchanging),
            decoding,
        ),
    }


def pass_bytes(sizes: Sizes, load: Load, n_rows: int) -> int:
    """Return the memory inside a pass over all steps of some rows; the heads run row by row behind it.

    The largest moment is the activation function of a layer: its input and output, d_ffn wide, beside four
    arrays of d_model. Attention weights are never formed: `backends.attention` takes the fused kernel.
    """
    word, n_steps = DTYPE_BYTES[load.dtype], n_steps_of(sizes, load)
    of_layer = n_rows * n_steps * word * (WIDTHS_IN_A_LAYER * sizes.d_model + 2 * sizes.d_ffn)
    logits = LOGIT_COPIES * 4 * n_steps * sizes.n_codebooks * sizes.codebook_size
    return max(of_layer, n_rows * n_steps * word * sizes.d_model + logits)


def displacing_bytes(sizes: Sizes, load: Load, exchanging: Exchanging) -> int:
    """Return the memory of displacements: float32 states of every layer of the sites, and one pass."""
    width = sizes.width_of(exchanging.sites, sizes.n_layers)
    return 4 * width * (HELD_CLIPS * n_steps_of(sizes, load) + CHUNK_STEPS) + pass_bytes(sizes, load, 1)


def search_seconds(sizes: Sizes, load: Load, exchanging: Exchanging, rates: Rates) -> float:
    """Return the seconds of one core for the search, without loading."""
    n_steps = n_steps_of(sizes, load)
    n_blocks = sum(
        generated_blocks(CLIPS * n, exchanging)
        for n in tasks_of(exchanging.n_slots, exchanging.rows_per_task)
    )
    read = sum(passes_of(n_places_of(sizes, exchanging, n_steps), exchanging.block_clips))
    n_rows = exchanging.n_slots * (CLIPS * read + DISPLACED)
    # as in a decoder step, a query meets half of the keys on average
    flop = 2 * n_rows * n_steps * (sizes.n_step + sizes.n_layers * sizes.d_model * n_steps)
    return (
        n_blocks * n_steps * _step_seconds(sizes, load, exchanging, rates) + flop / rates.flop_s / EFFICIENCY
    )


def trial_seconds(sizes: Sizes, load: Load, exchanging: Exchanging, rates: Rates) -> float:
    """Return the seconds of one core for the test, without loading: plays are drawn, decoded and judged."""
    drawing = (
        trial_blocks(exchanging) * n_steps_of(sizes, load) * _step_seconds(sizes, load, exchanging, rates)
    )
    codec = 2 * sizes.n_codec * load.n_frames * CODEC_USES / rates.flop_s
    describing = DESCRIBING_S * exchanging.judged_s * sizes.sample_rate_hz
    return drawing + exchanging.n_plays * (codec + describing)


def _step_seconds(sizes: Sizes, load: Load, exchanging: Exchanging, rates: Rates) -> float:
    block = replace(load, block_clips=exchanging.block_clips, n_halves_run=exchanging.n_halves)
    return step_seconds(sizes, block, rates)

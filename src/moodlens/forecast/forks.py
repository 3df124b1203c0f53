"""Memory, disk and time of stage `forks`, from the number of continuations and the sizes of the model.

For every slot and seed the stage generates PREFIX_CLIPS clips. It feeds their tokens back under several texts
up to the last fork step, and from each fork step it generates one continuation per cell. Its decoder steps
are those of these three kinds of rows, in blocks of `forks.block_clips`:

    generate     PREFIX_CLIPS rows of S steps
    feed back    FEEDS rows up to the last fork step s
    continue     SIDES rows per source and fork step, of S - s steps
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from moodlens.backends.forks import cache_bytes
from moodlens.forecast.generation import (
    CODEC_COPIES,
    DTYPE_BYTES,
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

PREFIX_CLIPS = 4  # texts of the two emotions, of the donor, and neutral
SIDES, SOURCES = 3, 3  # two emotions and a donor; music so far, memory, re-reading
FEEDS = 7  # music: three prefixes under null text; memory: one prefix under three texts; re-reading: one
PLACE_FEEDS = 3  # one prefix under two texts and neutral text
TEXT_WIDTHS = 6  # lengths of the texts of a task, in tokens, about: prompts of the grammar
PLACE_SIDES = 2  # the two emotions; no donor
TOGETHER = 64  # clips that are decoded to audio at once
ANALYSIS_BYTES = 150_000_000  # of acoustic descriptors and the judge, beside the model's libraries
CODEC_USES = 10  # of every weight, per frame
DESCRIBING_S = 1e-7  # per sample that the judge hears
ROW_BYTES = 1_000  # of receipts and table, per continuation
NOT_APPLICABLE = Cost("forks", {"libraries": LIBRARIES_BYTES}, {}, 3.0)
"""Of a model to which forks do not apply, a design without slots, or no fork that leaves enough to judge."""


@dataclass(frozen=True)
class Part:
    """A part of the experiment: the same forks for all slots and some seeds."""

    n_rows: int  # slots times seeds
    steps: tuple[int, ...]  # fork steps
    n_cells: int  # continuations of a row at each fork step
    n_feeds: int  # of a row
    n_halves: int  # 2 under guidance
    whole: bool  # whether the whole clips are judged too

    @property
    def n_continuations(self) -> int:
        return self.n_rows * len(self.steps) * self.n_cells

    @property
    def n_judged(self) -> int:
        """Continuations, and the whole clips of the two emotions and the donor."""
        return self.n_continuations + (SIDES * self.n_rows if self.whole else 0)


@dataclass(frozen=True)
class Forking:
    """The requested forks, as numbers."""

    n_slots: int  # pairs of prompts that share a slot
    n_seeds: int
    steps: tuple[int, ...]  # fork steps of the main experiment
    where_step: int  # 0: single parts of the cache are not exchanged
    run_step: int  # 0: not repeated at the guidance of the run
    n_windows: int
    guided: bool  # the main experiment has guidance above 1
    run_guided: bool
    block_clips: int
    rows_per_task: int
    judged_s: float


def parts_of(sizes: Sizes, forking: Forking) -> list[Part]:
    """Return the parts of the experiment: the sources, the places, the guidance of the run."""
    sources = SOURCES * SIDES
    main, run = (2 if guided else 1 for guided in (forking.guided, forking.run_guided))
    n_all = forking.n_slots * forking.n_seeds
    parts = [Part(n_all, forking.steps, sources, FEEDS, main, whole=True)]
    if forking.where_step:
        # memory with neutral text ahead, every layer, every window
        n_places = 1 + sizes.n_layers + min(forking.n_windows, forking.where_step)
        where = (forking.where_step,)
        parts.append(Part(forking.n_slots, where, PLACE_SIDES * n_places, PLACE_FEEDS, main, whole=False))
    if forking.run_step:
        parts.append(Part(forking.n_slots, (forking.run_step,), sources, FEEDS, run, whole=True))
    return parts


def tasks_of(n_rows: int, rows_per_task: int) -> list[int]:
    """Return the rows of each task.

    >>> tasks_of(40, 16)
    [16, 16, 8]
    """
    whole, rest = divmod(n_rows, rows_per_task)
    return [rows_per_task] * whole + ([rest] if rest else [])


def block_steps(part: Part, n_rows: int, n_steps: int, block_clips: int) -> int:
    """Return the decoder steps of blocks that one task of `n_rows` rows takes, about.

    A block has one text width, so the last block of every width is filled in part: TEXT_WIDTHS more blocks
    that are fed back, and at each fork twice as many that go on (behind null text and behind a text).
    """

    def blocks(n: int) -> int:
        return ceil(n * n_rows / block_clips)

    ahead = sum((blocks(part.n_cells) + 2 * TEXT_WIDTHS) * max(0, n_steps - step) for step in part.steps)
    fed = (blocks(part.n_feeds) + TEXT_WIDTHS) * max(part.steps)
    return blocks(PREFIX_CLIPS) * n_steps + fed + ahead


def forks_cost(sizes: Sizes, load: Load, forking: Forking, rates: Rates) -> Cost:
    """Return the cost of stage `forks`; that of its one line of output where forks do not apply."""
    if sizes.n_prefix or not forking.n_slots or not forking.steps:
        return NOT_APPLICABLE
    word, n_steps = DTYPE_BYTES[load.dtype], n_steps_of(sizes, load)
    parts = parts_of(sizes, forking)
    n_judged = sum(part.n_judged for part in parts)
    n_tasks = sum(len(tasks_of(part.n_rows, forking.rows_per_task)) for part in parts)
    workers = min(load.workers, n_tasks)
    clip_samples = samples_of(sizes, load) * sizes.audio_channels
    decoding = CODEC_COPIES * 4 * sizes.codec_filters * samples_of(sizes, load) + 4 * TOGETHER * clip_samples
    forked = max(_cache(sizes, forking, part.n_halves, n_steps, word) for part in parts)
    largest = max(part.n_judged / part.n_rows for part in parts) * forking.rows_per_task
    memory = {
        "libraries": LIBRARIES_BYTES + ANALYSIS_BYTES,
        "weights": word * (sizes.n_model + sizes.n_codec),
        "tokens of a task": round(2 * 2 * largest * sizes.n_codebooks * n_steps),
        # never together
        "forking, or decoding": max(forked + sizes.packed_bytes(load.dtype), decoding),
    }
    generating = sum(
        block_steps(part, n_rows, n_steps, forking.block_clips) * _seconds(sizes, load, forking, part, rates)
        for part in parts
        for n_rows in tasks_of(part.n_rows, forking.rows_per_task)
    )
    codec = n_judged * 2 * sizes.n_codec * load.n_frames * CODEC_USES / rates.flop_s
    describing = n_judged * DESCRIBING_S * forking.judged_s * sizes.sample_rate_hz
    seconds = loading_seconds(sizes) + (generating + codec + describing) / workers
    disk = {"table and receipts": ROW_BYTES * n_judged}
    return Cost("forks", with_loading(memory, sizes, load.dtype), disk, seconds, workers=workers)


def _cache(sizes: Sizes, forking: Forking, n_halves: int, n_steps: int, word: int) -> int:
    """Return the bytes of the cached states of a stem block and a branch block."""
    rows = n_halves * forking.block_clips
    return cache_bytes(
        sizes.n_layers, sizes.d_model, rows, n_steps, word, forking.block_clips, TEXT_POSITIONS
    )


def _seconds(sizes: Sizes, load: Load, forking: Forking, part: Part, rates: Rates) -> float:
    block = replace(load, block_clips=forking.block_clips, n_halves_run=part.n_halves)
    return step_seconds(sizes, block, rates)


def fork_steps(seconds: Sequence[float], frame_rate_hz: float) -> tuple[int, ...]:
    """Return the decoder steps of fork times, rising.

    >>> fork_steps([1.2, 0.3], 50)
    (15, 60)
    """
    return tuple(round(second * frame_rate_hz) for second in sorted(seconds))

"""Forks with the decode loop: stems are advanced once, their cache is copied into blocks of branches.

The prefix of a branch is fed back step by step, in blocks of as many rows as `generate` has. One pass over
the whole prefix would be faster, but its sums have other last bits. So a branch under the text, the cached
states and the noise of a generated clip gives that clip, bit for bit.

A donor of an intervention is a row behind the branches. It is fed what its branch draws, or its own tokens.

Keys and values of self-attention are copied. Those of cross-attention are a function of the text alone: a
branch block computes them from its text ahead at its first step. Padding rows of a branch block are copies of
its first branch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer, EncoderDecoderCache

from moodlens.backends.conditioning import EncodedText
from moodlens.backends.forks import BranchBlock, Feed, Route, StemBlock
from moodlens.backends.interventions import Job, jobs_of
from moodlens.backends.musicgen.decode_loop import (
    Block,
    Decoder,
    PreallocatedLayer,
    draw_block,
    empty_columns,
)
from moodlens.backends.requests import halves_run
from moodlens.backends.sampling import block_uniforms, nats
from moodlens.base.units import steps_for
from moodlens.codes.delay import apply_delay, undo_delay
from moodlens.contracts.backend import Branch, Sampling, Stem


@dataclass(frozen=True)
class Forking:
    """What all blocks of one call share."""

    decoder: Decoder
    stems: Sequence[Stem]
    branches: Sequence[Branch]
    sampling: Sampling
    texts: Mapping[str, EncodedText]  # of stems and branches
    text_padding: str
    size: int  # clips per block
    edited: Callable[[Sequence[Job], int, int], AbstractContextManager[object]]
    """Jobs, steps of a clip, first step that is run -> the interventions, see `edits.edited`."""

    @property
    def n_halves(self) -> int:
        return len(halves_run(self.sampling.guidance_scale, "cond"))

    @property
    def n_steps(self) -> int:
        return steps_for(self.sampling.n_frames, self.decoder.n_delays)

    def results(self, stem_block: StemBlock) -> Iterator[tuple[list[int], np.ndarray, np.ndarray]]:
        """Yield branches, their codes (branch, codebook, frame) and nats per token, block by block."""
        stem = self._stem_block(stem_block.feeds)
        step = 0
        for planned in stem_block.branch_blocks:
            while step < planned.step:
                stem.states(self.decoder, step)
                step += 1
            numbers = [route.branch for route in planned.routes]
            codes, mean_nats = self._drawn(self._branch_block(stem, stem_block.feeds, planned), planned)
            yield numbers, codes[: len(numbers)], mean_nats[: len(numbers)]

    def _block(
        self, columns: Tensor, texts: Sequence[str | None], width: int, cache: EncoderDecoderCache
    ) -> Block:
        n_clips = len(columns)
        encoded = [self.texts[text] if text is not None else None for text in texts]
        n_rows = n_clips * self.n_halves
        text = self.decoder.conditioning(encoded, n_clips, n_rows, width, self.text_padding)
        return Block(columns, text, n_rows, cache)

    def _stem_block(self, feeds: Sequence[Feed]) -> Block:
        stems = [self.stems[feed.stem] for feed in feeds]
        # blocks of one clip cannot hold a donor too, so a stem block is then larger
        columns = empty_columns(self.decoder, max(self.size, len(feeds)), self.n_steps)
        codes = torch.from_numpy(np.stack([stem.codes for stem in stems]).astype(np.int64))
        columns[: len(stems)] = apply_delay(codes, self.decoder.pad_id, self.decoder.n_channels)
        cache = self.decoder.cache(self.n_steps)
        return self._block(columns, [stem.text for stem in stems], feeds[0].width, cache)

    def _branch_block(self, stem: Block, feeds: Sequence[Feed], planned: BranchBlock) -> Block:
        sources = [feeds.index(route.base) for route in planned.routes]
        sources += [feeds.index(feed) for feed in planned.feeds]
        size = max(self.size, planned.n_rows)
        sources += sources[:1] * (size - len(sources))
        columns = empty_columns(self.decoder, size, self.n_steps)
        columns[:, :, : planned.step + 1] = stem.columns[sources, :, : planned.step + 1]
        rows = [row + half * len(stem.columns) for half in range(self.n_halves) for row in sources]
        cache = copied_cache(stem.cache, rows)
        for row, route in enumerate(planned.routes):
            give_donor(cache, row, stem.cache, feeds, route)
        ahead = [self.branches[route.branch].ahead for route in planned.routes]
        ahead += [one.donor.text for one in planned.donors]
        block = self._block(columns, ahead, planned.width, cache)
        for row, one in enumerate(planned.donors, start=len(planned.routes)):
            if one.donor.codes is None:
                block.follow(row, one.clip)
            else:
                given = torch.from_numpy(one.donor.codes[None].astype(np.int64))
                block.keep(row, apply_delay(given, self.decoder.pad_id, self.decoder.n_channels)[0])
        return block

    def _drawn(self, block: Block, planned: BranchBlock) -> tuple[np.ndarray, np.ndarray]:
        keys = [self.stems[self.branches[route.branch].stem].seed_key for route in planned.routes]
        uniforms = block_uniforms(keys, len(block.columns), self.n_steps, self.decoder.n_codebooks)
        sums: list[Tensor] = []
        counts: list[Tensor] = []

        def watch(logits: Tensor, tokens: Tensor, real: Tensor) -> None:
            sums.append((nats(logits, tokens) * real).sum(-1))
            counts.append(real.sum())

        edits = [self.branches[route.branch].edits for route in planned.routes]
        first_row = {"cond": 0, "uncond": len(block.columns)}
        jobs = jobs_of(edits, planned.donors, first_row, len(planned.routes))
        with self.edited(jobs, self.n_steps, planned.step):
            draw_block(self.decoder, block, uniforms, self.sampling, planned.step, watch)
        codes = undo_delay(block.columns, self.decoder.n_channels)
        total = torch.stack(sums, dim=1).cpu().double().sum(-1)
        mean_nats = total / torch.stack(counts).sum().cpu()
        return codes.cpu().numpy().astype(np.int16), mean_nats.numpy().astype(np.float32)


def copied_cache(cache: EncoderDecoderCache, rows: Sequence[int]) -> EncoderDecoderCache:
    """Return the self-attention states of `rows`, in this order; those of the text are not computed yet."""
    own = [layer.copied(rows) for layer in layers_of(cache)]
    return EncoderDecoderCache(Cache(layers=[*own]), Cache(layers=[DynamicLayer() for _ in own]))


def layers_of(cache: EncoderDecoderCache) -> list[PreallocatedLayer]:
    """Return the self-attention states of every layer."""
    return [layer for layer in cache.self_attention_cache.layers if isinstance(layer, PreallocatedLayer)]


def give_donor(
    cache: EncoderDecoderCache, row: int, stem: EncoderDecoderCache, feeds: Sequence[Feed], route: Route
) -> None:
    """Replace the states that a branch takes from its donor; `row` is that of its conditional half."""
    if route.donor is None:
        return
    donor = feeds.index(route.donor)
    own, theirs = layers_of(cache), layers_of(stem)
    for layer in route.layers:
        own[layer].replace(row, theirs[layer], donor, route.window)

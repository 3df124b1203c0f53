"""Forks without a model library: checks, the plan of blocks, and the memory of a plan.

A stem is fed back once, step by step, under its own text. At a fork step the states that it has cached so far
are copied into a block of branches, and that block is decoded to its end:

    stem block     step 0 ... 40 ......... 90 ...      one row per feed: tokens under a text
                              |            |
    branch blocks             +-> 40..end  +-> 90..end  one row per branch, its text ahead

A donor of an intervention is a further row of the branch block. It is fed the tokens that its branch draws;
the prefix is fed back under the donor's own text.

One stem block and one branch block exist at a time. A block of either kind has one text width, because the
shape of the text decides the last bits of a row. The width of a feed is that of its own text. A branch that
mixes the states of two texts takes both at the larger of their widths. So the shapes that a branch meets are
a function of that branch alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from moodlens.backends.interventions import Beside, donors_of
from moodlens.backends.requests import check_codes, check_prompt
from moodlens.base.errors import UsageError, must
from moodlens.base.units import steps_for
from moodlens.contracts.backend import Branch, ModelInfo, Sampling, Stem


@dataclass(frozen=True)
class Feed:
    """Tokens that are fed back under a text, one row of a stem block."""

    stem: int  # the first stem with these tokens and this text
    width: int  # positions of the text


@dataclass(frozen=True)
class Route:
    """Where the cached states of a branch come from."""

    branch: int
    base: Feed
    donor: Feed | None = None
    layers: tuple[int, ...] = ()  # in which the donor's states replace those of the base
    window: tuple[int, int] = (0, 0)  # steps (first, stop) that are replaced
    beside: tuple[Feed, ...] = ()  # of the donors of its interventions, in the order of `donors_of`

    @property
    def feeds(self) -> list[Feed]:
        """All feeds of which the branch needs states."""
        return [feed for feed in (self.base, self.donor, *self.beside) if feed is not None]


@dataclass(frozen=True)
class BranchBlock:
    """Branches that are decoded together: one fork step, one width of the text ahead."""

    step: int
    width: int
    routes: tuple[Route, ...]
    donors: tuple[Beside, ...]  # `clip` is the index of a route
    feeds: tuple[Feed, ...]  # of the donors

    @property
    def n_rows(self) -> int:
        return len(self.routes) + len(self.donors)


@dataclass(frozen=True)
class StemBlock:
    """Feeds that are advanced together, and the branch blocks that fork from them, earliest step first."""

    feeds: tuple[Feed, ...]
    branch_blocks: tuple[BranchBlock, ...]


def check_forks(
    stems: Sequence[Stem], branches: Sequence[Branch], sampling: Sampling, info: ModelInfo
) -> None:
    """Check stems and branches against each other, the sampling and the model.

    Raises:
        UsageError: there is nothing to fork; the tokens of a stem do not fit; a prompt is blank; a branch
            names a stem, step, layer or window that does not exist, a part of a donor without a donor, or a
            donor with other tokens before the fork.
    """
    if not stems or not branches:
        got = f"{len(stems)} stems, {len(branches)} branches"
        raise UsageError(must("a fork", "have stems and branches", got, next_step="Name some"))
    shape = info.n_codebooks, sampling.n_frames
    for i, stem in enumerate(stems):
        if stem.codes.shape != shape:
            rule = f"have the shape {shape} (codebook, frame) of the sampling"
            advice = "Fork with the sampling of the clip"
            raise UsageError(must(f"codes of stem {i}", rule, stem.codes.shape, next_step=advice))
        check_codes(stem.codes[None], 1, info)
        if stem.text is not None:
            check_prompt(stem.text)
    for i, branch in enumerate(branches):
        _check_branch(f"branch {i}", branch, stems, sampling, info)


def _check_branch(
    name: str, branch: Branch, stems: Sequence[Stem], sampling: Sampling, info: ModelInfo
) -> None:
    if branch.ahead is not None:
        check_prompt(branch.ahead)
    _check_range(f"the stem of {name}", (branch.stem,), len(stems), "Name a stem of the call")
    n_steps = steps_for(sampling.n_frames, info.n_delays)
    _check_range(f"the step of {name}", (branch.step,), n_steps, "Fork inside the clip")
    if branch.donor is None:
        if branch.layers is not None or branch.window is not None:
            got = f"layers {branch.layers}, window {branch.window}"
            advice = "Leave layers and window at None"
            raise UsageError(must(name, "name the donor that it takes layers of", got, next_step=advice))
        return
    _check_range(f"the donor of {name}", (branch.donor,), len(stems), "Name a stem of the call")
    _check_range(f"layers of {name}", branch.layers or (), info.n_layers, "Name layers of this model")
    if branch.window is not None and not 0 <= branch.window[0] <= branch.window[1] <= branch.step:
        rule = f"lie in the prefix, 0 <= first <= stop <= {branch.step}"
        raise UsageError(
            must(f"the window of {name}", rule, branch.window, next_step="Cut it at the fork step")
        )
    own, donor = (prefix(stems[i].codes, branch.step, info) for i in (branch.stem, branch.donor))
    if not np.array_equal(own, donor):
        rule, got = "hold the stem's tokens before the fork", f"stem {branch.donor}, other tokens"
        advice = "Feed the tokens of the stem back under the donor's text"
        raise UsageError(must(f"the donor of {name}", rule, got, next_step=advice))


def _check_range(thing: str, numbers: Sequence[int], stop: int, advice: str) -> None:
    for number in numbers:
        if not 0 <= number < stop:
            raise UsageError(must(thing, f"lie in 0..{stop - 1}", number, next_step=advice))


def forks_do_not_apply(info: ModelInfo, why: str) -> UsageError:
    """Return the error of a model whose cached states cannot go on under another text; `why` says so."""
    rule = "read its text through cross-attention"
    return UsageError(must(f"model {info.model_id}", rule, why, next_step="Forks do not apply to it"))


def prefix(codes: np.ndarray, step: int, info: ModelInfo) -> np.ndarray:
    """Return the tokens that the decoder has output before `step`; the others are -1.

    Args:
        codes: (codebook, frame).
        step: decoder step.
        info: of the model, for the delays of its codebooks.
    """
    delays = np.arange(info.n_codebooks)[:, None] // info.audio_channels
    return np.where(np.arange(codes.shape[1]) + delays < step, codes, -1)


def with_donors(stems: Sequence[Stem], branches: Sequence[Branch]) -> list[Stem]:
    """Return the stems, and behind them those whose states the donors of interventions hold at the fork."""
    more = [
        Stem(stems[branch.stem].codes if one.donor.codes is None else one.donor.codes, one.donor.text, 0)
        for branch in branches
        if branch.step
        for one in donors_of([branch.edits])
    ]
    return [*stems, *more]


def plan(
    stems: Sequence[Stem],
    branches: Sequence[Branch],
    width: Callable[[str | None], int],
    n_layers: int,
    size: int,
) -> list[StemBlock]:
    """Return the blocks in which checked branches are run.

    Args:
        stems: stems, from `with_donors`; equal tokens under an equal text are fed once.
        branches: branches.
        width: text, or None for null text -> its width.
        n_layers: decoder layers.
        size: rows per block. A stem and its donors share a block even where they are more than that, and so
            do a branch and its donors.
    """
    routes = routes_of(stems, branches, width, n_layers)
    # Feeds of the same tokens stay together, so that few pairs of stem and donor fall into two blocks.
    first = {stem.codes.tobytes(): i for i, stem in reversed(list(enumerate(stems)))}
    routes.sort(key=lambda route: (route.base.width, first[stems[route.base.stem].codes.tobytes()]))
    blocks: list[tuple[dict[Feed, None], list[Route]]] = []
    for route in routes:
        needed = dict.fromkeys(route.feeds)
        if blocks:
            feeds, members = blocks[-1]
            joined = feeds | needed
            if len(joined) <= size and next(iter(feeds)).width == route.base.width:
                feeds.update(joined)
                members.append(route)
                continue
        blocks.append((needed, [route]))
    return [
        StemBlock(tuple(feeds), tuple(_branch_blocks(members, branches, width, size)))
        for feeds, members in blocks
    ]


def routes_of(
    stems: Sequence[Stem],
    branches: Sequence[Branch],
    width: Callable[[str | None], int],
    n_layers: int,
) -> list[Route]:
    """Return the route of every branch; a donor that replaces everything, or nothing, leaves one feed."""
    keys = [(stem.codes.tobytes(), stem.text) for stem in stems]
    first = {key: i for i, key in reversed(list(enumerate(keys)))}
    routes = []
    for i, branch in enumerate(branches):
        stem = first[keys[branch.stem]]
        donor = stem if branch.donor is None else first[keys[branch.donor]]
        layers = tuple(range(n_layers)) if branch.layers is None else tuple(sorted(set(branch.layers)))
        window = (0, branch.step) if branch.window is None else branch.window
        if not layers or window[0] == window[1]:
            donor = stem
        elif len(layers) == n_layers and window == (0, branch.step):
            stem = donor
        beside = [
            first[stems[branch.stem].codes.tobytes() if codes is None else codes.tobytes(), text]
            if branch.step
            else stem
            for codes, text in ((one.donor.codes, one.donor.text) for one in donors_of([branch.edits]))
        ]
        shared = max(width(stems[feed].text) for feed in (stem, donor, *beside))
        others = tuple(Feed(feed, shared) for feed in beside)
        if donor == stem:
            routes.append(Route(i, Feed(stem, shared), beside=others))
        else:
            routes.append(Route(i, Feed(stem, shared), Feed(donor, shared), layers, window, others))
    return routes


def _branch_blocks(
    routes: Sequence[Route], branches: Sequence[Branch], width: Callable[[str | None], int], size: int
) -> Iterator[BranchBlock]:
    kinds: dict[tuple[int, int], list[Route]] = {}
    for route in routes:
        branch = branches[route.branch]
        texts = [branch.ahead, *(one.donor.text for one in donors_of([branch.edits]))]
        kinds.setdefault((branch.step, max(map(width, texts))), []).append(route)
    for step, text_width in sorted(kinds):
        members: list[Route] = []
        for route in kinds[step, text_width]:
            if members and sum(1 + len(one.beside) for one in (*members, route)) > size:
                yield _branch_block(step, text_width, members, branches)
                members = []
            members.append(route)
        yield _branch_block(step, text_width, members, branches)


def _branch_block(
    step: int, text_width: int, routes: Sequence[Route], branches: Sequence[Branch]
) -> BranchBlock:
    donors = donors_of([branches[route.branch].edits for route in routes])
    feeds = []
    for one in donors:
        of_its_route = [other.donor for other in donors_of([branches[routes[one.clip].branch].edits])]
        feeds.append(routes[one.clip].beside[[id(d) for d in of_its_route].index(id(one.donor))])
    return BranchBlock(step, text_width, tuple(routes), tuple(donors), tuple(feeds))


def cache_bytes(
    n_layers: int,
    d_model: int,
    n_rows: int,
    n_steps: int,
    bytes_per_value: int,
    n_text_rows: int = 0,
    text_width: int = 0,
) -> int:
    """Return the bytes of keys and values that forks hold at once: a stem block and a branch block.

    Args:
        n_layers: decoder layers.
        d_model: of the decoder.
        n_rows: rows of a block, both halves.
        n_steps: decoder steps of a clip.
        bytes_per_value: of the model's type.
        n_text_rows: rows of a block that have a text.
        text_width: positions of a text.

    >>> cache_bytes(6, 192, 32, 203, 4) / 1e6
    119.734272
    """
    positions = n_rows * n_steps + n_text_rows * text_width
    return 2 * 2 * n_layers * d_model * positions * bytes_per_value

"""Nulls of the design: spread and sizes that differ between emotions, near duplicates, instruments, deals.

No emotion moves the mean of any site. Sites resemble each other by half of their variance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.axes import EMOTIONS
from moodlens.calibration.nulls import BROKEN, Null, promised
from moodlens.calibration.simulate import N_PERMUTATIONS, World
from moodlens.probes.folds import design_folds
from moodlens.probes.kernel_ridge import grid_accuracies
from moodlens.prompts.lexicon import components
from moodlens.stats.design import Design, design_of
from moodlens.stats.design_check import check_design
from moodlens.stats.gram import centred, group_means, prompt_grams, site_gram, standardised
from moodlens.stats.location import Statistic, choices, location_statistics
from moodlens.stats.multiplicity import max_p, max_t
from moodlens.stats.permanova import pseudo_f
from moodlens.stats.permutation import relabellings
from moodlens.stats.strata import Strata, strata_of

N_SITES, WIDTH = 6, 32
N_FOLDS, RIDGES = 8, (0.1, 1.0)
ALPHA = 0.05
SPECTRUM = np.arange(1, WIDTH + 1) ** -0.5

LOCATION, RUNG = "location, best of 6 sites", "p of a rung"
NO_WELCH = "pseudo-F whatever the spread"
NO_BLOCKS = "wordings of any size relabelled"
EACH_WORDING = "every wording a unit"
NO_STRATA = "instrument left free"
CLOSED = "check of the design leaves the rung open"
RECURRING = "recurring words identify the label more than in deals"
WORDS_BY_PROMPT = "words name the label of held-out prompts"
BOTH = "where W_d* is in use, two p must both be small"
DEALS = "wordings of one label that share a word are one unit; deals bring further ones under one label"


@dataclass(frozen=True)
class Placed:
    """Simulated sites of a design, as Gram matrices of prompt means."""

    design: Design
    grams: Float[np.ndarray, "site prompt prompt"]

    def p_values(self, rng: np.random.Generator) -> tuple[float, float]:
        """Return the p of the sweep, maxT over the sites, and the p that a rung reads.

        The latter is that of the best site's probe, wordings held out. Where W_d* is in use at a site, it is
        not below the former (`decision.from_metrics`).
        """
        design = self.design
        units = centred(group_means(self.grams, design.wordings))
        table = design.relabellings("wording", N_PERMUTATIONS, rng)
        kinds: list[Statistic] = [choice.statistic for choice in choices(units, table)]
        location = float(max_t(location_statistics(units, table, kinds)).min())
        moved = design.relabellings("wording", N_PERMUTATIONS, rng)
        folds = design_folds(design, "wording", N_FOLDS, rng)
        probe = max_p(grid_accuracies(self.grams, folds, moved[:, design.wordings], RIDGES))
        return location, max(location, probe) if "w_d_star" in kinds else probe

    def pseudo_f_p(self, rng: np.random.Generator) -> float:
        """Return the p of pseudo-F, best site, whatever spread and size: W_d* and blocks left out."""
        units = centred(group_means(self.grams, self.design.wordings))
        table = relabellings(self.design.unit_labels("wording"), N_PERMUTATIONS, rng)
        return float(max_t(pseudo_f(units, table)).min())


def placed(
    design: Design,
    world: World,
    rng: np.random.Generator,
    spread: Float[np.ndarray, " prompt"] | float = 1.0,
    groups: Int[np.ndarray, " prompt"] | None = None,
    group_share: float = 0.5,
) -> Placed:
    """Return sites whose prompts share `group_share` of the prompt's part within `groups`.

    Args:
        design: of the prompts.
        world: clips of each prompt, and the ICC.
        rng: source of randomness.
        spread: standard deviation of each prompt's rows.
        groups: prompts with a part in common; None: those of one wording.
        group_share: of the variance of the prompt's part.
    """
    members = design.wordings if groups is None else groups
    own = _alike(design.n_prompts, rng) * np.sqrt(1 - group_share)
    own += np.sqrt(group_share) * _alike(int(members.max()) + 1, rng)[:, members]
    prompts = np.repeat(np.arange(design.n_prompts), world.n_clips)
    rows = np.sqrt(world.icc) * own[:, prompts] + np.sqrt(1 - world.icc) * _alike(len(prompts), rng)
    rows *= np.broadcast_to(spread, (design.n_prompts,))[prompts][:, None]
    sites = [site_gram(f"site {i}", each, prompts) for i, each in enumerate(rows)]
    return Placed(design, prompt_grams(sites))


def _alike(n: int, rng: np.random.Generator) -> Float[np.ndarray, "site row dim"]:
    common = rng.standard_normal((n, WIDTH))
    own = rng.standard_normal((N_SITES, n, WIDTH))
    return np.sqrt(0.5) * (common + own) * SPECTRUM


def sized(sizes: Sequence[Sequence[int]]) -> Design:
    """Return a design from the prompts of every wording of every emotion.

    >>> sized([[1, 2], [3, 1]]).wordings.tolist()
    [0, 1, 1, 2, 2, 2, 3]
    """
    rows = [
        (emotion, f"{emotion} {wording}")
        for emotion, wordings in zip(EMOTIONS, sizes, strict=False)
        for wording, size in enumerate(wordings)
        for _ in range(size)
    ]
    names = [f"prompt {i}" for i in range(len(rows))]
    return design_of(names, [emotion for emotion, _ in rows], [wording for _, wording in rows])


def _dispersed(
    design: Design, world: World, spreads: Sequence[float], rng: np.random.Generator
) -> dict[str, bool]:
    data = placed(design, world, rng, np.array(spreads)[design.labels])
    location, rung = data.p_values(rng)
    return {
        LOCATION: location <= ALPHA,
        RUNG: rung <= ALPHA,
        NO_WELCH: data.pseudo_f_p(rng) <= ALPHA,
    }


def dispersion(name: str, counts: Sequence[int], spreads: Sequence[float]) -> Null:
    """Return the null of emotions with these numbers of wordings and these standard deviations."""
    design = sized([[1] * count for count in counts])
    world = World(design.n_prompts, 2, 0.3)
    rung = promised(why_conservative=BOTH)
    tests = {LOCATION: promised(), RUNG: rung, NO_WELCH: BROKEN}
    return Null(name, world, lambda rng: _dispersed(design, world, spreads, rng), tests)


SIZES = ([1] * 6 + [4] * 2, *[[1] * 2 + [4] * 10] * 3)
"""Prompts of every wording of every emotion: the first has few wordings, most of a single prompt. Means of
single prompts scatter more."""


def _sizes(rng: np.random.Generator) -> dict[str, bool]:
    data = placed(SIZED, SIZED_WORLD, rng, group_share=0.0)
    location, rung = data.p_values(rng)
    return {
        LOCATION: location <= ALPHA,
        RUNG: rung <= ALPHA,
        NO_BLOCKS: data.pseudo_f_p(rng) <= ALPHA,
    }


SIZED = sized(SIZES)
SIZED_WORLD = World(SIZED.n_prompts, 2, 0.6)

N_IDEAS, N_VARIANTS = 6, 3
ADVERBS = ("soft", "grey", "late")
DUPLICATE_WORLD = World(4 * N_IDEAS * N_VARIANTS, 2, 0.5)


def _duplicate_designs() -> tuple[Design, Design]:
    """Return near duplicates as the pipeline merges them, and every wording by itself."""
    emotions = [emotion for emotion in EMOTIONS[:4] for _ in range(N_IDEAS * N_VARIANTS)]
    words = [
        f"{adverb}{emotion}{idea} {emotion}idea{idea}"
        for emotion in EMOTIONS[:4]
        for idea in range(N_IDEAS)
        for adverb in ADVERBS
    ]
    ids = [f"prompt {i}" for i in range(len(words))]
    return design_of(ids, emotions, [f"unit {i}" for i in components(words)]), design_of(ids, emotions, words)


MERGED, APART = _duplicate_designs()


def _duplicates(rng: np.random.Generator) -> dict[str, bool]:
    data = placed(MERGED, DUPLICATE_WORLD, rng, group_share=0.9)
    apart = replace(data, design=APART)
    location, rung = data.p_values(rng)
    return {
        LOCATION: location <= ALPHA,
        RUNG: rung <= ALPHA,
        EACH_WORDING: apart.pseudo_f_p(rng) <= ALPHA,
    }


N_INSTRUMENTS, N_EACH = 4, 16
PLAYED = sized([[1] * N_EACH] * 4)
PLAYED_WORLD = World(PLAYED.n_prompts, 2, 0.3)
INSTRUMENT_SHARE = 0.6
"""Of the prompts' variance, common to the prompts of one instrument."""


def _confounded(preference: float, rng: np.random.Generator) -> dict[str, bool]:
    """Return the alarms where each emotion has its own instrument in a share `preference` of prompts."""
    labels = PLAYED.labels
    free = rng.integers(N_INSTRUMENTS, size=len(labels))
    instruments = np.where(rng.random(len(labels)) < preference, labels % N_INSTRUMENTS, free)
    _, instruments = np.unique(instruments, return_inverse=True)
    nuisances = {"instrument": [f"instrument {i}" for i in instruments]}
    strata = strata_of(labels, PLAYED.wordings, nuisances)
    design = replace(PLAYED, strata=strata.codes)
    data = placed(design, PLAYED_WORLD, rng, groups=instruments, group_share=INSTRUMENT_SHARE)
    is_open = not _checked(design, strata, nuisances, rng)
    location, rung = data.p_values(rng) if is_open else (1.0, 1.0)
    return {
        LOCATION: location <= ALPHA,
        RUNG: rung <= ALPHA,
        CLOSED: is_open,
        NO_STRATA: replace(data, design=PLAYED).pseudo_f_p(rng) <= ALPHA,
    }


def _checked(
    design: Design, strata: Strata, nuisances: Mapping[str, Sequence[str]], rng: np.random.Generator
) -> tuple[str, ...]:
    """Return why the design allows no verdict, by the pipeline's check."""
    words = np.ones((design.n_prompts, 1))
    seed = int(rng.integers(2**31))
    return check_design(design, strata, nuisances, words, {}, None, ALPHA, seed).undecided


N_WORDINGS, N_VOCABULARY, N_SLOT_WORDS = 10, 60, 8
DEALT_WORLD = World(2 * 4 * N_WORDINGS, 1, 0.0)


def _dealt(rng: np.random.Generator) -> dict[str, bool]:
    """Return whether words tell labels that were dealt at random, by two tests.

    Words that recur identify the label more than in other deals; and, as the check of the words does it, a
    probe names the label of held-out prompts, whose wording it has met.

    A wording is two content words, some of which recur in others; two prompts use it, each with a word of its
    slot. Wordings that share a word under one label are merged, as in every design of the pipeline.
    """
    n = 4 * N_WORDINGS
    frequency = 1 / np.arange(1, N_VOCABULARY + 1)
    chance = frequency / frequency.sum()
    wordings = [" ".join(f"w{i}" for i in rng.choice(N_VOCABULARY, 2, False, chance)) for _ in range(n)]
    labels = rng.permutation(np.repeat(np.arange(4), N_WORDINGS))
    units = np.array([""] * n, dtype=object)
    for label in range(4):
        (mine,) = np.nonzero(labels == label)
        units[mine] = [f"{label} {i}" for i in components([wordings[i] for i in mine])]
    of_prompt = np.repeat(np.arange(n), 2)
    emotions = [EMOTIONS[labels[i]] for i in of_prompt]
    design = design_of([f"prompt {i}" for i in range(2 * n)], emotions, [str(units[i]) for i in of_prompt])
    words = np.zeros((2 * n, N_VOCABULARY + N_SLOT_WORDS))
    for prompt, wording in enumerate(of_prompt):
        words[prompt, [int(word[1:]) for word in wordings[wording].split()]] = 1
    words[np.arange(2 * n), N_VOCABULARY + rng.integers(N_SLOT_WORDS, size=2 * n)] = 1
    seed = int(rng.integers(2**31))
    strata = Strata(np.zeros(2 * n, dtype=np.int64), (), ())
    check = check_design(design, strata, {}, words, {}, None, ALPHA, seed)
    (found,) = (finding for finding in check.findings if finding.name == "recurring_words")
    (site,) = prompt_grams([site_gram("words", standardised(words), np.arange(2 * n))])
    moved = design.relabellings("prompt", N_PERMUTATIONS, rng)
    folds = design_folds(design, "prompt", N_FOLDS, rng)
    named = max_p(grid_accuracies(site[None], folds, moved, RIDGES))
    return {RECURRING: found.p is not None and found.p <= ALPHA, WORDS_BY_PROMPT: named <= ALPHA}


NULLS = (
    dispersion("emotions of few wordings spread wider", (21, 7, 7, 7), (1, 2, 2, 2)),
    dispersion("the emotion of most wordings spreads wider", (21, 7, 7, 7), (2, 1, 1, 1)),
    Null(
        "wording sizes differ between emotions",
        SIZED_WORLD,
        _sizes,
        {
            LOCATION: promised(),
            RUNG: promised(why_conservative=BOTH),
            NO_BLOCKS: BROKEN,
        },
    ),
    Null(
        "near-duplicate wordings",
        DUPLICATE_WORLD,
        _duplicates,
        {LOCATION: promised(), RUNG: promised(), EACH_WORDING: BROKEN},
    ),
    Null(
        "instrument half confounded with emotion",
        PLAYED_WORLD,
        lambda rng: _confounded(0.4, rng),
        {LOCATION: promised(), RUNG: promised(), NO_STRATA: BROKEN},
    ),
    Null(
        "instrument confounded with emotion",
        PLAYED_WORLD,
        lambda rng: _confounded(1.0, rng),
        {CLOSED: promised(why_conservative="the check closes the rung"), NO_STRATA: BROKEN},
    ),
    Null(
        "wordings dealt to labels at random",
        DEALT_WORLD,
        _dealt,
        {RECURRING: promised(0.05, DEALS), WORDS_BY_PROMPT: BROKEN},
    ),
)

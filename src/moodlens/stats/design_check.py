"""Rung 0, the check of the design: what could pass for emotion, and what the tests do about it.

Each finding says one of four things. `holds`: the design is balanced in this respect. `robust`: it is not,
and the tests use a form that keeps its level. `undecided`: it is not, and no such form is left, so no verdict
should be given. `described`: a number that no test depends on.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.seeding import rng_for
from moodlens.stats.design import Design, blocks_of
from moodlens.stats.location import DISPERSION_ALPHA, MOST_UNEQUAL, size_ratio
from moodlens.stats.permutation import fixed_units, p_values, relabellings, smallest_p
from moodlens.stats.strata import Strata, association, codes_of

Form = Literal["holds", "robust", "undecided", "described"]
ALPHA = 0.05
"""Level at which a nuisance predicts emotion, Holm's correction over the nuisances."""
N_RELABELLINGS = 1_999
N_DEALS = 200
"""Random deals of wordings to labels, beside which the recurring words are set."""
UNLIMITED = 10**9
"""Relabellings of a smallest p that depends on the design alone."""

ROBUST = "W_d* is used, and a rung's p is the larger one of W_d* and of the probe"
"""What is done about groups that differ in size or in spread."""


@dataclass(frozen=True)
class DesignFinding:
    """One finding: its number, what follows from it, and the sentence that says so."""

    name: str
    form: Form
    sentence: str
    value: float | None = None  # ratio, share or accuracy
    p: float | None = None  # of the test behind the finding


@dataclass(frozen=True)
class DesignCheck:
    """The findings on a design, in a fixed order."""

    findings: tuple[DesignFinding, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """Return every finding in words."""
        return tuple(finding.sentence for finding in self.findings)

    @property
    def undecided(self) -> tuple[str, ...]:
        """Return the reasons why no verdict should be given; none where the tests keep their level."""
        return tuple(finding.sentence for finding in self.findings if finding.form == "undecided")

    @property
    def robust(self) -> tuple[str, ...]:
        """Return what the tests take into account, in words."""
        return tuple(finding.sentence for finding in self.findings if finding.form == "robust")


def check_design(
    design: Design,
    strata: Strata,
    nuisances: Mapping[str, Sequence[str]],
    words: Float[np.ndarray, "prompt word"],
    p_dispersion: Mapping[str, float],
    unknown_share: float | None,
    alpha: float,
    seed: int,
) -> DesignCheck:
    """Return the findings on a design.

    Args:
        design: emotions and wordings of the prompts.
        strata: within which labels are exchanged.
        nuisances: name -> its value in each prompt (`workspace.units.nuisances_of`).
        words: word counts of each prompt.
        p_dispersion: family of sites -> smallest p of PERMDISP over its sites.
        unknown_share: share of the prompts' tokens that the text encoder does not know; None: not known.
        alpha: level of the weakest claim; relabellings must be able to fall below it.
        seed: of relabellings and deals.
    """
    return DesignCheck(
        (
            _group_sizes(design),
            _wording_sizes(design, alpha),
            *_nuisances(design, strata, nuisances, seed),
            _dispersion(p_dispersion),
            _unknown(unknown_share),
            _recurring(design, words, seed),
        )
    )


def _group_sizes(design: Design) -> DesignFinding:
    labels = design.unit_labels("wording")
    ratio, counts = size_ratio(labels), np.bincount(labels)
    if counts.min() == counts.max():
        return DesignFinding("group_sizes", "holds", f"Every emotion has {counts[0]} wordings.", ratio)
    sizes = f"The emotions have {counts.min()} to {counts.max()} wordings (ratio {ratio:.2f})"
    if ratio > MOST_UNEQUAL:
        return DesignFinding(
            "group_sizes",
            "robust",
            f"{sizes}: {ROBUST}; other metrics get no p.",
            ratio,
        )
    return DesignFinding("group_sizes", "holds", f"{sizes}.", ratio)


def _wording_sizes(design: Design, alpha: float) -> DesignFinding:
    labels, blocks, name = design.unit_labels("wording"), design.blocks("wording"), "wording_sizes"
    n_fixed, least = fixed_units(labels, blocks), smallest_p(labels, UNLIMITED, blocks)
    sizes = np.bincount(design.wordings)
    each = {tuple(sorted(sizes[labels == klass])) for klass in range(design.n_classes)}
    differ = (
        "Emotions differ in how many prompts their wordings stand in"
        if len(each) > 1
        else "The wordings of all emotions stand in equally many prompts"
    )
    share = n_fixed / len(labels)
    if least >= alpha:
        reason = f"{differ}; wordings of one size leave a smallest p of {least:.2g}, not below {alpha:g}."
        return DesignFinding(name, "undecided", reason, share)
    if len(each) == 1 and not n_fixed:
        return DesignFinding(name, "holds", f"{differ}.", share)
    kept = f"{n_fixed} of {len(labels)} wordings have no partner and keep their label"
    return DesignFinding(
        name, "robust", f"{differ}: labels move between wordings of one size only; {kept}.", share
    )


def _nuisances(
    design: Design, strata: Strata, nuisances: Mapping[str, Sequence[str]], seed: int
) -> Iterator[DesignFinding]:
    table = _by_size(design, N_RELABELLINGS, seed, "nuisance")
    values = {name: association(codes_of(column), table) for name, column in nuisances.items()}
    p = dict(zip(values, holm([float(p_values(each)) for each in values.values()]), strict=True))
    for name, each in values.items():
        strength = f"{name} predicts the emotion above chance (p = {p[name]:.2g})".capitalize()
        if p[name] >= ALPHA:
            yield DesignFinding(
                name, "holds", f"{name} does not predict the emotion (p = {p[name]:.2g}).".capitalize(),
                float(each[0]), p[name],
            )  # fmt: skip
        elif name in strata.held:
            reason = f"{strength}: labels move only between wordings that agree in it."
            yield DesignFinding(name, "robust", reason, float(each[0]), p[name])
        else:
            reason = f"{strength}, and too few wordings agree in it to exchange labels among them."
            yield DesignFinding(name, "undecided", reason, float(each[0]), p[name])


def holm(p: Sequence[float]) -> list[float]:
    """Return p adjusted for the number of tests, step by step (Holm 1979).

    >>> [round(value, 3) for value in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p)
    stepped = np.array(p)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(stepped))
    return adjusted.tolist()


def _dispersion(p_dispersion: Mapping[str, float]) -> DesignFinding:
    name, least = "dispersion", min(p_dispersion.values(), default=None)
    wide = [family for family, p in p_dispersion.items() if p < DISPERSION_ALPHA]
    if wide:
        where = f"at some site of {', '.join(wide)} (PERMDISP, p < {DISPERSION_ALPHA:g})"
        sentence = f"The emotions differ in spread {where}: {ROBUST}."
        return DesignFinding(name, "robust", sentence, p=least)
    return DesignFinding(name, "holds", "The emotions are not shown to differ in spread (PERMDISP).", p=least)


def _unknown(share: float | None) -> DesignFinding:
    text = "is not known" if share is None else f"is {share:.1%}"
    return DesignFinding(
        "unknown_tokens",
        "described",
        f"The share of tokens in the prompts that the text encoder does not know {text}.",
        share,
    )


def _recurring(design: Design, words: np.ndarray, seed: int) -> DesignFinding:
    found = identified(words, _by_size(design, N_DEALS, seed, "deals"))
    low, high = np.quantile(found[1:], (0.025, 0.975))
    sentence = (
        f"Words that recur in other prompts identify the emotion of {found[0]:.0%} of the prompts; with "
        f"wordings dealt to labels at random they identify the label of {found[1:].mean():.0%} ({low:.0%} to "
        f"{high:.0%} in 95 of 100 deals)."
    )
    return DesignFinding("recurring_words", "described", sentence, float(found[0]), float(p_values(found)))


def identified(
    words: Float[np.ndarray, "prompt word"], labels: Int[np.ndarray, "perm prompt"]
) -> Float[np.ndarray, " perm"]:
    """Return the balanced share of prompts whose label the other prompts with the same words identify.

    The likeness of two prompts is the sum over shared words of 1 / (number of prompts with the word). A
    prompt gets the label whose other prompts are most like it on average; equal labels share the point.

    >>> words = np.array([[1.0, 0, 1], [1, 0, 0], [0, 1, 1], [0, 1, 0]])
    >>> identified(words, np.array([[0, 0, 1, 1], [0, 1, 0, 1]])).tolist()
    [1.0, 0.5]
    """
    present = (words > 0).astype(np.float64)
    likeness = (present / np.maximum(present.sum(axis=0), 1)) @ present.T
    np.fill_diagonal(likeness, 0)
    n_classes = int(labels.max()) + 1
    onehot = (labels[:, :, None] == np.arange(n_classes)).astype(np.float64)
    others = onehot.sum(axis=1)[:, None, :] - onehot
    scores = np.round(likeness @ onehot / np.maximum(others, 1), 9)
    best = scores == scores.max(axis=2, keepdims=True)
    own = (best * onehot).sum(axis=2) / best.sum(axis=2)
    return ((own[:, :, None] * onehot).sum(axis=1) / onehot.sum(axis=1)).mean(axis=1)


def _by_size(design: Design, n: int, seed: int, what: str) -> Int[np.ndarray, "perm prompt"]:
    """Return labels of the prompts, whole wordings of one size relabelled, nuisance left free."""
    rng = rng_for("design", what, seed)
    labels = design.unit_labels("wording")
    return relabellings(labels, n, rng, blocks_of(design.wordings))[:, design.wordings]

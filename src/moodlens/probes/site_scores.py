"""Further probe scores of a site: valence, arousal, other templates, the control task, the code length."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from moodlens.base.seeding import rng_for
from moodlens.probes import logistic
from moodlens.probes.family import ProbeSettings
from moodlens.probes.folds import group_folds
from moodlens.probes.kernel_ridge import grid_accuracies, nested_predictions, r_squared, shuffled_targets
from moodlens.probes.logistic import block_order, online_bits
from moodlens.stats.bootstrap import balanced_accuracy
from moodlens.stats.design import Design
from moodlens.stats.gram import SiteGram, prompt_grams
from moodlens.stats.permutation import p_values, relabellings

N_CONTROLS = 200
"""Random labellings of the wordings in the control task; enough for a mean."""
N_ORDERS = 2
"""Number of orders in which the units are sent; the same orders for all sites."""


@dataclass(frozen=True)
class PromptColumns:
    """Columns of the prompt table besides the emotion."""

    valence: Float[np.ndarray, " prompt"]  # -1..1
    arousal: Float[np.ndarray, " prompt"]
    templates: Int[np.ndarray, " prompt"]  # number of each prompt's template


@dataclass(frozen=True)
class ScaleScore:
    """Out-of-fold prediction of a scale, wordings held out."""

    r2: float
    p: float  # wordings permuted, penalty chosen anew; against the best site of each relabelling


@dataclass(frozen=True)
class SiteScores:
    """Scores of one site."""

    site: str
    valence: ScaleScore | None  # None if all prompts have one value
    arousal: ScaleScore | None
    by_template: float | None  # accuracy of the logistic probe on held-out templates; None: one template
    control_accuracy: float  # on random labels of wordings, folds by prompt: what the probe can memorise
    control_selectivity: float  # accuracy on emotions minus that, same folds
    mdl_bits: float  # per prompt, wordings sent block by block; log2 K is no saving


def score_sites(
    sites: Sequence[SiteGram], design: Design, columns: PromptColumns, settings: ProbeSettings
) -> tuple[SiteScores, ...]:
    """Return the scores of a family of sites.

    Source of the control task: Hewitt and Liang 2019, Designing and interpreting probes with control tasks.
    """
    grams = prompt_grams(sites)
    members = design.members("wording")
    folds, ridges = settings.folds(design, "wording"), settings.ridges
    scales = {
        name: score_scale(
            grams,
            values,
            members,
            folds,
            ridges,
            settings.n_permutations,
            settings.seed,
            design.blocks("wording"),
        )
        for name, values in (("valence", columns.valence), ("arousal", columns.arousal))
    }
    control, emotion = _control_task(grams, design, settings)
    templates = _template_folds(columns.templates, settings)
    orders = [
        block_order(design.unit_labels("wording"), rng_for("orders", number, settings.seed))
        for number in range(N_ORDERS)
    ]
    scores = []
    for i, (site, gram) in enumerate(zip(sites, grams, strict=True)):
        by_template = None
        if templates is not None:
            right = logistic.out_of_fold(gram, design.labels, templates, settings.ridge) == design.labels
            by_template = float(balanced_accuracy(right.astype(np.float64), design.labels))
        scores.append(
            SiteScores(
                site=site.site,
                valence=None if (valence := scales["valence"]) is None else valence[i],
                arousal=None if (arousal := scales["arousal"]) is None else arousal[i],
                by_template=by_template,
                control_accuracy=float(control[i]),
                control_selectivity=float(emotion[i] - control[i]),
                mdl_bits=online_bits(gram, design.labels, members, orders, ridges),
            )
        )
    return tuple(scores)


def score_scale(
    grams: Float[np.ndarray, "layer prompt prompt"],
    values: Float[np.ndarray, " prompt"],
    members: Int[np.ndarray, " prompt"],
    folds: Int[np.ndarray, " prompt"],
    ridges: Sequence[float],
    n_permutations: int,
    seed: int,
    blocks: Int[np.ndarray, " unit"] | None = None,
) -> list[ScaleScore] | None:
    """Return R2 of a scale at every layer, p against the best layer of each relabelling; None if constant."""
    if np.ptp(values) == 0:
        return None
    targets = shuffled_targets(values, members, n_permutations, rng_for("scale", seed), blocks)
    each = np.stack(
        [r_squared(targets, *nested_predictions(gram[None], folds, ridges, targets)) for gram in grams]
    )
    best = each.max(axis=0)
    against = [np.concatenate([row[:1], best[1:]]) for row in each]
    return [ScaleScore(float(row[0]), float(p_values(rest))) for row, rest in zip(each, against, strict=True)]


def _control_task(
    grams: np.ndarray, design: Design, settings: ProbeSettings
) -> tuple[Float[np.ndarray, " layer"], Float[np.ndarray, " layer"]]:
    """Return the accuracy on random labels of wordings and on the emotions, folds by prompt for both."""
    folds = settings.folds(design, "prompt")
    rng = rng_for("control", settings.seed)
    table = relabellings(design.unit_labels("wording"), N_CONTROLS, rng)[:, design.members("wording")]
    measured = grid_accuracies(grams, folds, table, settings.ridges)
    return measured[:, 1:].mean(axis=1), measured[:, 0]


def _template_folds(templates: np.ndarray, settings: ProbeSettings) -> np.ndarray | None:
    n_templates = len(np.unique(templates))
    if n_templates < 2:
        return None
    n_folds = min(settings.n_folds, n_templates)
    return group_folds(templates, n_folds, rng_for("folds", "template", settings.seed))

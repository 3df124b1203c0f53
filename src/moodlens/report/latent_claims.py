"""What the chapter on `latents` says beyond counts: sentences and a figure of the nested numbers.

A comparison without a matched control has no number: its sentence is the shortage. What is said of SAEs from
fewer seeds than a claim needs is called descriptive.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from moodlens.plots.style import (
    INK,
    MUTED,
    SIGNAL,
    TWIN,
    bars,
    draw,
    figure_svg,
    headline,
    label_apart,
    null_line,
)
from moodlens.report.formatting import count, interval, number, p_value, share
from moodlens.report.records import Figure

ALPHA = 0.05
"""p below which one basis is called ahead of another."""
BASES: Mapping[str, str] = {
    "sae": "SAE latents",
    "dense": "dense probe",
    "random": "random directions",
    "untrained_sae": "SAE with random directions",
    "pca": "principal components",
    "twin_sae": "SAE of the untrained twin",
    "ideal": "the factors themselves",
}
"""Basis -> its name on the page, in this order."""
COLOURS = {"sae": SIGNAL, "dense": INK, "twin_sae": TWIN}
DASHES = {"sae": (), "dense": (5, 3), "twin_sae": (), "untrained_sae": (5, 3), "pca": (1, 2)}
SPARSE_CAPTION = (
    "Balanced accuracy of detectors of one emotion against the others on k coordinates, chosen on the "
    "training wordings; chance 50 %. Emotion has latents of its own where one or two of them do what random "
    "directions and principal components need more for."
)


def claim_sentences(units: Mapping[str, Any]) -> list[str]:
    """Return the sentences on one site; those without numbers in `units` are left out."""
    found: list[str] = []
    for name, say in (
        ("sparse", _sparse),
        ("perturbation", _perturbation),
        ("removal", _removal),
        ("factors", _factors),
        ("absorption", _absorption),
    ):
        if units.get(name):
            found.append(say(units[name], units))
    if "accuracy_twin_states" in units:
        found.append(_readers(units))
    if units.get("seeds"):
        found.append(_seeds(units["seeds"]))
    return found


def _sparse(scores: Mapping[str, Mapping[str, Any]], units: Mapping[str, Any]) -> str:
    k = min(scores, key=int)
    own = scores[k]["sae"]
    others = {name: scores[k][name] for name in ("random", "pca", "dense") if name in scores[k]}
    beside = ", ".join(f"{BASES[name]} {share(score['accuracy'])}" for name, score in others.items())
    latents, seeds = count(int(k), "latent"), units.get("seeds", {})
    standing = {
        name: _standing(others[name], seeds.get(f"gain_{name}_{k}", {})) for name in ("random", "pca")
    }
    return (
        f"Detectors on {latents} tell an emotion from the others on {share(own['accuracy'])} of held-out "
        f"wordings {interval(own['low'], own['high'], percent=True)} (balanced, chance 50 %); at equal k "
        f"{beside}. The SAE is {standing['random']} random directions and {standing['pca']} principal "
        "components."
    )


def _standing(score: Mapping[str, Any], over_seeds: Mapping[str, Any]) -> str:
    """How the SAE stands to a basis.

    It is ahead where the intervals over wordings and over seeds (if there is one) lie above 0 and p agrees,
    and behind where both lie below 0.
    """
    low, high = over_seeds.get("low"), over_seeds.get("high")
    if score["gain_low"] > 0 and score["gain_p"] < ALPHA and (low is None or low > 0):
        return "ahead of"
    if score["gain_high"] < 0 and (high is None or high < 0):
        return "behind"
    return "not distinguishable from"


def _perturbation(found: Mapping[str, Any], _units: Mapping[str, Any]) -> str:
    text = (
        f"Without its own latents an emotion's score falls by {number(found['on_target'], 2)} of the gap, "
        f"without another emotion's by {number(found['off_target'], 2)}"
    )
    text += f"; the difference is {number(found['selectivity'], 2)} {interval(found['low'], found['high'])}"
    if found["p"] is None:
        reason = f"; {found['no_control']}" if found["no_control"] else ""
        return f"{text}{reason}."
    return (
        f"{text} against {number(found['control'], 2)} for random latents matched in number and activity "
        f"(p {p_value(found['p'])})."
    )


def _removal(found: Mapping[str, Any], _units: Mapping[str, Any]) -> str:
    if found["no_control"]:
        return f"Accuracy without these latents: {found['no_control']}."
    return (
        f"With all {number(found['n_removed'], 3)} of these latents removed, refitted detectors reach "
        f"{share(found['accuracy_without_chosen'])} instead of {share(found['accuracy'])}; with as many "
        f"matched ones removed {share(found['accuracy_without_matched'])}."
    )


def _factors(found: Mapping[str, Any], _units: Mapping[str, Any]) -> str:
    bases = found["bases"]
    beside = ", ".join(
        f"{BASES[name]} {number(bases[name]['mean']['gap'], 2)} and "
        f"{number(bases[name]['mean']['modularity'], 2)}"
        for name in ("pca", "random", "ideal")
        if name in bases
    )
    own = bases["sae"]["mean"]
    return (
        f"Acoustic factors: gap {number(own['gap'], 2)} and modularity {number(own['modularity'], 2)} of "
        f"{count(int(found['n_units']), 'latent')} (as many units each: {beside})."
    )


def _absorption(found: Mapping[str, Any], _units: Mapping[str, Any]) -> str:
    return (
        f"On {share(found['absorbed'])} {interval(found['low'], found['high'], percent=True)} of the "
        "wordings the emotion's best latent is silent while another carries the emotion; an emotion has "
        f"{number(found['n_leaders'], 2)} leading latents on average."
    )


def _readers(units: Mapping[str, Any]) -> str:
    text = (
        f"A whole-clip probe reads the emotion from {share(units['accuracy_states'])} of the model's prompts "
        f"and from {share(units['accuracy_twin_states'])} of the untrained twin's"
    )
    if "accuracy_null_states" in units and "accuracy_null_twin_states" in units:
        text += (
            f" (under null text {share(units['accuracy_null_states'])} and "
            f"{share(units['accuracy_null_twin_states'])})"
        )
    return f"{text}."


def _seeds(found: Mapping[str, Any]) -> str:
    parts = []
    for name, what in (("stable_70", "of the latents have a partner above .7 cosine in another seed"),):
        if name in found:
            value = found[name]
            parts.append(
                f"{share(value['mean'])} {interval(value['low'], value['high'], percent=True)} {what}"
            )
    if "selectivity" in found:
        value = found["selectivity"]
        parts.append(
            f"the selectivity of the perturbation is {number(value['mean'], 2)} "
            f"{interval(value['low'], value['high'])}"
        )
    text = f"Over {count(int(found['n']), 'seed')} " + " and ".join(parts) + "."
    if not found["claims"]:
        return f"{text} All of this is descriptive: a claim about SAEs needs {found['needed']} seeds."
    return text


def sparse_figure(site: str, units: Mapping[str, Any], n: str, name: str) -> Figure | None:
    """Return the accuracy by k of every basis; None where it was not measured."""
    scores = units.get("sparse")
    if not scores:
        return None
    title, note = f"k-sparse probes, {site}", f"{n}; whole wordings held out; intervals by wording"
    figure = draw(lambda ax: sparse_curves(scores, ax, title=title, note=note), height_in=3.4)
    ks = sorted(scores, key=int)
    ends = "; ".join(
        f"{BASES[base]} {', '.join(share(scores[k][base]['accuracy']) for k in ks)}"
        for base in bases_of(scores[ks[0]])
    )
    return Figure(figure_svg(figure, name, f"{title}, k = {', '.join(ks)}: {ends}. {note}."), SPARSE_CAPTION)


def sparse_curves(scores: Mapping[str, Mapping[str, Any]], ax: Axes, *, title: str, note: str) -> Axes:
    """Draw the accuracy of every basis over k, with the interval of the SAE; return `ax`."""
    ks = sorted(scores, key=int)
    x, names = np.arange(len(ks)), {}
    for base in bases_of(scores[ks[0]]):
        values, low, high = (
            np.array([scores[k][base][key] for k in ks]) for key in ("accuracy", "low", "high")
        )
        colour = COLOURS.get(base, MUTED)
        ax.plot(x, values, color=colour, linewidth=1.6, marker="o", markersize=4, dashes=DASHES.get(base, ()))
        if base == "sae":
            bars(ax, x, values, low, high, colour)
        names[BASES[base]] = (float(values[-1]), colour)
    null_line(ax, 0.5)
    ax.set_xticks(x, ks)
    ax.set_xlim(-0.2, len(ks) - 0.8)
    ax.set_ylim(0.4, 1.04)
    ax.set_yticks(np.linspace(0.4, 1, 4), [f"{tick:.0%}" for tick in np.linspace(0.4, 1, 4)])
    label_apart(ax, names)
    headline(ax, title, note)
    ax.set_xlabel("coordinates, k")
    ax.set_ylabel("balanced accuracy")
    return ax


def bases_of(scores: Mapping[str, Any]) -> list[str]:
    """Return the bases that were measured, in the order of `BASES`."""
    return [base for base in BASES if base in scores]

"""The ladder of claims: words, text code, music, state, use. Each rung has its own test; none is inferred.

strong    every condition of a strong claim holds
weak      every condition of a viable claim holds
none      nothing found, and an effect of delta would have been seen: equivalence, never mere absence
undecided anything else, with what would settle it
untested  the rung's evidence was not collected
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Literal

from moodlens.decision.evidence import Baseline, Evidence
from moodlens.params.pipeline import Decide
from moodlens.stats.permutation import require_reachable

Verdict = Literal["strong", "weak", "none", "undecided", "untested"]
REACHED: tuple[Verdict, ...] = ("strong", "weak")
"""Verdicts under which a rung counts as reached."""
RUNGS = ("words", "text_code", "music", "state", "use")
MEANING = {
    "words": "the prompts' words carry emotion",
    "text_code": "the text encoder carries emotion beyond the words",
    "music": "the generated audio carries emotion beyond the words of its prompts",
    "state": "a decoder layer carries emotion beyond what it is fed",
    "use": "interventions on the state change the music",
}
NOT_YET = {
    "state": "not tested: run `dvc repro null_text`, which re-encodes the generated tokens under null text",
    "use": "not tested yet: steer, patch and knock out against random, norm-matched and prompting controls",
}
READS_TEXT = (
    "During generation a layer sees the text at every step, so this mostly reads the prompt back: "
    "it does not license the rung `state`."
)
HOPELESS = 500
"""Prompts per emotion above which "more prompts" is no longer advice."""


@dataclass(frozen=True)
class Condition:
    """One requirement of a claim, as a clause with its numbers; `n` prompts per emotion may settle it."""

    holds: bool
    clause: str
    n: float | None = None


@dataclass(frozen=True)
class Rung:
    """The verdict on one rung (or finding) and what decided it."""

    name: str
    verdict: Verdict
    statistic: str
    accuracy: float | None
    low: float | None
    high: float | None
    p: float | None
    effect: float | None
    baselines: tuple[Baseline, ...]
    rule: str
    next_step: str
    more_prompts: int | None  # per emotion, for an undecided rung that prompts can settle


@dataclass(frozen=True)
class Decision:
    """All rungs in order, the highest one reached ("" if none), and the finding on the layers."""

    rungs: tuple[Rung, ...]
    layers: Rung
    highest: str
    headline: str


def decide(evidence: Mapping[str, Evidence], thresholds: Decide) -> Decision:
    """Return the decision on every rung.

    Args:
        evidence: of the rungs and of the finding `layers`; what is absent is untested.
        thresholds: the user's, params.yaml `decide`.

    Raises:
        ContractError: a threshold lies below the smallest p that a rung's design can give.
    """
    rungs = tuple(
        judge(name, evidence[name], thresholds) if name in evidence else untested(name) for name in RUNGS
    )
    layers = judge("layers", evidence["layers"], thresholds) if "layers" in evidence else untested("layers")
    reached = [rung for rung in rungs if rung.verdict in REACHED]
    return Decision(rungs, layers, reached[-1].name if reached else "", headline(rungs))


def headline(rungs: tuple[Rung, ...]) -> str:
    """Return the verdict in a sentence or two: the highest rung reached, and what is open around it."""
    reached = [rung.name for rung in rungs if rung.verdict in REACHED]
    said = {rung.name: f"{rung.name} {rung.verdict}" for rung in rungs}
    if not reached:
        open_rungs = ", ".join(said.values())
        return f"No rung reached: not even the prompts' words carry emotion by this test ({open_rungs})."
    top = rungs[RUNGS.index(reached[-1])]
    text = f"Highest rung reached: {top.name} ({top.verdict}): {MEANING[top.name]}."
    above = [said[name] for name in RUNGS[RUNGS.index(top.name) + 1 :]]
    below = [said[name] for name in RUNGS[: RUNGS.index(top.name)] if name not in reached]
    if above:
        text += f" Above it: {', '.join(above)}."
    if below:
        text += f" Not shown below it: {', '.join(below)}."
    return text


def untested(name: str) -> Rung:
    """Return the record of a rung without evidence."""
    step = NOT_YET.get(name, "not tested: its sites are not among signal.sites and probe.sites")
    return Rung(
        name, "untested", "", None, None, None, None, None, (), "no evidence was collected", step, None
    )


def judge(name: str, found: Evidence, thresholds: Decide) -> Rung:
    """Return the verdict on one rung from its evidence."""
    require_reachable(
        f"rung {name}",
        found.smallest_p,
        found.n_permutations,
        found.n_emotions,
        found.unit,
        thresholds.alpha_strong,
    )
    strong, weak = conditions(found, thresholds, True), conditions(found, thresholds, False)
    more = None
    if all(condition.holds for condition in strong):
        verdict, rule = "strong", "strong, because " + _listed(strong, True)
        step = "this rung is settled; test the next one"
    elif all(condition.holds for condition in weak):
        verdict = "weak"
        rule = f"weak, because {_listed(weak, True)}; not strong, because {_listed(strong, False)}"
        step = "confirm with new prompts, or more of them, before building on it"
    elif _is_equivalent(found, thresholds):
        verdict = "none"
        rule = (
            f"none, because p = {found.p:.2g} and {found.p_signal:.2g} (probe, PERMANOVA) are not below "
            f"{thresholds.alpha_weak:g}, and an effect of {found.delta:.1%} of variance would have been seen "
            f"in {found.power:.0%} of injections (needed {thresholds.equivalence_power:.0%})"
        )
        step = "report the negative result with its equivalence bound; try another model or other prompts"
    else:
        verdict, rule = "undecided", "undecided, because " + _listed(weak, False)
        more = _more_prompts(found, weak, thresholds.alpha_weak)
        step = _advice(found, more)
    if name == "layers":
        rule = f"{rule}. {READS_TEXT}"
        step = step if verdict == "undecided" else "see the rung `state`, which takes the text away"
    return Rung(
        name,
        verdict,
        f"balanced accuracy of a logistic probe on {found.site}, folds and relabelling by {found.unit}",
        found.accuracy,
        found.low,
        found.high,
        found.p,
        found.effect,
        (*found.baselines, *found.beside),
        rule,
        step,
        more,
    )


def conditions(found: Evidence, thresholds: Decide, strong: bool) -> tuple[Condition, ...]:
    """Return what a strong (or weak) claim requires, each with its numbers."""
    alpha, least, effect = (
        (thresholds.alpha_strong, thresholds.accuracy_strong, thresholds.effect_strong)
        if strong
        else (thresholds.alpha_weak, thresholds.accuracy_weak, thresholds.effect_weak)
    )
    n = found.n_per_emotion
    one_sided = thresholds.alpha_weak / 2
    parts = [
        Condition(found.p < alpha, f"p = {found.p:.2g} (asked: < {alpha:g})", found.n_needed),
        Condition(
            found.accuracy > least,
            f"accuracy {found.accuracy:.3f} (asked: > {least:g})",
            _settled(n, found.accuracy - least, found.high - found.low),
        ),
    ]
    if found.effect is not None:
        width = found.effect_high - found.effect_low
        clause = f"effect {found.effect:.3f} (asked: > {effect:g})"
        parts.append(Condition(found.effect > effect, clause, _settled(n, found.effect - effect, width)))
    if strong:
        clause = (
            f"closed-form accuracy {found.ridge_accuracy:.3f} (asked: > {found.permuted_extreme:.3f}, "
            "the 99.9th percentile of permuted labels)"
        )
        parts.append(Condition(found.ridge_accuracy > found.permuted_extreme, clause, found.n_needed))
    for base in found.baselines:
        clause = (
            f"{base.difference:+.3f} [{base.low:+.3f}, {base.high:+.3f}] against the {base.name}, "
            f"p = {base.p:.2g} (asked: < {one_sided:g})"
        )
        settled = _settled(n, base.difference, base.high - base.low) if base.difference > 0 else None
        parts.append(Condition(base.p < one_sided, clause, settled))
    for gain in found.gains:
        clause = (
            f"partial R2 {gain.partial_r2:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] beyond {gain.name} "
            "(asked: interval > 0)"
        )
        settled = _settled(n, gain.partial_r2, gain.high - gain.low) if gain.partial_r2 > 0 else None
        parts.append(Condition(gain.low > 0, clause, settled))
    if found.tempo_bpm is not None:
        clause = f"tempo differs by {found.tempo_bpm:.0f} BPM (asked: > {thresholds.tempo_bpm:g})"
        parts.append(Condition(found.tempo_bpm > thresholds.tempo_bpm, clause))
    return tuple(parts)


def _is_equivalent(found: Evidence, thresholds: Decide) -> bool:
    silent = min(found.p, found.p_signal) >= thresholds.alpha_weak
    return silent and found.power >= thresholds.equivalence_power


def _settled(n: float, distance: float, width: float) -> float | None:
    """Return the prompts per emotion at which an interval of this width would exclude a bound this far away.

    An interval narrows with the root of n. None where the value sits on the bound.
    """
    return max(n, n * (width / 2 / abs(distance)) ** 2) if distance else None


def _more_prompts(found: Evidence, weak: tuple[Condition, ...], alpha: float) -> int | None:
    """Return how many more prompts per emotion would settle every failed condition; None if none would."""
    if found.p >= alpha:
        total = found.n_needed  # nothing was found: what is missing is the power to say "none"
    else:
        wanted = [condition.n for condition in weak if not condition.holds]
        total = None if None in wanted else max(n for n in wanted if n is not None)
    if total is None or total > HOPELESS:
        return None
    more = ceil(total - found.n_per_emotion)
    return more if more > 0 else None


def _advice(found: Evidence, more: int | None) -> str:
    if more is not None:
        return (
            f"{more} more prompts per emotion ({ceil(found.n_per_emotion + more)} in all) "
            "are expected to settle it: raise prompts.n_per_emotion"
        )
    return "more prompts alone are not expected to settle it: change the prompts, the model or the reading"


def _listed(parts: tuple[Condition, ...], holding: bool) -> str:
    return "; ".join(condition.clause for condition in parts if condition.holds is holding)

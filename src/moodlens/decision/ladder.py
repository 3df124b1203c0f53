"""The ladder of claims: text code, music, source, use. Each rung has its own test; none is inferred.

strong    every condition of a strong claim holds
weak      every condition of a weak claim holds
none      the tests are not significant and would have detected an effect of delta: equivalence, not absence
          of evidence
undecided anything else, with the number of wordings that is expected to settle it
untested  no evidence was collected for the rung

The rung use is decided by stage `interchange`: states of one layer are exchanged between two prompts, and the
music is judged. It counts as reached only where the rung music is.

The rung source has three verdicts: what carries the emotion into the music that follows a given moment, the
music played so far, the model's memory of the text, or the text read again. Stage `forks` decides them by
experiment; they are answered, not climbed.

Beside the ladder stand the words of the prompts (a check of the design), the states under null text and the
layers during generation (findings). None of them counts as a rung.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from moodlens.decision import sentences
from moodlens.decision.conditions import conditions, grade, wordings_needed
from moodlens.decision.evidence import Baseline, Evidence
from moodlens.decision.findings import Finding, null_text_finding, words_check
from moodlens.params.pipeline import Decide
from moodlens.stats.permutation import require_reachable

Verdict = Literal["strong", "weak", "none", "undecided", "untested"]
REACHED: tuple[Verdict, ...] = ("strong", "weak")
"""Verdicts under which a rung counts as reached."""
CLIMBED = ("text_code", "music", "use")
"""Rungs of which the highest reached one names the result."""
RELABELLED = ("text_code", "music", "layers")
"""Rungs and finding whose tests relabel wordings: a design without exchangeable wordings closes them."""
SOURCES = {"source_music": "music", "source_memory": "memory", "source_reading": "reading"}
"""Rung -> source in metrics/forks.json."""
RUNGS = ("text_code", "music", *SOURCES, "use")


@dataclass(frozen=True)
class Rung:
    """The verdict on one rung, or on the layers during generation, and what decided it."""

    name: str
    verdict: Verdict
    statistic: str = ""
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    effect: float | None = None
    baselines: tuple[Baseline, ...] = ()
    rule: str = ""
    next_step: str = ""
    more_wordings: int | None = None  # per emotion, for an undecided rung that the prompt sets can settle


@dataclass(frozen=True)
class Decision:
    """All rungs in order, the highest one reached ("" if none), and what stands beside the ladder."""

    rungs: tuple[Rung, ...]
    highest: str
    headline: str
    layers: Rung  # layers during generation
    words: Finding | None  # check of the design; None: not measured
    null_text: Finding | None  # states under null text


def decide(
    evidence: Mapping[str, Evidence],
    thresholds: Decide,
    forks: Mapping[str, Any] | None = None,
    interchange: Mapping[str, Any] | None = None,
    design_reasons: Sequence[str] = (),
) -> Decision:
    """Return the decision on every rung.

    Args:
        evidence: of the rungs, and of `layers`, `words` and `null_text`; a rung without evidence is untested.
        thresholds: the user's, params.yaml `decide`.
        forks: metrics/forks.json; None or empty where the stage did not run.
        interchange: metrics/interchange.json, likewise.
        design_reasons: why the design allows no verdict on the rungs that relabel wordings; empty: it does.

    Raises:
        ContractError: a threshold lies below the smallest p that a rung's design can give.
    """
    rung_of = {
        name: judge(name, evidence[name], thresholds) if name in evidence else untested(name)
        for name in RELABELLED
    }
    if design_reasons:
        rung_of |= {name: closed_by_design(rung_of[name], design_reasons) for name in RELABELLED}
    rung_of |= {name: source_rung(name, forks or {}) for name in SOURCES}
    rung_of["use"] = use_rung(interchange or {}, rung_of["music"].verdict)
    rungs = tuple(rung_of[name] for name in RUNGS)
    reached = tuple(name for name in CLIMBED if rung_of[name].verdict in REACHED)
    words, null_text = evidence.get("words"), evidence.get("null_text")
    return Decision(
        rungs=rungs,
        highest=reached[-1] if reached else "",
        headline=sentences.headline(
            {name: rung_of[name].verdict for name in CLIMBED},
            {name: rung_of[name].more_wordings for name in CLIMBED},
            sentences.source_sentence({source: rung_of[name].verdict for name, source in SOURCES.items()}),
        ),
        layers=rung_of["layers"],
        words=None if words is None else words_check(words, thresholds),
        null_text=None if null_text is None else null_text_finding(null_text, thresholds),
    )


def closed_by_design(rung: Rung, reasons: Sequence[str]) -> Rung:
    """Return an undecided rung whose rule is what is wrong with the design; an untested rung stays."""
    if rung.verdict == "untested":
        return rung
    rule = f"undecided, because of the design: {' '.join(reasons)}"
    return replace(rung, verdict="undecided", rule=rule, next_step=sentences.MEND_DESIGN, more_wordings=None)


def untested(name: str) -> Rung:
    """Return the record of a rung without evidence."""
    rule, step = sentences.NO_EVIDENCE, sentences.OTHER_UNTESTED_STEP
    return Rung(name=name, verdict="untested", rule=rule, next_step=step)


def source_rung(name: str, forks: Mapping[str, Any]) -> Rung:
    """Return the verdict of stage `forks` on one source, as a rung; its effect is the share of the total."""
    if not forks.get("applies"):
        reason = f": forks do not apply, because {forks['reason']}" if forks.get("reason") else ""
        return Rung(name, "untested", rule=sentences.NO_EVIDENCE + reason, next_step=sentences.RUN_FORKS)
    found = forks["main"]["sources"][SOURCES[name]]
    return Rung(
        name=name,
        verdict=found["verdict"],
        statistic=sentences.fork_statistic(SOURCES[name], found["step_s"]),
        low=found["low"],
        high=found["high"],
        p=found["p"],
        effect=found["share"],
        rule=f"{found['verdict']}, because {found['rule']}",
        next_step=sentences.SOURCE_STEPS[found["verdict"]],
    )


def use_rung(interchange: Mapping[str, Any], music: Verdict) -> Rung:
    """Return the verdict of stage `interchange`, as a rung; its effect is the share that the exchange moves.

    Args:
        interchange: metrics/interchange.json; empty where the stage did not run.
        music: verdict on the rung below, without which states are not said to be used.
    """
    if not interchange.get("applies"):
        why = interchange.get("reason")
        reason = f": interchange does not apply, because {why}" if why else ""
        return Rung(
            "use", "untested", rule=sentences.NO_EVIDENCE + reason, next_step=sentences.RUN_INTERCHANGE
        )
    found = interchange["use"]
    verdict, rule = found["verdict"], f"{found['verdict']}, because {found['rule']}"
    if verdict in REACHED and music not in REACHED:
        rule = f"undecided, because the rung music is not reached; on its own the exchange would be {rule}"
        verdict = "undecided"
    return Rung(
        name="use",
        verdict=verdict,
        statistic=sentences.use_statistic([half["place"] for half in interchange["halves"]]),
        low=found["low"],
        high=found["high"],
        p=found["p"],
        effect=found["share"],
        rule=rule,
        next_step=sentences.USE_STEPS[verdict],
    )


def judge(name: str, evidence: Evidence, thresholds: Decide) -> Rung:
    """Return the verdict on one rung from its evidence.

    Raises:
        ContractError: a threshold lies below the smallest p that the design can give.
    """
    require_reachable(
        f"rung {name}",
        evidence.smallest_p,
        evidence.n_permutations,
        evidence.n_emotions,
        evidence.unit,
        thresholds.alpha_strong,
    )
    strong, weak = (conditions(evidence, thresholds, strong=strong) for strong in (True, False))
    verdict: Verdict = grade(strong, weak)
    if verdict == "undecided" and _is_equivalent(evidence, thresholds):
        verdict = "none"
        rule = sentences.none_rule(evidence, thresholds.alpha_weak, thresholds.equivalence_power)
    else:
        rule = sentences.rule(verdict, strong, weak)
    needed = wordings_needed(evidence, weak, thresholds.alpha_weak)
    step = {
        "strong": sentences.SETTLED,
        "weak": sentences.CONFIRM,
        "none": sentences.REPORT_NONE,
        "undecided": sentences.wordings_step(
            needed.more, needed.total, needed.available, needed.prompts(evidence.n_per_emotion)
        ),
    }[verdict]
    if name == "layers":
        rule = f"{rule}. {sentences.LAYERS_READ_TEXT}"
        step = step if verdict == "undecided" else sentences.SEE_NULL_TEXT
    return Rung(
        name=name,
        verdict=verdict,
        statistic=sentences.statistic(evidence),
        accuracy=evidence.accuracy,
        low=evidence.low,
        high=evidence.high,
        p=evidence.p,
        effect=evidence.effect,
        baselines=(*evidence.baselines, *evidence.beside),
        rule=rule,
        next_step=step,
        more_wordings=needed.more if verdict == "undecided" else None,
    )


def _is_equivalent(evidence: Evidence, thresholds: Decide) -> bool:
    not_significant = min(evidence.p, evidence.p_signal) >= thresholds.alpha_weak
    return not_significant and evidence.power >= thresholds.equivalence_power

"""The sentences of the verdicts: what each condition says, which rule applied, and what to do next.

No function here decides anything: the values, bounds and verdicts come from `ladder` and `factors`.
"""

from collections.abc import Mapping

from moodlens.decision.evidence import Baseline, Condition, Evidence, Gain

MEANING = {
    "words": "the prompts' words carry emotion",
    "text_code": "the text encoder carries emotion beyond the words",
    "music": "the generated audio carries emotion beyond the words of its prompts",
    "state": "a decoder layer carries emotion beyond what it is fed",
    "use": "interventions on the state change the music",
}
"""Rung -> the claim."""
UNTESTED_STEPS = {
    "state": "run `dvc repro null_text`, which re-encodes the generated tokens under null text",
    "use": "steer, patch and knock out against random, norm-matched and prompting controls",
}
"""Rung that `signal` and `probe` do not test -> its next step."""
OTHER_UNTESTED_STEP = "add its sites to signal.sites and probe.sites"
NO_EVIDENCE = "no evidence was collected"
LAYERS_READ_TEXT = (
    "During generation a layer sees the text at every step, so this accuracy mostly shows that the prompt "
    "can be read back: it does not license the rung `state`."
)
SEE_STATE = "see the rung `state`, which takes the text away"
SETTLED = "this rung is settled; test the next one"
CONFIRM = "confirm the result with new prompts, or with more of them, before building on it"
REPORT_NONE = "report the negative result with its equivalence bound; try another model or other prompts"


def rule(verdict: str, strong: tuple[Condition, ...], weak: tuple[Condition, ...]) -> str:
    """Return which conditions gave the verdict strong, weak or undecided.

    >>> rule("undecided", (), (Condition(True, "p = 0.01"), Condition(False, "accuracy 0.500")))
    'undecided, because accuracy 0.500'
    """
    if verdict == "strong":
        return f"strong, because {_listed(strong, holding=True)}"
    if verdict == "weak":
        missing = _listed(strong, holding=False)
        return f"weak, because {_listed(weak, holding=True)}; not strong, because {missing}"
    return f"undecided, because {_listed(weak, holding=False)}"


def _listed(conditions: tuple[Condition, ...], *, holding: bool) -> str:
    return "; ".join(condition.clause for condition in conditions if condition.holds is holding)


def none_rule(evidence: Evidence, alpha: float, required_power: float) -> str:
    """Return why a rung has no effect of the size of the equivalence bound."""
    return (
        f"none, because p = {evidence.p:.2g} and {evidence.p_signal:.2g} (probe, PERMANOVA) are not below "
        f"{alpha:g}, and an effect of {evidence.delta:.1%} of variance would have been detected "
        f"in {evidence.power:.0%} of injections (required: {required_power:.0%})"
    )


def p_clause(p: float, alpha: float) -> str:
    """Return the condition on p.

    >>> p_clause(0.0012, 0.05)
    'p = 0.0012 (required: < 0.05)'
    """
    return f"p = {p:.2g} (required: < {alpha:g})"


def accuracy_clause(accuracy: float, bound: float) -> str:
    """Return the condition on the accuracy of the logistic probe."""
    return f"accuracy {accuracy:.3f} (required: > {bound:g})"


def effect_clause(effect: float, bound: float) -> str:
    """Return the condition on the centred within - between similarity."""
    return f"effect {effect:.3f} (required: > {bound:g})"


def extreme_clause(accuracy: float, extreme: float) -> str:
    """Return the condition on the closed-form probe beside the probe on permuted labels."""
    return (
        f"closed-form accuracy {accuracy:.3f} (required: > {extreme:.3f}, "
        "the 99.9th percentile of permuted labels)"
    )


def lead_clause(lead: Baseline, alpha: float) -> str:
    """Return the condition on a difference to a baseline."""
    return (
        f"{lead.difference:+.3f} [{lead.low:+.3f}, {lead.high:+.3f}] against the {lead.name}, "
        f"{p_clause(lead.p, alpha)}"
    )


def gain_clause(gain: Gain) -> str:
    """Return the condition on a partial R2."""
    return (
        f"partial R2 {gain.partial_r2:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] beyond {gain.name} "
        "(required: interval > 0)"
    )


def tempo_clause(tempo_bpm: float, bound: float) -> str:
    """Return the condition on the difference in tempo between the fastest and the slowest emotion."""
    return f"tempo differs by {tempo_bpm:.0f} BPM (required: > {bound:g})"


def statistic(evidence: Evidence) -> str:
    """Return what the accuracy of a rung is and where it was measured."""
    return (
        f"balanced accuracy of a logistic probe on {evidence.site}, folds and relabelling by {evidence.unit}"
    )


def more_prompts_step(more: int | None, total: int) -> str:
    """Return the next step of an undecided rung.

    Args:
        more: prompts per emotion to add; None where prompts are not expected to settle it.
        total: prompts per emotion with those added.
    """
    if more is None:
        return (
            "more prompts alone are not expected to settle it: "
            "change the prompts, the model or the measurement"
        )
    return (
        f"{more} more prompts per emotion ({total} in all) are expected to settle it: "
        "raise prompts.n_per_emotion"
    )


def headline(verdicts: Mapping[str, str], reached: tuple[str, ...]) -> str:
    """Return the highest rung reached, and what is open above and below it.

    Args:
        verdicts: rung -> verdict, in the order of the ladder.
        reached: the rungs that count as reached, in the same order.

    >>> headline({"words": "weak", "text_code": "undecided"}, ("words",))
    "Highest rung reached: words (weak): the prompts' words carry emotion. Above it: text_code undecided."
    """
    named = {name: f"{name} {verdict}" for name, verdict in verdicts.items()}
    if not reached:
        every = ", ".join(named.values())
        return f"No rung reached: not even the prompts' words carry emotion by this test ({every})."
    order = list(verdicts)
    top = order.index(reached[-1])
    text = f"Highest rung reached: {order[top]} ({verdicts[order[top]]}): {MEANING[order[top]]}."
    above = [named[name] for name in order[top + 1 :]]
    below = [named[name] for name in order[:top] if name not in reached]
    if above:
        text += f" Above it: {', '.join(above)}."
    if below:
        text += f" Not shown below it: {', '.join(below)}."
    return text

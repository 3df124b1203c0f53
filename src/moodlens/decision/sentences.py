"""The sentences of the verdicts: what each condition says, which rule applied, and what to do next.

No function here decides anything: the values, bounds and verdicts come from `ladder` and `factors`.
"""

from collections.abc import Mapping, Sequence

from moodlens.decision.evidence import Baseline, Condition, Evidence, Gain, TransferEvidence
from moodlens.use.places import in_words

CLAIMS = {
    "text_code": (
        "the text encoder encodes {it}",
        "whether the text encoder encodes {it}",
        "the text encoder encodes no {it} of the size tested",
    ),
    "music": (
        "{it} reaches the music",
        "whether {it} reaches the music",
        "no {it} of the size tested reaches the music",
    ),
    "use": (
        "exchanging the states of one layer moves the music from one emotion to the other",
        "whether exchanging the states of a layer moves the music",
        "exchanging the states of the layer found moves the music by no share of the size tested",
    ),
}
"""Rung -> its clause in the headline where it is reached, where it is open, and where the verdict is none."""
OTHER_UNTESTED_STEP = "add its sites to signal.sites and probe.sites"
NO_EVIDENCE = "no evidence was collected"
MEND_DESIGN = "balance the prompts over the emotions (see the check of the design), then run again"
RUN_FORKS = "run `dvc repro forks` on a model with a cache and null text, with prompts of the grammar"
RUN_INTERCHANGE = (
    "run `dvc repro interchange` on a model that reads its text through cross-attention, with prompts of the "
    "grammar"
)
USE_STEPS = {
    "strong": "this rung is settled; see which layers and times carry it",
    "weak": "raise interchange.n_draws to 199, and interchange.n_seeds, to see whether it is strong",
    "none": "the states at this place carry nothing of the size tested; try other sites (interchange.sites)",
    "undecided": "raise interchange.n_seeds, or prompts.n_per_emotion for more pairs of wordings",
}
SOURCE_STEPS = {
    "strong": "this source is settled; see at which layers and steps the memory lies",
    "weak": "confirm the share with more seeds (forks.n_seeds) or more wordings",
    "none": "this source carries nothing of the size tested; look at the other sources",
    "undecided": "raise forks.n_seeds, or prompts.n_per_emotion for more pairs of wordings",
}
SOURCE_SAID = {
    "music": "the music played so far",
    "memory": "the model's memory of the text",
    "reading": "the text read again",
}
"""Source -> what it is called in a sentence."""
LAYERS_READ_TEXT = (
    "During generation a layer sees the text at every step, so this accuracy mostly shows that the prompt "
    "can be read back: it does not show that the model uses its states."
)
SEE_NULL_TEXT = "see the finding on states under null text, which describes states computed without the text"
WORDS_TELL = "The words of the prompts tell the emotion of held-out prompts."
WORDS_DO_NOT_TELL = "The words of the prompts are not shown to tell the emotion of held-out prompts."
FEW_RENAMINGS = "so few emotions and sets can be renamed in too few ways"
RANDOM_DEALS = (
    "Wordings dealt to labels at random pass this check in 400 of 400 simulations: it licenses nothing."
)
"""As calibration/rates.csv has it."""
MORE_ACCESSIBLE = (
    "A trained state summarises the emotion of its past more accessibly than untrained memory does."
)
SUMMARISES = "Trained states summarise the music they are fed; they are not shown to exceed untrained memory."
NOT_SHOWN = "The emotion of the prompts is not shown in states under null text."
SAME_CONTENT = (
    "A state under null text is computed from the tokens fed, so it holds no more than they do. What is "
    "compared is how well few prompts tell the emotion, every reader at its own step and layer."
)
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


def transfer_clause(found: TransferEvidence, alpha: float) -> str:
    """Return the condition on one code for all prompt sets."""
    return (
        f"trained on one prompt set and tested on the others, accuracy {found.mean_accuracy or 0.0:.3f} on "
        f"average, p = {found.p or 0.0:.2g} with the emotions of whole sets renamed (required: < {alpha:g})"
    )


def transfer_not_tested(reason: str) -> str:
    """Return the condition on transfer where it was not tested."""
    return f"transfer between prompt sets not tested, because {reason}"


def statistic(evidence: Evidence) -> str:
    """Return what the accuracy of a rung is, and how its site was chosen."""
    return (
        "balanced accuracy of a logistic probe, its site chosen in each training fold (best on all prompts: "
        f"{evidence.site}), folds and relabelling by {evidence.unit}"
    )


def wordings_step(more: int | None, total: int | None, available: int | None, prompts: int | None) -> str:
    """Return the next step of an undecided rung.

    Args:
        more: wordings per emotion to add; None where those that the prompt sets hold do not suffice.
        total: wordings per emotion with which it is expected to be settled; None where no number is.
        available: wordings per emotion that the prompt sets hold; None where that is not known.
        prompts: prompts per emotion in which `total` wordings stand.

    >>> wordings_step(2, 12, 40, 20)
    '2 more wordings per emotion (12 in all) are expected to settle it: raise prompts.n_per_emotion to 20'
    """
    if total is None:
        return (
            "more wordings alone are not expected to settle it: "
            "change the prompts, the model or the measurement"
        )
    if more is None:
        return (
            f"about {total} wordings per emotion are expected to settle it and the prompt sets hold "
            f"{available}: add a set or a table to prompts.sets"
        )
    return (
        f"{more} more wordings per emotion ({total} in all) are expected to settle it: "
        f"raise prompts.n_per_emotion to {prompts}"
    )


def fork_statistic(source: str, step_s: float) -> str:
    """Return what the share of a source is and where it was measured."""
    return (
        f"share of the total log-odds that {SOURCE_SAID[source]} carries past a fork at {step_s:g} s, "
        "sign flips by pair of wordings"
    )


def use_statistic(places: Sequence[str]) -> str:
    """Return what the share of an exchange is and where it was measured.

    >>> use_statistic(["residual.3", "residual.3"])[-78:]
    'the residual stream after layer 3 (residual.3), sign flips by pair of wordings'
    """
    at = " and ".join(in_words(place) for place in dict.fromkeys(places))
    return (
        "share of the total log-odds that moves, on average of both ways, with an exchange of "
        f"{at}, sign flips by pair of wordings"
    )


def source_sentence(verdicts: Mapping[str, str]) -> str:
    """Return what the verdicts on the sources say together; empty where they are untested.

    Args:
        verdicts: music, memory, reading -> verdict.

    >>> source_sentence({"music": "none", "memory": "none", "reading": "strong"})
    'It is read again from the text and not remembered.'
    """
    if set(verdicts.values()) == {"untested"}:
        return ""
    yes = {name: verdict in ("strong", "weak") for name, verdict in verdicts.items()}
    carried = " The music played so far carries it on." if yes["music"] else ""
    if yes["reading"] and yes["memory"]:
        return f"It is read again from the text and also remembered.{carried}"
    if yes["reading"]:
        rest = _and_not(verdicts["memory"], "remembered", "; whether it is remembered is undecided")
        return f"It is read again from the text{rest}.{carried}"
    if yes["memory"]:
        rest = _and_not(verdicts["reading"], "read again", "; whether it is read again is undecided")
        return f"It is carried by a memory of the text{rest}.{carried}"
    if yes["music"]:
        return carried.strip()
    if set(verdicts.values()) == {"none"}:
        return "Neither the music so far, nor memory, nor reading carries emotion into what follows."
    return "What carries it into the music that follows is undecided."


def _and_not(verdict: str, what: str, undecided: str) -> str:
    return f" and not {what}" if verdict == "none" else undecided


def headline(verdicts: Mapping[str, str], more_wordings: Mapping[str, int | None], source: str = "") -> str:
    """Return one sentence with a clause for each rung, and behind that on music what the sources say.

    Args:
        verdicts: rung -> verdict, in the order of the ladder.
        more_wordings: rung -> wordings per emotion that are expected to settle it; None where no number is.
        source: from `source_sentence`.

    >>> headline({"text_code": "strong", "music": "weak", "use": "untested"}, {})
    'The text encoder encodes emotion and it reaches the music (weak evidence); whether exchanging the \
states of a layer moves the music is not tested.'
    """
    text, reached = "", False
    for name, verdict in verdicts.items():
        if name == "use" and source:
            text, reached = f"{text}. {source} ", False
        clause = _clause(name, verdict, more_wordings.get(name), "it" if reached else "emotion")
        reads_on = reached and verdict in ("strong", "weak")
        begins = not text or text.endswith(" ")
        clause = f"{clause[:1].upper()}{clause[1:]}" if begins else clause
        text += f"{'' if begins else ' and ' if reads_on else '; '}{clause}"
        reached = verdict in ("strong", "weak")
    return f"{text}."


def _clause(name: str, verdict: str, more: int | None, it: str) -> str:
    holds, open_, none = CLAIMS[name]
    if verdict == "none":
        return none.format(it="emotion")
    if verdict == "untested":
        return f"{open_.format(it=it)} is not tested"
    if verdict == "undecided" and name == "use":
        return f"{open_.format(it=it)} is undecided"
    if verdict == "undecided":
        missing = (
            "more wordings of these prompt sets are not expected to settle it"
            if more is None
            else f"{more} more wordings per emotion are expected to settle it"
        )
        return f"{open_.format(it=it)} is undecided ({missing})"
    return holds.format(it=it) + (" (weak evidence)" if verdict == "weak" else "")


def factor_sentences(
    name: str, result: Mapping[str, float | str], better_than: tuple[str, ...], not_shown: tuple[str, ...]
) -> str:
    """Return what null-text states tell of one factor of the music, in sentences that claim nothing more.

    Args:
        name: of the factor.
        result: its entry under `factors` in metrics/null_text.json.
        better_than: readers whose error is significantly larger.
        not_shown: readers for which that is not shown.
    """
    text = (
        f"{name[:1].upper()}{name[1:]} of the music, predicted from null-text states: R2 {result['r2']:.3f} "
        f"[{result['low']:.3f}, {result['high']:.3f}], p = {result['p']:.2g}; correlation of the prediction "
        f"with the {result['asked_by']} of the prompts {result['prompted_r']:.2f}, "
        f"p = {result['prompted_p']:.2g}."
    )
    if better_than:
        text += f" Its error is below that of: {'; '.join(better_than)}."
    if not_shown:
        text += f" A lower error is not shown against: {'; '.join(not_shown)}."
    return text

"""The numbers that `dvc metrics diff` and `dvc exp show` print, verdicts first.

DVC sorts keys by name; the digits before the names keep the order verdict, effects, design, findings.
"""

from collections.abc import Mapping
from typing import Any

from moodlens.base.units import at_digits
from moodlens.decision.findings import Finding
from moodlens.decision.from_metrics import SIGNAL_OF
from moodlens.decision.ladder import SOURCES, Decision, Rung, Verdict
from moodlens.null_text.evidence import REQUIRED

STRENGTH: Mapping[Verdict, int | None] = {
    "none": 0, "undecided": 1, "weak": 2, "strong": 3, "untested": None,
}  # fmt: skip
"""Verdict -> its strength as a number."""
EFFECTS = ("text_code", "music", "layers")
"""Rungs and findings whose effect is a similarity; that of a source or of use is a share of the total."""
DIGITS = 4
"""Significant digits: what another type of CPU reproduces."""


def overview_of(
    decision: Decision, signal: Mapping[str, Any], relate: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return metrics/overview.json; every key is always present, None where nothing was measured.

    0_verdict   strength of each rung, 0 none to 3 strong, and the verdict's name under the key `..._is`
    1_effects   of text code, music and layers: mean centred cosine within emotions minus between them over
                pairs of prompts, with its interval; p (maxT) and balanced accuracy of the probe. Of a source
                and of use: the share of the total, with its interval, and p (sign flips)
    2_design    prompts, clips, wordings; accuracy of the check on the words
    3_findings  accuracy of states under null text, the same minus that of the better untrained decoder; share
                of clips whose acoustics match their prompt

    Args:
        decision: of this run.
        signal: metrics/signal.json.
        relate: metrics/relate.json; empty where the stage did not run.
    """
    judged = {rung.name: rung for rung in (*decision.rungs, decision.layers)}
    verdicts: dict[str, Any] = {}
    for number, rung in enumerate(decision.rungs, start=1):
        verdicts[f"{number}_{rung.name}"] = STRENGTH[rung.verdict]
        verdicts[f"{number}_{rung.name}_is"] = rung.verdict
    return {
        "0_verdict": verdicts,
        "1_effects": {
            **{name: _effect(judged[name], signal.get(SIGNAL_OF[name], {})) for name in EFFECTS},
            **{name: _share(judged[name]) for name in (*SOURCES, "use")},
        },
        "2_design": {
            **{name: signal.get(name) for name in ("n_prompts", "n_clips", "n_wordings")},
            "words_accuracy": _accuracy(decision.words),
        },
        "3_findings": {
            "null_text_accuracy": _accuracy(decision.null_text),
            "null_text_minus_untrained": _lead_over_untrained(decision.null_text),
            "sound_match": _rounded(relate.get("acoustic_match")),
        },
    }


def _effect(rung: Rung, measured: Mapping[str, Any]) -> dict[str, float | None]:
    keys = {"effect": "effect", "low": "effect_low", "high": "effect_high"}
    numbers = {name: measured.get(key) for name, key in keys.items()}
    numbers |= {"p": rung.p, "accuracy": rung.accuracy}
    return {name: _rounded(value) for name, value in numbers.items()}


def _share(rung: Rung) -> dict[str, float | None]:
    numbers = {"effect": rung.effect, "low": rung.low, "high": rung.high, "p": rung.p}
    return {name: _rounded(value) for name, value in numbers.items()}


def _accuracy(finding: Finding | None) -> float | None:
    return None if finding is None else _rounded(finding.accuracy)


def _lead_over_untrained(finding: Finding | None) -> float | None:
    baselines = () if finding is None else finding.baselines
    return _rounded(min((base.difference for base in baselines if base.name in REQUIRED), default=None))


def _rounded(value: float | None) -> float | None:
    return None if value is None else at_digits(value, DIGITS)

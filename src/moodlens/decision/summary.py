"""The dozen numbers that `dvc metrics diff` and `dvc exp show` print, signal strength first.

DVC sorts keys by name. The names are chosen to give this order: effect, n, p, probe, rungs, sound, state.
"""

from collections.abc import Mapping
from typing import Any

from moodlens.decision.ladder import REACHED, RUNGS, Decision, Rung
from moodlens.null_text.evidence import REQUIRED

FAMILIES = {"layers": "layers", "music": "music", "text": "text_code"}
"""Family of metrics/signal.json -> its name among the rungs."""


def summary_of(
    decision: Decision, signal: Mapping[str, Any], relate: Mapping[str, Any]
) -> dict[str, float | int | None]:
    """Return the summary; every key is always present, None where nothing was measured.

    effect_*               mean centred cosine within emotions minus between them, over pairs of prompts
    n_clips                clips that were analysed
    p_*                    of the rung or layers, maxT over their sites
    probe_*                balanced accuracy, chance 1 / n_emotions
    rungs_reached          number of rungs with the verdict strong or weak
    sound_match            share of clips whose acoustics match their prompt
    state_above_untrained  accuracy of the state minus that of the better untrained decoder
    """
    rungs = {rung.name: rung for rung in decision.rungs}
    summary: dict[str, float | int | None] = {
        f"effect_{name}": signal.get(family, {}).get("effect") for family, name in FAMILIES.items()
    }
    summary["n_clips"] = signal["n_clips"]
    summary |= {f"p_{rung.name}": rung.p for rung in (decision.layers, rungs["music"], rungs["state"])}
    summary |= {f"probe_{name}": rungs[name].accuracy for name in RUNGS if name != "use"}
    summary["rungs_reached"] = sum(rung.verdict in REACHED for rung in decision.rungs)
    summary["sound_match"] = relate.get("acoustic_match")
    summary["state_above_untrained"] = _lead_over_untrained(rungs["state"])
    return summary


def _lead_over_untrained(state: Rung) -> float | None:
    gaps = [base.difference for base in state.baselines if base.name in REQUIRED]
    return min(gaps, default=None)

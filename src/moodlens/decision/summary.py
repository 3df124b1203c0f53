"""The dozen numbers that `dvc metrics diff` and `dvc exp show` print, signal strength first.

DVC sorts keys by name, so names put them in the order of reading: effect, n, p, probe, rungs, sound, state.
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
    """Return the summary; every key is always there, None where nothing was measured.

    effect_*               mean centred cosine within emotions minus between them, over pairs of prompts
    n_clips                clips that were read
    p_*                    of the rung or layers, maxT over their sites
    probe_*                balanced accuracy, chance 1 / n_emotions
    rungs_reached          number of rungs with the verdict strong or weak
    sound_match            share of clips that sound as their prompt intends
    state_above_untrained  accuracy of the state minus that of the better untrained decoder
    """
    rungs = {rung.name: rung for rung in decision.rungs}
    found: dict[str, float | int | None] = {
        f"effect_{name}": signal.get(family, {}).get("effect") for family, name in FAMILIES.items()
    }
    found["n_clips"] = signal["n_clips"]
    found |= {f"p_{rung.name}": rung.p for rung in (decision.layers, rungs["music"], rungs["state"])}
    found |= {f"probe_{name}": rungs[name].accuracy for name in RUNGS if name != "use"}
    found["rungs_reached"] = sum(rung.verdict in REACHED for rung in decision.rungs)
    found["sound_match"] = relate.get("acoustic_match")
    found["state_above_untrained"] = _lead(rungs["state"])
    return found


def _lead(state: Rung) -> float | None:
    gaps = [base.difference for base in state.baselines if base.name in REQUIRED]
    return min(gaps, default=None)

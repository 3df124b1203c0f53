"""The memory's share beside its truth: what a continuation loses when the cache forgets the text.

It runs in a workspace with prompts, as a step of `stages.calibrate.chain`. Forks recover the share from
the tokens of a neutral clip, whose cached states are computed anew under A or B:

    recovered   y(A, n, 0) - y(B, n, 0)

The truth is measured on other tokens, those that A and B played, by taking the text out of the cache:

    held        y(A, A, 0) - y(B, B, 0)       the cache as generation left it, null text ahead
    forgotten   y(0, A, 0) - y(0, B, 0)       the same tokens, the cache computed under null text
    ablated     held - forgotten

All three are shares of y(A, A, A) - y(B, B, B). The two measurements have no continuation in common.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from moodlens.audio.judge import last_seconds
from moodlens.backends import catalog
from moodlens.base.errors import ContractError, must
from moodlens.base.seeding import rng_for, seed_for
from moodlens.base.units import frames_for
from moodlens.contracts.backend import Branch, Capture, ClipRequest, MusicBackend, Sampling, Stem
from moodlens.contracts.tables import PROMPTS
from moodlens.forks.analysis import with_log_odds
from moodlens.forks.cells import ALL, ONE, OTHER
from moodlens.forks.shares import Contrasts, contrasts_of, t_interval, total_of
from moodlens.forks.slots import Slot
from moodlens.params.pipeline import Params
from moodlens.store.tables import read_table, write_metrics
from moodlens.workspace.judged_pairs import comparable_slots, judges_for

RECOVERED, HELD, FORGOTTEN, ABLATED = "recovered", "held", "forgotten", "ablated"
DIFFERENCE = "recovered minus ablated"
N_PLAYED = 3
"""Clips of a slot: under A, under B, under neutral text."""


def run(params: Params, root: Path) -> None:
    """Write metrics/memory_share.json: every share with its interval over pairs of wordings.

    Raises:
        ContractError: forks do not apply to the prompts or to the model.
    """
    source = catalog.find(params.model, root)
    prompts = read_table(PROMPTS, root / "data" / "prompts.csv")
    slots, reason = comparable_slots(prompts, params.forks.pairs, source.checkpoint.config, "forks.pairs")
    if reason:
        advice = "Choose a model and prompts with forks"
        raise ContractError(must("the memory's share", "be measured by forks", reason, next_step=advice))
    backend = catalog.load(params.model, root, params.forks.block_clips)
    table = continuations(params, backend, slots)
    judges, gaps = judges_for(params.model.id, root, slots, params.forks.judged_s)
    judged = with_log_odds(table, judges)
    rng = rng_for("memory share", params.forks.analysis_seed)
    total = total_of(judged, gaps, params.decide.alpha_weak, params.forks.n_permutations, rng)
    contrasts: dict[str, Contrasts] = {
        name: contrasts_of(pd.DataFrame(judged[judged["source"] == name]), total)
        for name in (RECOVERED, HELD, FORGOTTEN)
    }
    values = {name: one.values for name, one in contrasts.items()}
    values[ABLATED] = values[HELD] - values[FORGOTTEN]
    values[DIFFERENCE] = values[RECOVERED] - values[ABLATED]
    shares = {name: _share(each, params.forks.confidence) for name, each in values.items()}
    about = {"step_s": params.forks.steps_s[0], "is_the_judges_gap": total.of_judge}
    write_metrics(
        {**about, "n_units": len(values[HELD]), "shares": shares}, root / "metrics" / "memory_share.json"
    )


def _share(values: np.ndarray, confidence: float) -> dict[str, float]:
    low, high = t_interval(values, confidence)
    return {"share": float(values.mean()), "low": low, "high": high}


def continuations(params: Params, backend: MusicBackend, slots: Sequence[Slot]) -> pd.DataFrame:
    """Return a row per continuation with its descriptors, in the columns that `forks` judges."""
    info, section = backend.info, params.forks
    sampling = Sampling(
        n_frames=frames_for(params.generate.duration_s, info.frame_rate_hz),
        guidance_scale=section.guidance_scale,
        temperature=params.generate.temperature,
        top_k=params.generate.top_k,
        top_p=params.generate.top_p,
    )
    step = round(section.steps_s[0] * info.frame_rate_hz)
    keys = [seed_for("memory share", section.seed, slot.slot_id, slot.unit) for slot in slots]
    requests = [
        ClipRequest(f"{slot.slot_id}-{number}", slot.slot_id, text, key)
        for slot, key in zip(slots, keys, strict=True)
        for number, text in enumerate((slot.one, slot.other, slot.neutral))
    ]
    played = backend.generate(requests, sampling, Capture(sites=(), keep_steps=False)).codes
    stems: list[Stem] = []
    branches: list[Branch] = []
    about: list[dict[str, object]] = []
    for number, (slot, key) in enumerate(zip(slots, keys, strict=True)):
        one, other, neutral = played[N_PLAYED * number : N_PLAYED * (number + 1)]
        for side, text, own in ((ONE, slot.one, one), (OTHER, slot.other, other)):
            for source, codes, cached in (
                (RECOVERED, neutral, text),
                (HELD, own, text),
                (FORGOTTEN, own, None),
            ):
                stems.append(Stem(codes, cached, key))
                branches.append(Branch(len(stems) - 1, step, None))
                about.append({**_about(slot), "source": source, "side": side})
    forked = backend.fork(stems, branches, sampling).codes
    for number, slot in enumerate(slots):
        about += [{**_about(slot), "source": ALL, "side": side} for side in (ONE, OTHER)]
        forked = np.concatenate([forked, played[N_PLAYED * number : N_PLAYED * number + 2]])
    waveforms = backend.decode(forked)
    mono = waveforms if waveforms.ndim == 2 else waveforms.mean(axis=1)
    heard = last_seconds(mono, info.sample_rate_hz, section.judged_s)
    return pd.DataFrame([{**row, **asdict(sound)} for row, sound in zip(about, heard, strict=True)])


def _about(slot: Slot) -> dict[str, object]:
    return {"pair": " - ".join(slot.pair), "unit": slot.unit}

"""Metrics and tables as stage `forks` writes them: music carries on, memory is none, re-reading is strong."""

from typing import Any

SHARES_AT = {"music": (0.05, 0.1, 0.4, 0.85), "memory": (0.0, 0.02, -0.01, 0.01)}
SHARES_AT["reading"] = (0.97, 0.9, 0.6, 0.1)
STEPS_S = (0.3, 0.6, 1.2, 2.2)
NEUTRAL = "memory, neutral ahead"


def share_row(source: str, step_s: float, value: float, **changes: object) -> dict[str, Any]:
    return {
        "guidance_scale": 1.0, "source": source, "step_s": step_s, "share": value, "low": value - 0.08,
        "high": value + 0.08, "narrow_low": value - 0.06, "narrow_high": value + 0.06, "donor": 0.01,
        "p": 0.0001 if value > 0.3 else 0.4, "n_units": 16, "nats_per_token": 3.1,
    } | changes  # fmt: skip


SHARES = [
    share_row(source, second, value)
    for source, values in SHARES_AT.items()
    for second, value in zip(STEPS_S, values, strict=True)
]
SHARES += [share_row(NEUTRAL, 0.6, 0.031, donor=0.0, nats_per_token=3.25)]
SHARES += [share_row(source, 0.6, values[1] / 2, guidance_scale=3.0) for source, values in SHARES_AT.items()]
PLACES = [
    {"kind": kind, "place": f"{kind} {name}", "share": value, "low": value - 0.02, "high": value + 0.02}
    | {"p": 0.001 if value > 0.3 else 0.7, "donor": 0.0, "n_units": 16}
    for kind, name, value in (
        ("layer", "0", 0.0), ("layer", "1", 0.44), ("steps", "0-15", 0.12), ("steps", "15-30", 0.0)
    )
]  # fmt: skip
FACTORS = [
    {"guidance_scale": scale, "source": source, "step_s": second, "pair": "happy - sad", "factor": factor}
    | {"contrast": 2.5, "low": 2.0, "high": 3.0}
    for scale in (1.0, 3.0)
    for source, second in (("all", 0.0), ("music", 0.3), ("reading", 0.3))
    for factor in ("loudness, dB", "mode margin")
]


def found(source: str, verdict: str, index: int, **changes: object) -> dict[str, Any]:
    row = share_row(source, STEPS_S[index], SHARES_AT[source][index])
    keys = ("step_s", "share", "low", "high", "narrow_low", "narrow_high", "donor", "p", "n_units")
    mean = sum(SHARES_AT[source]) / 4
    return {
        "verdict": verdict, "rule": f"the rule of {source}", **{key: row[key] for key in keys},
        "mean_share": mean, "mean_narrow_low": mean - 0.05, "mean_narrow_high": mean + 0.05,
    } | changes  # fmt: skip


def experiment(guidance_scale: float = 1.0, **changes: object) -> dict[str, Any]:
    return {
        "guidance_scale": guidance_scale,
        "n_units": 16,
        "n_continuations": 2432,
        "total": {"log_odds": {"happy - sad": 4.0}, "is_the_judges_gap": False, "share_of_gap": 0.83}
        | {"p": 0.0001},
        "sources": {
            "music": found("music", "strong", 3),
            "memory": found("memory", "none", 1),
            "reading": found("reading", "strong", 0),
        },
        "where": {"found": ["layer 1", "steps 0-15"], "confirmed_p": 0.002, "best": "layer 1"},
    } | changes


def forks_metrics(**changes: object) -> dict[str, Any]:
    guided = experiment(3.0, where=None)
    return {"applies": True, "reason": "", "judged_s": 1.7, "main": experiment(), "run": guided} | changes

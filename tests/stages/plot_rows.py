"""Rows of every CSV file that `dvc plots` draws: three layers, an untrained twin, sites without a layer."""

from itertools import product

import pandas as pd

EMOTIONS = ("happy", "sad", "calm", "energetic")
N_LAYERS, N_STEPS = 3, 4
LAYERS = [("layers", "residual", str(layer), "cond", "model") for layer in range(N_LAYERS)]
TWINS = [("twin_layers", "residual", str(layer), "cond", "twin") for layer in range(N_LAYERS)]
OTHERS = [
    ("text", "text", "", "", "model"),
    ("twin_text", "twin", "", "", "twin"),
    ("words", "bow", "", "", "model"),
    ("music", "acoustics", "", "", "model"),
]
COLUMNS = ["family", "site", "layer", "half", "model"]


def plot_tables(strength: float) -> dict[str, pd.DataFrame]:
    """Return file name -> rows; every value of the model grows with `strength`, 0 to 1."""
    sites = pd.DataFrame([*LAYERS, *TWINS, *OTHERS], columns=COLUMNS)
    height = strength * sites["model"].map({"model": 1.0, "twin": 0.1})
    bounded = sites.assign(low=height - 0.05, high=height + 0.05)
    return {
        "forks_shares": _shares(strength),
        "forks_places": _places(strength),
        "interchange_places": _exchanged(strength, "place", [f"residual.{n}" for n in range(6)]),
        "interchange_arms": _exchanged(
            strength, "arm", ["mediated", "sufficiency", "necessity", "on", "seed"]
        ),
        "signal_layers": bounded.assign(effect=height),
        "signal_metrics": _each(
            sites.assign(score=20 * height, unit="wording"), "metric", ("permanova", "cosine_raw")
        ),
        "probe_layers": bounded.assign(accuracy=height, accuracy_null=0.25),
        "probe_directions": _directions(strength),
        "null_text_steps": _step_rows(strength),
        "null_text_curve": _curve(strength),
        "temporal_steps": _each(bounded[: len(LAYERS)].assign(effect=strength), "time_s", _times()),
        "temporal_layers": bounded[: len(LAYERS)].assign(change=strength),
        "temporal_spectra": _each(
            sites[: len(LAYERS)].assign(share=strength, share_null=0.1), "frequency_hz", _times()
        ),
        "attention_heads": _heads(strength),
        "attention_time": _entropy(strength),
        "geometry_layers": sites.assign(silhouette=height, silhouette_null=-0.1),
        "geometry_points": _points(strength),
        "geometry_spectrum": _each(sites.assign(share=height / 4), "component", (1, 2, 3)),
        "relate_layers": sites.assign(mantel=height),
        "relate_descriptors": _each(sites.assign(r2=height), "descriptor", ("tempo_bpm", "flatness")),
        "sae_curves": _training(strength),
        "latents_counts": _counts(strength),
    }


def _shares(strength: float) -> pd.DataFrame:
    """Return three sources at every fork, and a single fork of a fourth and of the run's guidance."""
    sources = ("music", "memory", "reading")
    rows = [(1, source, second) for source in sources for second in _times()]
    rows += [(1, "memory, neutral ahead", 0.5), *((3, source, 0.5) for source in sources)]
    frame = pd.DataFrame(rows, columns=["guidance_scale", "source", "step_s"])
    height = strength * frame["source"].map({"music": 0.8, "memory": 0.0, "reading": 1.0}).fillna(0.1)
    return frame.assign(share=height, low=height - 0.05, high=height + 0.05, donor=0.01)


def _places(strength: float) -> pd.DataFrame:
    names = [*(f"layer {layer}" for layer in range(N_LAYERS)), "steps 0-15", "steps 15-30"]
    frame = pd.DataFrame({"kind": [name.split()[0] for name in names], "place": names})
    height = strength * frame.index / 4
    return frame.assign(share=height, low=height - 0.05, high=height + 0.05, p=0.01 + 0.1 * frame.index)


def _exchanged(strength: float, column: str, names: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame({column: names})
    height = strength * (1 + frame.index) / 4
    return frame.assign(share=height, low=height - 0.05, high=height + 0.05, p=0.01 + 0.03 * frame.index)


def _each(rows: pd.DataFrame, column: str, values: tuple) -> pd.DataFrame:
    """Return the rows once for every value of a further column."""
    return pd.concat([rows.assign(**{column: value}) for value in values], ignore_index=True)


def _times() -> tuple[float, ...]:
    return tuple(0.5 * step for step in range(N_STEPS))


def _directions(strength: float) -> pd.DataFrame:
    rows = product(("model", "twin"), range(N_LAYERS), range(N_LAYERS), ("happy", "valence"))
    frame = pd.DataFrame(rows, columns=["model", "layer_a", "layer_b", "direction_a"])
    return frame.assign(site="residual", half="cond", direction_b=frame["direction_a"], cosine_split=strength)


def _step_rows(strength: float) -> pd.DataFrame:
    readers = [("state", f"residual.{layer}") for layer in range(N_LAYERS)] + [("token history", "")]
    rows = [(*reader, 10 * step, strength, 0.25) for reader in readers for step in range(N_STEPS)]
    return pd.DataFrame(rows, columns=["reader", "hookpoint", "step", "accuracy", "accuracy_null"])


def _curve(strength: float) -> pd.DataFrame:
    rows = product(("single step", "whole clip"), (1, 2, 4), ("state", "token history"))
    frame = pd.DataFrame(rows, columns=["reading", "n_shots", "reader"])
    gain = frame["reader"].map({"state": 0.0, "token history": 0.1})
    few = frame["n_shots"] < 4
    bounds = {"low": (gain - 0.05).where(few), "high": (gain + 0.05).where(few)}
    return frame.assign(accuracy=strength - gain, difference=gain, accuracy_null=0.25, **bounds)


def _heads(strength: float) -> pd.DataFrame:
    frame = pd.DataFrame(product(range(N_LAYERS), range(2)), columns=["layer", "head"])
    return frame.assign(difference=strength * (frame["head"] - 0.4), p_maxt=0.01 + 0.5 * frame["layer"])


def _entropy(strength: float) -> pd.DataFrame:
    rows = product(EMOTIONS, ("", "0", "1"), range(N_STEPS))
    frame = pd.DataFrame(rows, columns=["emotion", "layer", "step"])
    whole = frame["layer"] == ""
    low, high = (pd.Series(strength + d, frame.index).where(whole) for d in (-0.1, 0.1))
    return frame.assign(entropy=strength, entropy_low=low, entropy_high=high)


def _points(strength: float) -> pd.DataFrame:
    rows = [(*site, emotion) for site in (LAYERS[0], OTHERS[0]) for emotion in EMOTIONS]
    frame = pd.DataFrame(rows, columns=[*COLUMNS, "emotion"])
    return frame.assign(prompt_id=frame["emotion"], pc1=strength * frame.index, pc2=-strength * frame.index)


def _training(strength: float) -> pd.DataFrame:
    rows = product(("residual.1", "text"), ("seed-0", "seed-1", "twin"), range(N_STEPS))
    frame = pd.DataFrame(rows, columns=["site", "name", "epoch"])
    return frame.assign(val_fvu=strength / (2 + frame["epoch"]))


def _counts(strength: float) -> pd.DataFrame:
    kinds = ("sae", "untrained_sae", "words")
    frame = pd.DataFrame(product(("residual.1", "text"), kinds), columns=["site", "reading"])
    return frame.assign(n_units=100, n_selective=[int(strength * n) for n in (90, 40, 0)] * 2)

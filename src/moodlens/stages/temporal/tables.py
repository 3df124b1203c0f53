"""What stage `temporal` found, as the rows and numbers of its files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moodlens.params.pipeline import Temporal
from moodlens.stats.design import Design
from moodlens.temporal.clip_scalars import Reading
from moodlens.temporal.divergence import Divergence
from moodlens.temporal.rhythm import TempoMatch, excess_p
from moodlens.temporal.separation import Cluster, Separation
from moodlens.workspace.sites import place_of

SHOWN_HZ = 10.0
"""Spectra are written up to here: notes and beats are slower."""
SHOWN_STEP_HZ = 0.1


@dataclass(frozen=True)
class Spectrum:
    """Relative power of each unit (wording)."""

    frequencies: np.ndarray  # (frequency,) Hz
    power: np.ndarray  # (unit, frequency)


@dataclass(frozen=True)
class Layer:
    """Everything measured at one hookpoint and half."""

    site: str
    separation: Separation
    divergence: Divergence
    readings: Mapping[str, np.ndarray]  # name -> (unit,)
    tempo: Mapping[str, TempoMatch]  # series -> match
    norms: np.ndarray  # (unit, window) L2 norm at the first step of each window
    spectrum: Spectrum


@dataclass(frozen=True)
class Tokens:
    """The token stream beside the layers."""

    match: TempoMatch
    spectrum: Spectrum


@dataclass(frozen=True)
class Found:
    """Everything the stage writes; arrays over layers are in the order of `layers`."""

    design: Design
    n_clips: int
    times_s: np.ndarray
    layers: tuple[Layer, ...]
    clusters: tuple[Cluster, ...]
    p_change: np.ndarray  # (layer,) maxT
    readings: tuple[Reading, ...]  # layer by layer
    p_tempo: np.ndarray  # (layer x series,) maxT
    tokens: Tokens
    smallest_p: float


def metrics_of(found: Found, section: Temporal, alpha: float) -> dict[str, object]:
    """Return metrics/temporal.json: the few numbers that say whether time matters.

    The layer of the largest change, and that of the best rhythm, are named for the reader: their p is
    corrected for the choice, their size is not. `alpha` is the level at which a cluster counts as found.
    """
    certain = [cluster for cluster in found.clusters if cluster.p < alpha]
    covered = np.zeros((len(found.layers), len(found.times_s)), dtype=bool)
    for cluster in certain:
        covered[cluster.layer, cluster.start : cluster.stop] = True
    changes = [layer.divergence.change for layer in found.layers]
    most = int(np.abs(changes).argmax())
    grown = found.layers[most].divergence
    series = [(layer.site, match) for layer in found.layers for match in (layer.tempo["components"],)]
    p_tempo = found.p_tempo.reshape(len(found.layers), -1)[:, 0]
    best = int(np.argmax([match.excess for _, match in series]))
    readings = dict(zip(reading_keys(found), found.readings, strict=True))
    return {
        "cluster_p": min((cluster.p for cluster in found.clusters), default=1.0),
        "covered": float(covered.mean()),
        "effect_mean": float(np.mean([layer.separation.effect for layer in found.layers])),
        "change": grown.change,
        "change_low": grown.low,
        "change_high": grown.high,
        "change_p": float(found.p_change[most]),
        "change_site": found.layers[most].site,
        "distance_ratio": grown.ratio,
        "tempo_excess": series[best][1].excess,
        "tempo_excess_tokens": found.tokens.match.excess,
        "tempo_hits": series[best][1].hits,
        "tempo_hits_chance": series[best][1].hits_chance,
        "tempo_hits_tokens": found.tokens.match.hits,
        "tempo_p": float(p_tempo[best]),
        "tempo_site": series[best][0],
        "variance_ratio": _largest(readings, "variance"),
        "magnitude_ratio": _largest(readings, "magnitude"),
        "n_wordings": int(found.design.wordings.max()) + 1,
        "n_clips": found.n_clips,
        "n_permutations": section.n_permutations,
        "smallest_p": found.smallest_p,
    }


def reading_keys(found: Found) -> list[tuple[str, str]]:
    """Return (layer's site, name) of every reading."""
    return [(layer.site, name) for layer in found.layers for name in layer.readings]


def _largest(readings: Mapping[tuple[str, str], Reading], name: str) -> float | None:
    ratios = [r.ratio for (_, said), r in readings.items() if said == name and r.ratio is not None]
    return max(ratios, default=None)


def plots_of(found: Found) -> dict[str, pd.DataFrame]:
    """Return the rows of metrics/temporal_<name>.csv."""
    return {
        "steps": pd.DataFrame([row for i in range(len(found.layers)) for row in _steps(found, i)]),
        "layers": pd.DataFrame([_divergence(found, i) for i in range(len(found.layers))]),
        "readings": pd.DataFrame(_readings(found)),
        "spectra": pd.concat(_spectra(found), ignore_index=True),
    }


def no_rows(emotions: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Return the tables of `plots_of` without a row, for clips that leave no curve to draw."""
    tempo = [
        f"tempo_{name}_{series}"
        for series in ("components", "norm", "tokens")
        for name in ("excess", "p", "hits", "chance", "rho")
    ]
    columns = {
        "steps": [
            *("time_s", "effect", "low", "high", "share", "f", "p_cluster"),
            *(f"norm_{emotion}" for emotion in emotions),
        ],
        "layers": [
            *("early", "late", "change", "low", "high", "p_maxt", "distance_ratio", "distance_ratio_low"),
            *("distance_ratio_high", "between_early_raw", "between_late_raw", *tempo),
        ],
        "readings": ["reading", "ratio", "share", "f", "p", "p_maxt", *emotions],
        "spectra": ["frequency_hz", "share", *emotions],
    }
    return {name: pd.DataFrame(columns=["site", "layer", "half", *own]) for name, own in columns.items()}


def _place(site: str) -> dict[str, object]:
    name, layer, half = place_of(site)
    return {"site": name, "layer": layer, "half": half}


def _steps(found: Found, index: int) -> list[dict[str, object]]:
    layer = found.layers[index]
    p_cluster = np.full(len(found.times_s), np.nan)
    for cluster in found.clusters:
        if cluster.layer == index:
            p_cluster[cluster.start : cluster.stop] = cluster.p
    said = layer.separation
    return [
        {
            **_place(layer.site),
            "time_s": found.times_s[t],
            "effect": said.effect[t],
            "low": said.low[t],
            "high": said.high[t],
            "share": said.share[t],
            "f": said.f[t, 0],
            "p_cluster": p_cluster[t],
            **_by_emotion(found.design, layer.norms[:, t], "norm_"),
        }
        for t in range(len(found.times_s))
    ]


def _divergence(found: Found, index: int) -> dict[str, object]:
    layer = found.layers[index]
    said = layer.divergence
    row: dict[str, object] = {
        **_place(layer.site),
        "early": said.early,
        "late": said.late,
        "change": said.change,
        "low": said.low,
        "high": said.high,
        "p_maxt": found.p_change[index],
        "distance_ratio": said.ratio,
        "distance_ratio_low": said.ratio_low,
        "distance_ratio_high": said.ratio_high,
        "between_early_raw": said.raw_early,
        "between_late_raw": said.raw_late,
    }
    p_tempo = found.p_tempo.reshape(len(found.layers), -1)[index]
    for adjusted, (series, match) in zip(p_tempo, layer.tempo.items(), strict=True):
        row |= _tempo(match, series, float(adjusted))
    tokens = found.tokens.match
    return row | _tempo(tokens, "tokens", float(excess_p([tokens])[0]))


def _tempo(match: TempoMatch, series: str, p: float) -> dict[str, object]:
    return {
        f"tempo_excess_{series}": match.excess,
        f"tempo_p_{series}": p,
        f"tempo_hits_{series}": match.hits,
        f"tempo_chance_{series}": match.hits_chance,
        f"tempo_rho_{series}": match.rho,
    }


def _readings(found: Found) -> list[dict[str, object]]:
    return [
        {
            **_place(site),
            "reading": name,
            "ratio": said.ratio,
            "share": said.share,
            "f": said.f,
            "p": said.p,
            "p_maxt": said.p_max,
            **dict(zip(found.design.emotions, said.means.tolist(), strict=True)),
        }
        for (site, name), said in zip(reading_keys(found), found.readings, strict=True)
    ]


def _spectra(found: Found) -> list[pd.DataFrame]:
    frames = []
    named = [(_place(layer.site), layer.spectrum) for layer in found.layers]
    for place, spectrum in [*named, ({"site": "tokens", "layer": pd.NA, "half": ""}, found.tokens.spectrum)]:
        frequencies = spectrum.frequencies
        every = max(1, round(SHOWN_STEP_HZ / (frequencies[1] - frequencies[0])))
        shown = np.flatnonzero(frequencies <= SHOWN_HZ)[every - 1 :: every]
        density = spectrum.power[:, shown] / (frequencies[1] - frequencies[0])
        columns = _by_emotion(found.design, density, "")
        held = _held_by_emotion(found.design, np.log(np.maximum(density, np.finfo(float).tiny)))
        frames.append(pd.DataFrame({**place, "frequency_hz": frequencies[shown], "share": held, **columns}))
    return frames


def _by_emotion(design: Design, values: np.ndarray, prefix: str) -> dict[str, np.ndarray]:
    labels = design.unit_labels("wording")
    return {f"{prefix}{name}": values[labels == k].mean(axis=0) for k, name in enumerate(design.emotions)}


def _held_by_emotion(design: Design, values: np.ndarray) -> np.ndarray:
    """Return the share of the variance between units that emotion holds, for each column."""
    labels = design.unit_labels("wording")
    moved = values - values.mean(axis=0)
    means = np.stack([moved[labels == klass].mean(axis=0) for klass in range(design.n_classes)])
    between, total = np.square(means[labels]).sum(axis=0), np.square(moved).sum(axis=0)
    return np.divide(between, total, out=np.zeros(values.shape[1]), where=total > 0)

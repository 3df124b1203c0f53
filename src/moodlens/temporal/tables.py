"""Results over time at a set of layers, as the rows and numbers of their files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from moodlens.stats.design import Design
from moodlens.stats.site_names import split_site
from moodlens.temporal.clip_scalars import ScalarTest
from moodlens.temporal.divergence import Divergence
from moodlens.temporal.rhythm import TempoMatch, excess_p
from moodlens.temporal.separation import Cluster, Separation

SHOWN_HZ = 10.0
"""Spectra are written up to this frequency; notes and beats are slower."""
SHOWN_STEP_HZ = 0.1


@dataclass(frozen=True)
class Spectrum:
    """Relative power of each unit (wording)."""

    frequencies: np.ndarray  # (frequency,) Hz
    power: np.ndarray  # (unit, frequency)


@dataclass(frozen=True)
class Layer:
    """Results at one hookpoint and half."""

    site: str
    separation: Separation
    divergence: Divergence
    scalars: Mapping[str, np.ndarray]  # clip scalar -> (unit,) means of the unit's clips
    tempo: Mapping[str, TempoMatch]  # series -> match
    norms: np.ndarray  # (unit, window) L2 norm at the first step of each window
    spectrum: Spectrum


@dataclass(frozen=True)
class Tokens:
    """Results of the token stream, a baseline of the layers."""

    match: TempoMatch
    spectrum: Spectrum


@dataclass(frozen=True)
class Timeline:
    """Results of all layers; arrays over layers are in the order of `layers`."""

    design: Design
    n_clips: int
    n_permutations: int
    times_s: np.ndarray
    layers: tuple[Layer, ...]
    clusters: tuple[Cluster, ...]
    p_change: np.ndarray  # (layer,) maxT
    scalars: tuple[ScalarTest, ...]  # tests of the clip scalars, layer by layer
    p_tempo: np.ndarray  # (layer x series,) maxT
    tokens: Tokens
    smallest_p: float


def metrics_of(results: Timeline, alpha: float) -> dict[str, object]:
    """Return metrics/temporal.json: the main numbers over time.

    The layer of the largest change and the layer of the best rhythm are chosen by the data: their p is
    corrected for the choice, their size is not. `alpha` is the level at which a cluster is significant.
    """
    significant = [cluster for cluster in results.clusters if cluster.p < alpha]
    covered = np.zeros((len(results.layers), len(results.times_s)), dtype=bool)
    for cluster in significant:
        covered[cluster.layer, cluster.start : cluster.stop] = True
    changes = [layer.divergence.change for layer in results.layers]
    most = int(np.abs(changes).argmax())
    grown = results.layers[most].divergence
    series = [(layer.site, match) for layer in results.layers for match in (layer.tempo["components"],)]
    p_tempo = results.p_tempo.reshape(len(results.layers), -1)[:, 0]
    best = int(np.argmax([match.excess for _, match in series]))
    scalars = dict(zip(scalar_keys(results), results.scalars, strict=True))
    return {
        "cluster_p": min((cluster.p for cluster in results.clusters), default=1.0),
        "covered": float(covered.mean()),
        "effect_mean": float(np.mean([layer.separation.effect for layer in results.layers])),
        "change": grown.change,
        "change_low": grown.low,
        "change_high": grown.high,
        "change_p": float(results.p_change[most]),
        "change_site": results.layers[most].site,
        "distance_ratio": grown.ratio,
        "tempo_excess": series[best][1].excess,
        "tempo_excess_tokens": results.tokens.match.excess,
        "tempo_hits": series[best][1].hits,
        "tempo_hits_chance": series[best][1].hits_chance,
        "tempo_hits_tokens": results.tokens.match.hits,
        "tempo_p": float(p_tempo[best]),
        "tempo_site": series[best][0],
        "variance_ratio": _largest(scalars, "variance"),
        "magnitude_ratio": _largest(scalars, "magnitude"),
        "n_wordings": int(results.design.wordings.max()) + 1,
        "n_clips": results.n_clips,
        "n_permutations": results.n_permutations,
        "smallest_p": results.smallest_p,
    }


def scalar_keys(results: Timeline) -> list[tuple[str, str]]:
    """Return (site of the layer, name) of every clip scalar."""
    return [(layer.site, name) for layer in results.layers for name in layer.scalars]


def _largest(scalars: Mapping[tuple[str, str], ScalarTest], name: str) -> float | None:
    ratios = [s.ratio for (_, own), s in scalars.items() if own == name and s.ratio is not None]
    return max(ratios, default=None)


def plots_of(results: Timeline) -> dict[str, pd.DataFrame]:
    """Return the rows of metrics/temporal_<name>.csv."""
    return {
        "steps": pd.DataFrame([row for i in range(len(results.layers)) for row in _steps(results, i)]),
        "layers": pd.DataFrame([_divergence(results, i) for i in range(len(results.layers))]),
        "readings": pd.DataFrame(_scalars(results)),
        "spectra": pd.concat(_spectra(results), ignore_index=True),
    }


def no_rows(emotions: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Return the tables of `plots_of` without rows, for clips without the steps that curves need."""
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
        "spectra": ["frequency_hz", "share", "share_null", *emotions],
    }
    return {name: pd.DataFrame(columns=["site", "layer", "half", *own]) for name, own in columns.items()}


def _site(site: str) -> dict[str, object]:
    name, layer, half = split_site(site)
    return {"site": name, "layer": layer, "half": half}


def _steps(results: Timeline, index: int) -> list[dict[str, object]]:
    layer = results.layers[index]
    p_cluster = np.full(len(results.times_s), np.nan)
    for cluster in results.clusters:
        if cluster.layer == index:
            p_cluster[cluster.start : cluster.stop] = cluster.p
    separation = layer.separation
    return [
        {
            **_site(layer.site),
            "time_s": results.times_s[t],
            "effect": separation.effect[t],
            "low": separation.low[t],
            "high": separation.high[t],
            "share": separation.share[t],
            "f": separation.f[t, 0],
            "p_cluster": p_cluster[t],
            **_by_emotion(results.design, layer.norms[:, t], "norm_"),
        }
        for t in range(len(results.times_s))
    ]


def _divergence(results: Timeline, index: int) -> dict[str, object]:
    layer = results.layers[index]
    divergence = layer.divergence
    row: dict[str, object] = {
        **_site(layer.site),
        "early": divergence.early,
        "late": divergence.late,
        "change": divergence.change,
        "low": divergence.low,
        "high": divergence.high,
        "p_maxt": results.p_change[index],
        "distance_ratio": divergence.ratio,
        "distance_ratio_low": divergence.ratio_low,
        "distance_ratio_high": divergence.ratio_high,
        "between_early_raw": divergence.raw_early,
        "between_late_raw": divergence.raw_late,
    }
    p_tempo = results.p_tempo.reshape(len(results.layers), -1)[index]
    for adjusted, (series, match) in zip(p_tempo, layer.tempo.items(), strict=True):
        row |= _tempo(match, series, float(adjusted))
    tokens = results.tokens.match
    return row | _tempo(tokens, "tokens", float(excess_p([tokens])[0]))


def _tempo(match: TempoMatch, series: str, p: float) -> dict[str, object]:
    return {
        f"tempo_excess_{series}": match.excess,
        f"tempo_p_{series}": p,
        f"tempo_hits_{series}": match.hits,
        f"tempo_chance_{series}": match.hits_chance,
        f"tempo_rho_{series}": match.rho,
    }


def _scalars(results: Timeline) -> list[dict[str, object]]:
    return [
        {
            **_site(site),
            "reading": name,
            "ratio": test.ratio,
            "share": test.share,
            "f": test.f,
            "p": test.p,
            "p_maxt": test.p_max,
            **dict(zip(results.design.emotions, test.means.tolist(), strict=True)),
        }
        for (site, name), test in zip(scalar_keys(results), results.scalars, strict=True)
    ]


def _spectra(results: Timeline) -> list[pd.DataFrame]:
    frames = []
    named = [(_site(layer.site), layer.spectrum) for layer in results.layers]
    for site, spectrum in [*named, ({"site": "tokens", "layer": pd.NA, "half": ""}, results.tokens.spectrum)]:
        frequencies = spectrum.frequencies
        every = max(1, round(SHOWN_STEP_HZ / (frequencies[1] - frequencies[0])))
        shown = np.flatnonzero(frequencies <= SHOWN_HZ)[every - 1 :: every]
        density = spectrum.power[:, shown] / (frequencies[1] - frequencies[0])
        columns = _by_emotion(results.design, density, "")
        share = _emotion_share(results.design, np.log(np.maximum(density, np.finfo(float).tiny)))
        columns = {"share": share, "share_null": _share_null(results.design), **columns}
        frames.append(pd.DataFrame({**site, "frequency_hz": frequencies[shown], **columns}))
    return frames


def _by_emotion(design: Design, values: np.ndarray, prefix: str) -> dict[str, np.ndarray]:
    labels = design.unit_labels("wording")
    return {f"{prefix}{name}": values[labels == k].mean(axis=0) for k, name in enumerate(design.emotions)}


def _share_null(design: Design) -> float:
    """Return the mean share of the variance when wordings are relabelled: (k - 1) / (n - 1)."""
    return (design.n_classes - 1) / (len(design.unit_labels("wording")) - 1)


def _emotion_share(design: Design, values: np.ndarray) -> np.ndarray:
    """Return the share of the variance between units that lies between emotions, for each column."""
    labels = design.unit_labels("wording")
    moved = values - values.mean(axis=0)
    means = np.stack([moved[labels == klass].mean(axis=0) for klass in range(design.n_classes)])
    between, total = np.square(means[labels]).sum(axis=0), np.square(moved).sum(axis=0)
    return np.divide(between, total, out=np.zeros(values.shape[1]), where=total > 0)

"""Measurements of one layer over time, read shard by shard so that memory does not grow with the clips."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from moodlens.stats.gram import mean_weights
from moodlens.temporal.divergence import divergence, flipped_changes
from moodlens.temporal.rhythm import (
    FASTEST_HZ,
    SLOWEST_HZ,
    TempoMatch,
    centroids_hz,
    leading_components,
    peaks_hz,
    relative_spectra,
    tempo_match,
    temporal_covariance,
    token_changes,
)
from moodlens.temporal.separation import Windows, separation, window_means
from moodlens.temporal.tables import Layer, Spectrum, Tokens

SUMMARIES = ("early", "late", "var", "norm")
"""Stored tensors of a layer that `measure_layer` takes, beside its single steps."""

Shards = Iterator[tuple[np.ndarray, np.ndarray]]
"""(rows of the clips, their states (clip, step, d_model)), shard by shard."""


@dataclass(frozen=True)
class Plan:
    """Units, relabellings and resamples, the same for all layers; a unit is a wording."""

    units: np.ndarray  # (clip,) unit of each clip
    weights: np.ndarray  # (unit, clip) prompt means of clips, then unit means of prompts
    labels: np.ndarray  # (unit,)
    relabellings: np.ndarray  # (perm, unit)
    counts: np.ndarray  # (boot, unit) resamples
    signs: np.ndarray  # (perm, unit) exchanges of early and late
    exchanges: np.ndarray  # (perm, unit) exchanges of tempo within an emotion
    tempo_hz: np.ndarray  # (clip,) measured tempo
    windows: Windows
    steps: np.ndarray  # (step,) decoder steps of the states
    rate_hz: float  # stored steps per second
    n_components: int
    confidence: float


def unit_weights(members: np.ndarray, prompts: np.ndarray) -> np.ndarray:
    """Return (unit, clip) weights that average clips by prompt and prompts by unit."""
    return mean_weights(members) @ mean_weights(prompts)


def measure_layer(
    site: str, shards: Callable[[], Shards], summaries: Mapping[str, np.ndarray], plan: Plan
) -> tuple[Layer, np.ndarray]:
    """Return the results of a layer, and its change from early to late under every exchange, (perm,).

    Args:
        site: name of the layer.
        shards: starts a pass over the layer's states; it is called twice.
        summaries: the tensors `SUMMARIES` of the layer, one row per clip, float64.
        plan: what all layers share.
    """
    means, covariance = None, None
    for rows, states in shards():
        part = np.tensordot(
            plan.weights[:, rows].astype(np.float32), window_means(states, plan.windows), axes=1
        )
        means = part if means is None else means + part
        moved = temporal_covariance(states)
        covariance = moved if covariance is None else covariance + moved
    assert means is not None, "hookpoints come from a shard of these clips"
    assert covariance is not None, "likewise"
    separated = separation(site, means, plan.relabellings, plan.counts, plan.confidence)
    basis = leading_components(covariance, plan.n_components).astype(np.float32)
    early, late, variance, norms = (summaries[name] for name in SUMMARIES)
    norms = norms[:, plan.steps]
    power = {}
    frequencies, power["norm"] = relative_spectra(norms[:, :, None], plan.rate_hz)
    power["components"] = np.empty_like(power["norm"])
    for rows, states in shards():
        power["components"][rows] = relative_spectra(states @ basis, plan.rate_hz)[1]
    scalars = {"magnitude": norms.mean(axis=1), "variance": variance.mean(axis=1)}
    tempo: dict[str, TempoMatch] = {}
    for series in ("components", "norm"):
        peaks = peaks_hz(frequencies, power[series], SLOWEST_HZ, FASTEST_HZ)
        scalars[f"centroid_{series}_hz"] = centroids_hz(frequencies, power[series])
        scalars[f"peak_{series}_hz"] = peaks
        tempo[series] = _match(frequencies, power[series], peaks, plan)
    unit_early, unit_late = plan.weights @ early, plan.weights @ late
    layer = Layer(
        site,
        separated,
        divergence(unit_early, unit_late, plan.labels, plan.counts, plan.confidence),
        {name: plan.weights @ values for name, values in scalars.items()},
        tempo,
        plan.weights @ norms[:, plan.windows.starts],
        Spectrum(frequencies, plan.weights @ power["components"]),
    )
    return layer, flipped_changes(unit_early, unit_late, plan.labels, plan.signs)


def measure_tokens(codes: np.ndarray, frame_rate_hz: float, plan: Plan) -> Tokens:
    """Return the rhythm of the token stream alone, which the rhythm of a layer must exceed.

    Args:
        codes: audio tokens, (clip, codebook, frame).
        frame_rate_hz: frames per second.
        plan: what all layers share.
    """
    frequencies, power = relative_spectra(token_changes(codes), frame_rate_hz)
    peaks = peaks_hz(frequencies, power, SLOWEST_HZ, FASTEST_HZ)
    return Tokens(_match(frequencies, power, peaks, plan), Spectrum(frequencies, plan.weights @ power))


def _match(frequencies: np.ndarray, power: np.ndarray, peaks: np.ndarray, plan: Plan) -> TempoMatch:
    return tempo_match(frequencies, power, peaks, plan.tempo_hz, plan.units, plan.labels, plan.exchanges)

"""Recorders of one hookpoint and half: chosen steps, running summaries, or both, from chunks of steps.

Summaries need the memory of a few vectors. Means and variances are merged chunk by chunk in float64 (Chan,
Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances"), so that
a large mean does not degrade the variance. The result depends on the states and on the chunk boundaries.
"""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from moodlens.base.errors import ContractError, UsageError, must
from moodlens.contracts.backend import Capture
from moodlens.contracts.tensors import WINDOW, stored_steps


def complete_steps(n_steps: int, n_delays: int) -> slice:
    """Return the steps at which every codebook outputs a token.

    Args:
        n_steps: decoder steps of a clip.
        n_delays: distinct delays of the pattern; the number of codebooks, in stereo half of it.

    >>> complete_steps(503, 4)
    slice(3, 500, None)

    Raises:
        ContractError: the clip is too short to have such a step.
    """
    partial = n_delays - 1
    if n_steps <= 2 * partial:
        rule = f"have more than {2 * partial} steps ({n_delays} codebooks)"
        raise ContractError(must("a clip", rule, n_steps, next_step="Raise generate.duration_s"))
    return slice(partial, n_steps - partial)


def complete_indices(stored: Sequence[int], n_steps: int, n_delays: int) -> slice:
    """Return the indices of the stored steps (`contracts.tensors.stored_steps`) that are complete.

    >>> complete_indices(range(503), 503, 4), complete_indices(range(0, 503, 10), 503, 4)
    (slice(3, 500, None), slice(1, 50, None))

    Raises:
        ContractError: no stored step is complete.
    """
    whole = complete_steps(n_steps, n_delays)
    first, stop = (bisect_left(stored, edge) for edge in (whole.start, whole.stop))
    if first >= stop:
        rule, got = f"leave a complete step of {n_steps}", f"{len(stored)} stored, none complete"
        advice = "Lower the stride or widen the windows and run `dvc repro generate`"
        raise ContractError(must("generate.step_stride and generate.windows", rule, got, next_step=advice))
    return slice(first, stop)


def window_steps(n_steps: int) -> int:
    """Return the length of the early and the late window, at least one step.

    >>> window_steps(197), window_steps(3)
    (20, 1)
    """
    return max(1, round(WINDOW * n_steps))


def step_norms(states: Float[np.ndarray, "clip step d_model"]) -> Float[np.ndarray, "clip step"]:
    """Return the L2 norm of every state as float32, accumulated in float64."""
    return np.sqrt(np.einsum("csd,csd->cs", states, states, dtype=np.float64)).astype(np.float32)


class Running:
    """Running statistics of one hookpoint and half over the steps of some clips.

    Args:
        shape: (clip, step, d_model) that all chunks together will have.
        n_delays: see `complete_steps`.

    Raises:
        ContractError: the clips have no complete step.
    """

    def __init__(self, shape: tuple[int, int, int], n_delays: int) -> None:
        n_clips, n_steps, d_model = shape
        self._complete = complete_steps(n_steps, n_delays)
        first, stop = self._complete.start, self._complete.stop
        self._edge = window_steps(stop - first)
        self._windows = {"early": (first, first + self._edge), "late": (stop - self._edge, stop)}
        self._sums = {name: np.zeros((n_clips, d_model)) for name in self._windows}
        self._mean, self._squares = np.zeros((n_clips, d_model)), np.zeros((n_clips, d_model))
        self._n_complete = 0
        self._n_seen = 0
        self._norm = np.zeros((n_clips, n_steps), dtype=np.float32)
        self._moved = np.zeros((n_clips, n_steps), dtype=np.float32)  # entry 0 has no previous step
        self._high, self._low = np.full((n_clips, d_model), -np.inf), np.full((n_clips, d_model), np.inf)
        self._last = np.zeros((n_clips, 0, d_model), dtype=np.float32)
        self._n_finite, self._n_stored = np.zeros(n_clips), 0

    def add(
        self,
        states: Float[np.ndarray, "clip step d_model"],
        stored: Float[np.ndarray, "clip stored d_model"],
    ) -> None:
        """Add the next steps.

        Args:
            states: as recorded, float32.
            stored: the steps of them that are stored, in the stored type, so that overflow in float16 counts.
        """
        first, stop = self._n_seen, self._n_seen + states.shape[1]
        joined = np.concatenate([self._last, states], axis=1)
        self._norm[:, first:stop] = step_norms(states)
        self._moved[:, stop - joined.shape[1] + 1 : stop] = step_norms(np.diff(joined, axis=1))
        self._high = np.maximum(self._high, states.max(axis=1))
        self._low = np.minimum(self._low, states.min(axis=1))
        self._n_finite += np.isfinite(stored).sum(axis=(1, 2))
        self._n_stored += stored.shape[1] * stored.shape[2]
        self._merge(states[:, _overlap(first, stop, self._complete.start, self._complete.stop)])
        for name, (start, end) in self._windows.items():
            part = states[:, _overlap(first, stop, start, end)]
            self._sums[name] += part.sum(axis=1, dtype=np.float64)
        self._last, self._n_seen = states[:, -1:].copy(), stop

    def _merge(self, part: Float[np.ndarray, "clip step d_model"]) -> None:
        n_new = part.shape[1]
        if n_new == 0:
            return
        whole = part.astype(np.float64)
        mean = whole.mean(axis=1)
        total = self._n_complete + n_new
        delta = mean - self._mean
        self._mean += delta * (n_new / total)
        self._squares += np.square(whole - mean[:, None]).sum(axis=1)
        self._squares += np.square(delta) * (self._n_complete * n_new / total)
        self._n_complete = total

    def summary(self) -> dict[str, Float[np.ndarray, "clip ..."]]:
        """Return mean, var, early, late (clip, d_model) and norm (clip, step), float32.

        All but the norm cover the complete steps only: in the first and the last n_delays - 1 steps of the
        delay pattern some codebooks hold padding.
        """
        summary = {
            "mean": self._mean,
            "var": self._squares / self._n_complete,
            **{name: total / self._edge for name, total in self._sums.items()},
            "norm": self._norm,
        }
        return {name: values.astype(np.float32) for name, values in summary.items()}

    def figures(self) -> dict[str, Float[np.ndarray, " clip"]]:
        """Return the quality figures of the activation table per clip, float64, model units.

        `step_change` is the median over steps of |x_t - x_(t-1)| / |x_(t-1)|. It is 0 if the state never
        changes, as for an overwritten hook, and for cross-attention under null text, which is exactly 0.
        """
        moved, before = self._moved[:, 1:].astype(np.float64), self._norm[:, :-1].astype(np.float64)
        relative = np.divide(moved, before, out=(moved > 0).astype(np.float64), where=before > 0)
        n_values = max(self._n_stored, 1)
        return {
            "finite_fraction": self._n_finite / n_values if self._n_stored else np.ones(len(self._mean)),
            "norm_mean": self._norm.mean(axis=1, dtype=np.float64),
            "norm_max": self._norm.max(axis=1).astype(np.float64),
            "absmax": np.maximum(np.abs(self._high), np.abs(self._low)).max(axis=1).astype(np.float64),
            "dead_fraction": (self._high == self._low).mean(axis=1),
            "step_change": np.median(relative, axis=1) if relative.shape[1] else np.zeros(len(relative)),
        }


def summarise(
    states: Float[np.ndarray, "clip step d_model"], n_delays: int
) -> dict[str, Float[np.ndarray, "clip ..."]]:
    """Return `Running.summary` of complete states: mean, var, early, late and norm, float32.

    Raises:
        ContractError: the clips have no complete step.
    """
    running = Running(states.shape, n_delays)
    running.add(states, states)
    return running.summary()


def _overlap(first: int, stop: int, start: int, end: int) -> slice:
    """Return the overlap of the steps first..stop with start..end, counted from `first`."""
    return slice(min(max(start - first, 0), stop - first), max(min(end, stop) - first, 0))


class Track:
    """Stores and summarises states that arrive in chunks; it holds only the steps that the capture requests.

    Args:
        n_steps: decoder steps of the clips.
        capture: which steps to store, in which type, and whether to summarise.
        n_delays: see `complete_steps`.
    """

    def __init__(self, n_steps: int, capture: Capture, n_delays: int) -> None:
        self._n_steps = n_steps
        self._capture = capture
        self._n_delays = n_delays
        self._steps = np.array(stored_steps(n_steps, capture.step_stride, capture.windows), dtype=np.int64)
        self._n_seen = 0
        self._stored: np.ndarray | None = None
        self._running: Running | None = None

    def add(self, states: Float[np.ndarray, "clip step d_model"]) -> None:
        """Add the next steps, float32."""
        if self._n_seen == 0:
            self._begin(states.shape[0], states.shape[2])
        stored = self._store(states) if self._stored is not None else states
        if self._running is not None:
            self._running.add(states, stored)
        self._n_seen += states.shape[1]

    def _begin(self, n_clips: int, d_model: int) -> None:
        if self._capture.keep_steps:
            self._stored = np.empty((n_clips, len(self._steps), d_model), dtype=self._capture.dtype)
        if self._capture.summaries:
            self._running = Running((n_clips, self._n_steps, d_model), self._n_delays)

    def _store(self, states: np.ndarray) -> np.ndarray:
        assert self._stored is not None
        first, stop = self._n_seen, self._n_seen + states.shape[1]
        at, end = np.searchsorted(self._steps, (first, stop))
        part = self._stored[:, at:end]
        with np.errstate(over="ignore"):  # finite_fraction counts infinities, and stage `check` refuses them
            part[...] = states[:, self._steps[at:end] - first]
        return part

    @property
    def stored(self) -> Float[np.ndarray, "clip stored d_model"] | None:
        """The chosen steps in the requested type; None if only summaries were requested."""
        return self._stored

    @property
    def summary(self) -> dict[str, Float[np.ndarray, "clip ..."]]:
        """mean, var, early, late and norm; empty if no summaries were requested."""
        return self._running.summary() if self._running is not None else {}

    @property
    def figures(self) -> dict[str, Float[np.ndarray, " clip"]]:
        """The quality figures of the activation table; empty if no summaries were requested."""
        return self._running.figures() if self._running is not None else {}


def spaced_steps(n_steps: int, n_delays: int, n_spaced: int) -> tuple[int, ...]:
    """Return `n_spaced` decoder steps, evenly spaced from the first complete step to the last.

    Raises:
        UsageError: the clip has fewer complete steps.

    >>> spaced_steps(203, 4, 8)
    (3, 31, 59, 87, 115, 143, 171, 199)
    """
    whole = complete_steps(n_steps, n_delays)
    n_whole = whole.stop - whole.start
    if n_spaced > n_whole:
        rule = f"be at most {n_whole}, the complete steps of a clip"
        advice = "Lower reencode.n_steps or raise generate.duration_s"
        raise UsageError(must("reencode.n_steps", rule, n_spaced, where="params.yaml", next_step=advice))
    return tuple(int(step) for step in np.linspace(whole.start, whole.stop - 1, n_spaced).round())

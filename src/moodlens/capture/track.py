"""What is kept of one hookpoint and half while its states go by: chosen steps, running summaries, or both."""

import numpy as np
from jaxtyping import Float

from moodlens.capture.running import Running
from moodlens.contracts.backend import Capture
from moodlens.contracts.tensors import stored_steps


class Track:
    """Takes states chunk by chunk and never holds more of them than the capture asks for.

    Args:
        n_steps: decoder steps that will come.
        capture: which steps to keep, in which type, and whether summaries are wanted.
        n_delays: see `running.complete_steps`.
    """

    def __init__(self, n_steps: int, capture: Capture, n_delays: int) -> None:
        self._n_steps = n_steps
        self._capture = capture
        self._n_delays = n_delays
        self._steps = np.array(stored_steps(n_steps, capture.step_stride, capture.windows), dtype=np.int64)
        self._n_seen = 0
        self._kept: np.ndarray | None = None
        self._running: Running | None = None

    def add(self, states: Float[np.ndarray, "clip step d_model"]) -> None:
        """Take in the next steps, float32."""
        if self._n_seen == 0:
            self._begin(states.shape[0], states.shape[2])
        stored = self._keep(states) if self._kept is not None else states
        if self._running is not None:
            self._running.add(states, stored)
        self._n_seen += states.shape[1]

    def _begin(self, n_clips: int, d_model: int) -> None:
        if self._capture.keep_steps:
            self._kept = np.empty((n_clips, len(self._steps), d_model), dtype=self._capture.dtype)
        if self._capture.summaries:
            self._running = Running((n_clips, self._n_steps, d_model), self._n_delays)

    def _keep(self, states: np.ndarray) -> np.ndarray:
        assert self._kept is not None
        first, stop = self._n_seen, self._n_seen + states.shape[1]
        at, end = np.searchsorted(self._steps, (first, stop))
        place = self._kept[:, at:end]
        with np.errstate(over="ignore"):  # infinity shows in finite_fraction, where `check` stops it
            place[...] = states[:, self._steps[at:end] - first]
        return place

    @property
    def kept(self) -> Float[np.ndarray, "clip kept d_model"] | None:
        """The chosen steps, in the type asked for; None where summaries alone were."""
        return self._kept

    @property
    def summary(self) -> dict[str, Float[np.ndarray, "clip ..."]]:
        """mean, var, early, late, norm; nothing where none were asked for."""
        return self._running.summary() if self._running is not None else {}

    @property
    def figures(self) -> dict[str, Float[np.ndarray, " clip"]]:
        """The quality figures of the activation table; nothing where no summaries were asked for."""
        return self._running.figures() if self._running is not None else {}

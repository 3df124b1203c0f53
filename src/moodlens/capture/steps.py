"""Which single steps are kept of a clip."""

import numpy as np

from moodlens.base.errors import UsageError, must
from moodlens.capture.running import complete_steps


def kept_steps(n_steps: int, n_delays: int, n_kept: int) -> tuple[int, ...]:
    """Return decoder steps spread evenly from the first complete step to the last.

    Raises:
        UsageError: the clip has fewer complete steps.

    >>> kept_steps(203, 4, 8)
    (3, 31, 59, 87, 115, 143, 171, 199)
    """
    whole = complete_steps(n_steps, n_delays)
    n_whole = whole.stop - whole.start
    if n_kept > n_whole:
        rule = f"be at most {n_whole}, the complete steps of a clip"
        advice = "Lower reencode.n_steps or raise generate.duration_s"
        raise UsageError(must("reencode.n_steps", rule, n_kept, where="params.yaml", next_step=advice))
    return tuple(int(step) for step in np.linspace(whole.start, whole.stop - 1, n_kept).round())

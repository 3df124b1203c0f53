"""Tempi that are evidence: of clips whose pulse is clearer than noise's."""

import numpy as np
import pandas as pd
from jaxtyping import Float

from moodlens.contracts.tables import ACOUSTICS
from moodlens.store.tables import read_table
from moodlens.workspace.design import Workspace, clip_table

NOISE_S = (1.2, 2.0, 4.0, 8.0, 15.0, 30.0)
NOISE_CLARITY = (0.19, 0.19, 0.16, 0.14, 0.11, 0.08)
"""95th percentile of the pulse clarity of white noise of these lengths (30 to 150 draws each)."""


def noise_clarity(duration_s: Float[np.ndarray, " clip"]) -> Float[np.ndarray, " clip"]:
    """Return the pulse clarity that noise of a clip's length exceeds in 5 % of draws.

    >>> noise_clarity(np.array([0.5, 4.0, 60.0])).tolist()
    [0.19, 0.16, 0.08]
    """
    return np.interp(np.log(duration_s), np.log(NOISE_S), NOISE_CLARITY)


def tempos(work: Workspace) -> tuple[Float[np.ndarray, " clip"], np.ndarray]:
    """Return the tempo in BPM of every clip that has a clear pulse, and the index of its prompt.

    A clip is left out where no tempo was measured, or where noise of its length has as clear a pulse: a tempo
    is always found, and there it says nothing.
    """
    clips = clip_table(work)
    table: pd.DataFrame = read_table(ACOUSTICS, work.root / "data" / "acoustics.parquet").set_index("clip_id")
    own = table.loc[clips["clip_id"]]
    clear = own["pulse_clarity"].to_numpy() > noise_clarity(clips["duration_s"].to_numpy(dtype=np.float64))
    tempo = own["tempo_bpm"].to_numpy(dtype=np.float64)
    known = clear & np.isfinite(tempo)
    return tempo[known], clips["prompt"].to_numpy()[known]

"""Audio files: FLAC, 16 bit, deterministic bytes."""

from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float, Int

from moodlens.store.atomic import replacing

FULL_SCALE = 32767


def to_int16(waveform: Float[np.ndarray, "*channel sample"]) -> Int[np.ndarray, "*channel sample"]:
    """Return samples as 16-bit integers; what exceeds full scale is clipped, what is not finite becomes 0.

    >>> to_int16(np.array([0.0, 0.5, 2.0, -1.0, np.nan])).tolist()
    [0, 16384, 32767, -32767, 0]
    """
    whole = np.nan_to_num(waveform.astype(np.float64), nan=0.0, posinf=1.0, neginf=-1.0)
    return np.rint(np.clip(whole, -1, 1) * FULL_SCALE).astype(np.int16)


def write_flac(path: Path, waveform: Float[np.ndarray, "*channel sample"], sample_rate_hz: int) -> None:
    """Write a waveform (full scale 1), mono (sample,) or (channel, sample), as 16-bit FLAC.

    Raises:
        ContractError: the disk is full or the folder cannot be written.
    """
    with replacing(path) as temporary:
        try:
            soundfile.write(temporary, to_int16(waveform).T, sample_rate_hz, format="FLAC", subtype="PCM_16")
        except soundfile.LibsndfileError as error:
            raise OSError(None, error.error_string) from None

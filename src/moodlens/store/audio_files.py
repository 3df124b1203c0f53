"""Audio files: 16-bit FLAC with deterministic bytes. A missing or truncated file is an error."""

from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float, Int

from moodlens.base.errors import ContractError, must
from moodlens.store.atomic import replacing

FULL_SCALE = 32767


def to_int16(waveform: Float[np.ndarray, "*channel sample"]) -> Int[np.ndarray, "*channel sample"]:
    """Return samples as 16-bit integers; values beyond full scale are clipped, non-finite values become 0.

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


def read_waveform(path: Path) -> tuple[Float[np.ndarray, " sample"], int]:
    """Return the samples of an audio file, (sample,) float32 with full scale 1, and its sampling rate in Hz.

    The channels of a stereo file are averaged.

    Raises:
        ContractError: the file is missing, not audio, or holds fewer samples than its header says.
    """
    advice = "Run `dvc repro generate` to make the clip again"
    if not path.is_file():
        raise ContractError(must("audio file", "exist", "nothing", where=str(path), next_step=advice))
    try:
        with soundfile.SoundFile(str(path)) as file:
            promised, rate = file.frames, file.samplerate
            samples = file.read(dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        reason = error.error_string
        raise ContractError(
            must("audio file", "be readable", reason, where=str(path), next_step=advice)
        ) from None
    if len(samples) != promised:
        got = f"{len(samples)} of {promised}"
        raise ContractError(must("audio file", "hold every sample", got, where=str(path), next_step=advice))
    return samples.mean(axis=1), rate

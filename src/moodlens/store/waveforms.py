"""Audio files read to their end: what is missing or cut short is named, never padded."""

from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float

from moodlens.base.errors import ContractError, must


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

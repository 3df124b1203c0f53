"""From a verified folder to a loaded MusicGen: the only place that calls `from_pretrained`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AutoTokenizer, MusicgenForConditionalGeneration
from transformers.utils import logging as transformers_logging

from moodlens.backends import attention
from moodlens.backends.checkpoint import Checkpoint
from moodlens.backends.musicgen import MusicgenBackend
from moodlens.base.errors import ContractError, UsageError, must
from moodlens.contracts.backend import ModelInfo

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_musicgen(checkpoint: Checkpoint, info: ModelInfo) -> MusicgenBackend:
    """Return the backend of a verified checkpoint, on info.device in info.dtype.

    Raises:
        UsageError: the device is not there.
        ContractError: the weights do not fit the configuration.
    """
    device = _device(info.device)
    with _quiet():
        loaded: Any = MusicgenForConditionalGeneration.from_pretrained(
            checkpoint.folder,
            dtype=DTYPES[info.dtype],
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
        model, report = loaded
        tokenizer = AutoTokenizer.from_pretrained(checkpoint.folder, local_files_only=True)
    for fault in ("missing_keys", "mismatched_keys"):
        if report.get(fault):
            first = sorted(str(key) for key in report[fault])[0]
            advice = "Restore the folder: config.json and the weights do not belong together"
            where = f"{checkpoint.folder}, {fault.replace('_', ' ')}"
            raise ContractError(
                must("model weights", "fit config.json", first, where=where, next_step=advice)
            )
    model.decoder.set_attn_implementation(attention.NAME)
    return MusicgenBackend(model.to(device), tokenizer, info)


def _device(name: str) -> torch.device:
    kind = name.split(":")[0]
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present.get(kind, False):
        advice = "Set model.device to " + " or ".join(device for device, there in present.items() if there)
        raise UsageError(must("model.device", "be present on this machine", name, next_step=advice))
    return torch.device(name)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence transformers' bars and its warning that MusicGen's start token lies outside the vocabulary."""
    verbosity, bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bar:
            transformers_logging.enable_progress_bar()

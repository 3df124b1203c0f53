"""Loading of a verified folder as `MusicgenBackend`, without the progress bars of transformers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import MusicgenForConditionalGeneration, MusicgenMelodyForConditionalGeneration
from transformers.utils import logging as transformers_logging

from moodlens.backends import attention
from moodlens.backends.checkpoint import Checkpoint
from moodlens.backends.musicgen.backend import BLOCK_CLIPS, MusicgenBackend
from moodlens.backends.musicgen.fit import DERIVED, REFUSED, check_fit, load_tokenizer, refused
from moodlens.base.errors import ContractError, UsageError, must
from moodlens.contracts.backend import ModelInfo


@contextmanager
def quiet_transformers() -> Iterator[None]:
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


MODELS = {
    "musicgen": MusicgenForConditionalGeneration,
    "musicgen_melody": MusicgenMelodyForConditionalGeneration,
}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_musicgen(
    checkpoint: Checkpoint, info: ModelInfo, text_padding: str = "mask", block_clips: int = 0
) -> MusicgenBackend:
    """Return the backend of a verified checkpoint, on info.device in info.dtype.

    Raises:
        UsageError: the device is absent.
        ContractError: the weights do not fit the configuration, or transformers refuses the folder.
    """
    device = device_of(info.device)
    kind = MODELS[checkpoint.config["model_type"]]
    with quiet_transformers():
        check_fit(checkpoint, kind)
        tokenizer = load_tokenizer(checkpoint.folder, checkpoint.config["text_encoder"]["vocab_size"])
        try:
            loaded: Any = kind.from_pretrained(
                checkpoint.folder,
                dtype=DTYPES[info.dtype],
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
        except REFUSED as error:
            raise refused(checkpoint.folder, "hold a model that transformers can load", error) from None
    model, report = loaded
    for fault in ("missing_keys", "mismatched_keys", "unexpected_keys"):
        names = sorted(str(key) for key in report.get(fault, ()))
        if wrong := [name for name in names if fault != "unexpected_keys" or not DERIVED.search(name)]:
            first = wrong[0]
            advice = "Restore the folder: config.json and the weights do not belong together"
            where = f"{checkpoint.folder}, {fault.replace('_', ' ')}"
            raise ContractError(
                must("model weights", "fit config.json", first, where=where, next_step=advice)
            )
    release_file(model, DTYPES[info.dtype])
    model.decoder.set_attn_implementation(attention.NAME)
    return MusicgenBackend(model.to(device), tokenizer, info, block_clips or BLOCK_CLIPS, text_padding)


def check_loadable(checkpoint: Checkpoint) -> None:
    """Check what `load_musicgen` checks before it reads a weight.

    Raises:
        UsageError, ContractError: as `load_musicgen`, the device aside.
    """
    with quiet_transformers():
        check_fit(checkpoint, MODELS[checkpoint.config["model_type"]])
        load_tokenizer(checkpoint.folder, checkpoint.config["text_encoder"]["vocab_size"])


def release_file(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Copy parameters that are not in the model's dtype: views of the mapped file keep all of it resident.

    In float16, transformers leaves some parameters of T5 in float32 (`_keep_in_fp32_modules`).
    """
    for parameter in model.parameters():
        if parameter.dtype != dtype:
            parameter.data = parameter.data.clone()


def device_of(name: str) -> torch.device:
    """Return the device, after checking that it is present.

    Raises:
        UsageError: it is absent; the message names the devices that are present.
    """
    kind = name.split(":")[0]
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present.get(kind, False):
        advice = "Set model.device to " + " or ".join(device for device, here in present.items() if here)
        raise UsageError(must("model.device", "be present on this machine", name, next_step=advice))
    return torch.device(name)

"""Loading of a folder in audiocraft layout as `AudiocraftBackend`: verified first, then loaded by audiocraft.

audiocraft unpickles the two files itself. A file that passed `audiocraft.layout.read_packages` holds tensors
and plain values only, so it contains no code to run.
"""

import json
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from moodlens.backends.audiocraft import config as converted_config
from moodlens.backends.audiocraft.backend import AudiocraftBackend
from moodlens.backends.audiocraft.layout import Package, Settings, read_packages
from moodlens.backends.audiocraft.named_parts import FILES, text_encoder_folder
from moodlens.backends.audiocraft.stand_ins import import_audiocraft
from moodlens.backends.checkpoint import AUDIOCRAFT_FILES, Checkpoint
from moodlens.backends.weight_files import read_json
from moodlens.base.errors import UsageError, must
from moodlens.contracts.backend import ModelInfo

KINDS = {"musicgen": "MusicGen", "audiogen": "AudioGen"}
"""Solver of xp.cfg -> class of audiocraft.models."""


def find_audiocraft(folder: Path) -> Checkpoint:
    """Return the files of a folder in audiocraft layout and its configuration in transformers form.

    Raises:
        UsageError: it holds pickled code, is not a MusicGen or AudioGen, or has no decoder steps.
        ContractError: a file is absent, truncated or damaged.
    """
    language, codec = read_packages(folder)
    settings = language.settings
    _kind(settings)
    lm = settings.need("transformer_lm")
    if codec.pretrained:
        advice = "Put the codec's own compression_state_dict.bin into the folder"
        raise UsageError(must("the codec", "be in the folder", codec.pretrained, next_step=advice))
    text = text_encoder_folder(converted_config.text_encoder_name(settings))
    config = {
        "model_type": "musicgen_melody" if converted_config.is_melody(settings) else "musicgen",
        "decoder": {
            "num_hidden_layers": lm["num_layers"],
            "hidden_size": lm["dim"],
            "num_attention_heads": lm["num_heads"],
            "ffn_dim": int(lm.get("hidden_scale", 4) * lm["dim"]),
            "num_codebooks": lm["n_q"],
            "vocab_size": lm["card"],
            "audio_channels": converted_config.audio_channels(settings),
        },
        "text_encoder": read_json(text / "config.json"),
        "audio_encoder": json.loads(
            converted_config.codec_config(codec.settings).to_json_string(use_diff=False)
        ),
    }
    if converted_config.is_melody(settings):
        chroma = settings.need("conditioners.self_wav.chroma_stem")
        config |= {
            "num_chroma": chroma["n_chroma"],
            "chroma_length": converted_config.chroma_positions(settings),
        }
    outside = sorted({path for pattern in FILES for path in text.glob(pattern) if path.is_file()})
    files = (*(folder / name for name in AUDIOCRAFT_FILES), *outside)
    return Checkpoint(folder, config, files, _most_dtype(language))


def _most_dtype(package: Package) -> str:
    """Return the dtype of most values of a package."""
    n_values: Counter[torch.dtype] = Counter()
    for tensor in package.weights.values():
        n_values[tensor.dtype] += tensor.numel()
    return str(n_values.most_common(1)[0][0]).removeprefix("torch.")


def load_audiocraft(checkpoint: Checkpoint, info: ModelInfo, text_padding: str) -> AudiocraftBackend:
    """Return the backend of a folder that `find_audiocraft` accepted.

    Raises:
        UsageError: audiocraft, a package that it needs for this model, or the device is absent, or
            model.dtype is not float32.
    """
    from moodlens.backends.musicgen.loading import device_of

    device = device_of(info.device)
    if info.dtype != "float32":
        advice = "Set model.dtype to float32, or convert the folder (`moodlens models convert`)"
        raise UsageError(must("model.dtype", "be float32 under audiocraft", info.dtype, next_step=advice))
    import_audiocraft()
    from audiocraft import models

    language, _ = read_packages(checkpoint.folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations since audiocraft's last release
        kind = getattr(models, _kind(language.settings))
        try:
            model: Any = kind.get_pretrained(str(checkpoint.folder), device=str(device))
        except ModuleNotFoundError as error:  # a melody model's chroma needs demucs and torchaudio
            rule, name = "be installed for audiocraft to load this model", error.name
            advice = "Install it, or run `moodlens models convert`: a converted melody model takes text only"
            raise UsageError(must(str(name), rule, "nothing", next_step=advice)) from None
    model.lm.to(torch.float32)
    return AudiocraftBackend(model, info, text_padding)


def _kind(settings: Settings) -> str:
    """Return the class of audiocraft.models for a configuration; MAGNeT and others are refused."""
    name, pattern = settings.need("lm_model"), settings.get("codebooks_pattern.modeling", "delay")
    if name != "transformer_lm" or pattern != "delay":
        rule = "be a transformer_lm with the delay pattern (MAGNeT fills sequences in: no decoder steps)"
        raise UsageError(settings.fault("lm_model", rule, f"{name}, {pattern}"))
    solver = settings.get("solver", "musicgen")
    if solver not in KINDS:
        raise UsageError(settings.fault("solver", "be musicgen or audiogen", solver))
    return KINDS[solver]

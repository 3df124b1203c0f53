"""The configuration of a MusicGen (`config.json`): what it must state, and defaults for the rest.

Newer versions of transformers leave out values that equal their defaults. They are filled in here, so that
sizes, forecast and digest are the same for a file that states them and one that does not.

Source: defaults of transformers 5.23; a test compares them with its configuration classes.
"""

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

from moodlens.base.errors import ContractError, UsageError, must

MUSICGENS = ("musicgen", "musicgen_melody")
PARTS = ("text_encoder", "audio_encoder", "decoder")
DEFAULTS: dict[str, dict[str, Any]] = {
    "decoder": {
        "num_hidden_layers": 24, "hidden_size": 1024, "num_attention_heads": 16, "ffn_dim": 4096,
        "num_codebooks": 4, "vocab_size": 2048, "audio_channels": 1,
    },
    "text_encoder": {
        "vocab_size": 32128, "d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_heads": 8,
        "feed_forward_proj": "relu", "relative_attention_num_buckets": 32,
    },
    "audio_encoder": {
        "sampling_rate": 24000, "audio_channels": 1, "upsampling_ratios": [8, 5, 4, 2], "num_filters": 32,
        "hidden_size": 128, "num_residual_layers": 1, "num_lstm_layers": 2, "codebook_size": 1024,
        "kernel_size": 7, "last_kernel_size": 7, "residual_kernel_size": 3, "compress": 2,
        "use_conv_shortcut": True,
    },
}  # fmt: skip
KINDS = {"text_encoder": "t5", "audio_encoder": "encodec"}
MELODY = {"num_chroma": 12, "chroma_length": 235}
NONE_ALLOWED = ("num_residual_layers", "num_lstm_layers")
"""Counts that may be 0."""


def completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with the sizes that it leaves out.

    >>> completed({"model_type": "musicgen", "decoder": {"num_codebooks": 8}})["decoder"]["hidden_size"]
    1024
    """
    whole = dict(config)
    for part, defaults in DEFAULTS.items():
        whole[part] = {**defaults, **dict(config.get(part) or {})}
    return {**MELODY, **whole} if config.get("model_type") == "musicgen_melody" else whole


def check_architecture(config: Mapping[str, Any], folder: Path) -> None:
    """Check that a configuration is one of a MusicGen that this project can run.

    Raises:
        UsageError: it is of another model, quantised, or of more than two channels.
        ContractError: a size is no positive integer, or sizes contradict each other.
    """
    kind = config.get("model_type")
    where = f"{folder}/config.json"
    if kind not in MUSICGENS or not all(isinstance(config.get(part), Mapping) for part in PARTS):
        advice = "Set model.id to a folder saved from MusicgenForConditionalGeneration"
        rule = "be musicgen or musicgen_melody"
        got = kind if kind not in MUSICGENS else f"{kind} without {' or '.join(PARTS)}"
        raise UsageError(must("model_type", rule, got, where=where, next_step=advice))
    for part, wanted in KINDS.items():
        found = config[part].get("model_type")
        if found != wanted:
            advice = "MusicGen was published with T5 and EnCodec alone; choose such a checkpoint"
            rule = f"be {wanted}"
            raise UsageError(must(f"{part}.model_type", rule, found, where=where, next_step=advice))
    if config.get("quantization_config") or config["decoder"].get("quantization_config"):
        advice = "Save the model again in float32, bfloat16 or float16"
        raise UsageError(
            must("quantization_config", "be absent", "quantised weights", where=where, next_step=advice)
        )
    whole = completed(config)
    channels = whole["decoder"]["audio_channels"]
    if channels not in (1, 2):
        advice = "Choose a mono or stereo checkpoint, such as facebook/musicgen-small"
        raise UsageError(must("audio_channels", "be 1 or 2", channels, where=where, next_step=advice))
    for part, defaults in DEFAULTS.items():
        for key, default in defaults.items():
            _check_size(f"{part}.{key}", whole[part][key], default, where)
    if kind == "musicgen_melody":
        for key, default in MELODY.items():
            _check_size(key, whole[key], default, where)
    _check_together(whole, where)


def _check_size(name: str, value: object, default: object, where: str) -> None:
    least = 0 if name.split(".")[-1] in NONE_ALLOWED else 1
    advice = "Restore config.json: download or copy it again"
    values = value if isinstance(default, list) else [value]
    if isinstance(default, bool):
        fits = type(value) is bool
    elif isinstance(default, str):
        fits = isinstance(value, str)
    else:
        fits = isinstance(values, list) and bool(values)
        fits = fits and all(type(n) is int and least <= n < 2**31 for n in values)  # pyright: ignore
    if not fits:
        rule = f"be {'a list of' if isinstance(default, list) else 'a'} positive integer"
        rule = f"be {type(default).__name__}" if isinstance(default, (bool, str)) else rule
        raise ContractError(must(name, rule, value, where=where, next_step=advice))


def _check_together(config: Mapping[str, Any], where: str) -> None:
    """Check what transformers or our generation would refuse later, or compute as something else."""
    decoder, codec = config["decoder"], config["audio_encoder"]
    d, heads = decoder["hidden_size"], decoder["num_attention_heads"]
    books, channels = decoder["num_codebooks"], decoder["audio_channels"]
    faults = [
        (d % heads == 0, "decoder.hidden_size", f"be a multiple of {heads} heads", d),
        (d % 2 == 0, "decoder.hidden_size", "be even (sinusoidal positions)", d),
        (books % channels == 0, "decoder.num_codebooks", f"be a multiple of {channels} channels", books),
        (
            decoder["vocab_size"] == codec["codebook_size"],
            "decoder.vocab_size",
            f"be the codec's codebook_size, {codec['codebook_size']}",
            decoder["vocab_size"],
        ),
        (
            codec["codebook_size"] < 2**15,
            "audio_encoder.codebook_size",
            "be below 32768 (tokens are stored in 16 bits)",
            codec["codebook_size"],
        ),
    ]
    for fits, name, rule, got in faults:
        if not fits:
            advice = "Restore config.json: download or copy it again"
            raise ContractError(must(name, rule, got, where=where, next_step=advice))


def frame_rate_of(codec: Mapping[str, Any]) -> float:
    """Return the frames per second of a codec's configuration.

    >>> frame_rate_of({"sampling_rate": 16_000, "upsampling_ratios": [5, 2, 32]})
    50.0
    """
    return float(codec["sampling_rate"] / prod(codec["upsampling_ratios"]))

"""Conversion of the configuration: from audiocraft's `xp.cfg` to transformers' `config.json`.

audiocraft can train more architectures than transformers' MusicGen can express. `check` refuses those
setting by setting, instead of converting weights into a model that would compute something else.
"""

import json
import math
from pathlib import Path
from typing import Any

import torch
from transformers import (
    EncodecConfig,
    EncodecFeatureExtractor,
    GenerationConfig,
    MusicgenConfig,
    MusicgenDecoderConfig,
    MusicgenForConditionalGeneration,
    MusicgenMelodyConfig,
    MusicgenMelodyDecoderConfig,
    MusicgenMelodyForConditionalGeneration,
    MusicgenProcessor,
)

from moodlens.backends.audiocraft.layout import Settings, segment_s
from moodlens.backends.musicgen.loading import quiet_transformers
from moodlens.backends.trained_length import PUBLISHED_S
from moodlens.base.errors import UsageError

LANGUAGE_MODEL_DEMANDS: dict[str, tuple[object, object]] = {
    "lm_model": ("transformer_lm", None),
    "codebooks_pattern.modeling": ("delay", "delay"),
    "codebooks_pattern.delay.flatten_first": (0, 0),
    "codebooks_pattern.delay.empty_initial": (0, 0),
    "interleave_stereo_codebooks.per_timestep": (False, False),
    "transformer_lm.norm": ("layer_norm", "layer_norm"),
    "transformer_lm.norm_first": (True, False),
    "transformer_lm.bias_attn": (False, True),
    "transformer_lm.bias_ff": (False, True),
    "transformer_lm.bias_proj": (False, True),
    "transformer_lm.causal": (True, False),
    "transformer_lm.positional_embedding": ("sin", "sin"),
    "transformer_lm.positional_scale": (1.0, 1.0),
    "transformer_lm.max_period": (10_000, 10_000),
    "transformer_lm.past_context": (None, None),
    "transformer_lm.layer_scale": (None, None),
    "transformer_lm.qk_layer_norm": (False, False),
    "transformer_lm.qk_layer_norm_cross": (False, False),
    "transformer_lm.kv_repeat": (1, 1),
    "transformer_lm.activation": ("gelu", "relu"),
    "conditioners.description.model": ("t5", None),
    "conditioners.description.t5.finetune": (False, False),
    "conditioners.description.t5.normalize_text": (False, False),
    "fuser.sum": ([], []),
    "fuser.input_interpolate": ([], []),
    "fuser.cross_attention_pos_emb": (False, False),
}
"""Setting -> the value that transformers can express, and audiocraft's default if xp.cfg lacks it."""

CODEC_DEMANDS: dict[str, tuple[object, object]] = {
    "compression_model": ("encodec", None),
    "encodec.autoencoder": ("seanet", None),
    "encodec.quantizer": ("rvq", None),
    "encodec.renormalize": (False, False),
    "seanet.activation": ("ELU", "ELU"),
    "seanet.activation_params": ({"alpha": 1.0}, {"alpha": 1.0}),
    "seanet.norm": ("weight_norm", "none"),
    "seanet.disable_norm_outer_blocks": (0, 0),
    "seanet.decoder.final_activation": (None, None),
}


def check(settings: Settings) -> None:
    """Check that transformers can express the language model.

    Raises:
        UsageError: a setting has a value that transformers lacks, or this is not a MusicGen.
    """
    for name, (allowed, default) in LANGUAGE_MODEL_DEMANDS.items():
        settings.demand(name, allowed, default)
    melody = is_melody(settings)
    settings.demand("fuser.cross", [] if melody else ["description"], [])
    settings.demand("fuser.prepend", ["self_wav", "description"] if melody else [], [])
    if melody:
        settings.demand("conditioners.self_wav.model", "chroma_stem", None)
        settings.demand("conditioners.self_wav.chroma_stem.argmax", True, False)  # null chroma is one-hot
    n_q, channels = settings.need("transformer_lm.n_q"), audio_channels(settings)
    delays = [k // channels for k in range(n_q)]
    settings.demand("codebooks_pattern.delay.delays", delays, list(range(n_q)))


def is_melody(settings: Settings) -> bool:
    """Say whether the model takes a melody; chroma and text are then prepended to the sequence."""
    return settings.get("conditioners.self_wav") is not None


def audio_channels(settings: Settings) -> int:
    """Return 2 if the codebooks of left and right are interleaved, else 1."""
    return 2 if settings.get("interleave_stereo_codebooks.use", False) else 1


def text_encoder_name(settings: Settings) -> str:
    """Return the hub id or the folder of the T5."""
    return str(settings.need("conditioners.description.t5.name"))


def codec_config(settings: Settings) -> EncodecConfig:
    """Return the codec's configuration.

    Raises:
        UsageError: transformers cannot express the codec.
    """
    for name, (allowed, default) in CODEC_DEMANDS.items():
        settings.demand(name, allowed, default)
    seanet, rvq = settings.need("seanet"), settings.need("rvq")
    sample_rate_hz, n_codebooks = settings.need("encodec.sample_rate"), rvq["n_q"]
    ratios = list(seanet["ratios"])
    bits = math.ceil(math.log2(rvq["bins"])) * math.ceil(sample_rate_hz / math.prod(ratios))
    return EncodecConfig(
        # kbit/s of all codebooks, and one float more: transformers rounds the number of codebooks down
        target_bandwidths=[math.nextafter(n_codebooks * bits / 1000, math.inf)],
        sampling_rate=sample_rate_hz,
        audio_channels=settings.get("encodec.channels", 1),
        normalize=False,
        hidden_size=seanet["dimension"],
        num_filters=seanet["n_filters"],
        num_residual_layers=seanet["n_residual_layers"],
        upsampling_ratios=ratios,
        norm_type="weight_norm",
        kernel_size=seanet.get("kernel_size", 7),
        last_kernel_size=seanet.get("last_kernel_size", 7),
        residual_kernel_size=seanet.get("residual_kernel_size", 3),
        dilation_growth_rate=seanet.get("dilation_base", 2),
        use_causal_conv=bool(seanet.get("causal", False)),
        pad_mode=seanet.get("pad_mode", "reflect"),
        compress=seanet.get("compress", 2),
        num_lstm_layers=seanet.get("lstm", 0),
        trim_right_ratio=(seanet.get("decoder") or {}).get("trim_right_ratio", 1.0),
        codebook_size=rvq["bins"],
        use_conv_shortcut=not seanet.get("true_skip", True),
    )


def skeleton(settings: Settings, text: Any, codec: EncodecConfig) -> Any:
    """Return the transformers model of the settings on the meta device, without memory for its weights.

    Raises:
        UsageError: text encoder and decoder have the same width; transformers then drops the text projection.
    """
    lm = settings.need("transformer_lm")
    if text.d_model == lm["dim"]:
        rule = "differ from the text encoder's width (transformers then drops the text projection)"
        raise UsageError(settings.fault("transformer_lm.dim", rule, lm["dim"]))
    melody = is_melody(settings)
    sizes = {
        "vocab_size": lm["card"],
        "max_position_embeddings": 2048,
        "num_hidden_layers": lm["num_layers"],
        "ffn_dim": int(lm.get("hidden_scale", 4) * lm["dim"]),
        "num_attention_heads": lm["num_heads"],
        "hidden_size": lm["dim"],
        "dropout": lm.get("dropout", 0.0),
        "num_codebooks": lm["n_q"],
        "audio_channels": audio_channels(settings),
        "pad_token_id": lm["card"],
        "bos_token_id": lm["card"],
        "activation_function": "gelu",
    }
    with quiet_transformers(), torch.device("meta"):
        if not melody:
            decoder = MusicgenDecoderConfig(**sizes)
            config = MusicgenConfig(text_encoder=text, audio_encoder=codec, decoder=decoder)
            return MusicgenForConditionalGeneration(config)
        chroma, length = settings.need("conditioners.self_wav.chroma_stem"), chroma_positions(settings)
        decoder = MusicgenMelodyDecoderConfig(**sizes)
        config = MusicgenMelodyConfig(
            text_encoder=text,
            audio_encoder=codec,
            decoder=decoder,
            num_chroma=chroma["n_chroma"],
            chroma_length=length,
        )
        return MusicgenMelodyForConditionalGeneration(config)


def chroma_positions(settings: Settings) -> int:
    """Return the number of positions of a melody model's chroma before the text."""
    chroma = settings.need("conditioners.self_wav.chroma_stem")
    hop = 2 ** chroma["radix2_exp"] // 4
    return int(chroma["sample_rate"] * settings.need("dataset.segment_duration")) // hop + 1


def processor(config: Any, tokenizer: Any) -> Any:
    """Return the processor that is saved beside a converted model.

    For a melody model it is the tokenizer alone: transformers needs torchaudio to make the chroma extractor,
    and text needs none.
    """
    if config.model_type == "musicgen_melody":
        return tokenizer
    channels, rate_hz = config.decoder.audio_channels, config.audio_encoder.sampling_rate
    extractor = EncodecFeatureExtractor(feature_size=channels, sampling_rate=rate_hz)
    return MusicgenProcessor(extractor, tokenizer)


def generation(config: Any, settings: Settings) -> GenerationConfig:
    """Return audiocraft's sampling (top-k 250, guidance 3) of clips as long as those of the training.

    Args:
        config: of the converted model.
        settings: of the language model; without a length of its clips, that of the published models is taken.
    """
    decoder, codec = config.decoder, config.audio_encoder
    n_frames = max(1, round((segment_s(settings) or PUBLISHED_S) * codec.frame_rate))
    return GenerationConfig(
        do_sample=True,
        guidance_scale=3.0,
        top_k=250,
        max_length=n_frames + decoder.num_codebooks // decoder.audio_channels,
        pad_token_id=decoder.pad_token_id,
        bos_token_id=decoder.pad_token_id,
        decoder_start_token_id=decoder.pad_token_id,
    )


def write(model: Any, folder: Path) -> None:
    """Write `config.json` and `generation_config.json` of a model."""
    config = json.loads(model.config.to_json_string(use_diff=False))
    config["architectures"], config["dtype"] = [type(model).__name__], "float32"
    for part in ("text_encoder", "audio_encoder", "decoder"):
        config[part]["dtype"] = "float32"
        config[part].pop("_name_or_path", None)  # a path on this machine
    text = json.dumps(config, indent=2, sort_keys=True)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")
    model.generation_config.save_pretrained(folder)

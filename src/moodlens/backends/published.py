"""Configurations of the published MusicGens, by id: what `moodlens plan` needs where no weights are at hand.

Source: audiocraft 1.3.0 `config/model/lm/model_scale`, `config/conditioner`, `config/model/encodec`; the same
values stand in the `config.json` of facebook/musicgen-* (transformers `convert_musicgen_transformers`).
"""

from typing import Any

SCALES = {"small": (24, 1024, 16), "medium": (48, 1536, 24), "large": (48, 2048, 32)}
"""Decoder: layers, width, heads. Melody is medium, melody-large is large."""


def published_config(model_id: str) -> dict[str, Any] | None:
    """Return the sizes of a published model in the form of `config.json`; None for any other id.

    >>> config = published_config("facebook/musicgen-stereo-large")
    >>> config["decoder"]["hidden_size"], config["decoder"]["num_codebooks"]
    (2048, 8)
    """
    family, _, name = model_id.partition("musicgen-")
    words = name.split("-")
    if family != "facebook/" or not set(words) <= {*SCALES, "stereo", "melody"}:
        return None
    scale = next((word for word in words if word in SCALES), "medium")
    n_layers, d_model, n_heads = SCALES[scale]
    channels = 2 if "stereo" in words else 1
    melody = "melody" in words
    return {
        "model_type": "musicgen_melody" if melody else "musicgen",
        "num_chroma": 12,
        "chroma_length": 235,
        "decoder": {
            "num_hidden_layers": n_layers,
            "hidden_size": d_model,
            "num_attention_heads": n_heads,
            "ffn_dim": 4 * d_model,
            "num_codebooks": 4 * channels,
            "audio_channels": channels,
            "vocab_size": 2048,
        },
        "text_encoder": {
            "vocab_size": 32128, "d_model": 768, "d_ff": 3072, "d_kv": 64, "num_heads": 12, "num_layers": 12,
            "feed_forward_proj": "relu",
        },
        "audio_encoder": {
            "sampling_rate": 32000, "upsampling_ratios": [8, 5, 4, 4], "num_filters": 64, "hidden_size": 128,
            "num_residual_layers": 1, "num_lstm_layers": 2, "codebook_size": 2048, "codebook_dim": 128,
            "kernel_size": 7, "last_kernel_size": 7, "residual_kernel_size": 3, "compress": 2,
            "use_conv_shortcut": False,
        },
    }  # fmt: skip

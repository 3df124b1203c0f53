"""Sizes of a MusicGen from its configuration: parameters of each part, weights of a decoder step.

`published_config` gives the configurations of the published models, so that `moodlens plan` needs no weights.

Source: audiocraft 1.3.0 `config/model/lm/model_scale`, `config/conditioner`, `config/model/encodec`; the
`config.json` of facebook/musicgen-* has the same values (transformers `convert_musicgen_transformers`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from moodlens.backends.checkpoint import Checkpoint
from moodlens.backends.model_config import frame_rate_of
from moodlens.backends.requests import packing_pays

POSITIONS = 2048  # rows of the sinusoidal table that every decoder holds


@dataclass(frozen=True)
class Sizes:
    """Sizes of one model; `n_` counts, the rest in the unit of the name."""

    n_layers: int
    d_model: int
    d_ffn: int
    n_heads: int
    n_codebooks: int
    codebook_size: int
    n_delays: int
    d_text: int
    n_prefix: int  # chroma positions of a melody model before its text
    n_decoder: int  # parameters, with the projections of the conditions
    n_text: int
    n_codec: int
    codec_filters: int
    d_codec: int
    sample_rate_hz: int
    frame_rate_hz: float
    audio_channels: int
    stored_dtype: str = "float32"  # of the weights in the checkpoint's files

    @property
    def n_model(self) -> int:
        """Parameters of decoder and text encoder, with the decoder's table of positions."""
        return self.n_decoder + self.n_text + POSITIONS * self.d_model

    @property
    def n_samples_per_frame(self) -> float:
        return self.sample_rate_hz / self.frame_rate_hz

    def packed_bytes(self, dtype: str) -> int:
        """Return the bytes of the packed copy of the weights, 0 if none is made."""
        n_bytes = 4 * self.n_step
        return n_bytes if packing_pays(dtype, self.d_model, n_bytes) else 0

    def width_of(self, sites: Sequence[str], n_layers: int) -> int:
        """Return the number of values per row and step of some sites in `n_layers` layers, one half."""
        d = self.d_model
        whole = {"embedding": d, "final_norm": d, "logits": self.n_codebooks * self.codebook_size}
        return sum(whole.get(site, n_layers * d) for site in sites)

    @property
    def n_step(self) -> int:
        """Decoder weights that one row of one step is multiplied with; the keys of the text are cached."""
        d = self.d_model
        attention = (4 if self.n_prefix else 6) * d * d
        return self.n_layers * (attention + 2 * d * self.d_ffn) + self.n_codebooks * self.codebook_size * d


def sizes_of(config: Mapping[str, Any]) -> Sizes:
    """Return the sizes of the model of a configuration in transformers form."""
    decoder, codec, text = config["decoder"], config["audio_encoder"], config["text_encoder"]
    melody = config.get("model_type") == "musicgen_melody"
    return Sizes(
        n_layers=decoder["num_hidden_layers"],
        d_model=decoder["hidden_size"],
        d_ffn=decoder["ffn_dim"],
        n_heads=decoder["num_attention_heads"],
        n_codebooks=decoder["num_codebooks"],
        codebook_size=decoder["vocab_size"],
        n_delays=decoder["num_codebooks"] // decoder.get("audio_channels", 1),
        d_text=text["d_model"],
        n_prefix=config["chroma_length"] if melody else 0,
        n_decoder=_decoder(decoder, text["d_model"], config["num_chroma"] if melody else 0),
        n_text=_text(text),
        n_codec=_codec(codec),
        codec_filters=codec["num_filters"],
        d_codec=codec["hidden_size"],
        sample_rate_hz=codec["sampling_rate"],
        frame_rate_hz=frame_rate_of(codec),
        audio_channels=decoder.get("audio_channels", 1),
        stored_dtype=str(config.get("dtype") or config.get("torch_dtype") or "float32"),
    )


def sizes_of_checkpoint(checkpoint: Checkpoint) -> Sizes:
    """Return the sizes of a model folder, with the dtype that most of its stored weights have."""
    return replace(sizes_of(checkpoint.config), stored_dtype=checkpoint.stored_dtype)


def _decoder(config: Mapping[str, Any], d_text: int, n_chroma: int) -> int:
    d, ffn, k, v = config["hidden_size"], config["ffn_dim"], config["num_codebooks"], config["vocab_size"]
    attentions = 1 if n_chroma else 2
    layer = attentions * 4 * d * d + 2 * d * ffn + (attentions + 1) * 2 * d
    conditions = (d_text + 1) * d if d_text != d else 0
    conditions += (n_chroma + 1) * d if n_chroma else 0
    return config["num_hidden_layers"] * layer + k * (v + 1) * d + k * v * d + 2 * d + conditions


def _text(config: Mapping[str, Any]) -> int:
    d, inner = config["d_model"], config["num_heads"] * config["d_kv"]
    products = 3 if "gated" in config.get("feed_forward_proj", "relu") else 2
    layer = 4 * d * inner + products * d * config["d_ff"] + 2 * d
    buckets = config.get("relative_attention_num_buckets", 32) * config["num_heads"]
    return config["vocab_size"] * d + config["num_layers"] * layer + d + buckets


def _codec(config: Mapping[str, Any]) -> int:
    """Return the parameters of SEANet: convolutions (weight norm adds a gain per channel) and LSTMs."""
    filters, hidden = config["num_filters"], config["hidden_size"]
    channels, kernel = config.get("audio_channels", 1), config.get("kernel_size", 7)
    inner, last = config.get("residual_kernel_size", 3), config.get("last_kernel_size", 7)
    widest = filters * 2 ** len(config["upsampling_ratios"])
    total = _conv(channels, filters, kernel) + _conv(filters, channels, last)
    total += _conv(widest, hidden, last) + _conv(hidden, widest, kernel)
    total += 2 * config.get("num_lstm_layers", 2) * (8 * widest * widest + 8 * widest)
    width = filters
    for ratio in reversed(config["upsampling_ratios"]):
        narrow = width // config.get("compress", 2)
        block = _conv(width, narrow, inner) + _conv(narrow, width, 1)
        block += _conv(width, width, 1) if config.get("use_conv_shortcut", True) else 0
        total += 2 * config.get("num_residual_layers", 1) * block
        total += 2 * (width * 2 * width * 2 * ratio) + 7 * width  # biases, and a gain per channel of axis 0
        width *= 2
    return total


def _conv(n_in: int, n_out: int, kernel: int) -> int:
    return n_in * n_out * kernel + 2 * n_out  # weights, bias and gain


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

"""The organism's architecture: a small MusicGen of stock transformers classes and its tokenizer.

`build_random` draws untrained weights; `save` and `load_model` write and read a trained model. The organism
and its shuffled twin both have this architecture.

The accessors (`codec_of`, `text_encoder_of`, ...) give each part of a MusicGen its own type, because
transformers declares it optional or a dict.
"""

import copy
import json
import os
import string
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    EncodecConfig,
    EncodecFeatureExtractor,
    EncodecModel,
    MusicgenConfig,
    MusicgenDecoderConfig,
    MusicgenForConditionalGeneration,
    MusicgenProcessor,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)
from transformers.models.encodec.modeling_encodec import EncodecDecoderOutput, EncodecEncoderOutput

from moodlens.base.errors import UsageError, must
from moodlens.base.seeding import seed_for
from moodlens.base.units import steps_for
from moodlens.prompts.grammar import vocabulary
from moodlens.store.atomic import replacing


def codec_of(model: MusicgenForConditionalGeneration) -> EncodecModel:
    """Return the codec of a model."""
    return cast(EncodecModel, model.audio_encoder)


def text_encoder_of(model: MusicgenForConditionalGeneration) -> T5EncoderModel:
    """Return the text encoder of a model."""
    return cast(T5EncoderModel, model.text_encoder)


def decoder_config_of(model: MusicgenForConditionalGeneration) -> MusicgenDecoderConfig:
    """Return the configuration of a model's decoder."""
    return cast(MusicgenDecoderConfig, model.config.decoder)


def pad_id_of(model: MusicgenForConditionalGeneration) -> int:
    """Return the start and padding token of a model's decoder."""
    return cast(int, decoder_config_of(model).pad_token_id)


@torch.no_grad()
def encode(
    codec: EncodecModel, waveforms: Float[Tensor, "clip sample"]
) -> Int[Tensor, "clip codebook frame"]:
    """Return the tokens of mono waveforms at the codec's sample rate."""
    encoded = cast(EncodecEncoderOutput, codec.encode(waveforms[:, None]))
    return cast(Tensor, encoded.audio_codes)[0]


@torch.no_grad()
def decode(codec: EncodecModel, codes: Int[Tensor, "clip codebook frame"]) -> Float[Tensor, "clip sample"]:
    """Return the waveforms of tokens, hop samples per frame."""
    unscaled = cast(Tensor, [None])
    decoded = cast(EncodecDecoderOutput, codec.decode(cast(torch.LongTensor, codes[None]), unscaled))
    return cast(Tensor, decoded.audio_values)[:, 0]


SPECIAL = ("<pad>", "</s>", "<unk>")
"""Ids 0, 1, 2, as T5 has them."""

WORD_MARK = "\u2581"
WORD_SCORE, MARK_SCORE, CHARACTER_SCORE = -4.0, -8.0, -10.0
"""Log weights of the unigram model: a known word always beats its spelling."""

CHARACTERS = string.ascii_lowercase + string.digits + ",.-'"


def build_tokenizer() -> T5Tokenizer:
    """Return the tokenizer of the prompt grammar: one token per word, other words spelt by characters.

    The text must be lower case.

    >>> tokenizer = build_tokenizer()
    >>> tokenizer.tokenize("sad flute piece")
    ['▁sad', '▁flute', '▁piece']
    >>> tokenizer.tokenize("zorp")
    ['▁', 'z', 'o', 'r', 'p']
    """
    words = [word for word in vocabulary() if word not in CHARACTERS or word.isalnum()]
    pieces = [(token, 0.0) for token in SPECIAL] + [(WORD_MARK, MARK_SCORE)]
    pieces += [(WORD_MARK + word, WORD_SCORE) for word in words]
    pieces += [(character, CHARACTER_SCORE) for character in CHARACTERS]
    return T5Tokenizer(vocab=pieces, extra_ids=0)


SAMPLE_RATE_HZ = 16_000
FRAME_RATE_HZ = 50
HOP_SAMPLES = SAMPLE_RATE_HZ // FRAME_RATE_HZ
CODEBOOK_SIZE = 512

CLIP_FRAMES = 200
"""4 s: the length of the training clips and of a default generation."""


@dataclass(frozen=True)
class Shape:
    """Sizes of text encoder and decoder."""

    d_text: int = 128  # width of the text encoder
    n_text_layers: int = 2
    n_text_heads: int = 4
    d_model: int = 192  # width of the decoder
    n_layers: int = 6
    n_heads: int = 6
    d_ffn: int = 768


def codec_config() -> EncodecConfig:
    """Return the codec's configuration: 16 kHz mono, 50 frames/s, 4 codebooks x 512 (1.8 kbit/s), not causal.

    The encoder shortens time by 32 first, then by 2, then by 5. Most layers therefore run at 500 Hz or less,
    which makes training on one thread possible. Constant padding and the missing convolutional shortcut
    serve the same purpose.
    """
    return EncodecConfig(
        sampling_rate=SAMPLE_RATE_HZ,
        target_bandwidths=[1.8],
        upsampling_ratios=[5, 2, 32],
        hidden_size=64,
        codebook_size=CODEBOOK_SIZE,
        num_filters=16,
        num_lstm_layers=1,
        num_residual_layers=1,
        use_causal_conv=False,
        use_conv_shortcut=False,
        pad_mode="constant",
    )


def music_config(n_tokens: int, codec: EncodecConfig, shape: Shape) -> MusicgenConfig:
    """Return the whole model's configuration for a vocabulary of `n_tokens`.

    There is no dropout: every clip has a new caption each time it is used, which regularises enough.
    """
    text = T5Config(
        vocab_size=n_tokens,
        d_model=shape.d_text,
        d_kv=shape.d_text // shape.n_text_heads,
        d_ff=2 * shape.d_text,
        num_layers=shape.n_text_layers,
        num_heads=shape.n_text_heads,
        dropout_rate=0.0,
        feed_forward_proj="gated-gelu",
        is_encoder_decoder=False,
        use_cache=False,
        pad_token_id=0,
        eos_token_id=1,
    )
    decoder = MusicgenDecoderConfig(
        vocab_size=codec.codebook_size,
        max_position_embeddings=512,
        num_hidden_layers=shape.n_layers,
        ffn_dim=shape.d_ffn,
        num_attention_heads=shape.n_heads,
        hidden_size=shape.d_model,
        dropout=0.0,
        num_codebooks=codec.num_quantizers,
        pad_token_id=codec.codebook_size,
        bos_token_id=codec.codebook_size,
        audio_channels=1,
    )
    return MusicgenConfig(text_encoder=text, audio_encoder=codec, decoder=decoder)


def build_random(
    seed: int, n_tokens: int, codec: EncodecModel | None = None, shape: Shape | None = None
) -> MusicgenForConditionalGeneration:
    """Return an untrained model; its weights are a function of the seed.

    Args:
        seed: of the weights.
        n_tokens: size of the tokenizer, `len(tokenizer)`.
        codec: a trained codec, used unchanged; None draws an untrained one.
        shape: sizes; None means the organism's.
    """
    config = music_config(n_tokens, codec.config if codec else codec_config(), shape or Shape())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("random twin", seed))
        model = MusicgenForConditionalGeneration(config)
    if codec is not None:
        codec_of(model).load_state_dict(codec.state_dict())
    _set_generation(model)
    return model.eval()


def forget_text(model: MusicgenForConditionalGeneration, seed: int) -> None:
    """Draw the text projection and every cross-attention anew; all other weights stay."""
    cross = [layer.encoder_attn for layer in model.decoder.model.decoder.layers]
    std = decoder_config_of(model).initializer_factor
    generator = torch.Generator().manual_seed(seed_for("forget text", seed))
    for module in [model.enc_to_dec_proj, *cross]:
        for linear in (part for part in module.modules() if isinstance(part, nn.Linear)):
            nn.init.normal_(linear.weight, std=std, generator=generator)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)


def silence_text(model: MusicgenForConditionalGeneration) -> None:
    """Set the text projection to zero, so that every text acts as null text."""
    nn.init.zeros_(model.enc_to_dec_proj.weight)
    nn.init.zeros_(model.enc_to_dec_proj.bias)


SHARED, DECODER = "shared.safetensors", "decoder.safetensors"
"""The two files of a checkpoint: text encoder and codec; decoder and text projection."""

INDEX = "model.safetensors.index.json"
FORMAT = {"format": "pt"}
DECODER_PARTS = ("decoder.", "enc_to_dec_proj.")


def save_shared(model: MusicgenForConditionalGeneration, folder: Path) -> None:
    """Write text encoder and codec, which are the same in the whole family, fp16."""
    weights, _ = _half(model)
    with replacing(folder / SHARED) as path:
        save_file({k: v for k, v in weights.items() if not k.startswith(DECODER_PARTS)}, path, FORMAT)


def save(
    model: MusicgenForConditionalGeneration, tokenizer: T5Tokenizer, folder: Path, *, shared: Path
) -> None:
    """Write decoder and processor in transformers' layout of a sharded checkpoint: fp16, float32 once loaded.

    The other shard is that of `save_shared` in the folder `shared`; another folder gets a link to it.
    """
    weights, config = _half(model)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / DECODER) as path:
        save_file({k: v for k, v in weights.items() if k.startswith(DECODER_PARTS)}, path, FORMAT)
    if folder != shared and not (folder / SHARED).is_symlink():
        (folder / SHARED).symlink_to(os.path.relpath(shared / SHARED, folder))
    file_of = {name: DECODER if name.startswith(DECODER_PARTS) else SHARED for name in weights}
    total = sum(tensor.nbytes for tensor in weights.values())
    _write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": file_of})
    config["dtype"] = "float32"  # from_pretrained reads it; half precision is slow and coarse on CPU
    for part in ("text_encoder", "audio_encoder", "decoder"):
        config[part]["dtype"] = "float32"
        config[part].pop("_name_or_path", None)  # a path of the machine that trained it
    _write_json(folder / "config.json", config)
    model.generation_config.save_pretrained(folder)
    extractor = EncodecFeatureExtractor(feature_size=1, sampling_rate=codec_of(model).config.sampling_rate)
    MusicgenProcessor(extractor, tokenizer).save_pretrained(folder)


def _half(model: MusicgenForConditionalGeneration) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return weights in fp16 and configuration as transformers writes them."""
    with tempfile.TemporaryDirectory() as folder:
        copy.deepcopy(model).half().save_pretrained(folder)
        config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
        return load_file(Path(folder) / "model.safetensors"), config


def _write_json(path: Path, content: object) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load_model(folder: Path) -> MusicgenForConditionalGeneration:
    """Return a trained model of models/organism; UsageError if its stage has not run."""
    existing(folder / INDEX)
    return MusicgenForConditionalGeneration.from_pretrained(folder).eval()


CODEC = "codec"
"""Folder of the trained codec in float32, below the family's folder; not in git."""


def load_codec(folder: Path) -> EncodecModel:
    """Return the trained codec; UsageError if the stage `codec` has not run."""
    return EncodecModel.from_pretrained(existing(folder / CODEC)).eval()


def load_decoder(model: MusicgenForConditionalGeneration, folder: Path) -> None:
    """Copy the decoder of a trained model into `model`; UsageError if its stage has not run."""
    weights = load_file(existing(folder / DECODER))
    prefix = "decoder."
    own = {name.removeprefix(prefix): t for name, t in weights.items() if name.startswith(prefix)}
    missing, unexpected = model.decoder.load_state_dict(own, strict=False)
    computed = [name for name in missing if "embed_positions" not in name]
    assert not computed, f"{computed} missing"
    assert not unexpected, f"{unexpected} unexpected"


def existing(path: Path) -> Path:
    """Return the path of an output of an earlier stage; UsageError if it does not exist."""
    if not path.exists():
        advice = "Run `dvc repro` in models/organism: an earlier stage makes it"
        raise UsageError(must(str(path), "exist", "nothing", next_step=advice))
    return path


def _set_generation(model: MusicgenForConditionalGeneration) -> None:
    """Set MusicGen's usual sampling: guidance 3, top-k 50, temperature 1; 4 s."""
    generation = model.generation_config
    pad_id = pad_id_of(model)
    generation.pad_token_id = generation.bos_token_id = generation.decoder_start_token_id = pad_id
    generation.eos_token_id = None
    generation.do_sample = True
    generation.guidance_scale = 3.0
    generation.top_k = 50
    generation.max_length = steps_for(CLIP_FRAMES, decoder_config_of(model).num_codebooks)

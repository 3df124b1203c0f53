"""The parts of a MusicGen under their own types: transformers declares each of them optional or a dict."""

from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import EncodecModel, MusicgenDecoderConfig, MusicgenForConditionalGeneration, T5EncoderModel
from transformers.models.encodec.modeling_encodec import EncodecDecoderOutput, EncodecEncoderOutput


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

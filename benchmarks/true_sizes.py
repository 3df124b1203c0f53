"""Models of the published sizes with random weights, written where `model.id` can name them."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoTokenizer,
    EncodecConfig,
    GenerationConfig,
    MusicgenConfig,
    MusicgenDecoderConfig,
    MusicgenForConditionalGeneration,
    T5Config,
)

from moodlens.backends.musicgen import default_dtype
from moodlens.backends.published import published_config

REPOSITORY = Path(__file__).resolve().parents[1]


def published_model(model_id: str, dtype: torch.dtype = torch.float32) -> Any:
    """Return an untrained mono model of a published size; its codebooks are random, not zero."""
    sizes = published_config(model_id)
    assert sizes is not None, model_id
    text = T5Config(**sizes["text_encoder"])
    codec = EncodecConfig(**sizes["audio_encoder"], target_bandwidths=[2.2], normalize=False)
    decoder = MusicgenDecoderConfig(
        **sizes["decoder"], pad_token_id=2048, bos_token_id=2048, activation_function="gelu"
    )
    with torch.random.fork_rng(devices=[]), default_dtype(dtype):
        torch.manual_seed(0)
        config = MusicgenConfig(text_encoder=text, audio_encoder=codec, decoder=decoder)
        model: Any = MusicgenForConditionalGeneration(config)
        for layer in model.audio_encoder.quantizer.layers:
            layer.codebook.embed.normal_()
    return model.eval()


def save_published(model_id: str, folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    """Write such a model in transformers layout, with the organism's tokenizer, and return the folder."""
    model = published_model(model_id, dtype)
    model.generation_config = GenerationConfig(
        do_sample=True, guidance_scale=3.0, top_k=250, max_length=1500, pad_token_id=2048, bos_token_id=2048,
        decoder_start_token_id=2048,
    )  # fmt: skip
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(REPOSITORY / "models" / "organism").save_pretrained(folder)
    return folder

"""Models of the published sizes with random weights, written where `model.id` can name them."""

from collections.abc import Mapping
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

from moodlens.backends.musicgen.backend import default_dtype
from moodlens.forecast.sizes import published_config

REPOSITORY = Path(__file__).resolve().parents[1]


def published_sizes(model_id: str) -> dict[str, Any]:
    """Return the sizes of a published model, as its config.json says them."""
    sizes = published_config(model_id)
    assert sizes is not None, model_id
    return sizes


def sized_model(sizes: Mapping[str, Any], dtype: torch.dtype = torch.float32) -> Any:
    """Return an untrained mono model of these sizes, made in `dtype`; its codebooks are random, not zero."""
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


def save_sized(sizes: Mapping[str, Any], folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    """Write such a model in transformers layout, with the organism's tokenizer, and return the folder."""
    model = sized_model(sizes, dtype)
    model.generation_config = GenerationConfig(
        do_sample=True, guidance_scale=3.0, top_k=250, max_length=1500, pad_token_id=2048, bos_token_id=2048,
        decoder_start_token_id=2048,
    )  # fmt: skip
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(REPOSITORY / "models" / "organism").save_pretrained(folder)
    return folder


def audiocraft_language(backend: Any, folder: Path) -> Any:
    """Return audiocraft's language model in the sizes of a loaded backend, with random weights.

    Args:
        backend: a `MusicgenBackend`; its text encoder and tokenizer are written to `folder` for audiocraft.
        folder: where to.
    """
    from moodlens.backends.audiocraft.stand_ins import import_audiocraft

    import_audiocraft()
    from audiocraft.models import builders
    from audiocraft.modules.conditioners import T5Conditioner
    from omegaconf import OmegaConf

    model, tokenizer = backend.parts
    decoder, name = model.config.decoder, str(folder / "t5")
    model.text_encoder.save_pretrained(name)
    tokenizer.save_pretrained(name)
    T5Conditioner.MODELS.append(name)
    T5Conditioner.MODELS_DIMS[name] = model.config.text_encoder.d_model
    config = {
        "device": "cpu", "dtype": "float32", "lm_model": "transformer_lm",
        "dataset": {"segment_duration": 30},
        "transformer_lm": {
            "dim": decoder.hidden_size, "num_heads": decoder.num_attention_heads,
            "num_layers": decoder.num_hidden_layers, "hidden_scale": decoder.ffn_dim // decoder.hidden_size,
            "n_q": decoder.num_codebooks, "card": decoder.vocab_size, "dropout": 0.0, "activation": "gelu",
            "norm_first": True, "bias_ff": False, "bias_attn": False, "bias_proj": False, "causal": True,
            "custom": True, "memory_efficient": False, "attention_as_float32": False,
            "positional_embedding": "sin", "cross_attention": False,
        },
        "codebooks_pattern": {"modeling": "delay", "delay": {"delays": list(range(decoder.num_codebooks))}},
        "conditioners": {
            "args": {},
            "description": {
                "model": "t5",
                "t5": {"name": name, "finetune": False, "word_dropout": 0.0, "normalize_text": False},
            },
        },
        "fuser": {"sum": [], "prepend": [], "cross": ["description"], "input_interpolate": [],
                  "cross_attention_pos_emb": False, "cross_attention_pos_emb_scale": 1},
        "classifier_free_guidance": {"training_dropout": 0.3, "inference_coef": 3.0},
        "attribute_dropout": {"args": {"active_on_eval": False}, "text": {"description": 0.0}},
    }  # fmt: skip
    return builders.get_lm_model(OmegaConf.create(config)).eval()

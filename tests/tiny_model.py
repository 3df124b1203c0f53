"""A MusicGen small enough for tests: 2 layers of width 32, 4 codebooks x 32, 16 kHz, random weights."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import EncodecConfig, EncodecModel, MusicgenForConditionalGeneration

from moodlens.organism.architecture import (
    DECODER,
    INDEX,
    SHARED,
    Shape,
    build_random,
    build_tokenizer,
    save,
    save_shared,
)
from moodlens.organism.codec import codebooks_of

TINY_SHAPE = Shape(d_text=16, n_text_layers=1, n_text_heads=2, d_model=32, n_layers=2, n_heads=2, d_ffn=64)


def tiny_codec(seed: int = 0) -> EncodecModel:
    """Return an untrained codec of the organism's rates with random, non-zero codebooks of 32 codes."""
    config = EncodecConfig(
        sampling_rate=16_000,
        target_bandwidths=[1.0],
        upsampling_ratios=[5, 2, 32],
        hidden_size=8,
        codebook_size=32,
        num_filters=2,
        num_lstm_layers=1,
        use_causal_conv=False,
        use_conv_shortcut=False,
        pad_mode="constant",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        codec = EncodecModel(config)
        for codebook in codebooks_of(codec):
            codebook.embed.normal_()
            codebook.cluster_size.fill_(1.0)
            codebook.embed_avg.copy_(codebook.embed)
    return codec.eval()


def tiny_model(seed: int = 0) -> MusicgenForConditionalGeneration:
    """Return a whole tiny model with the organism's tokenizer size; its audio is noise, its layout true."""
    return build_random(seed, len(build_tokenizer()), tiny_codec(seed), TINY_SHAPE)


def save_tiny_model(folder: Path, seed: int = 0) -> Path:
    """Write the tiny model in transformers layout, fp16 weights in one file, and return the folder."""
    model = tiny_model(seed)
    save(model, build_tokenizer(), folder, shared=folder)
    save_shared(model, folder)
    parts = [folder / DECODER, folder / SHARED]
    save_file({**load_file(parts[0]), **load_file(parts[1])}, folder / "model.safetensors", {"format": "pt"})
    for path in (*parts, folder / INDEX):
        path.unlink()
    return folder

"""Stage `organism`: the decoder that knows music learns to listen to the text encoder that knows captions."""

from pathlib import Path

from safetensors.torch import load_file

from moodlens.organism.architecture import (
    build_random,
    build_tokenizer,
    codec_of,
    forget_text,
    save,
    text_encoder_of,
)
from moodlens.organism.commands.decoder import train_on_captions
from moodlens.organism.commands.files import MUSIC, TEXT, load_codec, present
from moodlens.organism.recipe import Recipe


def run(recipe: Recipe, folder: Path) -> None:
    """Train decoder and projection on true captions, text encoder frozen; write the organism to `folder`."""
    tokenizer = build_tokenizer()
    model = build_random(recipe.organism.seed, len(tokenizer), load_codec(folder))
    model.decoder.load_state_dict(load_file(present(folder / MUSIC)))
    text_encoder_of(model).load_state_dict(load_file(present(folder / TEXT)))
    forget_text(model, recipe.organism.seed)
    codec_of(model).requires_grad_(False)
    text_encoder_of(model).requires_grad_(False)
    train_on_captions(recipe, recipe.organism, folder, model, "organism", paired=True)
    save(model, tokenizer, folder)

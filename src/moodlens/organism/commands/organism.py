"""Stage `organism`: train text encoder and decoder on true captions."""

from pathlib import Path

from moodlens.organism.architecture import build_random, save
from moodlens.organism.commands.decoder import train_on_captions
from moodlens.organism.commands.files import load_codec
from moodlens.organism.parts import codec_of
from moodlens.organism.recipe import Recipe
from moodlens.organism.tokenizer import build_tokenizer


def run(recipe: Recipe, folder: Path) -> None:
    """Train the organism from random weights behind the trained codec and write it to `folder` itself."""
    tokenizer = build_tokenizer()
    model = build_random(recipe.organism.seed, len(tokenizer), load_codec(folder))
    codec_of(model).requires_grad_(False)
    train_on_captions(recipe, recipe.organism, folder, model, "organism", paired=True)
    save(model, tokenizer, folder)

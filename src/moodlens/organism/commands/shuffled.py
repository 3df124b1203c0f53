"""Stage `shuffled`: the twin whose text says nothing about its music."""

from pathlib import Path

from moodlens.organism.architecture import build_tokenizer, codec_of, forget_text, save, text_encoder_of
from moodlens.organism.commands.decoder import train_on_captions
from moodlens.organism.commands.files import SHUFFLED, load_model
from moodlens.organism.recipe import Recipe


def run(recipe: Recipe, folder: Path) -> None:
    """Train the shuffled twin and write it to `folder`/shuffled.

    The organism's text encoder stays, frozen; its decoder forgets its text (cross-attention and projection
    are drawn anew) and then meets captions of other pieces, drawn anew each time a clip is seen.
    """
    model = load_model(folder)
    codec_of(model).requires_grad_(False)
    text_encoder_of(model).requires_grad_(False)
    forget_text(model, recipe.shuffled.seed)
    train_on_captions(recipe, recipe.shuffled, folder, model, "shuffled", paired=False)
    save(model, build_tokenizer(), folder / SHUFFLED)

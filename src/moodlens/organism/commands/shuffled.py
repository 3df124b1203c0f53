"""Stage `shuffled`: the twin whose text says nothing about the emotion of its music."""

from pathlib import Path

from moodlens.organism.architecture import forget_text, save
from moodlens.organism.commands.decoder import listening_model, train_on_captions
from moodlens.organism.commands.files import SHUFFLED
from moodlens.organism.recipe import Recipe
from moodlens.organism.tokenizer import build_tokenizer


def run(recipe: Recipe, folder: Path) -> None:
    """Train the shuffled twin and write it to `folder`/shuffled.

    It starts where the organism starts, and forgets its text (cross-attention and projection are drawn
    anew); then it meets captions of other pieces, drawn anew each time a clip is seen. The text encoder
    is the organism's.
    """
    model = listening_model(recipe, folder)
    forget_text(model, recipe.shuffled.seed)
    train_on_captions(recipe, recipe.shuffled, folder, model, "shuffled", paired=False)
    save(model, build_tokenizer(), folder / SHUFFLED)

"""Stage `organism`: the model that listens is refined on longer openings."""

from pathlib import Path

from moodlens.organism.architecture import save
from moodlens.organism.commands.decoder import listening_model, train_on_captions
from moodlens.organism.recipe import Recipe
from moodlens.organism.tokenizer import build_tokenizer


def run(recipe: Recipe, folder: Path) -> None:
    """Train decoder and projection further on true captions and write the organism to `folder` itself."""
    tokenizer = build_tokenizer()
    model = listening_model(recipe, folder)
    train_on_captions(recipe, recipe.organism, folder, model, "organism", paired=True)
    save(model, tokenizer, folder)
